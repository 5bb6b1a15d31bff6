"""The explorer in a notebook."""
