"""What is known about the models of a study, computed once and kept on disk."""
