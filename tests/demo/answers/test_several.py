"""Several photographs at once: the files of each, and what happens to one that is broken."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import zipfile

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from demo.answers import photographs
from demo.answers.several import Batch, How
from demo.tabs.several import SeveralPhotographs
from demo.texts import translate_html
from segcore.errors import ImageError, UsageError
from segcore.inference.refine import Edges
from tests.helpers.samples import CAT, DOG

HOW = How("multiclass", "any", True, 0.5, False, "auto", "squeeze", False)


@pytest.fixture(scope="module")
def batch(pool, dataset, tmp_path_factory):
    """A dog and a cat in files of one name, and between them a file that is no photograph."""
    folder = tmp_path_factory.mktemp("several")
    sources = [folder / name / "pet.jpg" for name in "abc"]
    for source in sources:
        source.parent.mkdir()
    shutil.copy(dataset.path(DOG), sources[0])
    sources[1].write_text("not a photograph")
    shutil.copy(dataset.path(CAT), sources[2])
    batch = Batch(folder / "out", sources)
    batch.add(pool, 0, HOW)
    with pytest.raises(ImageError, match="pet.jpg is not an image"):
        batch.add(pool, 1, HOW)
    batch.add(pool, 2, HOW)
    return batch


@pytest.mark.slow
def test_each_says_what_was_found_and_has_a_small_overlay(batch):
    assert [each.caption.split(" ")[0] for each in batch.done] == ["dog", "cat"]
    assert [each.source for each in batch.done] == [batch.sources[0], batch.sources[2]]
    for each in batch.done:
        with Image.open(each.small) as small:
            assert max(small.size) == 240


def test_the_zip_has_the_files_of_all(batch, tmp_path):
    with zipfile.ZipFile(batch.write_zip(tmp_path)) as archive:
        assert sorted(archive.namelist()) == [
            *("01_pet.json", "01_pet_labels.png", "01_pet_overlay.jpg"),
            *("03_pet.json", "03_pet_labels.png", "03_pet_overlay.jpg"),
        ]
        record = json.loads(archive.read("03_pet.json"))
        labels = np.asarray(Image.open(io.BytesIO(archive.read("03_pet_labels.png"))))
        overlay = Image.open(io.BytesIO(archive.read("03_pet_overlay.jpg")))
    assert labels.shape[::-1] == overlay.size == (record["width"], record["height"]) and not overlay.getexif()
    assert {each["id"]: each["pixels"] for each in record["classes"]} == {
        int(number): int((labels == number).sum()) for number in np.unique(labels) if number
    }


def test_a_zip_that_is_asked_for_meanwhile_has_only_whole_files(pool, dataset, tmp_path, monkeypatch):
    batch, names = Batch(tmp_path / "out", [dataset.path(DOG), dataset.path(CAT)]), []
    batch.add(pool, 0, HOW)
    save = photographs.save_picture

    def asked_for_meanwhile(decided, kind, picture, target):
        target.with_name(f"{target.name}_{kind}.png").write_bytes(b"the first half of")
        with zipfile.ZipFile(batch.write_zip(tmp_path)) as archive:
            names.extend(archive.namelist())
        return save(decided, kind, picture, target)

    monkeypatch.setattr(photographs, "save_picture", asked_for_meanwhile)
    batch.add(pool, 1, HOW)
    assert len(set(names)) == 3 and {name[:2] for name in names} == {"01"}


def test_sharp_edges_of_a_photograph_are_smoothed_once(pool, dataset, tmp_path, monkeypatch):
    smoothed, smooth = [], Edges.smoothed

    def counted(*args):
        smoothed.append(args)
        return smooth(*args)

    monkeypatch.setattr(Edges, "smoothed", counted)
    Batch(tmp_path, [dataset.path(DOG)]).add(pool, 0, HOW._replace(sharp=True))
    assert len(smoothed) == 1


def test_the_settings_are_those_that_were_chosen(pool, dataset, tmp_path):
    how = HOW._replace(mode="binary", class_name="cat", automatic=False, threshold=0.3)
    batch = Batch(tmp_path, [dataset.path(DOG)])
    batch.add(pool, 0, how)
    (record,) = (json.loads(each.read_text()) for each in batch.files.glob("*.json"))
    assert record["mode"] == "binary" and batch.done[0].caption == "nothing found"


def test_each_sentence_about_what_was_left_out_is_in_the_visitor_s_language(pool, monkeypatch):
    async def added(_, batch, *__):
        batch.failed += ["a.jpg was left out: it is bad.", "b.jpg was left out: it is worse."]
        return
        yield

    async def told():
        return [update async for update in tab.on_files(["c.jpg"] * 25, *HOW, None)][-1][tab.notice]

    monkeypatch.setattr(SeveralPhotographs, "_added", added)
    with gr.Blocks():
        tab = SeveralPhotographs(pool)
    assert translate_html(asyncio.run(told()), "de") == (
        '<p class="notice error" role="status">Nur die ersten 20 von 25 Fotos wurden genommen.<br>'
        "a.jpg wurde ausgelassen: it is bad.<br>b.jpg wurde ausgelassen: it is worse.</p>"
    )


def test_deleted_files_are_said_to_be(tmp_path):
    with pytest.raises(UsageError, match="no longer kept here"):
        Batch(tmp_path / "gone", []).write_zip(tmp_path)
