"""The picture component."""
