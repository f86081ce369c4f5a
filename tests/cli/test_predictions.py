"""`--predictions` and folders in `--models`: label maps of any program scored as a model is, and broken ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from segcore.evaluation.results import Evaluation
from tests.cli.outputs import SHIPPED, names, read_json
from tests.helpers.voc_folder import VOC_COLORS, boxes, palette_png, write_voc

PLANE, DOG = 1, 12
MASK = ("--mode", "binary", "--class", "dog")


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Four images in VOC's layout whose truth is random: half a million pixels of all classes, and ignored ones."""
    rng = np.random.default_rng(0)
    truth = {f"image{row}": rng.choice([*range(21), 255], (360 + row, 350)).astype(np.uint8) for row in range(4)}
    return write_voc(tmp_path_factory.mktemp("noise"), truth)


@pytest.fixture
def two(tmp_path):
    """Two images in VOC's layout: a dog at the left of one, a plane at the left of the other."""
    return write_voc(
        tmp_path / "two", {"dog": boxes((6, 8), (DOG, 0, 0, 6, 4)), "plane": boxes((6, 8), (1, 0, 0, 6, 4))}
    )


@pytest.fixture
def scored(run, tmp_path):
    """The record of `evaluate`, of images that are all scored."""

    def scored(*arguments):
        done = run("evaluate", *arguments, "--json", tmp_path / "scores.json")
        assert done.status == 0, done.err
        return read_json(tmp_path / "scores.json")

    return scored


def save(folder, **pictures):
    """A folder of PNG files; an array is saved in grey."""
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(folder / f"{name}.png")
    return folder


def truths(dataset):
    """The label maps of a folder in VOC's layout, by name, as Pillow reads them."""
    files = sorted((dataset / "SegmentationClass").iterdir())
    return {file.stem: np.asarray(Image.open(file)) for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["original", "torchvision", "report"])
@pytest.mark.parametrize("layout", ["coco", "voc"])
def test_saved_label_maps_score_as_the_model_that_wrote_them(scored, two_images, shapes, tmp_path, layout, protocol):
    dataset = ("--dataset", two_images if layout == "coco" else shapes, "--protocol", protocol)
    model = scored(*dataset, "--model", SHIPPED, "--save-labels", tmp_path / "maps")
    maps = scored(*dataset, "--predictions", tmp_path / "maps", "--html", tmp_path / "report.html")

    assert np.sum(model["confusion"]) > 0 and np.any(np.array(model["confusion"])[1:, 1:])
    for key in ("confusion", "objects", "per_class", "images", "protocol", "split"):
        assert maps[key] == model[key]
    for part in ("dataset", "image_mean"):
        assert maps[part] == model[part] | {"brier": None}
        assert maps["intervals"][part] == model["intervals"][part] | {"brier": None}
    assert maps["reliability"]["calibration_error"] is None
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "label maps in maps" in report and "label maps hold no probabilities" in report
    assert "Calibration error" not in report and "How far to trust" not in report


@pytest.fixture(scope="module")
def shapes(tmp_path_factory, examples_coco):
    """Two samples in VOC's layout, a cat and a person, with made-up label maps."""
    folder = tmp_path_factory.mktemp("shapes")
    write_voc(folder, {"a": boxes((160, 240), (8, 15, 25, 140, 190)), "b": boxes((128, 128), (15, 20, 30, 128, 100))})
    for name, number, size in (("a", 2, (240, 160)), ("b", 1, (128, 128))):
        photograph = Image.open(examples_coco / "samples" / f"00000090000{number}.jpg").resize(size)
        photograph.save(folder / "JPEGImages" / f"{name}.jpg")
    return folder


@pytest.mark.slow
def test_saved_masks_score_as_the_model_that_wrote_them(scored, shapes, tmp_path):
    dataset = ("--dataset", shapes, "--mode", "binary", "--class", "cat")
    model = scored(*dataset, "--model", SHIPPED, "--threshold", "0.3", "--save-labels", tmp_path / "maps")
    maps = scored(*dataset, "--predictions", tmp_path / "maps")
    assert maps["confusion"] == model["confusion"] and model["confusion"][1][1] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grey", "16 bits", "palette", "colours", "colours with alpha"])
def test_half_a_million_random_pixels_count_as_in_scikit_learn(scored, noise, tmp_path, kind):
    rng, truth = np.random.default_rng(1), truths(noise)
    predicted = {name: rng.integers(0, 21, labels.shape, np.uint8) for name, labels in truth.items()}
    as_kind = {
        "grey": lambda labels: labels,
        "16 bits": lambda labels: labels.astype(np.uint16),
        "palette": palette_png,
        "colours": lambda labels: VOC_COLORS[labels],
        "colours with alpha": lambda labels: np.dstack([VOC_COLORS[labels], np.full(labels.shape, 255, np.uint8)]),
    }[kind]
    save(tmp_path / "maps", **{name: as_kind(labels) for name, labels in predicted.items()})
    record = scored("--dataset", noise, "--predictions", tmp_path / "maps")

    true, said = (np.concatenate([part[name].ravel() for name in truth]) for part in (truth, predicted))
    assert true.size > 500_000
    counted = true != 255
    expected = confusion_matrix(true[counted], said[counted], labels=range(21))
    np.testing.assert_array_equal(record["confusion"], expected)


def test_maps_of_the_photographs_size_are_resized_as_the_truth_is(scored, noise, tmp_path):
    truth = truths(noise)
    save(tmp_path / "maps", **{name: np.where(labels == 255, 0, labels) for name, labels in truth.items()})
    for protocol in ("original", "torchvision", "report"):
        record = scored("--dataset", noise, "--predictions", tmp_path / "maps", "--protocol", protocol)
        matrix = np.array(record["confusion"])
        assert record["dataset"]["pixel_accuracy"] == 1 and np.all(np.diag(matrix) > 0)


@pytest.mark.parametrize(
    ("dog", "plane", "right"),
    [
        (boxes((6, 8), (DOG, 0, 0, 6, 4)), boxes((6, 8), (PLANE, 0, 0, 6, 4)), 1),  # class ids: a plane is no dog
        (boxes((6, 8), (1, 0, 0, 6, 4)), boxes((6, 8), (1, 0, 0, 6, 4)), 0.75),  # masks: a dog in both
        (boxes((6, 8), (255, 0, 0, 6, 4)), boxes((6, 8)), 1),  # masks in black and white
    ],
    ids=["class ids", "masks of 0 and 1", "black and white"],
)
def test_one_and_white_are_the_object_where_no_map_holds_class_ids(scored, run, two, tmp_path, dog, plane, right):
    maps = save(tmp_path / "maps", dog=dog, plane=plane)
    assert scored("--dataset", two, "--predictions", maps, *MASK)["dataset"]["pixel_accuracy"] == right
    told = run("evaluate", "--dataset", two, "--predictions", maps, *MASK).err
    assert ("holds class ids" if dog.max() == DOG else "holds masks: 1, or white, is read as dog") in told


def test_misfits_are_named_and_the_rest_is_scored(run, noise, tmp_path):
    labels = boxes((360, 350))
    maps = save(tmp_path / "maps", image0=labels, image1=np.full((361, 350), 30, np.uint8), image2=boxes((5, 4)))
    done = run("evaluate", "--dataset", noise, "--predictions", maps, "--json", tmp_path / "scores.json")
    record = read_json(tmp_path / "scores.json")

    assert done.status == 1 and record["images"] == 1
    assert [each["file_name"] for each in record["skipped"]] == ["image1.jpg", "image2.jpg", "image3.jpg"]
    assert "image1.png holds values that stand for no class, such as 30" in done.err
    assert "image2.png is 4 x 5, but must be 350 x 362: the photograph's size" in done.err
    assert "image3.png" in record["skipped"][2]["reason"]


@pytest.mark.parametrize(
    ("picture", "problem"),
    [
        (np.full((6, 8), 255, np.uint8), "is black and white, which does not say what the object is"),
        (boxes((6, 8), (255, 0, 0, 1, 1), (3, 2, 2, 4, 4)), "leaves pixels undecided (value 255)"),
        (np.full((6, 8, 3), 7, np.uint8), "holds colours that stand for no class, such as #070707"),
        (np.full((6, 8), 21, np.uint8), "stand for no class, such as 21"),
        (Image.new("RGBA", (8, 6), (128, 0, 0, 90)), "half transparent"),
    ],
)
def test_a_map_that_is_no_prediction_is_left_out(run, two, tmp_path, picture, problem):
    maps = save(tmp_path / "maps", dog=picture, plane=boxes((6, 8), (PLANE, 0, 0, 6, 4)))
    done = run("evaluate", "--dataset", two, "--predictions", maps)
    assert done.status == 1 and problem in done.err and "dog.png" in done.err


def test_a_jpeg_is_no_label_map(run, two, tmp_path):
    maps = save(tmp_path / "maps", plane=boxes((6, 8)))
    Image.fromarray(boxes((6, 8))).save(maps / "dog.png", "JPEG")
    done = run("evaluate", "--dataset", two, "--predictions", maps)
    assert done.status == 1 and "dog.png is JPEG inside" in done.err


def test_an_evaluation_of_maps_goes_on_only_with_the_same_maps(run, two, tmp_path):
    maps = save(tmp_path / "maps", dog=boxes((6, 8)), plane=boxes((6, 8)))
    command = ("evaluate", "--dataset", two, "--predictions", maps, "--resume", tmp_path / "kept")
    assert [run(*command, "--limit", "1").status, run(*command).status] == [0, 0]
    save(maps, dog=boxes((6, 8), (DOG, 0, 0, 6, 4)))
    done = run(*command)
    assert done.status == 2 and "other settings" in done.err


@pytest.mark.slow
def test_folders_and_models_are_compared(run, shapes, tmp_path):
    perfect = save(tmp_path / "perfect", **truths(shapes))
    empty = save(tmp_path / "empty", **{name: np.zeros_like(labels) for name, labels in truths(shapes).items()})
    for first, second in ((empty, perfect), (SHIPPED, perfect)):
        outputs = ("--json", tmp_path / "c.json", "--html", tmp_path / "c.html")
        done = run("compare", "--dataset", shapes, "--models", f"{first},{second}", *outputs)
        assert done.status == 0, done.err
        record = read_json(tmp_path / "c.json")
        score = record["dataset"]["foreground_mean_iou"]
        assert score["second"] == 1 and score["difference"] > 0 and record["images"] == 2
        assert record["dataset"]["brier"]["difference"] is None
        assert record["second"]["model"] == "label maps in perfect"
        assert "label maps in perfect" in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_compare_names_the_misfits_of_both(run, two, tmp_path, monkeypatch):
    one = save(tmp_path / "one", dog=boxes((6, 8)), plane=boxes((6, 8)))
    other = save(tmp_path / "other", dog=boxes((6, 9)), plane=boxes((6, 8)))
    monkeypatch.setattr(Evaluation, "to_dict", None)  # with its intervals it takes seconds for thousands of images
    done = run("compare", "--dataset", two, "--models", f"{one},{other}")
    assert done.status == 1 and "dog.png is 9 x 6, but must be 8 x 6" in done.err and "1 image" in done.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--predictions", "ABSENT"), "there is no folder"),
        (("--predictions", "MAPS/dog.png"), "there is no folder"),
        (("--predictions", "EMPTY"), "holds no label map of these photographs; expected dog.png, plane.png"),
        (("--predictions", "MAPS", "--model", "deeplabv3_resnet50"), "leave --model out"),
        (("--predictions", "MAPS", "--tta"), "leave --tta out"),
        (("--predictions", "MAPS", "--workers", "2"), "leave --workers out"),
        (("--predictions", "MAPS", *MASK, "--threshold", "0.5"), "leave --threshold out"),
        (("--predictions", "MAPS", "--save-labels", "MAPS"), "name two folders"),
        (("--predictions", "MAPS", "--figures", "MAPS"), "name two folders"),
    ],
)
def test_predictions_errors(run, two, tmp_path, arguments, problem):
    maps = save(tmp_path / "MAPS", dog=boxes((6, 8)), plane=boxes((6, 8)))
    (tmp_path / "EMPTY").mkdir()
    before = {name: (maps / name).read_bytes() for name in names(maps)}
    inside = [Path(tmp_path, each) if each.startswith(("MAPS", "EMPTY", "ABSENT")) else each for each in arguments]
    done = run("evaluate", "--dataset", two, *inside)
    assert done.status == 2 and problem in done.err
    assert {name: (maps / name).read_bytes() for name in names(maps)} == before


@pytest.mark.parametrize("flag", ["--save-labels", "--figures"])
@pytest.mark.parametrize("folder", ["SegmentationClass", "JPEGImages"])
def test_files_of_the_dataset_are_not_overwritten(run, tmp_path, flag, folder):
    two = write_voc(tmp_path / "two", {"dog": boxes((6, 8)), "plane": boxes((6, 8))}, suffix=".png")
    maps = save(tmp_path / "maps", dog=boxes((6, 8)), plane=boxes((6, 8)))
    before = {file: file.read_bytes() for file in (two / folder).iterdir()}
    done = run("evaluate", "--dataset", two, "--predictions", maps, flag, two / folder)
    assert done.status == 2 and f"segcore: {flag} and the " in done.err and "name two folders" in done.err
    assert {file: file.read_bytes() for file in (two / folder).iterdir()} == before


def test_compare_takes_no_threshold_with_label_maps(run, two, tmp_path):
    maps = save(tmp_path / "maps", dog=boxes((6, 8)), plane=boxes((6, 8)))
    for models in (f"{SHIPPED},{maps}", f"{maps},{maps}"):
        done = run("compare", "--dataset", two, "--models", models, *MASK, "--threshold", "0.5")
        assert done.status == 2 and "--threshold" in done.err
