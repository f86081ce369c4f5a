"""Ground truth: datasets, and masks or annotations that people upload."""
