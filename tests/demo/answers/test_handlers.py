"""What the page does, without a browser: nothing is computed twice, nothing is lost, every number is the library's."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from demo.answers import ground_truth, photographs
from demo.answers.model_pool import ModelPool
from demo.answers.samples import Thumbnails
from demo.markup import tables
from segcore.errors import ImageError, SegcoreError, UsageError
from segcore.evaluation import evaluate, protocols
from segcore.imaging import drawing
from segcore.inference.refine import Edges
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.truth.coco import CocoDataset
from tests.helpers.runs import OF_SETS
from tests.helpers.samples import ASTRONAUT, CAT, DOG, PIZZA, STOP_SIGN


class CountingPool(ModelPool):
    """Counts how often a network runs."""

    runs = 0

    def segment(self, *args, **kwargs):
        self.runs += 1
        return super().segment(*args, **kwargs)


@pytest.fixture
def pool():
    return CountingPool(offline=True)


@pytest.fixture
def dog(dataset):
    return dataset.path(DOG)


def test_task_of_the_controls():
    assert photographs.task_of("binary", "dog", False, 0.3) == Task("binary", "dog", 0.3)
    assert photographs.task_of("binary", "dog", True, 0.3) == Task("binary", "dog")
    assert photographs.task_of("binary", "dog", False, None) == Task("binary", "dog")


@pytest.mark.slow
def test_going_back_to_a_photograph_and_resize_is_free(pool, dataset, dog):
    shown = photographs.open_photograph(pool, None, dog, "auto", "squeeze")
    shown = photographs.segment_again(pool, shown, "auto", "aspect")
    aspect = shown.result
    shown = photographs.open_photograph(pool, shown, dataset.path(CAT), "auto", "aspect")
    assert pool.runs == shown.network_runs == 3

    shown = photographs.open_photograph(pool, shown, dog, "auto", "aspect")
    assert shown.result is aspect
    shown = photographs.segment_again(pool, shown, "auto", "squeeze")
    assert pool.runs == shown.network_runs == 3


@pytest.mark.slow
def test_a_visitor_keeps_a_bounded_number_of_results(pool, dog, tmp_path):
    shown = None
    for number in range(photographs.MAX_RESULTS + 3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        shown = photographs.open_photograph(pool, shown, path, "auto", "squeeze")
    assert len(shown.results) == photographs.MAX_RESULTS
    assert shown.result in shown.results.values()


def test_tasks_are_answered_from_what_is_kept(pool, dog):
    shown = photographs.open_photograph(pool, None, dog, "auto", "squeeze")
    for task in (Task(), Task("binary"), Task("binary", "dog"), Task("binary", "dog", 0.3)):
        assert photographs.view_photograph(shown, task).viewer["photo"] == shown.photo
    assert pool.runs == 1


def test_the_screen_copy_is_small_and_the_download_is_not(pool, tmp_path):
    path = tmp_path / "large.png"
    Image.new("RGB", (3200, 1200), "white").save(path)
    shown = photographs.open_photograph(pool, None, path, "auto", "squeeze")
    assert shown.screen.shape == (600, 1600, 3)
    for kind in ("labels", "overlay", "cutout"):
        with Image.open(photographs.write_download(shown, Task(), kind, tmp_path / kind)) as image:
            assert image.size == (3200, 1200)


def test_downloads_show_what_is_seen(pool, dog, tmp_path):
    shown = photographs.open_photograph(pool, None, dog, "auto", "squeeze")
    hidden = photographs.Visible(frozenset([12]), opacity=1.0)
    pixels = {}
    for kind in photographs.DOWNLOADS[:-1]:
        path = photographs.write_download(shown, Task(), kind, tmp_path, visible=hidden)
        with Image.open(path) as picture:
            assert picture.size == (512, 512) and not picture.getexif()
            pixels[kind], like_a_photograph = np.asarray(picture), kind in ("overlay", "blurred", "plain")
            assert (picture.format == "JPEG") == like_a_photograph and path.suffix == (
                ".jpg" if like_a_photograph else ".png"
            )
    assert not pixels["labels"].any() and not pixels["mask"].any() and not pixels["cutout"].any()
    assert pixels["plain"].min() > 250
    record = json.loads(photographs.write_download(shown, Task(), "json", tmp_path, visible=hidden).read_text())
    assert record["classes"] == []
    with Image.open(photographs.write_download(shown, Task(), "mask", tmp_path)) as picture:
        assert np.array_equal(np.asarray(picture) > 0, shown.result.labels > 0)


def test_an_overlay_names_its_classes_in_the_language_of_the_page(pool, dog, tmp_path, monkeypatch):
    shown, written = photographs.open_photograph(pool, None, dog, "auto", "squeeze"), []
    draw_names = photographs.names.draw_names

    def noted(picture, labels, names, palette):
        written.append({names[number] for number in np.unique(labels) if number})
        draw_names(picture, labels, names, palette)

    monkeypatch.setattr(photographs.names, "draw_names", noted)
    for language, hidden in (("en", {}), ("de", {}), ("zh-CN", {}), ("en", {12}), (None, {})):
        visible = photographs.Visible(frozenset(hidden), named_in=language)
        photographs.write_download(shown, Task(), "overlay", tmp_path, visible=visible)
    assert written == [{"dog"}, {"Hund"}, {"dog"}, set()]  # the font has no Chinese letters


def test_a_side_that_jpeg_cannot_have_is_written_as_png(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "MAX_JPEG_SIDE", 19)
    shown = photographs.open_photograph(pool, None, _picture(tmp_path), "auto", "squeeze")
    assert photographs.write_download(shown, Task(), "overlay", tmp_path).name == "green_overlay.png"


def label_map(view) -> np.ndarray:
    """What the viewer was given to draw over the photograph."""
    labels = view.viewer["panels"][0]["labels"]
    ids = np.frombuffer(zlib.decompress(base64.b64decode(labels["deflate"])), np.uint8)
    return ids.reshape(labels["height"], labels["width"])


@pytest.mark.slow
@pytest.mark.parametrize("task", [Task(), Task("binary", "dog"), Task("binary", "dog", 0.3)], ids=str)
def test_sharp_edges_are_looked_at_and_taken_away_and_run_no_network(pool, dog, tmp_path, task):
    shown = photographs.open_photograph(pool, None, dog, "auto", "squeeze")
    plain, sharp = (photographs.view_photograph(shown, task, sharp) for sharp in (False, True))

    assert pool.runs == 1
    assert "sharp edges" in tables.provenance(sharp) and "sharp edges" not in tables.provenance(plain)
    assert 0 < (label_map(plain) != label_map(sharp)).mean() < 0.1
    refined = shown.result.refined(shown.screen)
    np.testing.assert_array_equal(label_map(sharp), task.predict(None, shown.screen.shape[:2], refined.edges))
    for is_sharp, view in ((False, plain), (True, sharp)):
        record = json.loads(photographs.write_download(shown, task, "json", tmp_path, is_sharp).read_text())
        assert record["refine"] == ("edges" if is_sharp else None)
        for kind in ("labels", "overlay", "cutout"):
            with Image.open(photographs.write_download(shown, task, kind, tmp_path, is_sharp)) as picture:
                comment = picture.text["Description"] if kind != "overlay" else picture.info["comment"].decode()
                assert ("edges refined" in comment) == is_sharp
                if kind == "labels":
                    np.testing.assert_array_equal(np.asarray(picture) > 0, label_map(view) > 0)


def test_what_a_visitor_looks_at_sharply_is_smoothed_once(pool, dog, tmp_path, monkeypatch):
    smoothed = Counter()
    monkeypatch.setattr(Edges, "smoothed", counted(Edges.smoothed, smoothed))
    shown = photographs.open_photograph(pool, None, dog, "auto", "squeeze")
    for task in (Task(), Task("binary"), Task("binary", "dog"), Task("binary", "cat"), Task()):
        photographs.view_photograph(shown, task, True)
    assert smoothed.total() == 1
    for threshold in (0.2, 0.3, 0.4):
        photographs.view_photograph(shown, Task("binary", "dog", threshold), True)
    assert smoothed.total() == 2
    for kind in photographs.DOWNLOADS:
        photographs.write_download(shown, Task(), kind, tmp_path, True)
        photographs.write_download(shown, Task("binary", "dog", 0.4), kind, tmp_path, True)
    assert smoothed.total() == 2


def counted(method, calls):
    def wrapper(*args):
        calls[method] += 1
        return method(*args)

    return wrapper


@pytest.mark.slow
def test_a_large_photograph_looks_the_same_on_the_screen_and_taken_away(pool, dog, tmp_path):
    with Image.open(dog) as photograph:
        photograph.resize((3200, 2400), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    shown = photographs.open_photograph(pool, None, tmp_path / "large.jpg", "auto", "squeeze")
    screen = label_map(photographs.view_photograph(shown, Task(), True))
    with Image.open(photographs.write_download(shown, Task(), "labels", tmp_path / "out", True)) as picture:
        full = np.asarray(picture)
    assert screen.shape == (1200, 1600) and full.shape == (2400, 3200)
    assert (full[::2, ::2] == screen).mean() > 0.999


def test_nothing_found_names_what_is_known(pool, dataset):
    shown = photographs.open_photograph(pool, None, dataset.path(STOP_SIGN), "auto", "squeeze")
    assert "20 things: aeroplane" in photographs.view_photograph(shown, Task()).viewer["message"]
    message = photographs.view_photograph(shown, Task("binary", "sheep", 0.9)).viewer["message"]
    assert message.startswith("No sheep found; nothing else was looked for. Lower the threshold")


@pytest.mark.parametrize(
    ("class_name", "threshold", "message"),
    [
        (
            "boat",
            None,
            "No boat found; nothing else was looked for. Untick Automatic threshold, then lower the threshold to see "
            "weaker matches, or choose Multiclass to see everything.",
        ),
        (
            "diningtable",
            0.06,
            "No dining table found; nothing else was looked for. Lower the threshold to see weaker matches, or choose "
            "Multiclass to see everything.",
        ),
        ("any", None, "No object found. Untick Automatic threshold, then lower the threshold to see weaker matches."),
        ("any", 0.4, "No object found. Lower the threshold to see weaker matches."),
        ("any", 0.05, "No object found, even at the lowest threshold."),
    ],
)
def test_nothing_found_says_what_to_do(class_name, threshold, message):
    assert photographs.nothing_found(Task("binary", class_name, threshold)) == message


def test_an_upload_that_was_deleted_is_said_to_be(pool, dog, tmp_path):
    upload = shutil.copy(dog, tmp_path / "upload.jpg")
    shown = photographs.open_photograph(pool, None, upload, "auto", "squeeze")
    (tmp_path / "upload.jpg").unlink()
    with pytest.raises(UsageError, match="no longer kept"):
        photographs.write_download(shown, Task(), "overlay", tmp_path / "out")
    assert photographs.write_download(shown, Task(), "labels", tmp_path / "out").exists()


def test_open_photograph_errors(pool, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match="x.jpg is not an image"):
        photographs.open_photograph(pool, None, tmp_path / "x.jpg", "auto", "squeeze")
    with pytest.raises(SegcoreError, match="there is no download"):
        photographs.write_download(
            photographs.open_photograph(pool, None, _picture(tmp_path), "auto", "squeeze"), Task(), "gif", tmp_path
        )


def _picture(folder):
    Image.new("RGB", (20, 10), "green").save(folder / "green.png")
    return folder / "green.png"


# Every protocol with every task, and sharp edges with and without either.
@pytest.mark.slow
@pytest.mark.parametrize("task_number, task", list(enumerate([Task(), Task("binary"), Task("binary", "dog", 0.4)])))
@pytest.mark.parametrize("number, name", list(enumerate(protocols.PROTOCOLS)))
def test_scores_are_those_of_evaluate(pool, dataset, number, name, task_number, task):
    sharp = (number + task_number) % 2 == 1
    compared = ground_truth.compare(pool, None, dataset, DOG, "auto", name, "squeeze")
    record = ground_truth.view_compared(compared, task, name, sharp).record

    segmenter = Segmenter("auto", precision="float32", refine="edges" if sharp else None)
    run = evaluate.Run(segmenter, dataset, protocols.protocol(name), task, (dataset.image(DOG),))
    expected = evaluate.evaluate(run).to_dict()
    assert expected.keys() - record.keys() == OF_SETS
    [row] = expected["per_image"]
    del row["brightness"]  # it tells the images of a set apart
    assert record == row | {key: expected[key] for key in record.keys() & expected.keys()}


@pytest.mark.slow
def test_protocols_of_one_resize_share_a_run_of_the_network(pool, dataset):
    compared = ground_truth.compare(pool, None, dataset, DOG, "auto", "original", "squeeze")
    compared = ground_truth.compare(pool, compared, dataset, DOG, "auto", "report", "squeeze")
    assert pool.runs == 1
    compared = ground_truth.compare(pool, compared, dataset, DOG, "auto", "torchvision", "squeeze")
    compared = ground_truth.compare(pool, compared, dataset, DOG, "auto", "original", "squeeze")
    assert pool.runs == compared.network_runs == 2


@pytest.mark.slow
def test_the_errors_of_the_comparison_add_up(pool, dataset):
    compared = ground_truth.compare(pool, None, dataset, PIZZA, "auto", "original", "squeeze")
    view = ground_truth.view_compared(compared, Task(), "original")
    matrix = np.array(view.record["confusion"])
    kinds = drawing.count_errors(view.errors)
    assert sum(kinds.values()) == view.errors.size
    assert kinds["correct"] == np.diag(matrix)[1:].sum()
    assert kinds["missed"] == matrix[1:, 0].sum()
    assert kinds["extra"] == matrix[0, 1:].sum()


@pytest.mark.slow
def test_other_objects_are_warned_of(pool, dataset):
    compared = ground_truth.compare(pool, None, dataset, PIZZA, "auto", "original", "squeeze")
    assert "pizza" in ground_truth.view_compared(compared, Task(), "original").warning


def test_a_broken_photograph_does_not_break_the_gallery(tmp_path, examples_coco):
    shutil.copytree(examples_coco / "annotations", tmp_path / "annotations")
    shutil.copytree(examples_coco / "samples", tmp_path / "samples")
    (tmp_path / "samples" / "000000900001.jpg").write_bytes(b"broken")
    broken = CocoDataset.open(tmp_path)
    thumbnails = Thumbnails(broken)
    assert all(Image.open(each.thumbnail).size[0] for each in thumbnails.samples)
    with pytest.raises(SegcoreError, match="000000900001.jpg"):
        ground_truth.compare(CountingPool(offline=True), None, broken, ASTRONAUT, "auto", "original", "squeeze")
