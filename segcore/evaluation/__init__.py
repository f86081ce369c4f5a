"""Evaluation: compares predictions with the ground truth, counts, and computes scores."""
