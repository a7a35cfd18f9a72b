"""Formats of files: one module each, and what they share."""
