"""Training, and how the shipped model's weights came to be."""
