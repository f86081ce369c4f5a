"""Fine-tuning: what a person who trains would notice."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from demo.answers import ground_truth, photographs, whole_set
from demo.answers.datasets import Datasets
from demo.answers.model_pool import ModelPool
from demo.markup import tables
from segcore import Segmenter
from segcore.categories import VOC, Categories
from segcore.cli.main import main
from segcore.errors import AnnotationError, SegcoreError, UsageError, WeightsError
from segcore.evaluation.evaluate import Run, evaluate
from segcore.evaluation.protocols import protocol
from segcore.inference.task import Task
from segcore.models import checkpoint, loading
from segcore.training import average, soft_labels
from segcore.training.dataset import annotated, checked_dataset
from segcore.training.train import choose_categories, freeze, prepare, stages, starting_network, train
from segcore.truth.coco import CocoDataset
from tests.helpers.shapes import draw_shapes, quick

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def overfitted(shapes, tmp_path_factory):
    """A short run on three pictures, validated on three that look alike."""
    out = tmp_path_factory.mktemp("overfitted")
    changes = {"steps": 50, "crop": 128, "learning_rate": 2e-3, "average": 0.7, "dice": 1.0, "frozen_stages": 6}
    path = train(quick(shapes, out, validation_split="val", validate_every=25, save_every=25, **changes))
    return path


def test_overfits_large_shapes(overfitted, shapes):
    segmenter = Segmenter(overfitted, precision="float32")
    assert segmenter.categories == Categories.of("box", "disc")
    dataset = CocoDataset.open(shapes, "train", segmenter.categories)
    for image in dataset.images:
        labels, truth = segmenter(dataset.path(image.id)).labels, dataset.truth(image.id)
        for number in range(3):
            intersection = ((labels == number) & (truth == number)).sum()
            assert intersection / ((labels == number) | (truth == number)).sum() > 0.75
    with (overfitted.parent / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 51))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 2
    assert [row["step"] for row in rows if row["validation_mean_iou"]] == ["25", "50"]
    assert max(float(row["validation_mean_iou"]) for row in rows if row["validation_mean_iou"]) >= 0.9
    with Image.open(overfitted.parent / "curves.png") as plot:
        assert plot.format == "PNG"


def test_the_file_says_where_it_comes_from(overfitted, shapes):
    provenance = checkpoint.read_header(overfitted).provenance
    assert provenance["settings"]["steps"] == 50 and provenance["settings"]["coco"] == shapes.name
    assert provenance["settings"]["model"] == "deeplabv3_mobilenet_v2" and provenance["validation"]["mean_iou"] > 0.9
    assert str(shapes.parent).encode() not in overfitted.read_bytes()[:10_000]


def test_a_trained_file_of_a_network_that_does_not_exist(overfitted, tmp_path):
    header = replace(checkpoint.read_header(overfitted), network="deeplabv4")
    checkpoint.write(tmp_path / "other.safetensors", header, {})
    with pytest.raises(WeightsError, match="does not know"):
        Segmenter(tmp_path / "other.safetensors")
    header = replace(header, network="deeplabv3_mobilenet_v2")
    checkpoint.write(tmp_path / "none.safetensors", header, {"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match="cannot be used for deeplabv3_mobilenet_v2: .* is missing"):
        Segmenter(tmp_path / "none.safetensors")


def test_the_command_line_takes_a_trained_file(overfitted, shapes, tmp_path, capsys):
    scores = tmp_path / "scores.json"
    command = ["evaluate", "--model", str(overfitted), "--dataset", str(shapes), "--split", "train",
               "--json", str(scores), "--html", str(tmp_path / "report.html")]  # fmt: skip
    assert main(command) == 0
    record = json.loads(scores.read_text())
    assert record["dataset"]["mean_iou"] >= 0.9 and list(record["per_class"]) == ["background", "box", "disc"]
    assert "disc" in (tmp_path / "report.html").read_text()
    picture, out = shapes / "train" / "1.png", tmp_path / "out"
    disc = ["--mode", "binary", "--class", "disc"]
    assert main(["predict", str(picture), "--out", str(out), "--model", str(overfitted), *disc]) == 0
    (found,) = json.loads((out / "1.json").read_text())["classes"]
    assert found["name"] == "disc" and found["id"] == 2
    assert main(["predict", str(picture), "--out", str(out), "--model", str(overfitted), "--mode", "binary",
                 "--class", "cat"]) == 2  # fmt: skip
    assert "no class 'cat'; choose one of: background, box, disc" in capsys.readouterr().err


def test_the_seed_decides(shapes, tmp_path):
    first, again, other = (
        train(quick(shapes, tmp_path / name, steps=2, seed=seed)).read_bytes()
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"mode": "binary", "class_name": "disc"}, ("background", "disc")),
        ({"mode": "binary"}, ("background", "object")),
        ({}, ("background", "box", "disc")),
    ],
)
def test_what_is_told_apart(shapes, tmp_path, changes, names):
    settings = quick(shapes, tmp_path / "run", steps=1, **changes)
    segmenter = Segmenter(train(settings), precision="float32")
    assert segmenter.categories.names == names
    truth = CocoDataset.open(shapes, "train", segmenter.categories).truth(1)
    expected = CocoDataset.open(shapes, "train", Categories.of("box", "disc")).truth(1)
    if names[1] == "disc":
        expected = np.where(expected == 2, 1, 0)
    elif names[1] == "object":
        expected = (expected > 0).astype(np.uint8)
    np.testing.assert_array_equal(truth, expected)
    assert segmenter(shapes / "train" / "1.png").labels.max() < len(names)


def test_voc_categories(examples_coco, tmp_path):
    settings = quick(examples_coco, tmp_path / "run", split=None, steps=1, categories="voc")
    assert choose_categories(settings) == VOC
    assert Segmenter(train(settings)).categories == VOC
    binary = replace(settings, mode="binary", class_name="tv")
    assert (
        choose_categories(binary).names == ("background", "tvmonitor") and choose_categories(binary).number("TV") == 1
    )
    with pytest.raises(UsageError, match="there is no class 'unicorn'"):
        choose_categories(replace(settings, mode="binary", class_name="unicorn"))


def test_three_categories_that_voc_lacks(shared_coco, tmp_path):
    """A stranger's dataset: some real images with a few of COCO's other categories."""
    names = ("elephant", "giraffe", "pizza", "umbrella", "bed", "bowl", "cup")
    split = "train2017"
    document = json.loads((shared_coco / "annotations" / f"instances_{split}.json").read_text())
    wanted = [each for each in document["categories"] if each["name"] in names][:3]
    ids = {each["id"] for each in wanted}
    chosen = {each["image_id"] for each in document["annotations"] if each["category_id"] in ids}
    images = [each for each in document["images"] if each["id"] in chosen][:6]
    kept = {each["id"] for each in images}
    document = {
        "images": images,
        "categories": wanted,
        "annotations": [
            each for each in document["annotations"] if each["image_id"] in kept and each["category_id"] in ids
        ],
    }
    folder = tmp_path / "strange"
    (folder / "annotations").mkdir(parents=True)
    (folder / split).mkdir()
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    for image in images:
        shutil.copy(shared_coco / split / image["file_name"], folder / split)
    segmenter = Segmenter(train(quick(folder, tmp_path / "run", split=None, steps=2, hold_back=0.2)))
    assert segmenter.categories.names == ("background", *(each["name"] for each in wanted))
    result = segmenter(folder / split / images[0]["file_name"])
    assert result.labels.shape == (images[0]["height"], images[0]["width"])
    assert result.binary(wanted[1]["name"]).dtype == bool and result.overlay().size == (
        images[0]["width"],
        images[0]["height"],
    )


def test_folders_may_be_given_as_text(shapes, tmp_path):
    train(quick(str(shapes), str(tmp_path / "run"), steps=1))
    labels = tmp_path / "labels"
    labels.mkdir()
    with pytest.raises(AnnotationError, match="has no 1_labels.png"):
        train(quick(str(shapes), str(tmp_path / "next"), pseudo=(str(shapes / "val"), str(labels))))


# ---- the teacher


def test_truth_and_teacher_by_hand():
    """Truth 0, 1, unknown; the teacher believes in class 1 at 0, 0.4 and 1."""
    labels = np.array([[0, 1, 255]], np.uint8)
    soft = np.array([[[255, 153, 0]], [[0, 102, 255]]], np.uint8)
    mixed = soft_labels.mixed(labels, soft, teacher_share=0.5, incomplete=False)
    assert mixed.tolist() == [[[255, 76, 0]], [[0, 178, 255]]]  # 0.5 x 153 is 76.5, 127.5 + 51 is 178.5


def test_incomplete_truth_leaves_out_what_the_teacher_sees():
    """A background that the teacher takes for an object teaches nothing but what the teacher says."""
    labels = np.zeros((1, 2), np.uint8)
    soft = np.array([[[50, 200]], [[205, 55]]], np.uint8)
    mixed = soft_labels.mixed(labels, soft, teacher_share=0.0, incomplete=True)
    assert mixed.tolist() == [[[50, 255]], [[205, 0]]]
    assert soft_labels.mixed(labels, soft, teacher_share=0.0, incomplete=False).tolist() == [[[255, 255]], [[0, 0]]]


def test_a_window_of_soft_labels_lies_where_the_photograph_does():
    grid = np.zeros((2, 4, 8), np.uint8)
    grid[1, :, 4:] = 255  # the right half
    assert (soft_labels.window(grid, (0.6, 0, 1, 1), (6, 6))[1] == 255).all()
    assert (soft_labels.window(grid, (0, 0, 0.4, 1), (6, 6))[1] == 0).all()
    both = soft_labels.window(grid, (0, 0, 1, 1), (8, 16))[1]
    assert (both[:, :7] == 0).all() and (both[:, 9:] == 255).all()


@pytest.mark.parametrize("resize", ["squeeze", "fit"])
def test_soft_labels_are_the_teachers_probabilities(overfitted, shapes, tmp_path, resize):
    segmenter = Segmenter(overfitted, precision="float32", resize=resize)
    examples = annotated(checked_dataset(shapes, "train", segmenter.categories), [1, 2, 3])
    labels = soft_labels.SoftLabels(tmp_path, segmenter, examples)
    told = []
    labels.compute(lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    for example in examples:
        photograph, truth = example.load()
        disc = np.asarray(Image.fromarray(labels[example][2]).resize((160, 120), Image.Resampling.BILINEAR)) / 255
        assert np.abs(disc - segmenter(photograph).probability("disc")).mean() < 0.02
        assert disc[truth == 2].mean() > 0.7 and disc[truth != 2].mean() < 0.2
    again = soft_labels.SoftLabels(tmp_path, segmenter, examples)
    again.compute(lambda done, total: pytest.fail("nothing was missing"))
    np.testing.assert_array_equal(again[examples[1]], labels[examples[1]])
    fewer = soft_labels.SoftLabels(tmp_path, segmenter, examples[:2])  # others: not taken for these
    fewer.compute(lambda done, total: told.append((done, total)))
    assert told[3:] == [(1, 2), (2, 2)]
    aspect = soft_labels.SoftLabels(tmp_path, Segmenter(overfitted, precision="float32", resize="aspect"), examples[:2])
    aspect.compute(lambda done, total: told.append((done, total)))  # seen in another shape: computed again
    assert told[5:] == [(1, 2), (2, 2)]


def test_training_with_a_teacher(overfitted, shapes, tmp_path):
    """Photographs without labels teach what the teacher knows: the start has never seen either class."""
    changes = {"teacher": str(overfitted), "unlabelled": (shapes / "train",), "unlabelled_share": 1.0}
    changes |= {"steps": 40, "crop": 192, "learning_rate": 2e-3, "average": 0.7, "frozen_stages": 6}
    path = train(quick(shapes, tmp_path / "run", save_every=20, **changes))
    segmenter = Segmenter(path, precision="float32")
    dataset = CocoDataset.open(shapes, "train", segmenter.categories)
    task = Task(categories=segmenter.categories)
    assert evaluate(Run(segmenter, dataset, protocol("original"), task, dataset.images)).to_dict()["dataset"][
        "mean_iou"
    ] > 0.6  # fmt: skip
    provenance = checkpoint.read_header(path).provenance["settings"]
    assert provenance["teacher"] == overfitted.name and str(shapes.parent) not in json.dumps(provenance)


def test_a_teacher_of_other_categories_is_refused(shapes, tmp_path):
    with pytest.raises(UsageError, match="tells other things apart"):
        train(quick(shapes, tmp_path / "run", teacher="deeplabv3_mobilenet_v2"))


def test_photographs_are_left_out(tmp_path):
    draw_shapes(tmp_path / "shapes", count=3)
    Image.new("RGB", (160, 120), "magenta").save(tmp_path / "shapes" / "train" / "2.png")
    settings = quick(tmp_path / "shapes", tmp_path / "run", hold_back=0.0)
    magenta = [
        (prepare(each).data.batch(1, 40)[0] == (255, 0, 255)).all(-1).any()
        for each in (settings, replace(settings, leave_out=("2",)))
    ]
    assert magenta == [True, False]
    with pytest.raises(UsageError, match="no photograph is called 7.png"):
        prepare(replace(settings, leave_out=("2", "7.png")))


def test_output_stride_8_is_kept_in_the_file(shapes, tmp_path):
    path = train(quick(shapes, tmp_path / "run", steps=1, output_stride=8))
    assert checkpoint.read_header(path).output_stride == 8
    assert loading.load(str(path)).classifier.factor == 2
    assert Segmenter(path)(shapes / "train" / "1.png").labels.shape == (120, 160)


def test_the_mean_of_two_models(overfitted, shapes, tmp_path, capsys):
    other = train(quick(shapes, tmp_path / "run", model=str(overfitted), steps=2, learning_rate=0.01))
    out = tmp_path / "mean.safetensors"
    assert average.main([str(overfitted), str(other), "--to", str(out)]) == 0
    first, second, mean = (loading.load(str(each)).classifier.classify.weight for each in (overfitted, other, out))
    assert not torch.equal(first, second)
    torch.testing.assert_close(mean, (first + second) / 2, atol=1e-3, rtol=1e-3)  # files are in float16
    assert len(checkpoint.read_header(out).provenance["mean_of"]) == 2
    shipped = loading.weights_path("deeplabv3_mobilenet_v2")
    assert average.main([str(overfitted), str(shipped), "--to", str(tmp_path / "none")]) == 1
    assert "of different networks or categories" in capsys.readouterr().err
    assert average.main([str(overfitted), "--to", str(tmp_path / "none")]) == 1
    assert "at least two" in capsys.readouterr().err and not (tmp_path / "none").exists()


# ---- what learns


def test_frozen_stages_stay(shapes, tmp_path):
    before = loading.load("deeplabv3_mobilenet_v2")
    path = train(quick(shapes, tmp_path / "run", frozen_stages=4, weight_decay=0.1, learning_rate=0.01))
    after = loading.load(str(path))
    path = train(quick(shapes, tmp_path / "frozen", frozen_depthwise=True, weight_decay=0.1, learning_rate=0.01))
    kept = loading.load(str(path))
    for name, changes, changes_there in (
        *(("stem", False, True), ("blocks.2.expand", False, True)),
        *(("blocks.16.project", True, True), ("blocks.16.depthwise", True, False)),
    ):
        old, new, there = (net.backbone.get_submodule(name).weight for net in (before, after, kept))
        assert torch.equal(old, new) != changes and torch.equal(old, there) != changes_there
    with pytest.raises(UsageError, match="has 18 stages; 19 cannot"):
        freeze(before.backbone, 19)


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large"])
def test_every_network_can_be_trained(name, shapes, tmp_path, monkeypatch):
    """Random weights stand for the published ones, which are a large download."""
    with pytest.raises(WeightsError, match="fetch-weights"):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        train(quick(shapes, tmp_path / "none", model=name))

    def load(model, output_stride=None):
        network = loading.build_network(model)
        network.aux_classifier = None
        return network

    with monkeypatch.context() as patch:
        patch.setattr(loading, "load", load)
        path = train(quick(shapes, tmp_path / "run", model=name, steps=1, frozen_stages=1))
    assert loading.network_of(str(path)) == name
    assert Segmenter(path)(shapes / "train" / "1.png").labels.max() < 3


def test_categories_must_agree(overfitted, shapes, examples_coco):
    segmenter, chosen = Segmenter(overfitted), protocol("original")
    own, voc = CocoDataset.open(shapes, "train", segmenter.categories), CocoDataset.open(examples_coco)
    with pytest.raises(UsageError, match="of different categories"):
        evaluate(Run(segmenter, own, chosen, Task(), own.images))
    with pytest.raises(UsageError, match="tells 3 classes apart, and the task 21"):
        evaluate(Run(segmenter, voc, chosen, Task(), voc.images[:1]))


def test_going_on_from_a_trained_file(overfitted, shapes, tmp_path):
    path = train(quick(shapes, tmp_path / "more", model=str(overfitted), steps=1))
    assert loading.network_of(str(path)) == "deeplabv3_mobilenet_v2"
    before = loading.load(str(overfitted)).classifier
    same = starting_network(str(overfitted), Categories.of("box", "disc")).classifier
    assert all(torch.equal(*each) for each in zip(same.parameters(), before.parameters(), strict=True))
    other = starting_network(str(overfitted), Categories.of("cup", "disc", "box")).classifier
    new = {name for name, values in other.named_parameters() if values.shape != before.get_parameter(name).shape}
    assert new == {"classify.weight", "classify.bias", "correct.weight", "correct.bias"}
    assert len(other.classify.weight) == len(other.correct.weight) == 4


def test_stages():
    """Stem and blocks: with the first 4 the map is at stride 4."""
    parts = stages(loading.load("deeplabv3_mobilenet_v2").backbone)
    assert len(parts) == 18 and parts[3].project.out_channels == 24 and parts[4].project.out_channels == 32


def test_weights_that_diverge_before_a_validation_are_told(shapes, tmp_path):
    with pytest.raises(SegcoreError, match="nan or infinite"):
        train(quick(shapes, tmp_path / "run", steps=1, learning_rate=1e30, validation_split="val"))


# ---- the page


def test_the_page_takes_a_trained_file(overfitted, shapes, examples_coco, tmp_path):
    """What the page's functions say of a model with its own categories, and of one without them."""
    pool = ModelPool(str(overfitted), offline=True)
    assert pool.categories.names == ("background", "box", "disc")
    shown = photographs.open_photograph(pool, None, shapes / "train" / "1.png", "auto", "squeeze")
    task = photographs.task_of("binary", "disc", True, None, shown.result.categories)
    view = photographs.view_photograph(shown, task)
    table = tables.found(view)
    assert "disc" in table and "box" not in table and "model.safetensors" not in table
    dataset = CocoDataset.open(shapes, "train", pool.categories)
    datasets = Datasets(shapes, examples_coco, shapes / "none", categories=pool.categories)
    wanted = whole_set.Wanted("own:train", 2, Task(categories=pool.categories), "original", "squeeze", "auto")
    *_, outcome = whole_set.evaluate_set(pool, datasets, wanted, tmp_path, threading.Event())
    assert outcome.record["dataset"]["mean_iou"] > 0.75
    with pytest.raises(UsageError, match="knows other things"):
        list(whole_set.evaluate_set(pool, datasets, replace(wanted, dataset="samples"), tmp_path, threading.Event()))
    *_, record = ground_truth.evaluate_for_program(pool, dataset, "1", "multiclass", "any", "original", "auto")
    assert list(record["per_class"]) == ["background", "box", "disc"] and record["dataset"]["mean_iou"] > 0.75
    shown = photographs.segment_again(pool, shown, "deeplabv3_mobilenet_v2", "squeeze")
    with pytest.raises(UsageError, match="no class 'disc'"):
        photographs.task_of("binary", "disc", True, None, shown.result.categories)
    with pytest.raises(UsageError, match="knows other things"):
        asked = "1", "multiclass", "any", "original", "deeplabv3_mobilenet_v2"
        ground_truth.evaluate_for_program(pool, dataset, *asked)


def test_visitors_open_no_files(overfitted):
    with pytest.raises(UsageError, match="there is no model"):
        ModelPool(offline=True).resolve(str(overfitted))
