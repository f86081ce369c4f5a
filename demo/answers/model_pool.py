"""The model pool: loads each model once, drops the least recently used, and downloads the big one in the background."""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from demo.answers.kept_samples import KeptSamples
from demo.server.decoding import DECODERS
from demo.settings import MAX_SEGMENTERS, Limits
from demo.waiting.turns import Turns
from segcore.categories import VOC, Categories
from segcore.errors import SegcoreError, UsageError, WeightsError
from segcore.models import catalogue

if TYPE_CHECKING:  # importing PyTorch takes seconds and would delay the page's start
    import numpy as np
    import torch

    from segcore.evaluation.run import Network
    from segcore.inference.segmentation import Segmentation
    from segcore.inference.segmenter import Segmenter


class Arithmetic(NamedTuple):
    """How a network is run; the values are those of `Segmenter`."""

    precision: str = "auto"
    engine: str = "auto"
    device: str = "auto"


USUAL = Arithmetic()
EXACT = Arithmetic("float32", "torch")  # for scores that can be compared with published ones
NOT_HERE, NOT_HERE_YET = "not on this machine", "not here yet: choose it to download it"  # as in page.js

# Global, not in ModelPool: a ZeroGPU worker is a fork of the process, and gets names of models instead of networks.
_segmenters: OrderedDict[tuple[str, Arithmetic], Segmenter] = OrderedDict()
_loading: dict[tuple[str, Arithmetic], threading.Lock] = {}
_loaded_lock = threading.Lock()


@dataclass(frozen=True)
class Fetching:
    """The progress of a download: bytes done of total (None: unknown), and at the end an error or None."""

    done: int = 0
    total: int | None = None
    finished: bool = False
    error: str | None = None


class ModelPool:
    """Loads the models and runs them for all visitors. All methods are thread-safe."""

    def __init__(
        self,
        model: str = catalogue.AUTO,
        *,
        offline: bool = False,
        threads: int | None = None,
        models: int = MAX_SEGMENTERS,
        turns: Turns | None = None,
        limits: Limits | None = None,
        arithmetic: Arithmetic = USUAL,
        kept: KeptSamples | None = None,
    ) -> None:
        """threads: PyTorch's number of threads, None for its default. models: how many stay in memory. turns: the queue
        of all requests. arithmetic: how networks run, except for scores. kept: the results of the samples.
        """
        self.default = catalogue.resolve(model, offline=offline)
        self.offline = offline
        self.limits = limits or Limits()
        self.categories = categories_of(self.default)
        self.threads = threads
        self.models = models
        self.turns = turns or Turns()
        self.arithmetic = arithmetic
        self.kept = kept or KeptSamples()
        self._lock = threading.Lock()
        self._fetching: dict[str, Fetching] = {}

    def resolve(self, model: str) -> str:
        """Return the name of the model to use. "auto" stays the model that was chosen when the page started.

        Raises UsageError for a name that is not in the catalogue, and for a file or a factory, except the one that the
        page was started with.
        """
        if model in (catalogue.AUTO, self.default):
            return self.default
        if not isinstance(model, str) or catalogue.has_own_categories(model):
            raise UsageError(f"there is no model {model!r}; choose one of: {', '.join(catalogue.CATALOGUE)}")
        return catalogue.resolve(
            catalogue.FORMER_NAMES.get(model, model)
        )  # without the warning, which visitors would not see

    def read(self, photograph: str | Path) -> np.ndarray:
        """Decode a visitor's photograph in another process, as `reading.read` does. Meanwhile other requests can run.

        Raises ImageError for a photograph that is damaged or over the page's limits, Cancelled if the visitor has left.
        """
        with self.turns.aside() as given_up:
            limits = {"max_pixels": self.limits.max_pixels, "max_bytes": self.limits.max_bytes}
            return DECODERS.photograph(Path(photograph), **limits, given_up=given_up)

    def require(self, model: str) -> None:
        """Raise UsageError for a model that is not on disk. Its download starts, if that is allowed."""
        if not catalogue.on_disk(model):
            raise UsageError(self.missing(model))

    def segmenter(self, model: str, arithmetic: Arithmetic) -> Segmenter:
        """Return the segmenter of a model and arithmetic. It is loaded at first use.

        Raises WeightsError if the weights are damaged, UsageError if they are not on disk yet. Visitors read both
        messages; the file's path is only written to stderr.
        """
        self.require(model)
        try:
            return _loaded(model, arithmetic, self.models)
        except WeightsError as error:
            print(f"segcore: {error}", file=sys.stderr)
            title = catalogue.entry(model).title
            raise WeightsError(f"The weights of {title} are damaged. Please choose another model.") from error

    def segment_file(
        self, path: Path, photograph: np.ndarray, model: str, *, resize: str, tta: bool = False, exact: bool = False
    ) -> tuple[Segmentation, bool]:
        """Return the result of a decoded file, and whether the network ran for it: results of samples are kept."""
        how = *(EXACT if exact else self.arithmetic), self._all_threads() if exact else None
        key = self.kept.key(path, self.resolve(model), resize, tta, how)
        kept = self.kept.get(key)
        if kept is not None:
            return kept, False
        result = self.segment(photograph, model, resize=resize, tta=tta, exact=exact)
        self.kept.put(key, result)
        return result, True

    def segment(
        self, photograph: np.ndarray, model: str, *, resize: str, tta: bool = False, exact: bool = False
    ) -> Segmentation:
        """Run a model on uint8 (H, W, 3). tta: use test-time augmentation. exact: compute in float32, for scores."""
        model, arithmetic = self.resolve(model), EXACT if exact else self.arithmetic
        self.segmenter(model, arithmetic)
        dtype = "float32" if exact else "float16"
        threads = self._all_threads() if exact else self._share()
        return _run(model, arithmetic, self.models, threads, photograph, resize, tta, dtype)

    def network(self, model: str, resize: str) -> Network:
        """Return a model for an evaluation, in float32. It loads the weights and raises as `segmenter` does."""
        from segcore.evaluation.run import Network

        model = self.resolve(model)
        loaded = self.segmenter(model, EXACT)

        def run(batch: torch.Tensor) -> torch.Tensor:
            return _predict_logits(model, EXACT, self.models, self._all_threads(), batch)

        made_of = model, loaded.weights_sha256, resize, loaded.device, loaded.precision
        return Network(*made_of, run, temperature=loaded.temperature)

    def _all_threads(self) -> int:
        """Return the number of threads that the command line uses. In float32, rounding depends on it."""
        return self.threads or _usual_threads()

    def _share(self) -> int:
        """Return all threads if only one request runs, else a share of them.

        On two cores, two networks with one thread each are faster than one network with two threads, which wait for
        each other, and faster than a batch of two (`python -m benchmarks.visitors --batches`).
        """
        threads = self._all_threads()
        return max(1, threads // self.turns.at_once) if self.turns.crowded else threads

    def warm_up(self) -> None:
        """Import PyTorch and load the default model before the first visitor needs them.

        On a CPU the model also runs once, because the first run is several times slower than later runs.
        """
        import numpy as np

        DECODERS.start()
        if self.segmenter(self.default, self.arithmetic).device == "cpu":
            self.segment(np.zeros((8, 8, 3), np.uint8), self.default, resize="squeeze")

    # ---- downloads

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The models to choose from, as (title, name). The title of a model that is not on disk says so."""
        why = NOT_HERE if self.offline else NOT_HERE_YET
        return [
            (entry.title if catalogue.on_disk(name) else f"{entry.title} ({why})", name)
            for name, entry in catalogue.CATALOGUE.items()
        ]

    def missing(self, model: str) -> str:
        """Return the message for a request for a model that is not on disk. Starts its download if that is allowed."""
        title = catalogue.entry(model).title
        if catalogue.has_own_categories(model):
            return f"The weights of {title} are no longer on this machine. Please choose another model."
        if self.offline:
            return f"{title} is not on this machine, which is set to stay offline. Please choose another model."
        before = self.fetching(model)
        self.fetch(model)
        if before and before.error:
            return f"{title} could not be downloaded; it is being tried again. Please choose another model meanwhile."
        share = f" ({before.done / before.total:.0%} of it is here)" if before and before.total else ""
        return f"{title} is being downloaded{share}. Please choose another model until it is here."

    def fetch(self, model: str) -> None:
        """Start downloading a model's weights in the background, unless they are on disk or being downloaded."""
        with self._lock:
            state = self._fetching.get(model)
            if self.offline or catalogue.on_disk(model) or (state and not state.finished):
                return
            self._fetching[model] = Fetching()
        threading.Thread(target=self._fetch, args=(model,), name=f"fetch {model}", daemon=True).start()

    def fetching(self, model: str) -> Fetching | None:
        """Return the progress of a model's download, None if there was none."""
        return self._fetching.get(model)

    def _fetch(self, model: str) -> None:
        from segcore.models.loading import fetch_weights

        def progress(done: int, total: int | None) -> None:
            self._fetching[model] = Fetching(done, total)

        try:
            fetch_weights(model, progress=progress)
        except SegcoreError as error:
            self._fetching[model] = replace(self._fetching[model], finished=True, error=str(error))
        else:
            self._fetching[model] = replace(self._fetching[model], finished=True)


def categories_of(model: str) -> Categories:
    """Return a model's categories. PyTorch is imported only for a trained model's file and for a factory.

    Raises WeightsError for a file that cannot be read, UsageError for a factory that fails.
    """
    if not catalogue.has_own_categories(model):
        return VOC
    from segcore.models.loading import categories

    return categories(model)


@functools.cache
def _usual_threads() -> int:
    import torch

    return torch.get_num_threads()


def _loaded(model: str, arithmetic: Arithmetic, most: int) -> Segmenter:
    """Return a segmenter. The first caller loads it, without blocking other models. At most `most` are kept."""
    key = model, arithmetic
    with _loaded_lock:
        loading = _loading.setdefault(key, threading.Lock())
    with loading:
        with _loaded_lock:
            segmenter = _segmenters.get(key)
        segmenter = segmenter or _load(model, arithmetic)
        with _loaded_lock:
            _segmenters[key] = segmenter
            _segmenters.move_to_end(key)
            dropped = [_segmenters.popitem(last=False) for _ in range(len(_segmenters) - most)]
    if dropped:
        dropped.clear()
        _release_memory()
    return segmenter


def _load(model: str, arithmetic: Arithmetic) -> Segmenter:
    from segcore.inference.segmenter import Segmenter

    return Segmenter(model, **arithmetic._asdict())


def _release_memory() -> None:
    from segcore.inference.torch_core import release_memory

    release_memory()  # of the graphics card, for other programs


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)  # affects only the calling thread


def _on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Request a GPU for each call on Hugging Face's ZeroGPU, where the package `spaces` is installed."""
    if importlib.util.find_spec("spaces") is None:
        return function
    import spaces  # type: ignore[import-not-found]

    return spaces.GPU(function)


@_on_gpu
def _run(
    model: str,
    arithmetic: Arithmetic,
    most: int,
    threads: int,
    photograph: np.ndarray,
    resize: str,
    tta: bool,
    dtype: str,
) -> Segmentation:
    _use_threads(threads)
    segmenter = _loaded(model, arithmetic, most)
    return segmenter(photograph, resize=resize, tta=tta, dtype=dtype).without_image()


@_on_gpu
def _predict_logits(model: str, arithmetic: Arithmetic, most: int, threads: int, batch: torch.Tensor) -> torch.Tensor:
    _use_threads(threads)
    return _loaded(model, arithmetic, most).predict_logits(batch)
