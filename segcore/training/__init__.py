"""Training, and the scripts that made the shipped model's weights."""
