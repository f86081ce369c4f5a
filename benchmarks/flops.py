"""Counts the multiplications and additions of each network for one image, and estimates images per second on GPUs.

    python -m benchmarks.flops [--size 520] [--share 0.3]

torch.utils.flop_counter counts on tensors without data, so nothing is computed and no GPU is used. The images per
second are an estimate: the assumed share of the GPU's published peak, divided by the operations of an image. They are
only given for networks that are limited by operations. Fast networks wait for memory and for decoding.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from segcore.models import catalogue, loading

# Peak dense TFLOP/s from NVIDIA's data sheets, in the precision of "auto": bfloat16 if the hardware supports it.
GPUS = {"T4, float32": 8.1, "L4, bfloat16": 121, "A100, bfloat16": 312}
HEAVY = 100e9  # operations


def flops(name: str, size: int) -> int:
    """Count floating-point operations without the auxiliary head. A multiplication and an addition count as two."""
    with torch.device("meta"):
        network = loading.build_network(name).eval()
        network.aux_classifier = None
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, size, size))
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=520, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.3, help="of the peak that is reached (default: %(default)s)")
    arguments = parser.parse_args()
    size, share = arguments.size, arguments.share
    print(f"one image of {size} x {size}; images a second at {share:.0%} of the GPU's peak: arithmetic, not measured\n")
    print(f"| network | GFLOP | {' | '.join(GPUS)} |\n| --- | ---: |{' ---: |' * len(GPUS)}")
    for name in catalogue.CATALOGUE:
        count = flops(name, size)
        rates = [f"{share * peak * 1e12 / count:.0f}" if count > HEAVY else "-" for peak in GPUS.values()]
        print(f"| {name} | {count / 1e9:.1f} | {' | '.join(rates)} |")


if __name__ == "__main__":
    main()
