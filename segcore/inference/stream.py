"""Segments many photographs in order and lazily. A thread decodes the next photographs while the network runs."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import DeviceMemoryError, SegcoreError, UsageError
from ..models.transforms import Preprocess
from . import sources
from .segmentation import Segmentation
from .sources import Photograph


class Loaded(NamedTuple):
    """A photograph, uint8 (H, W, 3), its input tensor, float32 (1, 3, h, w), and the name for output files."""

    name: str
    photograph: np.ndarray
    tensor: Tensor


class Network(Protocol):
    """The methods of a `Segmenter` that a stream needs."""

    def predict_logits(self, batch: Tensor, *, tta: bool | None = None) -> Tensor: ...
    def result(self, logits: Tensor, loaded: Loaded, seconds: float, how: How) -> Segmentation: ...


@dataclass(frozen=True)
class How:
    """The options of one call, see `Segmenter.__call__`."""

    preprocess: Preprocess
    tta: bool | None = None
    dtype: str = "float16"


Outcome = Segmentation | SegcoreError


def segmented(network: Network, photographs: Iterable[Photograph], how: How, batch_size: int) -> Iterator[Outcome]:
    """Yield the result of each photograph in order. For a photograph that cannot be read, yield its error.

    Nothing is read before the first result is requested. Then one thread decodes up to `batch_size` photographs ahead,
    and at least two, so at most twice as many are in memory. An exception of the iterable is raised after the results
    of the photographs before it. Raises UsageError for a batch size under 1.
    """
    if batch_size < 1:
        raise UsageError(f"a batch holds at least 1 photograph, got {batch_size}")
    return _segmented(network, iter(photographs), how, batch_size)


def _segmented(network: Network, photographs: Iterator[Photograph], how: How, batch_size: int) -> Iterator[Outcome]:
    loaded = _loaded_ahead(photographs, how.preprocess, ahead=max(2, batch_size))
    try:
        failure: Exception | None = None
        while failure is None:
            batch: list[Loaded | SegcoreError] = []
            try:
                while len(batch) < batch_size and (each := next(loaded, None)) is not None:
                    batch.append(each)
            except Exception as error:  # raised by the caller's iterable
                failure = error
            if not batch:
                break
            yield from _outcomes(network, batch, how)
        if failure:
            raise failure
    finally:
        loaded.close()


def _loaded_ahead(
    photographs: Iterator[Photograph], preprocess: Preprocess, ahead: int
) -> Generator[Loaded | SegcoreError]:
    """Yield each loaded photograph, or its error. One thread loads the next `ahead` photographs."""
    numbers = itertools.count(1)

    def take() -> Loaded | SegcoreError | None:
        try:
            source = next(photographs)
        except StopIteration:
            return None
        try:
            return ready(source, preprocess, next(numbers))
        except SegcoreError as error:
            return _without_traceback(error)

    waiting: deque[Future[Loaded | SegcoreError | None]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
    try:
        waiting.extend(pool.submit(take) for _ in range(ahead))
        while (each := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(take))
            yield each
    finally:
        pool.shutdown(
            wait=False, cancel_futures=True
        )  # do not wait: the iterable may block until a camera's next frame


def ready(source: Photograph, preprocess: Preprocess, number: int | None = None) -> Loaded:
    """Load one photograph. number: its place in a stream. Raises ImageError if it cannot be read."""
    photograph = sources.read(source)
    return Loaded(sources.name_of(source, number), photograph, preprocess(photograph))


def _without_traceback(error: SegcoreError) -> SegcoreError:
    """Return the error without traceback and cause, which would keep photographs in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _outcomes(network: Network, batch: Sequence[Loaded | SegcoreError], how: How) -> Iterator[Outcome]:
    """Return the results of a batch in order. Photographs of the same size go through the network together."""
    by_size: dict[torch.Size, dict[int, Loaded]] = {}
    outcomes: dict[int, Outcome] = {}
    for place, each in enumerate(batch):
        if isinstance(each, SegcoreError):
            outcomes[place] = each
        else:
            by_size.setdefault(each.tensor.shape, {})[place] = each
    for loaded in by_size.values():
        outcomes.update(zip(loaded, _run(network, list(loaded.values()), how), strict=True))
    return (outcomes.pop(place) for place in range(len(batch)))


def _run(network: Network, loaded: list[Loaded], how: How) -> list[Outcome]:
    """Return the results of photographs of the same size. If memory is too small for all, run them one by one."""
    started = time.perf_counter()
    try:
        logits = network.predict_logits(torch.cat([each.tensor for each in loaded]), tta=how.tta)
    except DeviceMemoryError as error:
        if len(loaded) == 1:
            return [_without_traceback(error)]
        return [outcome for each in loaded for outcome in _run(network, [each], how)]
    seconds = (time.perf_counter() - started) / len(loaded)
    return [network.result(own, each, seconds, how) for own, each in zip(logits, loaded, strict=True)]
