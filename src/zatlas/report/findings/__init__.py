"""Paragraphs written from numbers."""
