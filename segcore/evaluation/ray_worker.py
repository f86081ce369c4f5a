"""What is done on each machine of a cluster: the steps, with a model of its own, on files that were read elsewhere."""

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
    """A process that a `Cluster` gives work to; what goes wrong with its input comes back as a sentence."""

    def start(self, options: dict[str, Any], threads: int) -> dict[str, Any] | str:
        """Load the model. Returns where it is, and all that must be the same everywhere for the same results."""
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
        """The files that `write_results` gives, by what they are called after the photograph's stem."""
        if isinstance(file, str):
            return file
        try:
            with tempfile.TemporaryDirectory() as folder:
                write_results(self.segmenter(file), task, file.name, Path(folder, "result"), **options)
                return {each.name.removeprefix("result"): each.read_bytes() for each in Path(folder).iterdir()}
        except (SegcoreError, OSError) as error:
            return str(error)
