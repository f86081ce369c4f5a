"""Atomic writes, locks, downloads."""
