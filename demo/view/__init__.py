"""The picture viewer."""
