"""Scores of label maps. Needs only NumPy."""

from .confusion import confusion_matrix, mean_defined, scores

__all__ = ["confusion_matrix", "mean_defined", "scores"]
