"""The sets of images that the page offers: the samples, the operator's own, and what is fetched from COCO."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from segcore.categories import VOC, Categories
from segcore.errors import Cancelled, SegcoreError, UsageError
from segcore.truth import coco, layouts
from segcore.truth.dataset import Dataset

SAMPLES, FETCHED = "samples", "fetched"
OTHER_CATEGORIES = (
    "This model knows other things than the ground truth of these images tells apart. Please choose other images, or "
    "another model."
)
FETCHED_SPLIT = "val2017"
FIRST_SPLITS = (f"own:{FETCHED_SPLIT}", "own:val")  # COCO's and VOC's to measure on, shown first where they are
MAX_FETCHED = 1000  # photographs that visitors may have fetched at once: some 160 MB
_FETCHED_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Collecting:
    """How far fetching from COCO is: photographs, or bytes of the annotations, done of total (None: not known).

    owner: the visitor who asked for it; nobody else may stop it.
    """

    owner: Hashable

    stage: str = ""
    done: int = 0
    total: int | None = None
    finished: bool = False
    outcome: str = ""  # a sentence, once it has finished


class Datasets:
    """Each folder's splits by a key, opened once, at first use. Every method may be called from several threads.

    own: the operator's folder, which may be the samples' own; categories: what its truth tells apart, where that of the
    others has VOC's classes; fetched: where what is fetched is kept; base_url: where it is fetched from, None for
    COCO's own server.

    Raises AnnotationError for a folder of the operator's that is in no layout known.
    """

    def __init__(
        self,
        own: Path,
        samples: Path,
        fetched: Path,
        *,
        categories: Categories = VOC,
        offline: bool = False,
        base_url: str | None = None,
    ) -> None:
        self.samples, self.own, self.fetched = samples, own, fetched
        self.categories, self.offline, self.base_url = categories, offline, base_url
        self._own_splits = () if own.resolve() == samples.resolve() else layouts.splits(own)
        self._open: dict[str, tuple[float, Dataset]] = {}
        self._lock = threading.Lock()
        self._collecting: Collecting | None = None
        self._stop = threading.Event()

    @property
    def layout(self) -> str:
        """What people call the layout of the operator's folder: COCO or PASCAL VOC."""
        return layouts.name(self.own)

    @property
    def choices(self) -> list[tuple[str, str]]:
        """What there is to choose from: a name for people, and the key."""
        found = [(f"{split} ({self.own.resolve().name})", f"own:{split}") for split in self._own_splits]
        found.append(("The samples", SAMPLES))
        if FETCHED_SPLIT in coco.splits(self.fetched):
            found.append((f"COCO {FETCHED_SPLIT}, fetched here", FETCHED))
        return found

    @property
    def default(self) -> str:
        """The operator's split to measure on, else their first one, else the samples."""
        keys = [key for _, key in self.choices]
        return next((key for key in FIRST_SPLITS if key in keys), keys[0])

    def get(self, key: str) -> Dataset:
        """The dataset of a key; read again where the file that describes it has changed since.

        Raises UsageError for a key that there is not, and AnnotationError for a file that is broken.
        """
        if key not in {each for _, each in self.choices}:
            raise UsageError("These images are no longer here; choose others.")
        folder, split = self._place(key)
        changed = layouts.split_file(folder, split).stat().st_mtime
        with self._lock:
            if self._open.get(key, (None,))[0] != changed:
                categories = VOC if key in (SAMPLES, FETCHED) else self.categories
                self._open[key] = changed, layouts.open_dataset(folder, split, categories)
            return self._open[key][1]

    def _place(self, key: str) -> tuple[Path, str]:
        if key == SAMPLES:
            return self.samples, layouts.splits(self.samples)[0]
        if key == FETCHED:
            return self.fetched, FETCHED_SPLIT
        return self.own, key.partition(":")[2]

    # ---- fetching

    @property
    def collecting(self) -> Collecting | None:
        """How far the last fetching is, None before the first."""
        return self._collecting

    def collect(self, count: int, class_name: str | None, owner: Hashable = None) -> None:
        """Start fetching photographs of COCO in the background, for the visitor `owner`.

        Raises UsageError where the page is to stay offline, and while photographs are being fetched.
        """
        if self.offline:
            raise UsageError("This page is set to stay offline, so it cannot fetch photographs.")
        with self._lock:
            if self._collecting and not self._collecting.finished:
                raise UsageError("Photographs are being fetched already. Please ask again once they are here.")
            self._stop = threading.Event()
            self._collecting = begun = Collecting(owner)
        count = min(max(1, count), MAX_FETCHED)
        asked = begun, count, () if class_name is None else (class_name,)
        threading.Thread(target=self._collect, args=asked, name="fetch COCO", daemon=True).start()

    def stop_collecting(self, owner: Hashable) -> None:
        """Ask the fetching to stop, if it is this visitor's; what is here stays."""
        with self._lock:
            if self._collecting and self._collecting.owner == owner:
                self._stop.set()

    def _collect(self, begun: Collecting, count: int, classes: tuple[str, ...]) -> None:
        from segcore.truth.fetch_coco import fetch_coco

        def report(stage: str, done: int, total: int | None) -> None:
            self._collecting = replace(begun, stage=stage, done=done, total=total)

        try:
            fetched = fetch_coco(
                *(self.fetched, FETCHED_SPLIT),
                count=count,
                classes=classes,
                base_url=self.base_url,
                max_bytes=_FETCHED_BYTES,
                progress=report,
                cancel=self._stop,
            )
        except Cancelled:
            outcome = "Stopped. What had come is kept."
        except (SegcoreError, OSError) as error:
            outcome = f"Fetching ended early: {error}"
        else:
            outcome = f"{len(fetched.ids):,} photographs are here."
            if fetched.failed:
                outcome += f" {len(fetched.failed):,} could not be had."
        self._collecting = replace(begun, finished=True, outcome=outcome)


def fetched_folder() -> Path:
    """Where what is fetched is kept from one start to the next: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segcore" / "coco"
