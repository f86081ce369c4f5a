"""Segments several photographs of a visitor, one after the other, and writes the files of each. No Gradio in here."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from demo.answers import photographs
from demo.answers.model_pool import ModelPool
from segcore.errors import UsageError
from segcore.imaging import reading
from segcore.inference.export import decide
from segcore.report.terms import percent

SMALL_SIDE = 240  # pixels, of the overlays in the strip
ZIP_NAME = "segcore_photographs.zip"
GONE = "These files are no longer kept here: they are deleted after a while. Please give the photographs again."


class How(NamedTuple):
    """The settings for all of the photographs. mode to threshold: as in `photographs.task_of`."""

    mode: str
    class_name: str
    automatic: bool
    threshold: float | None
    sharp: bool
    model: str
    resize: str
    tta: bool


class Done(NamedTuple):
    """A photograph whose files are written: the visitor's upload, its small overlay, what was found, and the files."""

    source: Path
    small: Path
    caption: str
    files: Sequence[Path]


@dataclass(eq=False)
class Batch:
    """The photographs that a visitor gave together. It holds paths and words, but no pixels.

    folder: for the files; the page deletes them after a while. failed: a sentence for each file that was no photograph.
    """

    folder: Path
    sources: Sequence[Path]
    done: list[Done] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def files(self) -> Path:
        """The folder of the files for the ZIP, which only holds those of photographs that are done."""
        return self.folder / "files"

    def add(self, pool: ModelPool, number: int, how: How) -> None:
        """Segment photograph `number`, from 0, and write label map, overlay and JSON. Raises SegcoreError."""
        source = self.sources[number]
        photograph = pool.read(source)
        result, _ = pool.segment_file(source, photograph, how.model, resize=how.resize, tta=how.tta)
        if how.sharp:
            result = result.refined(reading.fit_within(photograph, photographs.SCREEN_SIDE))
        task = photographs.task_of(*how[:4], result.categories)
        decided = decide(result, task)
        small = reading.fit_within(photograph, SMALL_SIDE)
        target = f"{number + 1:02d}_{source.stem}"  # two photographs can have one name
        shown = self.folder / "small" / f"{target}.jpg"
        for each in (self.files, shown.parent):
            each.mkdir(parents=True, exist_ok=True)
        # Not decided again at this size, which would smooth the edges once more.
        labels = Image.fromarray(decided.prediction).resize(small.shape[1::-1], Image.Resampling.NEAREST)
        replace(decided, prediction=np.asarray(labels)).overlay(small).save(shown, "JPEG", quality=85)
        pictures = {"labels": decided.labels_image(), "overlay": decided.overlay(photograph)}
        files = [photographs.save_picture(decided, *each, self.files / target) for each in pictures.items()]
        record = self.files / f"{target}.json"
        record.write_text(json.dumps(decided.record(source.name), indent=1), encoding="utf-8")
        found = ", ".join(f"{each.friendly} {percent(each.share)}" for each in decided.found())
        self.done.append(Done(source, shown, found or "nothing found", [record, *files]))

    def write_zip(self, folder: Path) -> Path:
        """Write the files of what is done into one ZIP in `folder`. Returns its path. Raises UsageError without any."""
        files = [file for each in self.done for file in each.files if file.exists()]
        if not files:
            raise UsageError(GONE)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ZIP_NAME
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # the pictures are compressed already
            for each in files:
                archive.write(each, each.name)
        return path
