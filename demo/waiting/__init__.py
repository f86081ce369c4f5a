"""Whose turn it is, and what a visitor waits for."""
