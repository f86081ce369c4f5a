"""Saves a model as a folder with its checkpoint and model card, which is what a repository of the Hub holds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files.atomic import atomic_write, write_text
from . import catalogue, checkpoint, hub, loading
from .model_card import check_scores, is_model_card, model_card

Scores = str | Path | Mapping[str, Any]  # the record of an evaluation, or its file


def name_of(pretrained: str | Path, revision: str | None = None) -> str:
    """Return the model's name: of a folder that `save` wrote the file, of USER/NAME "hf:USER/NAME@REVISION".

    Raises UsageError for a name of another form.
    """
    if (folder := Path(pretrained)).is_dir():
        if revision is not None:
            raise UsageError(f"{folder} is a folder, which has no revisions; leave the revision out")
        return str(folder / hub.FILE)
    text = str(pretrained)
    name = text if hub.is_hub(text) else f"{hub.PREFIX}{text}"
    name = name if revision is None else f"{name}@{revision}"
    hub.place_of(name)
    return name


def save(model: loading.Named, folder: str | Path, *, repo: str = "", scores: Scores | None = None) -> Path:
    """Write the model's checkpoint and a model card into a folder, which is made if needed. Returns the folder.

    A checkpoint is copied as it is. torchvision's weights become one, in float16.
    repo: USER/NAME, for the card; by default the folder's name, with USER as a placeholder. scores: of an evaluation of
    this model, for the card.
    Raises UsageError for a network of the caller's own, for wrong scores and if the folder's README.md is no model card
    of segcore, OSError if the folder cannot be written, and as `loading.load` does.
    """
    if loading.own_model(model) or not isinstance(model, str):
        raise UsageError(
            "only segcore's networks can be saved for the Hub; save a network of your own as its library does"
        )
    entry, header = catalogue.entry(model), loading.checkpoint_header(model)
    before = loading.weights_sha256(model)
    record = _read(scores)
    if record is not None:
        check_scores(record, before)
    folder = Path(folder)
    path, readme = folder / hub.FILE, folder / "README.md"
    if readme.exists() and not is_model_card(readme.read_text(encoding="utf-8", errors="replace")):
        raise UsageError(f"{readme} is no model card of segcore and would be lost; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if header is None:
        header = _header(model)
        checkpoint.write(path, header, loading.load(model).state_dict())
    elif not path.exists() or not path.samefile(loading.weights_path(model)):
        with atomic_write(path) as file:
            file.write_bytes(loading.weights_path(model).read_bytes())
    sha256 = loading.weights_sha256(str(path))
    card = model_card(repo or f"USER/{folder.resolve().name}", header, sha256, licence=entry.licence, scores=record)
    write_text(readme, card)
    return folder


def push(model: loading.Named, repo: str, *, scores: Scores | None = None, private: bool = False) -> str:
    """Save the model and upload it to USER/NAME. Returns "hf:USER/NAME@COMMIT".

    Raises as `save` and `hub.upload` do.
    """
    hub.place_of(f"{hub.PREFIX}{repo}")
    with tempfile.TemporaryDirectory() as folder:
        return hub.upload(save(model, folder, repo=repo, scores=scores), repo, private=private)


def _header(name: str) -> checkpoint.Header:
    """Return a header for torchvision's weights."""
    preprocess = loading.preprocess_for(name)
    return checkpoint.Header(
        name,
        loading.categories(name),
        preprocess.size,
        preprocess.mean,
        preprocess.std,
        {"weights": catalogue.entry(name).torchvision_weights, "sha256": loading.weights_sha256(name)},
    )


def _read(scores: Scores | None) -> Any:
    if not isinstance(scores, str | Path):
        return scores
    try:
        return json.loads(Path(scores).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the scores in {scores} cannot be read: {error}") from error
