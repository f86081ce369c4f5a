"""The progress of an evaluation on disk, from which an interrupted evaluation can continue."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..files.locks import lock_or_refuse
from ..inference.provenance import LABEL_MAPS
from ..truth.dataset import ImageId, ImageRecord
from .counts import Counts
from .objects import ObjectOutcome
from .run import Run, Scored

VERSION = 7
log = logging.getLogger(__name__)


class Journal:
    """A file with the settings in the first line, and then one JSON line for each scored image.

    Images that were left out are not in it, so they are tried again. An image whose record or truth has changed is
    scored again. With a batch size of 1, an image's counts do not depend on other images, so one journal serves any
    choice of images. With larger batches they do, and the first line includes the list of images.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.path = folder / "progress.jsonl"
        self.run = run
        images = [image.id for image in run.images] if run.batch_size > 1 else None
        settings = {"journal": VERSION, "batch_size": run.batch_size, "image_ids": images}
        self.header = json.dumps(run.record() | settings | _of_model(run))
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def held(self) -> Iterator[Journal]:
        """Lock the journal. Raises UsageError if another process or thread holds the lock."""
        problem = f"another evaluation is writing to {self.path}; wait for it, or use another folder"
        with lock_or_refuse(self.path.with_suffix(".lock"), problem):
            yield self

    def read(self) -> dict[ImageId, Scored]:
        """Return the finished images of this run by id. An incomplete last line is removed from the file.

        Raises UsageError for the journal of another run, and for a damaged one.
        """
        if not self.path.exists():
            self.path.write_text(self.header + "\n", encoding="utf-8")
            return {}
        content = self.path.read_bytes()
        lines = content.splitlines(keepends=True)
        if not lines or not lines[0].endswith(b"\n"):
            self.path.unlink()
            return self.read()
        self._check_run(lines[0])
        if not lines[-1].endswith(b"\n"):
            os.truncate(self.path, content.rfind(b"\n") + 1)  # works on a full disk too
            lines.pop()
        images = {image.id: (image, self.run.dataset.fingerprint(image.id)) for image in self.run.images}
        decoded = []
        for number, line in enumerate(lines[1:], start=2):
            try:
                decoded.append(self._decode(json.loads(line.decode()), images))
            except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
                raise UsageError(f"{self.path} is damaged in line {number}; give --resume another folder") from error
        return {each.image.id: each for each in decoded if each}

    def _check_run(self, first_line: bytes) -> None:
        """Raise UsageError unless the first line has this run's settings. A journal of 0.1 may call `tta` careful."""
        try:
            settings = json.loads(first_line)
        except ValueError:
            settings = None
        settings = settings if isinstance(settings, dict) else {}
        if settings.get("journal", VERSION) != VERSION:
            raise UsageError(
                f"{self.path} was written by another version of segcore, which counted other things; give --resume "
                "another folder"
            )
        if "careful" in settings and "tta" not in settings:
            log.warning("%s calls tta by its old name careful; it can be resumed until version 0.2", self.path)
            settings["tta"] = settings["careful"]
        header = json.loads(self.header)
        earlier = {key: header[key] for key in _of_model(self.run)}  # journals of 0.1 may lack them
        if earlier | settings != header:
            raise UsageError(
                f"{self.path} belongs to a run with other settings or images; give --resume another folder"
            )

    def append(self, scored: list[Scored]) -> None:
        """Add images that have just been scored."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(self._encode(each) for each in scored)

    def _encode(self, scored: Scored) -> str:
        assert scored.counts is not None  # images that were left out are not written
        line = {
            "image_id": scored.image.id,
            "truth": self.run.dataset.fingerprint(scored.image.id),
            "counts": scored.counts.flat().tolist(),
            "objects": scored.objects,
            "brightness": scored.brightness,
        }
        return json.dumps(line, separators=(",", ":")) + "\n"

    def _decode(self, line: dict, images: dict[ImageId, tuple[ImageRecord, str]]) -> Scored | None:
        """Decode a line. Returns None for an image that is not in this run or whose truth has changed."""
        numbers = np.array(line["counts"])
        objects = None
        if self.run.dataset.has_objects:
            objects = tuple(ObjectOutcome(*each) for each in line["objects"])
        light = line["brightness"]
        known = type(light) is float and 0 <= light <= 255 and all(map(self._is_outcome, objects or ()))
        if numbers.dtype != np.int64 or numbers.ndim != 1 or not known:
            raise ValueError("it holds other values than were written")
        counts = Counts.from_flat(numbers, self.run.task.num_classes)
        image, truth = images.get(line["image_id"]) or (None, None)
        scored = Scored(image, counts, objects, brightness=light) if image else None
        return scored if truth == line["truth"] else None

    def _is_outcome(self, each: ObjectOutcome) -> bool:
        classes = range(len(self.run.task.categories))
        kinds = [type(value) for value in each] == [int, int, int, bool, int]
        return kinds and each.class_id in classes and each.taken_for in classes


def _of_model(run: Run) -> dict[str, Any]:
    """Return what the hash of the weights does not tell of a caller's own model: its classes and its preprocessing."""
    preprocess = None if run.segmenter.engine == LABEL_MAPS else asdict(run.preprocess)
    return {"categories": run.task.categories.names, "preprocess": preprocess}
