"""Multiplications and additions of each network for one image, and what processors of known speed would make of it.

    python -m benchmarks.flops [--size 520] [--share 0.3]

Counted by torch.utils.flop_counter on tensors without data: nothing is computed, and no GPU is asked. The images a
second are arithmetic, the share of its makers' peak that a GPU is taken to reach over the operations of an image, and
only given where operations are what takes the time: quick networks wait for memory, and for photographs to be decoded.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from segcore.models import catalogue, loading

# Peak TFLOP/s by NVIDIA's data sheets, dense, in the precision that "auto" takes: bfloat16 where the hardware has it.
GPUS = {"T4, float32": 8.1, "L4, bfloat16": 121, "A100, bfloat16": 312}
HEAVY = 100e9  # operations


def flops(name: str, size: int) -> int:
    """Floating-point operations, a multiplication and an addition being two, without the auxiliary head."""
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
