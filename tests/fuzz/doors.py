"""Names of models that lead elsewhere, to the Hub and to code, and folders of another program's predictions."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from segcore.categories import VOC
from segcore.inference.task import Task
from segcore.models import catalogue, hub, loading, own
from segcore.truth.predictions import LabelMaps
from tests.fuzz.mutations import mutated_bytes, values
from tests.fuzz.oracle import INTERNALS, Target, attempted, check_sentence, refusal
from tests.fuzz.pictures import HEIGHT, WIDTH, mask_pictures
from tests.helpers.colours import AS_IT_IS, Colours

_TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)


def _is_quotable(name: str) -> bool:
    """Whether the oracle does not take a message that quotes a name for one that shows Python's own."""
    return not INTERNALS.search(name)


# ---- names of models on the Hub

_PARTS = ["user", "name", "a.b", "..", ".", "-", "main", "refs/pr/1", "0" * 40, "x" * 300, "%2e%2e", "\\", "\n", "~"]
_PARTS += ["main/../../../../x", "user/name", "", "/"]
_part = st.sampled_from(_PARTS) | _TEXT
_hub_names = (
    st.tuples(_part, st.sampled_from("/////@"), _part, st.sampled_from(["", "@", "@", "/"]), _part)
    .map(lambda parts: hub.PREFIX + "".join(parts))
    .filter(_is_quotable)
)


def check_hub_name(name: str) -> None:
    """Offline, a name is that of a file in the Hub's cache, which is not there, or is no name."""
    path, error = attempted(hub.cached, name)
    for function in (catalogue.entry, catalogue.on_disk):
        assert str(refusal(function, name)) == str(error)
    assert refusal(hub.pinned, name, offline=True) is not None
    assert refusal(catalogue.resolve, name, offline=True) is not None
    assert refusal(loading.weights_sha256, name) is not None
    if error is None:
        from huggingface_hub import constants

        assert refusal(hub.place_of, name) is None
        assert Path(os.path.normpath(path)).is_relative_to(os.path.normpath(constants.HF_HUB_CACHE))


# ---- factories

_MADE = "segcore_fuzzed_factory"  # a module that exists only here
_ERRORS = [ValueError, KeyError, RuntimeError, SystemExit, AssertionError, ImportError, ModuleNotFoundError, OSError]
_factory_names = (
    st.tuples(
        st.sampled_from(
            [_MADE, _MADE, _MADE, "tests.helpers.colours", "no_such_module", "no.such", f"{_MADE}.x", "ü", "", "."]
        ),
        st.sampled_from([":", ":", ":", "::", "", ": "]),
        st.sampled_from(["make", "make", "make", "Colours", "not_callable", "none", "", "1"]) | _TEXT,
    )
    .map("".join)
    .filter(_is_quotable)
)


@st.composite
def factories(draw: Any) -> tuple[str, type[BaseException] | None, Any]:
    """A name, and what the function does: raises an error with a message, or returns a value or a model."""
    error = draw(st.none() | st.sampled_from(_ERRORS))
    return draw(_factory_names), error, draw(_TEXT if error else values | st.lists(_TEXT, max_size=4))


def _function(error: type[BaseException] | None, value: Any) -> Callable[[], Any]:
    def make() -> Any:
        if error:
            raise error(value)
        return own.Model(Colours(), value, AS_IT_IS) if isinstance(value, list) else value

    return make


def check_factory(case: tuple[str, type[BaseException] | None, Any]) -> None:
    """A name gives a model, or one line that says why not, with the message of the user's own code in it."""
    name, error, value = case
    if not catalogue.is_factory(name):
        if name != catalogue.AUTO and not catalogue.is_file(name):
            assert refusal(catalogue.resolve, name, offline=True) is not None
        return
    assert catalogue.resolve(name) == name and catalogue.has_own_categories(name)
    module = ModuleType(_MADE)
    module.make = _function(error, value)
    sys.modules[_MADE] = module
    own.made_by.cache_clear()
    try:
        model = own.made_by(name)
    except own.UsageError as refused:
        told, _, theirs = str(refused).partition(" failed: ")
        check_sentence(told)
        assert theirs.isprintable() and len(theirs) <= 1000
    else:
        assert model.name == name and model.categories.names[0] == VOC.names[0]
    finally:
        del sys.modules[_MADE]


# ---- folders of predictions

_STEMS = ("photo", "a b", "ü", "x.y")
_file_names = st.sampled_from(
    [*(f"{stem}.png" for stem in _STEMS), "photo.PNG", "photo", "photo.jpg", ".png", "other.png"]
)
_contents = st.one_of(mutated_bytes(mask_pictures), st.sampled_from([b"", "folder", "link to nothing"]))


def check_predictions(files: dict[str, bytes | str]) -> None:
    """A folder of any files holds label maps of the data set, each read or refused, or is refused."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content == "folder":
                path.mkdir()
            else:
                path.symlink_to("nothing")
        stems = {f"{stem}.jpg": stem for stem in _STEMS}
        maps, error = attempted(LabelMaps.open, folder, stems, len(VOC))
        expected = {f"{stem}.jpg" for stem in _STEMS if isinstance(files.get(f"{stem}.png"), bytes)}
        assert (error is None) is bool(expected)
        if error is None:
            _check_maps(maps, expected)


def _check_maps(maps: LabelMaps, expected: set[str]) -> None:
    assert len(maps.sha256) == 64 and isinstance(maps.are_masks, bool)
    for task in (Task(), Task("binary"), Task("binary", "dog")):
        attempted(maps.notice, task)
        for photograph in maps.files:
            labels, error = attempted(maps.read, photograph, task, (HEIGHT, WIDTH), (8, 8))
            assert photograph in expected or error is not None
            if error is None:
                assert labels.shape in ((HEIGHT, WIDTH), (8, 8)) and labels.dtype == np.uint8
                assert labels.max() < task.num_classes


TARGETS = (
    Target("hub_name", _hub_names, check_hub_name),
    Target("factory", factories(), check_factory),
    Target("predictions", st.dictionaries(_file_names, _contents, max_size=5), check_predictions),
)
