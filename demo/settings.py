"""What may be set from outside: environment variables and flags -> one frozen `Settings`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """host, port: where the page listens (port None: the first free one from 7860); coco: the operator's folder of
    images with truth; coco_url: a mirror to fetch others from, None for COCO's own server; model: a catalogue name or
    "auto"; offline: never download anything; threads: for PyTorch, None where its own choice is right.
    """

    host: str = LOOPBACK
    port: int | None = None
    coco: Path = EXAMPLES
    coco_url: str | None = None
    model: str = "auto"
    offline: bool = False
    threads: int | None = None

    @classmethod
    def read(cls, flags: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
        """Flags win over the environment. A flag that does not exist ends the program with its usage."""
        parser = argparse.ArgumentParser(prog="demo/app.py", description="segcore's web page.")
        parser.add_argument("--host", default=environment.get("GRADIO_SERVER_NAME", LOOPBACK), help="default: loopback")
        parser.add_argument(
            "--port", type=int, default=environment.get("GRADIO_SERVER_PORT"), help="default: from 7860"
        )
        parser.add_argument("--coco", type=Path, default=environment.get("SEGCORE_COCO", EXAMPLES), metavar="DIR",
                            help="a COCO folder, for the tabs with ground truth; default: the samples")  # fmt: skip
        parser.add_argument("--model", default=environment.get("SEGCORE_MODEL", "auto"), metavar="NAME",
                            help="a model's name, or the file of a trained one; default: auto")  # fmt: skip
        read = parser.parse_args(flags)
        return cls(
            host=read.host,
            port=read.port,
            coco=read.coco,
            coco_url=environment.get("SEGCORE_COCO_URL") or None,
            model=read.model,
            offline=environment.get("SEGCORE_OFFLINE", "") not in ("", "0"),
            threads=_processor_share(environment),
        )


def _processor_share(environment: Mapping[str, str]) -> int | None:
    """How many cores a container may use, where that is limited: PyTorch would start a thread for each that it sees."""
    if environment.get("CPU_CORES", "").isdecimal():
        return max(1, int(environment["CPU_CORES"]))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, round(int(quota) / int(period)))
