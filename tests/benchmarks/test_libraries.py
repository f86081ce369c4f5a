"""Other libraries' scores: what docs/evaluation.md says of each, on label maps that can be counted by hand."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import sklearn.metrics
import torch

from benchmarks import libraries

# In the first image background has IoU 3/5, bicycle (2), which is not there, 0, aeroplane (1) 1/2; 18 classes are on
# neither side and two pixels do not count, both called aeroplane. The second image is one right pixel of background.
PAIRS = [
    libraries.Pair(
        "a.jpg",
        np.array([[0, 0, 0, 0], [1, 1, 255, 255]], np.uint8),
        np.array([[0, 0, 0, 2], [1, 0, 1, 1]], np.uint8),
    ),
    libraries.Pair("b.jpg", np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8)),
]
IMAGES = 3 / 5 + 1 / 2 + 0, 1.0  # the sums of the IoUs that are defined
OVER_IMAGES = (IMAGES[0] / 3 + IMAGES[1]) / 2
DATASET = 4 / 6 + 1 / 2 + 0
F1 = 8 / 10 + 2 / 3 + 0
WITH_IGNORED = 4 / 6 + 1 / 4 + 0
ACCURACY = 5 / 7

ROWS = [
    "pixel accuracy",
    "mean IoU, dataset",
    "mean IoU, over images",
    "F1, macro, dataset",
    "IoU of bird in a.jpg: neither there nor predicted",
    "IoU of bicycle in a.jpg: predicted, not there",
    "mean IoU, dataset, if nobody says that 255 does not count",
]
COLUMNS = {
    "segcore": [ACCURACY, DATASET / 3, OVER_IMAGES, F1 / 3, "nan", 0, DATASET / 3],
    "torchvision's references": [ACCURACY, "nan", "-", "-", "nan", 0, "nan"],
    "torchmetrics": [ACCURACY, DATASET / 3, sum(IMAGES) / 4, F1 / 3, 0, 0, "RuntimeError"],
    "smp": [
        1 - 2 * (1 - ACCURACY) / 21,
        (DATASET + 18) / 21,
        (IMAGES[0] + 18 + IMAGES[1] + 20) / 21 / 2,
        (F1 + 18) / 21,
        1,
        0,
        (WITH_IGNORED + 18) / 21,
    ],
    "scikit-learn": [ACCURACY, DATASET / 3, OVER_IMAGES, F1 / 3, "not listed", 0, WITH_IGNORED / 4],
    "scikit-learn, `labels=range(21)`": [
        ACCURACY,
        *(f"{each / 21:.4f}, warns" for each in (DATASET, sum(IMAGES) / 2, F1, 0, 0, WITH_IGNORED)),
    ],
}


@pytest.mark.parametrize("library", libraries.LIBRARIES, ids=lambda library: library.title)
def test_each_library_answers_as_documented(library):
    if not find_spec(library.module):
        pytest.skip(f"needs {library.package}: pip install -r benchmarks/requirements.txt")
    expected = [each if isinstance(each, str) else f"{each:.4f}" for each in COLUMNS[library.title]]
    rows = [f"| {row} | {answer} |" for row, answer in zip(ROWS, expected, strict=True)]
    assert libraries.table(PAIRS, [library]).splitlines()[2:] == rows


def test_torchmetrics_agrees_over_images_when_asked_image_by_image():
    functional = pytest.importorskip("torchmetrics.functional.segmentation")
    counted = [[torch.from_numpy(each.astype(int)) for each in pair.counted()] for pair in PAIRS]
    means = [functional.mean_iou(prediction, truth, 21, input_format="index") for truth, prediction in counted]
    assert float(sum(means) / 2) == pytest.approx(OVER_IMAGES)


def test_smp_calls_pixel_accuracy_micro_recall():
    smp = pytest.importorskip("segmentation_models_pytorch")
    truth, prediction = (torch.from_numpy(each.astype(int))[None] for each in PAIRS[0][1:])
    stats = smp.metrics.get_stats(prediction, truth, mode="multiclass", num_classes=21, ignore_index=255)
    assert float(smp.metrics.recall(*stats, reduction="micro")) == pytest.approx(4 / 6)


def test_scikit_learn_agrees_on_all_labels_when_zero_division_is_nan():
    truth, prediction = (np.concatenate(each) for each in zip(*(pair.counted() for pair in PAIRS), strict=True))
    f1 = sklearn.metrics.f1_score(truth, prediction, labels=range(21), average="macro", zero_division=np.nan)
    assert f1 == pytest.approx(F1 / 3)


@pytest.mark.slow
def test_command_scores_the_samples_and_says_what_is_left_out(examples_coco, monkeypatch, capsys):
    monkeypatch.setattr(libraries, "find_spec", lambda module: None if module == "torchmetrics" else find_spec(module))
    arguments = ["--coco", str(examples_coco), "--split", "samples", "--limit", "1"]
    monkeypatch.setattr(sys, "argv", ["libraries", *arguments])
    libraries.main()
    output = capsys.readouterr().out
    assert "1 images of samples - deeplabv3_mobilenet_v2" in output
    assert "| | segcore | torchvision's references | " in output
    assert "torchmetrics is not installed and left out: pip install -r benchmarks/requirements.txt" in output


def test_command_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["libraries", "--coco", str(tmp_path)])
    with pytest.raises(SystemExit):
        libraries.main()
    assert "holds no annotations" in capsys.readouterr().err
