"""`segcore models`: prints the list of models."""

from __future__ import annotations

import argparse

from ..models import catalogue
from .common import DONE


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the list of models: size, published scores, on disk or not."""
    from ..models.loading import facts

    print(f"{'name':32}{'size':>9}{'mean IoU':>10}{'accuracy':>10}  on disk")
    for name in catalogue.CATALOGUE:
        known = facts(name)
        scores = [f"{100 * score:.1f} %" if score else "-" for score in (known.mean_iou, known.pixel_accuracy)]
        here = "yes" if catalogue.on_disk(name) else "no"
        print(f"{name:32}{known.megabytes:6.1f} MB{scores[0]:>10}{scores[1]:>10}  {here}")
    print("\nScores as torchvision publishes them: COCO val2017, the 20 VOC classes, protocol torchvision, float32.")
    return DONE
