"""Reads a CSV of tags that a person gives to the images of a data set, such as the weather or the camera."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError, shown
from .dataset import Dataset, ImageId

MAX_BYTES = 10 * 1024 * 1024
MOST_COLUMNS, MOST_VALUES = 20, 20  # tags, and different values of one tag: each value is scored by itself
MOST_CHARACTERS = 100  # of a name or value
_MOST_NAMED = 3  # maximum number of images listed in a message
_FORMULA = tuple("=+-@＝＋－＠\t\r")  # how a formula begins in a spreadsheet, which the report may be pasted into

Row = tuple[int, list[str]]  # the line's number, and its cells


@dataclass(frozen=True)
class Tags:
    """columns: for each tag its value by the image's id. Images without a value are left out."""

    columns: Mapping[str, Mapping[ImageId, str]]


def read_tags(path: str | Path, dataset: Dataset) -> Tags:
    """Read a CSV file in UTF-8. Its first line names the columns: the image, and then one or more tags.

    An image is given by its file name or its id. Empty cells and missing images have no tag. Spaces around cells do
    not count. Raises UsageError for a file that cannot be read, is too large, is not UTF-8 or no table; for images that
    are not in the data set or occur twice; for formulas; and for tags with too many different values.
    """
    path = Path(path)
    header, *rows = _rows(path)
    by_name = {str(image.id): image.id for image in dataset.images}
    by_name |= {image.file_name: image.id for image in dataset.images}
    names = _column_names(path, header, by_name)
    _check_images(path, rows, by_name, dataset.split)
    columns: dict[str, dict[ImageId, str]] = {name: {} for name in names}
    for line, (image, *cells) in rows:
        for name, cell in zip(names, cells, strict=True):
            if cell:
                columns[name][by_name[image]] = _checked(path, line, cell)
    for name, values in columns.items():
        if (different := len(set(values.values()))) > MOST_VALUES:
            raise UsageError(
                f"{path.name}: the tag {shown(name)} has {different:,} different values, and each is scored by itself; "
                f"sort them into at most {MOST_VALUES}"
            )
    return Tags(columns)


def _rows(path: Path) -> list[Row]:
    """Return the lines that are not empty, at least one, all with as many cells as the first."""
    rows = [(line, cells) for line, cells in _cells(path) if any(cells)]
    if not rows:
        raise UsageError(f"{path.name} is empty; its first line names the columns, such as: image,weather")
    wanted = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != wanted:
            raise UsageError(
                f"{path.name}, line {line} has {len(cells)} cells, and the first line has {wanted}; put cells with "
                "commas in quotation marks"
            )
    return rows


def _cells(path: Path) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(f"{path.name}, line {reader.line_num} is not CSV: {error}") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give a CSV file") from error
    except ValueError as error:  # a zero byte in the name
        raise UsageError(f"{shown(str(path))} is no file's name; give a CSV file") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path.name} is larger than {MAX_BYTES // 1024**2} MB; give the tags alone")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8; save it as CSV in UTF-8") from error
    if "\0" in text:
        raise UsageError(f"{path.name} is no text; save the table as CSV")
    return text


def _column_names(path: Path, header: Row, by_name: Mapping[str, ImageId]) -> list[str]:
    line, (first, *names) = header
    if first in by_name:
        raise UsageError(
            f"{path.name}: the first line is about the image {shown(first)}; put one before it that names the columns, "
            "such as: image,weather"
        )
    if not names:
        raise UsageError(f"{path.name} has one column; give the images and, after a comma, their tags")
    if len(names) > MOST_COLUMNS:
        raise UsageError(f"{path.name} has {len(names):,} tags; give at most {MOST_COLUMNS}")
    if "" in names or len(set(names)) < len(names):
        raise UsageError(f"{path.name}: the first line must give each tag a name of its own")
    return [_checked(path, line, name) for name in names]


def _check_images(path: Path, rows: list[Row], by_name: Mapping[str, ImageId], split: str) -> None:
    unknown = [f"{shown(cells[0])} (line {line})" for line, cells in rows if cells[0] not in by_name]
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMED:,} more" if len(unknown) > _MOST_NAMED else ""
        some = ", ".join(itertools.islice(unknown, _MOST_NAMED))
        raise UsageError(f"{path.name}: {split} has no image {some}{more}; give file names or ids of its images")
    lines: dict[ImageId, int] = {}
    for line, cells in rows:
        first = lines.setdefault(by_name[cells[0]], line)
        if first != line:
            raise UsageError(f"{path.name}: the image {shown(cells[0])} is in lines {first} and {line}; keep one")


def _checked(path: Path, line: int, text: str) -> str:
    """Return a tag's name or value. Raises UsageError if it is too long, or a spreadsheet would compute it."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{path.name}, line {line}: a tag has at most {MOST_CHARACTERS} characters, not {len(text):,}")
    if text.startswith(_FORMULA) and not _is_number(text):
        raise UsageError(f"{path.name}, line {line}: {shown(text)} looks like a formula; tags are plain texts")
    if not text.isprintable():
        raise UsageError(f"{path.name}, line {line}: {shown(text)} holds control characters; tags are plain texts")
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
