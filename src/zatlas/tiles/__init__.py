"""Whole images or tiles as a network sees them: where tiles lie, how greys are scaled, batches in order."""
