"""Inference: turns a photograph into a segmentation."""
