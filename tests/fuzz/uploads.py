"""Targets for the files beside photographs: a ZIP of label maps, and a CSV of tags."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from segcore.truth import label_zip, tags
from segcore.truth.coco import CocoDataset
from tests.fuzz.annotations import documents
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.oracle import Target, attempted, check_sentence

_STEMS = ("photo", "nine")
_ZIPS = (
    ({"photo.png": b"\x89PNG" * 40, "preds/nine.png": bytes(3000), "readme.txt": b"x"}, zipfile.ZIP_DEFLATED),
    ({"../photo.png": b"1", "/nine.png": b"2", "x/../../photo.txt": b"3"}, zipfile.ZIP_STORED),
    ({"..\\..\\photo.png": b"4", "nine.png": b"5"}, zipfile.ZIP_STORED),
    ({"photo.png": b"x" * 200, "ü/nine.png": b""}, zipfile.ZIP_LZMA),
    ({}, zipfile.ZIP_STORED),
)


@cache
def archives() -> list[bytes]:
    """Archives that are right, and that want to lead out of the folder."""
    made = []
    for entries, method in _ZIPS:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", method) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        made.append(data.getvalue())
    return made


def check_archive(data: bytes) -> None:
    """Any bytes are an archive, from which only the wanted files come to the wanted place, or are refused."""
    with tempfile.TemporaryDirectory() as whole:
        archive, folder = Path(whole, "maps.zip"), Path(whole, "deep", "maps")
        archive.write_bytes(data)
        folder.mkdir(parents=True)
        unpacked, error = attempted(label_zip.unpack, archive, folder, _STEMS)
        written = {path for path in Path(whole).rglob("*") if path.is_file()} - {archive}
        assert written <= {folder / f"{stem}.png" for stem in _STEMS}
        assert not any(path.is_symlink() for path in written)
        if error is None and unpacked.notice():
            check_sentence(unpacked.notice())


@cache
def tables() -> list[bytes]:
    """Tables that are right, and of other kinds that programs write."""
    table = "image,weather,camera\nphoto.jpg,rain,A\n9,sun,\n"
    return [
        table.encode(),
        ("\ufeff" + table.replace("\n", "\r\n")).encode(),
        table.encode("utf-16"),
        table.replace(",", ";").encode(),
        b'image,"the ""weather"", now"\n"photo.jpg","=1+1"\n',
        b"7,sun\n",
        b"image,a,a\n7,1,2\n",
    ]


def check_table(data: bytes) -> None:
    """Any bytes are tags of the data set's images, fit for a report, or are refused."""
    dataset = CocoDataset.from_document(Path("folder"), "tiny", documents()[0], "tiny")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tags.csv")
        path.write_bytes(data)
        read, error = attempted(tags.read_tags, path, dataset)
    if error is None:
        json.dumps(read.columns)
        for name, values in read.columns.items():
            assert values.keys() <= {image.id for image in dataset.images}
            assert len(set(values.values())) <= tags.MOST_VALUES
            for text in (name, *values.values()):
                check_sentence(text)
                assert text.isprintable() and len(text) <= tags.MOST_CHARACTERS


TARGETS = (
    Target("label_zip", mutated_bytes(archives), check_archive, archives),
    Target("tags", mutated_bytes(tables), check_table, tables),
)
