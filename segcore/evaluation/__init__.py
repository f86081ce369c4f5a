"""Predictions against the truth: what is counted, and what is made of the counts."""
