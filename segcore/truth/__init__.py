"""What is known to be right: datasets, and label maps that people bring."""
