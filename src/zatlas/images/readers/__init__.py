"""Readers of files and folders, one module per family of formats, and the table that says which opens what."""
