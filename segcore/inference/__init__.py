"""From a photograph to a segmentation."""
