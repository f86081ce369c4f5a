"""Training data: what is refused before training, and what is drawn."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from segcore.categories import VOC, Categories
from segcore.cli.main import main
from segcore.errors import AnnotationError, UsageError
from segcore.training.augment import Augmentation
from segcore.training.dataset import Pool, TrainingSet, annotated, checked_dataset, paired
from segcore.training.train import train
from segcore.truth.coco import CocoDataset
from tests.helpers.shapes import SHAPES, draw_shapes, edit, quick

pytestmark = pytest.mark.slow


def drawn_from(examples, augmentation, tmp_path, num_classes=3, others=(), **options):
    share = sum(pool.share for pool in others)
    return TrainingSet([Pool(examples, 1 - share), *others], augmentation, num_classes, tmp_path, **options)


def labels_of(shares):
    """uint8 (..., classes, h, w) -> the class of each pixel, 255 where there is none."""
    return np.where(shares.any(axis=-3), shares.argmax(axis=-3), 255)


def test_crops_carry_their_labels(shapes, tmp_path):
    categories = Categories.of("box", "disc")
    dataset = checked_dataset(shapes, "train", categories)
    augmentation = Augmentation(crop=96, size=120, colour=0.0)
    data = drawn_from(annotated(dataset, [1, 2, 3]), augmentation, tmp_path, seed=3)
    crops, shares = data.batch(1, 8)
    assert crops.shape == (8, 96, 96, 3) and shares.shape == (8, 3, 48, 48)
    assert np.isin(shares.sum(axis=1), (0, 255)).all()
    labels = labels_of(shares)
    seen = crops.reshape(8, 48, 2, 48, 2, 3).mean(axis=(2, 4))
    for number, colour in enumerate(SHAPES.values(), start=1):
        close = (np.abs(seen - colour) < 30).all(axis=-1)
        inside = labels == number
        assert inside.sum() > 100 and close[inside].mean() > 0.9 and (inside | ~close).mean() > 0.98
    again = data.batch(1, 8)
    np.testing.assert_array_equal(crops, again[0])
    assert (data.batch(2, 8)[0] != crops).any()


def test_classes_are_drawn_evenly(tmp_path):
    """One picture in twenty has a disc, and yet half of the balanced crops do."""
    draw_shapes(tmp_path, count=20)
    edit(tmp_path, lambda document: document.update(
        annotations=[each for each in document["annotations"] if each["id"] % 10 == 1 or each["image_id"] == 7]
    ))  # fmt: skip
    categories = Categories.of("box", "disc")
    examples = annotated(checked_dataset(tmp_path, "train", categories), range(1, 21))

    def share(balanced, centred=1.0):
        data = drawn_from(examples, Augmentation(crop=48, size=120), tmp_path, balanced=balanced, centred=centred)
        return (labels_of(data.batch(1, 60)[1]) == 2).any(axis=(1, 2)).mean()

    assert share(1.0) > 0.4 and share(0.0) < 0.2 and share(0.0) < share(1.0, centred=0.0) < share(1.0)


def test_label_maps_as_truth(shapes, tmp_path):
    """Photographs of one folder and label maps of another are learned from, and what does not fit is told at once."""
    categories, labels = Categories.of("box", "disc"), tmp_path / "labels"
    labels.mkdir()
    for number, suffix in ((1, ""), (2, "_labels"), (3, "")):
        Image.new("L", (160, 120), 1).save(labels / f"{number}{suffix}.png")
    examples = annotated(checked_dataset(shapes, "train", categories), [1])
    pairs = paired(shapes / "train", labels, categories)

    def shares(share):
        data = drawn_from(examples, Augmentation(crop=64), tmp_path, others=[Pool(pairs, share)], balanced=0.0)
        return [(each[each != 255] == 1).all() for each in labels_of(data.batch(1, 40)[1])]

    assert all(shares(1.0)) and 0.3 < np.mean(shares(0.5)) < 0.8
    for name, value in (("pseudo", (shapes / "train", labels)), ("truth", ((shapes / "train", labels),))):
        assert train(quick(shapes, tmp_path / name, steps=1, **{name: value})).is_file()
    Image.new("L", (160, 120), 7).save(labels / "1.png")
    (labels / "3.png").unlink()
    with pytest.raises(AnnotationError) as caught:
        paired(shapes / "train", labels, categories)
    assert "1.png holds the value 7" in str(caught.value) and "has no 3_labels.png" in str(caught.value)


def test_pseudo_labels_with_probabilities(shapes, tmp_path):
    """What `predict --probabilities` writes is learned from as far as the model believed in it."""
    assert main(["predict", str(shapes / "train"), "--out", str(tmp_path), "--probabilities"]) == 0
    (example, *_) = paired(shapes / "train", tmp_path, VOC)
    with np.load(tmp_path / "1.npz") as written:
        np.testing.assert_allclose(example.soft() / 255, written["probabilities"].astype(float), atol=0.003)
    assert (example.load()[1] == 255).all()
    with pytest.raises(AnnotationError, match=r"1\.npz is of other classes: background, aeroplane"):
        paired(shapes / "train", tmp_path, Categories.of(*reversed(VOC.names[1:])))
    (tmp_path / "2.npz").write_bytes(b"no archive")
    with pytest.raises(AnnotationError, match=r"2\.npz cannot be read"):
        paired(shapes / "train", tmp_path, VOC)


def test_objects_are_pasted(tmp_path):
    """One picture in three has a disc; pasted on, it is where the labels say, in as many crops as was asked for."""
    draw_shapes(tmp_path)
    edit(tmp_path, lambda document: document.update(
        annotations=[each for each in document["annotations"] if each["id"] == 12]
    ))  # fmt: skip
    examples = annotated(checked_dataset(tmp_path, "train", Categories.of("box", "disc")), [1, 2, 3])

    def with_disc(paste):
        augmentation = Augmentation(crop=64, size=120, colour=0.0)
        crops, shares = drawn_from(examples, augmentation, tmp_path, balanced=0.0, paste=paste).batch(1, 60)
        disc = labels_of(shares) == 2
        close = (np.abs(crops[:, ::2, ::2].astype(int) - SHAPES["disc"]) < 60).all(axis=-1)
        assert close[disc].mean() > 0.85
        return disc.any(axis=(1, 2)).mean()

    assert with_disc(1.0) == 1 and with_disc(0.0) < 0.5


def test_everything_broken_is_told_at_once(tmp_path):
    draw_shapes(tmp_path, count=4)
    (tmp_path / "train" / "1.png").unlink()
    Image.new("RGB", (10, 10)).save(tmp_path / "train" / "2.png")

    def change(document):
        empty, unknown, away, far = document["annotations"][:4]
        empty.update(segmentation=[], area=3600)
        unknown.update(category_id=99)
        away.update(segmentation=[[200.0, 10, 230, 10, 230, 40]])
        far.update(segmentation=[[2000.0, 10, 2300, 10, 2300, 40]])

    edit(tmp_path, change)
    with pytest.raises(AnnotationError) as caught:
        train(quick(tmp_path, tmp_path / "run"))
    message = str(caught.value)
    for part in (
        "(id 11): 'segmentation' is empty",
        "(id 12): 'category_id' is 99",
        "(id 21): 'segmentation' lies outside",
        "(id 22): 'segmentation' must lie in the picture",
        "1.png is missing",
        "2.png is 10 x 10 pixels",
    ):
        assert part in message
    assert not list((tmp_path / "run").glob("*.*t*"))  # no checkpoint, no model, no curves


def test_broken_datasets_on_the_command_line(shapes, tmp_path, capsys):
    assert main(["train", "--dataset", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert main(["train", "--dataset", str(shapes), "--out", str(tmp_path / "run"), "--crop", "8"]) == 2
    data = ["--dataset", str(shapes), "--out", str(tmp_path / "run")]
    assert main(["train", *data, "--mode", "binary", "--class", "x"]) == 2
    assert main(["train", "--dataset", str(shapes), "--out", str(tmp_path / "run"), "--frozen-stages", "80"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_dataset_without_objects(tmp_path):
    draw_shapes(tmp_path)
    edit(tmp_path, lambda document: document.update(annotations=[]))
    with pytest.raises(AnnotationError, match="no object of the categories box, disc"):
        train(quick(tmp_path, tmp_path / "run"))


def test_every_photograph_that_is_validated_on_and_learned_from_is_named(tmp_path):
    draw_shapes(tmp_path, count=30, split="val", size=(170, 130))
    draw_shapes(tmp_path, count=30)
    for number in range(1, 30):  # all but the last are copies, whatever they are called
        shutil.copy(tmp_path / "val" / f"{number}.png", tmp_path / "train" / f"{number + 1}.png")
    Image.new("RGB", (170, 130)).save(tmp_path / "val" / "30.png")
    edit(tmp_path, lambda document: [image.update(width=170, height=130) for image in document["images"][1:]])
    with pytest.raises(AnnotationError) as caught:
        train(quick(tmp_path, tmp_path / "run", validation_split="val"))
    said = str(caught.value).splitlines()
    for number in range(1, 30):
        assert any(str(tmp_path / "val" / f"{number}.png") in line for line in said)
    assert str(tmp_path / "val" / "30.png") not in str(caught.value)


def test_validation_on_pseudo_labelled_photographs_is_refused(shapes, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    truth = CocoDataset.open(shapes, "val", Categories.of("box", "disc"))
    for number in range(1, 4):
        Image.fromarray(truth.truth(number)).save(labels / f"{number}.png")
    for changes in ({"validation_split": "val"}, {"split": "val", "hold_back": 0.5}):
        with pytest.raises(AnnotationError, match="validated on photographs that it learns from"):
            train(quick(shapes, tmp_path / "run", pseudo=(shapes / "val", labels), **changes))


def test_validation_on_the_split_that_is_learned_from_is_refused(tmp_path):
    draw_shapes(tmp_path)
    for split in ("train", None):  # None: the only one that there is
        with pytest.raises(UsageError, match="'train' is what is trained on; name another split to validate on"):
            train(quick(tmp_path, tmp_path / "run", split=split, validation_split="train"))
