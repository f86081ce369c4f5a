"""Reads the settings of the page from flags and environment variables into one frozen `Settings`."""

from __future__ import annotations

import argparse
import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.waiting.turns import AT_ONCE, LONGEST
from segcore.cli.arguments import model_name
from segcore.cli.old_names import Renamed, told_new_name

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LOOPBACK = "127.0.0.1"
AUTOMATIC_THRESHOLD = -1  # programs can only give numbers
LOWEST_THRESHOLD = 0.05  # of the page's control
MAX_SEGMENTERS = 3  # segmenters in memory, one for each model and precision
MOST_AT_ONCE = 8  # each request may hold a photograph of 100 megapixels
SESSIONS = 150  # up to 50 MB each


@dataclass(frozen=True)
class Limits:
    """Limits for visitors.

    max_bytes, max_pixels: of a photograph. upload_seconds: time limit for an upload. scoring_seconds: time limit for
    scoring a set. keep_seconds: how long uploads and downloads are kept. keep_bytes: how much disk space all of them
    may take before the oldest are deleted.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 100_000_000
    upload_seconds: float = 600
    scoring_seconds: float = 3600
    keep_seconds: float = 3600
    keep_bytes: int = 2 * 10**9

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Limits:
        """Read the limits. Raises ValueError with a message for a variable that is not a number above 0."""

        def number(name: str, unit: float, default: float) -> float:
            text = environment.get(name) or str(default / unit)
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0, not {text!r}")
            return value * unit

        return cls(
            max_bytes=int(number("SEGCORE_MAX_MB", 2**20, cls.max_bytes)),
            max_pixels=int(number("SEGCORE_MAX_MEGAPIXELS", 1e6, cls.max_pixels)),
            upload_seconds=number("SEGCORE_UPLOAD_SECONDS", 1, cls.upload_seconds),
            scoring_seconds=number("SEGCORE_SCORING_MINUTES", 60, cls.scoring_seconds),
            keep_seconds=number("SEGCORE_KEEP_MINUTES", 60, cls.keep_seconds),
            keep_bytes=int(number("SEGCORE_KEEP_MB", 1e6, cls.keep_bytes)),
        )


@dataclass(frozen=True)
class Settings:
    """The settings of the page.

    host, port: where the page listens (port None: the first free one from 7860). dataset: the operator's folder of
    images with truth. coco_url: a mirror of COCO, None for COCO's own server. model: a catalogue name, "auto", a
    trained model's file, "hf:USER/NAME" or "module:function".
    precision, engine: as for `Segmenter`, except for scores. offline: never download anything. threads: PyTorch's,
    None for its default. queue: requests that may wait. at_once: requests that run at the same time. models: models in
    memory. sessions: visitors whose images are kept; the least recent are dropped first. hosts: host names that the
    page answers to, None for any. frames: origins whose pages may show this page in a frame. mcp: offer the
    endpoints as tools to assistants.
    """

    host: str = LOOPBACK
    port: int | None = None
    dataset: Path = EXAMPLES
    coco_url: str | None = None
    model: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    offline: bool = False
    threads: int | None = None
    queue: int = LONGEST
    at_once: int = AT_ONCE
    models: int = MAX_SEGMENTERS
    sessions: int = SESSIONS
    hosts: frozenset[str] | None = None
    frames: tuple[str, ...] = ()
    mcp: bool = False
    limits: Limits = Limits()

    @classmethod
    def read(cls, flags: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read flags and environment; flags take precedence. An unknown flag ends the program with its usage."""
        parser = argparse.ArgumentParser(prog="demo/app.py", description="segcore's web page.")
        parser.add_argument("--host", default=environment.get("GRADIO_SERVER_NAME", LOOPBACK), help="default: loopback")
        parser.add_argument(
            "--port", type=int, default=environment.get("GRADIO_SERVER_PORT"), help="default: from 7860"
        )
        parser.add_argument("--dataset", "--coco", action=Renamed, type=Path, default=_dataset(environment),
                            metavar="DIR", help="photographs with their truth, in COCO's layout or VOC's, for the tabs "
                            "with ground truth; default: the samples; --coco is its old name")  # fmt: skip
        parser.add_argument("--model", type=model_name, default=environment.get("SEGCORE_MODEL", "auto"),
                            metavar="NAME", help="a model's name, a trained one's file, hf:USER/NAME, or "
                            "module:function for a network of your own; default: auto")  # fmt: skip
        parser.add_argument("--precision", default=environment.get("SEGCORE_PRECISION") or "auto",
                            type=_one_of("auto", "float32", "bfloat16", "int8"),
                            help="auto, float32, bfloat16 or int8; scores always use float32; "
                            "default: auto")  # fmt: skip
        parser.add_argument("--engine", default=environment.get("SEGCORE_ENGINE") or "auto",
                            type=_one_of("auto", "torch", "openvino", "onnxruntime"),
                            help="auto, torch, openvino or onnxruntime; scores always use torch; "
                            "default: auto")  # fmt: skip
        parser.add_argument("--mcp", action="store_true", help="offer both endpoints as tools to assistants, by the "
                            'Model Context Protocol; needs pip install "gradio[mcp]"; default: off')  # fmt: skip
        read = parser.parse_args(flags)
        threads = _processor_share(environment)
        cores = threads or os.cpu_count() or AT_ONCE
        try:
            limits = Limits.read(environment)
        except ValueError as error:
            parser.error(str(error))
        return cls(
            host=read.host,
            port=read.port,
            dataset=read.dataset,
            coco_url=environment.get("SEGCORE_COCO_URL") or None,
            model=read.model,
            precision=read.precision,
            engine=read.engine,
            offline=environment.get("SEGCORE_OFFLINE", "") not in ("", "0"),
            threads=threads,
            queue=_count(parser, environment, "SEGCORE_QUEUE", LONGEST),
            at_once=_count(parser, environment, "SEGCORE_AT_ONCE", min(cores, MOST_AT_ONCE)),
            models=_count(parser, environment, "SEGCORE_MODELS", MAX_SEGMENTERS),
            sessions=_count(parser, environment, "SEGCORE_SESSIONS", SESSIONS),
            hosts=_names(read.host, environment.get("SEGCORE_HOSTS", "")),
            frames=_origins(parser, environment.get("SEGCORE_FRAMES", "")),
            mcp=read.mcp,
            limits=limits,
        )


def _dataset(environment: Mapping[str, str]) -> Path | str:
    now, former = environment.get("SEGCORE_DATASET"), environment.get("SEGCORE_COCO")
    if former and not now:
        told_new_name("SEGCORE_COCO", "SEGCORE_DATASET")
    return now or former or EXAMPLES


def _one_of(*choices: str) -> Callable[[str], str]:
    """Return a type for a flag. Unlike argparse's `choices`, it also checks defaults from the environment."""

    def checked(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(choices)}")
        return text

    return checked


def _count(parser: argparse.ArgumentParser, environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, "") or str(default)
    if not value.isdecimal() or int(value) < 1:
        parser.error(f"{name} must be a whole number from 1, got {value!r}")
    return int(value)


def _names(host: str, allowed: str) -> frozenset[str] | None:
    """Return the host names that the page answers to; None (any) if it does not listen on the loopback address."""
    names = {name.strip().lower() for name in allowed.split(",")} - {""}
    if "*" in names or not (names or is_loopback(host)):
        return None
    return frozenset(names | {"localhost", LOOPBACK, "::1", host.strip("[]").lower()})


def _origins(parser: argparse.ArgumentParser, listed: str) -> tuple[str, ...]:
    """Read a list of origins such as https://a.example. They become part of a header, so their form is checked."""
    origins = tuple(each.strip() for each in listed.split(",") if each.strip())
    for each in origins:
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?", each):
            parser.error(f"SEGCORE_FRAMES lists origins such as https://a.example, not {each!r}")
    return origins


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's loopback."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _processor_share(environment: Mapping[str, str]) -> int | None:
    """Return the number of cores that a container may use, None without a limit. PyTorch ignores such limits."""
    if environment.get("CPU_CORES", "").isdecimal():
        return max(1, int(environment["CPU_CORES"]))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, round(int(quota) / int(period)))
