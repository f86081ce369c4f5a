"""A worker on one machine of a Ray cluster. It has its own copy of the model and gets the files' bytes."""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..errors import SegcoreError
from ..imaging.reading import File
from ..inference import memory
from ..inference.export import write_results
from ..inference.refine import opencv_version
from ..inference.segmenter import Segmenter
from ..inference.task import Task
from .run import Outcomes, Run
from .score import score_files


class Worker:
    """A process that works for a `Cluster`. It returns problems of its input as sentences."""

    def start(self, options: dict[str, Any], threads: int) -> dict[str, Any] | str:
        """Load the model. Returns the worker's host and process, and facts that must be equal on all workers."""
        memory.keep_pages()
        torch.set_num_threads(threads)
        try:
            self.segmenter = Segmenter(**options)
        except (SegcoreError, OSError) as error:
            return str(error)
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "card": os.environ.get("CUDA_VISIBLE_DEVICES"),  # Ray gives each worker its own
            "segcore": __version__,
            "torch": torch.__version__,
            "weights": self.segmenter.weights_sha256,
            "device": self.segmenter.device,
            "precision": self.segmenter.precision,
            "engine": self.segmenter.engine,
            "opencv": opencv_version() if self.segmenter.refine else None,
        }

    def score(self, run: Run, files: list[File | str], keep_samples: bool) -> Outcomes:
        return score_files(replace(run, segmenter=self.segmenter), files, keep_samples=keep_samples)

    def predict(self, file: File | str, task: Task, options: dict[str, bool]) -> dict[str, bytes] | str:
        """Return the files of `write_results` by the ends of their names, or what is wrong with the photograph."""
        if isinstance(file, str):
            return file
        try:
            with tempfile.TemporaryDirectory() as folder:
                write_results(self.segmenter(file), task, file.name, Path(folder, "result"), **options)
                return {each.name.removeprefix("result"): each.read_bytes() for each in Path(folder).iterdir()}
        except (SegcoreError, OSError) as error:
            return str(error)
