"""Wrong usage: exit status 2, and a sentence that says what there is."""

import os
import re
from pathlib import Path

import pytest

from segcore.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "COMMAND"),
        (("segment",), "invalid choice: 'segment'"),
        (("predict", "PHOTO"), "--out"),
        (("predict", "EMPTY", "--out", "OUT"), "no images in .*empty"),
        (("predict", "PHOTO", "--out", "PHOTO"), "cat.jpg is not a folder"),
        (("predict", "PHOTO", "--out", "PHOTO/sub"), "not a folder"),
        (("predict", "PHOTO", "--out", "OUT", "--model", "yolo"), "no model 'yolo'.*deeplabv3_resnet101"),
        (("predict", "PHOTO", "--out", "OUT", "--mode", "binary", "--class", "unicorn"), "no class 'unicorn'.*sheep"),
        (("predict", "PHOTO", "--out", "OUT", "--mode", "binary", "--class", "background"), "no object"),
        (("predict", "PHOTO", "--out", "OUT", "--mode", "panoptic"), "invalid choice: 'panoptic'"),
        (("predict", "PHOTO", "--out", "OUT", "--threshold", "2"), "from 0 to 1.*got 2"),
        (("predict", "PHOTO", "--out", "OUT", "--threshold", "nan"), "from 0 to 1.*got nan"),
        (("predict", "PHOTO", "--out", "OUT", "--threshold", "half"), "--threshold: expected auto or a.*'half'"),
        (("predict", "PHOTO", "--out", "OUT", "--resize", "crop"), "invalid choice: 'crop'"),
        (("predict", "PHOTO", "--out", "OUT", "--device", "tpu"), "device 'tpu' is not available.*cpu"),
        (("predict", "PHOTO", "--out", "OUT", "--precision", "int4"), "precision 'int4'.*float32"),
        (("evaluate",), "--dataset"),
        (("evaluate", "--dataset", "COCO", "--split", "test"), "no split 'test'.*samples"),
        (("evaluate", "--dataset", "COCO", "--protocol", "voc"), "no protocol 'voc'.*torchvision"),
        (("evaluate", "--dataset", "COCO", "--limit", "0"), "at least 1 image, got 0"),
        (("evaluate", "--dataset", "COCO", "--limit", "few"), "--limit: invalid int value: 'few'"),
        (("evaluate", "--dataset", "COCO", "--batch-size", "0"), "at least 1 image, got 0"),
        (("evaluate", "--dataset", "COCO", "--image-ids", "1"), "no image 1 in samples.*542"),
        (("evaluate", "--dataset", "COCO", "--image-ids", "a,b"), "no image 'a' in samples; ids are numbers.*900006"),
        (("evaluate", "--dataset", "COCO", "--json", "EMPTY"), "empty is a folder; name a file"),
        (("evaluate", "--dataset", "COCO", "--csv", "PHOTO/a.csv"), "not a folder"),
        (("evaluate", "--dataset", "COCO", "--figures", "PHOTO"), "cat.jpg is not a folder"),
        (("evaluate", "--dataset", "COCO", "--save-labels", "PHOTO"), "cat.jpg is not a folder"),
        (("evaluate", "--dataset", "COCO", "--resume", "PHOTO"), "cat.jpg is not a folder"),
        (("fetch-weights", "yolo"), "no model 'yolo'.*deeplabv3_resnet50"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage(run, cat, examples_coco, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("COLUMNS", "200")
    empty = tmp_path / "empty"
    empty.mkdir()
    places = {"PHOTO": cat, "COCO": examples_coco, "EMPTY": empty, "OUT": tmp_path / "out"}
    for word, place in places.items():
        arguments = [each.replace(word, str(place)) for each in arguments]

    done = run(*arguments)

    assert done.status == 2 and done.out == ""
    assert re.search(message, done.err)


@pytest.mark.parametrize("options", [["--class", "dog"], ["--threshold", "0.5"]])
def test_what_binary_mode_alone_can_answer_is_not_ignored(examples_coco, tmp_path, capsys, options):
    photograph = examples_coco / "samples" / "000000900005.jpg"
    assert main.main(["predict", str(photograph), "--out", str(tmp_path), *options]) == 2
    assert "--mode binary" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--json", "--csv", "--html"])
def test_a_folder_without_permission_is_refused_before_images_are_scored(
    run, examples_coco, tmp_path, monkeypatch, flag
):
    folder, access = tmp_path / "read only", os.access
    folder.mkdir(0o555)
    # The administrator, who may run the tests, may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
    monkeypatch.setattr("segcore.evaluation.evaluate.evaluate", None)
    done = run("evaluate", "--dataset", examples_coco, flag, folder / "scores")
    assert done.status == 2 and f"no permission to write to {folder}; name a file elsewhere" in done.err
