"""Ask a running page from a program.

    python examples/api_client.py http://127.0.0.1:7860 photo.jpg
    python examples/api_client.py http://127.0.0.1:7860 photo.jpg --mode binary --class cat --threshold 0.3
    python examples/api_client.py http://127.0.0.1:7860 --coco-image 214753 --protocol torchvision

It needs no more than the package gradio_client.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

SAMPLE = Path(__file__).parent / "samples" / "000000900002.jpg"


def main() -> int:
    """Make one call, print the answer and save the overlay. Returns the exit status."""
    arguments = read_arguments()
    try:
        client = Client(arguments.url, verbose=False)
        overlay = segment(client, arguments) if arguments.coco_image is None else evaluate(client, arguments)
        shutil.copy(overlay, arguments.out)
    except (AppError, httpx.HTTPError, OSError, ValueError) as error:
        print(f"{arguments.url}: {error}", file=sys.stderr)
        return 1
    print(f"the overlay is in {arguments.out}")
    return 0


def segment(client: Client, arguments: argparse.Namespace) -> str:
    """Print the classes of a photograph; returns the overlay's file."""
    overlay, result = client.predict(
        handle_file(arguments.photo),
        mode=arguments.mode,
        class_name=arguments.class_name,
        threshold=arguments.threshold,
        model=arguments.model,
        api_name="/segment",
    )
    print(f"{result['file']}, {result['width']} x {result['height']}, by {result['model']}")
    for found in result["classes"]:
        print(f"{found['name']:14}{found['share']:7.1%} of the picture, confidence {found['confidence']:.2f}")
    if not result["classes"]:
        print("nothing found")
    return overlay


def evaluate(client: Client, arguments: argparse.Namespace) -> str:
    """Print the scores of one image of the page's COCO folder; returns the overlay's file."""
    overlay, _truth, _errors, result = client.predict(
        arguments.coco_image,
        mode=arguments.mode,
        class_name=arguments.class_name,
        protocol=arguments.protocol,
        model=arguments.model,
        api_name="/evaluate_coco",
    )
    print(f"{result['file_name']} by {result['model']}, protocol {result['protocol']}, {result['precision']}")
    for name, score in result["dataset"].items():
        print(f"{name:24}{'N/A' if score is None else f'{score:.4g}':>8}")
    return overlay


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Ask a running segcore page from a program.")
    parser.add_argument("url", help="where the page is, such as http://127.0.0.1:7860")
    parser.add_argument("photo", nargs="?", type=Path, default=SAMPLE, help="default: one of the samples")
    parser.add_argument("--coco-image", metavar="ID", help="score this image of the page's folder instead")
    parser.add_argument("--mode", default="multiclass", choices=("multiclass", "binary"))
    parser.add_argument("--class", dest="class_name", default="any", metavar="NAME", help="in binary mode")
    parser.add_argument("--threshold", type=float, default=-1, help="in binary mode, 0 to 1; default: automatic")
    parser.add_argument("--protocol", default="original", choices=("original", "torchvision", "report"))
    parser.add_argument("--model", default="auto", help="a model of the page, such as deeplabv3_resnet101")
    parser.add_argument("--out", type=Path, default=Path("overlay.png"), help="where the overlay goes")
    arguments = parser.parse_args()
    if not arguments.url.startswith(("http://", "https://")):  # Gradio would take it for the name of a Space
        parser.error(f"the page's address begins with http:// or https://, got {arguments.url!r}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
