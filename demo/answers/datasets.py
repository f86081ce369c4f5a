"""The sets of images that the page offers: the samples, the operator's data set, and images downloaded from COCO."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from segcore.categories import VOC, Categories
from segcore.errors import AnnotationError, Cancelled, SegcoreError, UsageError
from segcore.truth import coco, layouts
from segcore.truth.dataset import Dataset

SAMPLES, FETCHED = "samples", "fetched"
OTHER_CATEGORIES = (
    "This model knows other things than the ground truth of these images tells apart. Please choose other images, or "
    "another model."
)
GONE = "These images are no longer here; choose others."
FETCHED_SPLIT = "val2017"
FIRST_SPLITS = (f"own:{FETCHED_SPLIT}", "own:val")  # the validation splits of COCO and VOC are preferred
MAX_FETCHED = 1000  # maximum number of photographs in one download: about 160 MB
_FETCHED_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Collecting:
    """The progress of a download from COCO: photographs, or bytes of annotations, done of total (None: unknown).

    owner: the visitor who started it. Only this visitor may stop it.
    """

    owner: Hashable

    stage: str = ""
    done: int = 0
    total: int | None = None
    finished: bool = False
    outcome: str = ""  # a sentence, once it has finished


class Datasets:
    """The splits of all folders by key. A split is opened at first use. All methods are thread-safe.

    own: the operator's folder, which may be the samples' folder. categories: the classes of its truth; the other sets
    have VOC's classes. fetched: the folder for downloads. base_url: a mirror of COCO, None for COCO's own server.

    Raises AnnotationError if the operator's folder has no known layout.
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
        """The name of the layout of the operator's folder: COCO or PASCAL VOC."""
        return layouts.name(self.own)

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The available sets as pairs: a name for people, and the key."""
        found = [(f"{split} ({self.own.resolve().name})", f"own:{split}") for split in self._own_splits]
        found.append(("The samples", SAMPLES))
        if FETCHED_SPLIT in coco.splits(self.fetched):
            found.append((f"COCO {FETCHED_SPLIT}, fetched here", FETCHED))
        return found

    @property
    def default(self) -> str:
        """The key of the operator's validation split, or of their first split, or of the samples."""
        keys = [key for _, key in self.choices]
        return next((key for key in FIRST_SPLITS if key in keys), keys[0])

    def get(self, key: str) -> Dataset:
        """Return the dataset of a key. It is read again if its annotation file has changed.

        Raises UsageError for an unknown key and for a folder or file that is gone, and AnnotationError for a broken
        file.
        """
        if key not in {each for _, each in self.choices}:
            raise UsageError(GONE)
        try:
            folder, split = self._place(key)
            changed = layouts.split_file(folder, split).stat().st_mtime
        except (AnnotationError, OSError) as error:
            raise UsageError(GONE) from error
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
        """The progress of the last download, None before the first."""
        return self._collecting

    def collect(self, count: int, class_name: str | None, owner: Hashable = None) -> None:
        """Start a download of COCO photographs in the background, for the visitor `owner`.

        Raises UsageError if the page is offline, and during another download.
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
        """Stop the download if this visitor started it. Downloaded photographs are kept."""
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
    """Return the folder for downloads in the user's cache. It is kept between starts of the page."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segcore" / "coco"
