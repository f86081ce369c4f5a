"""A visitor's own truth on the photograph tab, without a browser: scored like COCO's, lost by no mistake."""

from __future__ import annotations

import csv
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from demo.answers import ground_truth, photographs
from demo.answers.samples import Thumbnails
from demo.markup import tables
from demo.tabs import photograph
from demo.waiting.visits import Visit
from segcore.errors import LabelError, UsageError
from segcore.evaluation import evaluate, protocols
from segcore.imaging import drawing
from segcore.inference.segmentation import Segmentation
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from tests.helpers.at_a_time import AtATime
from tests.helpers.samples import CAT, DOG, PIZZA

TASKS = [Task(), Task("binary"), Task("binary", "dog"), Task("binary", "dog", 0.4)]
SHOWN = {"hidden": "", "opacity": "60", "minimum": "0", "names": "true"}  # of the viewer, as the browser says
# What a look gives, by name.
OUTPUTS = (
    *("viewer", "credit", "verdict", "warning", "table", "overall", "per_class", "provenance", "read_as", "given"),
    *("score_downloads", "truth_notice", "notice"),
)


@pytest.fixture(scope="module")
def dog(pool, dataset):
    """The photograph of a dog, opened and segmented."""
    return photographs.open_photograph(pool, None, dataset.path(DOG), "auto", "squeeze")


@pytest.fixture(scope="module")
def annotations(examples_coco):
    return examples_coco / "annotations" / "instances_samples.json"


@pytest.fixture
def tab(pool, dataset):
    """The tab's callbacks without its layout."""
    made = object.__new__(photograph.PhotographTab)
    made.pool, made.thumbnails = pool, Thumbnails(dataset)
    return made


def controls(task, sharp=False):
    """The values of the page's controls that ask for `task`, and for sharp edges."""
    return task.mode, task.class_name, task.threshold is None, task.threshold, sharp


def named(outputs):
    return dict(zip(OUTPUTS, outputs, strict=True))


def saved(labels, folder, name="mask.png"):
    Image.fromarray(labels).save(folder / name)
    return folder / name


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_exported_label_map_given_back_is_wholly_right(dog, task, tmp_path):
    exported = photographs.write_download(dog, task, "labels", tmp_path)
    view = ground_truth.view_own_truth(dog, photographs.read_truth(dog, exported), task)

    matrix = np.array(view.record["confusion"])
    assert matrix.sum() == np.diag(matrix).sum() == 512 * 512
    for key in ("pixel_accuracy", "mean_iou", "foreground_mean_iou", "f1_macro", "f1_weighted", "boundary_iou"):
        assert view.record[key] == 1, key
    assert {value for scores in view.record["per_class"].values() for value in scores.values()} <= {1, None}


def test_the_exported_label_map_of_a_rotated_photograph_given_back_is_wholly_right(pool, dataset, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.open(dataset.path(CAT)).save(tmp_path / "rotated.jpg", exif=exif)
    shown = photographs.open_photograph(pool, None, tmp_path / "rotated.jpg", "auto", "squeeze")
    exported = photographs.write_download(shown, Task(), "labels", tmp_path)
    assert (
        ground_truth.view_own_truth(shown, photographs.read_truth(shown, exported), Task()).record["pixel_accuracy"]
        == 1
    )

    # And as a tool that knows nothing of EXIF would have drawn it.
    with Image.open(exported) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "stored.png")
    given = photographs.read_truth(shown, tmp_path / "stored.png")
    assert ground_truth.view_own_truth(shown, given, Task()).record["pixel_accuracy"] == 1


@pytest.fixture(scope="module", params=[PIZZA, DOG])
def annotated(request, pool, dataset, annotations):
    """An image's id, its result, and its annotations as a visitor's truth."""
    shown = photographs.open_photograph(pool, None, dataset.path(request.param), "auto", "squeeze")
    # In float32, as `evaluate` takes them: the tab's own logits are float16.
    exact = pool.segment(dataset.read_image(request.param), "auto", resize="squeeze", exact=True)
    shown = replace(shown, result=exact)
    return request.param, shown, photographs.read_truth(shown, annotations)


@pytest.fixture(scope="module")
def segmenter(no_downloads):
    return Segmenter("auto", precision="float32")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=str)
def test_scores_against_annotations_are_those_of_evaluate(segmenter, dataset, annotated, task):
    image_id, shown, truth = annotated
    record = ground_truth.view_own_truth(shown, truth, task).record
    run = evaluate.Run(segmenter, dataset, protocols.protocol("original"), task, (dataset.image(image_id),))
    expected = evaluate.evaluate(run).to_dict()
    for key in ("dataset", "per_class", "confusion", "protocol", "mode", "class", "threshold", "precision"):
        assert record[key] == expected[key], key
    assert record["split"] == "your own truth"


def test_objects_outside_the_classes_are_warned_of(pool, dataset, annotations):
    shown = photographs.open_photograph(pool, None, dataset.path(PIZZA), "auto", "squeeze")
    assert "pizza" in ground_truth.view_own_truth(shown, photographs.read_truth(shown, annotations), Task()).warning


@pytest.mark.slow
def test_counts_are_of_the_full_size_and_pictures_of_the_screens(pool, tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (600, 3200, 3)).astype(np.uint8)
    shown = photographs.open_photograph(pool, None, saved(rgb, tmp_path, "wide.png"), "auto", "squeeze")
    labels = np.zeros((600, 3200), np.uint8)
    labels[100:400, 1000:3000], labels[0, 0:7] = 15, 255
    view = ground_truth.view_own_truth(shown, photographs.read_truth(shown, saved(labels, tmp_path)), Task())

    kinds, matrix = drawing.count_errors(view.errors), np.array(view.record["confusion"])
    assert sum(kinds.values()) == 600 * 3200 == matrix.sum() + 7
    assert kinds["ignored"] == 7 and kinds["correct"] + kinds["missed"] + kinds["wrong class"] == 300 * 2000
    assert "1,920,000" in tables.per_class(view)
    legend = {entry["name"]: entry["note"] for entry in view.viewer["panels"][3]["legend"]}
    assert legend == {name: f"{pixels:,} px" for name, pixels in kinds.items() if pixels and name != "true background"}
    for panel in view.viewer["panels"][1:]:
        assert (panel["labels"]["width"], panel["labels"]["height"]) == (1600, 300)


def looked(tab, visit, task=None):
    return named(tab.on_look(visit, *controls(task or Task()), ""))


@pytest.mark.slow
def test_a_black_and_white_mask_waits_for_binary_mode(tab, dog, tmp_path):
    where = np.zeros((512, 512), np.uint8)
    where[100:400, 100:400] = 255
    visit = Visit(dog)
    assert tab.on_truth(str(saved(where, tmp_path)), visit)[-1] == ""  # no notice
    given = looked(tab, visit)
    assert "black and white" in given["verdict"] and "choose binary mode" in given["verdict"]
    assert given["viewer"]["layout"] == "single" and given["overall"] == "" and "mask.png" in given["read_as"]
    assert (given["given"]["visible"], given["score_downloads"]["visible"]) == (True, False)

    for task in TASKS[1:]:
        given = looked(tab, visit, task)
        assert given["viewer"]["layout"] == "grid" and "90,000" in given["per_class"]
        assert f"white is {task.friendly_names[1]}" in given["read_as"]
        assert given["score_downloads"]["visible"]
    assert looked(tab, visit)["viewer"]["layout"] == "single"


@pytest.mark.slow
def test_a_truth_goes_with_its_photograph_and_no_other(tab, dog, dataset, annotations, pool):
    visit = Visit(dog)
    tab.on_truth(str(annotations), visit)
    given = looked(tab, visit)
    assert [panel["title"] for panel in given["viewer"]["panels"]] == [
        *("Photograph", "Prediction", "Ground truth", "Errors")
    ]
    assert "dog" in given["verdict"] and "Pixel accuracy" in given["overall"] and "original" in given["provenance"]

    visit.shown = photographs.segment_again(pool, visit.shown, "auto", "aspect")
    assert looked(tab, visit)["viewer"]["layout"] == "grid"
    visit.shown = photographs.open_photograph(pool, visit.shown, dataset.path(CAT), "auto", "squeeze")
    given = looked(tab, visit)
    assert given["viewer"]["layout"] == "single"
    assert given["overall"] == given["verdict"] == given["read_as"] == "" and not given["given"]["visible"]


def test_a_photograph_that_comes_while_a_truth_is_read_stays(tab, dog, dataset, annotations, pool, monkeypatch):
    visit = Visit(dog)
    other = photographs.open_photograph(pool, dog, dataset.path(CAT), "auto", "squeeze")
    read = photographs.read_truth

    def slowly(shown, source):
        given = read(shown, source)
        visit.shown = other
        return given

    monkeypatch.setattr(photographs, "read_truth", slowly)
    *_, notice = tab.on_truth(str(annotations), visit)
    assert "Another photograph came while this truth was read" in notice
    assert visit.shown is other and looked(tab, visit)["viewer"]["layout"] == "single"


def test_a_photograph_is_smoothed_once_for_all_controls(tab, dog, annotations, monkeypatch):
    smoothed, visit = [], Visit(replace(dog))
    refined = Segmentation.refined

    def counted(*args):
        smoothed.append(args)
        return refined(*args)

    monkeypatch.setattr(Segmentation, "refined", counted)
    for task in TASKS:
        tab.on_look(visit, *controls(task, True), "")
    tab.on_truth(str(annotations), visit)
    tab.on_look(visit, *controls(TASKS[0], True), "")
    assert len(smoothed) == 1


@pytest.mark.slow
def test_scores_are_of_the_network_s_own_edges_until_asked_otherwise(tab, dog, annotations, tmp_path):
    visit = Visit(dog)
    assert tab.on_truth(str(annotations), visit)[1] is False  # what becomes of the box
    scores = []
    for sharp in (False, True):
        given = named(tab.on_look(visit, *controls(Task(), sharp), ""))
        assert ("sharp edges" in given["provenance"]) == sharp
        record = json.loads(tab.write_scores(".json", tmp_path, visit, *controls(Task(), sharp), SHOWN).read_text())
        assert record["refine"] == ("edges" if sharp else None)
        assert f"{record['boundary_iou']:.4f}" in given["overall"]
        scores.append(record["boundary_iou"])
    assert scores[0] != scores[1]
    assert tab.on_remove(visit)[1] is True


def test_a_truth_can_be_removed(tab, dog, annotations):
    visit = Visit(dog)
    tab.on_truth(str(annotations), visit)
    tab.on_remove(visit)
    removed = looked(tab, visit)
    assert removed["viewer"]["layout"] == "single" and removed["overall"] == ""
    assert not removed["score_downloads"]["visible"]


def test_a_truth_that_does_not_fit_changes_nothing(tab, dog, annotations, tmp_path):
    visit = Visit(dog)
    tab.on_truth(str(annotations), visit)
    before = visit.shown
    arrived, sharp, notice = tab.on_truth(str(saved(np.zeros((4, 6), np.uint8), tmp_path)), visit)
    assert "the mask is 6 x 4, but the photograph is 512 x 512" in notice
    assert arrived == sharp == {"__type__": "update"} and visit.shown is before


@pytest.mark.slow
def test_no_truth_runs_a_network(tab, dog, annotations):
    visit = Visit(dog)
    tab.on_truth(str(annotations), visit)
    for task in TASKS:
        tab.on_look(visit, *controls(task), "")
    assert visit.shown.network_runs == dog.network_runs


@pytest.mark.slow
def test_files_of_scores(tab, dog, annotations, tmp_path):
    visit = Visit(dog)
    tab.on_truth(str(annotations), visit)
    task = *controls(Task()), SHOWN
    record = json.loads(tab.write_scores(".json", tmp_path, visit, *task).read_text())
    assert (record["split"], record["image_id"]) == ("your own truth", None)
    assert record["file_name"] == "000000900005.jpg"
    with tab.write_scores(".csv", tmp_path, visit, *task).open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["scope"] == "dataset" and float(rows[0]["pixel_accuracy"]) == record["pixel_accuracy"]
    assert (rows[-1]["scope"], rows[-1]["name"], rows[-1]["image_id"]) == ("image", "000000900005.jpg", "")
    with Image.open(tab.write_scores("figure", tmp_path, visit, *task)) as figure:
        assert figure.width > 1000
        colors = {color for _, color in figure.convert("RGB").getcolors(1 << 24)}
    with Image.open(
        tab.write_scores("figure", tmp_path, visit, *task[:-1], SHOWN | {"hidden": "12,errors:2"})
    ) as figure:
        missing = colors - {color for _, color in figure.convert("RGB").getcolors(1 << 24)}
    assert tuple(Task().palette[12]) in missing


@pytest.mark.slow
def test_a_figure_leaves_out_what_the_viewer_leaves_out_as_too_unsure(tab, dog, annotations, tmp_path):
    visit = Visit(dog)
    tab.on_truth(str(annotations), visit)
    dog_pixels = []
    for minimum in ("0", "50", "99"):
        shown = SHOWN | {"minimum": minimum}
        with Image.open(tab.write_scores("figure", tmp_path, visit, *controls(Task()), shown)) as figure:
            panels = np.asarray(figure.convert("RGB"))
        third = panels.shape[1] // 3
        painted = (panels == Task().palette[12]).all(axis=2)
        dog_pixels.append((painted[:, third : 2 * third].sum(), painted[:, 2 * third :].sum()))
    of_prediction, of_truth = zip(*dog_pixels, strict=True)
    assert of_prediction[0] > of_prediction[1] > of_prediction[2] and len(set(of_truth)) == 1


def test_files_of_scores_errors(tab, dog, tmp_path):
    visit = Visit(dog)
    tab.on_truth(str(saved(np.full((512, 512), 255, np.uint8), tmp_path)), visit)
    with pytest.raises(LabelError, match="choose binary mode"):
        tab.write_scores(".json", tmp_path, visit, *controls(Task()), SHOWN)
    tab.on_remove(visit)
    with pytest.raises(UsageError, match="There is no truth of this photograph"):
        tab.write_scores(".json", tmp_path, visit, *controls(Task()), SHOWN)


@pytest.mark.slow
def test_large_photographs_are_compared_few_at_a_time_and_small_ones_at_once(dog, tmp_path, monkeypatch):
    given = photographs.read_truth(dog, photographs.write_download(dog, Task(), "labels", tmp_path))

    def most_of_six(limit):
        at_it = AtATime()

        def compare(*_args, **_kwargs):
            with at_it:
                time.sleep(0.3)

        monkeypatch.setattr(ground_truth, "against_truth", compare)
        monkeypatch.setattr(ground_truth, "LARGE", limit)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: ground_truth.view_own_truth(dog, given, Task()), range(6)))
        return at_it.most

    assert most_of_six(limit=512 * 512 - 1) == ground_truth.LARGE_AT_A_TIME
    assert most_of_six(limit=512 * 512) > ground_truth.LARGE_AT_A_TIME
