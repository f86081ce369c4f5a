"""Scores of label maps, in NumPy alone."""

from .confusion import confusion_matrix, mean_defined, scores

__all__ = ["confusion_matrix", "mean_defined", "scores"]
