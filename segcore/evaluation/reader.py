"""Reads a run's images with their truth and judges objects: in this process, or in others beside a graphics card."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch

from ..errors import AnnotationError, ImageError
from ..imaging.reading import File
from ..inference.task import Task
from ..models.transforms import Preprocess
from ..truth.dataset import Dataset, ImageId, ImageRecord
from .objects import ObjectOutcome, judge_objects
from .protocols import Protocol
from .slices import brightness

MANY = 500  # images; for fewer, processes would start for longer than they save
MOST = 16  # processes


class Loaded(NamedTuple):
    """One image that only has to be normalised for the network, with its truth.

    photograph: uint8 (H, W, 3), or None if nobody needs it. pixels: the photograph, resized, uint8 (h, w, 3). truth:
    uint8 at the scored size. brightness: of the photograph.
    """

    photograph: np.ndarray | None
    pixels: np.ndarray
    truth: np.ndarray
    brightness: float


@dataclass(frozen=True)
class Reader:
    """What reads the images of a run. Unlike the run, it has no network, so that other processes can have it."""

    dataset: Dataset
    protocol: Protocol
    preprocess: Preprocess
    task: Task
    keep_photographs: bool

    def load(self, image: ImageRecord, file: File | str | None = None) -> Loaded | str:
        """Load an image, or return why it cannot be loaded.

        file: the dataset's by default, or its content; a str says why it could not be read.
        """
        if isinstance(file, str):
            return file
        try:
            photograph = self.dataset.read_image(image.id, file)
            truth = self.protocol.truth_at_scored_size(self.dataset, image.id, self.preprocess)
            pixels = self.preprocess.resize_image(photograph)
        except (ImageError, AnnotationError) as error:
            return str(error)
        return Loaded(photograph if self.keep_photographs else None, pixels, truth, brightness(photograph))

    def judge(self, image_id: ImageId, prediction: np.ndarray) -> tuple[ObjectOutcome, ...] | None:
        """Judge the objects of an image, as `judge_objects` does."""
        return judge_objects(self.dataset, image_id, prediction, self.task)


def processes_beside(device: str, images: int) -> int:
    """Return how many processes should read beside a network on `device`: none beside a CPU, or for few images."""
    if device == "cpu" or images < MANY:
        return 0
    return max(1, min((os.cpu_count() or 1) - 1, MOST))


def start_processes(reader: Reader, count: int) -> Executor:
    """Return processes with a copy of `reader`, for `load_there` and `judge_there`."""
    return ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(reader,))


_reader: Reader  # of this process, where it reads for another


def _begin(reader: Reader) -> None:
    global _reader
    _reader = reader
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one in front stops the others
    torch.set_num_threads(1)


def load_there(image: ImageRecord) -> Loaded | str:
    return _reader.load(image)


def judge_there(image_id: ImageId, prediction: np.ndarray) -> tuple[ObjectOutcome, ...] | None:
    return _reader.judge(image_id, prediction)
