"""The explorer's files of a study."""
