"""Which networks there are, how they are built, and where their weights come from."""
