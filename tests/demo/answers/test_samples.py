"""What the page tells of the photographs that come with the code, without a browser."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from demo.answers import photographs
from demo.answers.samples import Credit, Thumbnails, shortened
from demo.markup import tables
from demo.tabs import photograph
from demo.waiting.visits import Visit
from segcore.classes import VOC_NAMES
from segcore.truth.coco import CocoDataset
from tests.helpers.samples import DOG, RIDERS

ASTRONAUT = 900001  # beside whom the small model sees a bottle


@pytest.fixture(scope="module")
def thumbnails(dataset):
    return Thumbnails(dataset)


@pytest.fixture
def tab(pool, thumbnails):
    """The photograph tab's callbacks without its layout."""
    made = object.__new__(photograph.PhotographTab)
    made.pool, made.thumbnails = pool, thumbnails
    return made


def below(tab, shown, truth=None):
    """What stands below the picture: the credit and the notice."""
    _, credit, _, notice, *_ = tab.on_look(
        Visit(shown, truth=(shown.key, truth)), "multiclass", "any", True, None, False, ""
    )
    return credit, notice


def test_the_gallery_has_the_order_of_the_file_with_the_good_opener_first(examples_coco, thumbnails, dataset):
    document = json.loads((examples_coco / "annotations" / "instances_samples.json").read_text(encoding="utf-8"))
    wanted = [image["id"] for image in document["images"]]
    assert [sample.image_id for sample in thumbnails.samples] == wanted != sorted(wanted)
    assert wanted[0] == RIDERS
    assert thumbnails.in_order(dataset, sorted(wanted)) == wanted
    people = dataset.ids_with_class(VOC_NAMES.index("person"))
    assert thumbnails.in_order(dataset, people) == [each for each in wanted if each in people]


def test_other_datasets_keep_their_order_and_are_named_by_what_they_show(nine_coco, thumbnails):
    other = CocoDataset.open(nine_coco)
    ids = [image.id for image in other.images]
    assert thumbnails.in_order(other, ids) == ids
    sample = thumbnails.sample(other, other.image(RIDERS))
    assert (sample.caption, sample.credit, sample.fails) == ("horse, person", None, "")


@pytest.mark.parametrize(
    ("names", "caption"),
    [
        ([], ""),
        (["bus", "car", "person"], "bus, car, person"),
        (["bottle", "chair", "dining table"], "bottle, chair, dining table"),
        (["bottle", "chair", "dining table", "dog"], "bottle, chair, dining table and 1 more"),
        (["dining table", "potted plant", "person", "TV"], "dining table, potted plant and 2 more"),
        (["a very long name of a class of one's own", "car"], "a very long name of a class of one's own and 1 more"),
    ],
)
def test_a_caption_ends_with_a_whole_name(names, caption):
    assert shortened(names) == caption


def test_whose_a_photograph_is_stands_below_it_and_below_no_other(tab, pool, dataset, tmp_path):
    shown = photographs.open_photograph(pool, None, dataset.path(RIDERS), "auto", "squeeze")
    credit, notice = below(tab, shown)
    assert "Flickr 8392128987" in credit and "CC BY 2.0" in credit and notice == ""
    uploaded = shutil.copy(dataset.path(DOG), tmp_path / "dog.jpg")
    other = photographs.open_photograph(pool, shown, uploaded, "auto", "squeeze")
    assert below(tab, other) == ("", "")


def test_what_the_small_model_gets_wrong_is_told_of_its_own_result_alone(tab, pool, dataset):
    shown = photographs.open_photograph(pool, None, dataset.path(ASTRONAUT), "auto", "squeeze")
    assert "takes part of the rocket for a bottle" in below(tab, shown)[1]
    bigger = replace(shown.result, provenance=replace(shown.result.provenance, model="deeplabv3_resnet101"))
    assert below(tab, replace(shown, result=bigger))[1] == ""


def test_it_is_told_beside_a_truth_too(tab, pool, dataset, examples_coco):
    shown = photographs.open_photograph(pool, None, dataset.path(ASTRONAUT), "auto", "squeeze")
    truth = photographs.read_truth(shown, examples_coco / "annotations" / "instances_samples.json")
    credit, notice = below(tab, shown, truth)
    assert "NASA" in credit and "takes part of the rocket for a bottle" in notice


def test_names_are_escaped():
    credit = Credit("<b>&", "https://example.org/?a=1&b=2", "CC0", "https://example.org/", from_coco=False)
    assert "&lt;b&gt;&amp;" in tables.credit(credit) and "a=1&amp;b=2" in tables.credit(credit)
    assert "<b>" not in tables.credit(replace(credit, url=None))
    assert tables.credit(None) == ""


def test_small_copies_are_small(thumbnails):
    for sample in thumbnails.samples:
        with Image.open(sample.thumbnail) as copy:
            assert 240 == max(copy.size)


def test_a_small_copy_is_there_whole_or_not_at_all(dataset, monkeypatch):
    thumbnails, path = Thumbnails(dataset), dataset.path(dataset.images[0].id)
    target = thumbnails.samples[0].thumbnail.with_name("again.jpg")
    monkeypatch.setattr("demo.answers.samples.hashlib.sha256", lambda _: SimpleNamespace(hexdigest=lambda: "again"))

    def full(picture, file, **_):
        Path(file).write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(OSError, match="No space"):
            thumbnails._thumbnail(path)
        assert not target.exists()
    assert Image.open(thumbnails._thumbnail(path)).size and target.exists()
