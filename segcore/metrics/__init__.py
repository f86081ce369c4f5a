"""Scores of label maps, in NumPy alone."""

from .confusion import confusion_matrix, scores

__all__ = ["confusion_matrix", "scores"]
