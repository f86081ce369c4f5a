"""Keeps the results of the samples in memory and on disk, so that opening the page or a sample runs no network.

Only the photographs that ship with the code are kept, never a visitor's. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import threading
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

import segcore
from segcore.errors import SegcoreError
from segcore.files.atomic import atomic_write
from segcore.inference.provenance import Provenance
from segcore.inference.segmentation import Segmentation
from segcore.models import catalogue

FORMAT = 1  # of the files
RESIZE = "squeeze"  # the page's default
_DAMAGED = OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, SegcoreError


def kept_folder() -> Path:
    """Return the folder for results of samples in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segcore" / "samples"


class KeptSamples:
    """Results of the shipped model for the samples, at the page's default resize. All methods are thread-safe."""

    def __init__(self, paths: Iterable[Path] = (), folder: Path | None = None) -> None:
        """paths: of the samples. folder: for files; None keeps the results only in memory."""
        self._paths = frozenset(paths)
        self._folder = folder
        self._results: dict[str, Segmentation] = {}
        self._lock = threading.Lock()

    def key(self, path: Path, model: str, resize: str, tta: bool, how: Iterable[object]) -> str | None:
        """Return the key of a result; None if it is not kept. how: what else it depends on, such as the precision.

        The key holds the contents of the photograph, the weights, segcore's version and this machine.
        """
        if path not in self._paths or model != catalogue.SHIPPED or resize != RESIZE or tta:
            return None
        machine = platform.node(), platform.machine(), os.cpu_count()
        weights = catalogue.entry(model).sha256
        parts = FORMAT, segcore.__version__, weights, resize, *machine, *map(str, how)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps([content, *parts]).encode()).hexdigest()

    def get(self, key: str | None) -> Segmentation | None:
        """Return a kept result, or None. A damaged file counts as none."""
        if key is None:
            return None
        with self._lock:
            if key not in self._results and self._folder is not None:
                result = _read(self._file(key))
                if result is not None:
                    self._results[key] = result
            return self._results.get(key)

    def put(self, key: str | None, result: Segmentation) -> None:
        """Keep a result. If the file cannot be written, it is kept only in memory."""
        if key is None:
            return
        with self._lock:
            self._results[key] = result
            if self._folder is not None and result.provenance.calibration is None:
                _write(self._file(key), result)

    def _file(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key[:32]}.npz"


def _read(file: Path) -> Segmentation | None:
    if not file.exists():
        return None
    try:
        with np.load(file) as stored:
            facts = json.loads(str(stored["facts"]))
            result = Segmentation(stored["logits"], tuple(facts["size_hw"]), Provenance(**facts["provenance"]))
        if not np.isfinite(result.logits).all():
            raise ValueError("a logit is not finite")
    except _DAMAGED as error:
        print(f"segcore: {file} is damaged and is made anew: {error}", file=sys.stderr)
        return None
    return result


def _write(file: Path, result: Segmentation) -> None:
    facts = {"size_hw": result.size_hw, "provenance": asdict(result.provenance)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial, partial.open("wb") as stream:
            np.savez(stream, logits=result.logits, facts=json.dumps(facts))
    except OSError as error:
        print(f"segcore: the result of a sample could not be kept: {error}", file=sys.stderr)
