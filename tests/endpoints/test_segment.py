"""`/segment`: what a program gets of a photograph, and what is there to be called."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pycocotools import mask as coco_mask

from segcore.cli import main
from segcore.cli.common import DONE
from segcore.models import catalogue
from tests.endpoints.calls import ASTRONAUT, CAT, DOG, mask_of, pixels, sample, without

pytestmark = pytest.mark.page


def test_two_endpoints_are_listed_and_every_argument_but_the_first_has_a_default(client):
    listed = client.view_api(return_format="dict", print_info=False)
    defaults = {
        endpoint: {
            each["parameter_name"]: each["parameter_default"] if each["parameter_has_default"] else "(none)"
            for each in entry["parameters"]
        }
        for endpoint, entry in listed["named_endpoints"].items()
    }
    assert defaults == {
        "/segment": {
            "image": "(none)",
            "mode": "multiclass",
            "class_name": "any",
            "threshold": -1,
            "model": "auto",
        },
        "/evaluate_coco": {
            "image_id": "(none)",
            "mode": "multiclass",
            "class_name": "any",
            "protocol": "original",
            "model": "auto",
        },
    }
    assert not listed["unnamed_endpoints"]


def predict(folder: Path, photograph: Path, *flags: str) -> tuple[dict, np.ndarray]:
    """The command line's record and overlay."""
    assert main.main(["predict", str(photograph), "--out", str(folder), *flags]) == DONE
    record = json.loads((folder / f"{photograph.stem}.json").read_text())
    return record, pixels(folder / f"{photograph.stem}_overlay.png")


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ({}, []),
        ({"mode": "binary"}, ["--mode", "binary"]),
        (
            {"mode": "binary", "class_name": "person", "threshold": 0.9, "model": "deeplabv3_efficientnet_lite0"},
            ["--mode", "binary", "--class", "person", "--threshold", "0.9", "--model", catalogue.SHIPPED],
        ),
    ],
    ids=["multiclass", "any object", "everything chosen, the model by its former name"],
)
def test_segment_gives_what_predict_writes(client, tmp_path, arguments, flags):
    overlay, result = client.predict(handle_file(sample(ASTRONAUT)), api_name="/segment", **arguments)
    record, painted = predict(tmp_path, sample(ASTRONAUT), *flags)
    assert without(result, "seconds") == without(record, "seconds")
    assert list(result) == list(record)
    assert result["classes"], "the sample shows a person"
    np.testing.assert_array_equal(pixels(overlay), painted)


def test_threshold_decides(client):
    asked = {"mode": "binary", "class_name": "person"}
    everything, surest, automatic = (
        client.predict(handle_file(sample(ASTRONAUT)), api_name="/segment", **asked, **threshold)[1]["classes"][0][
            "share"
        ]
        for threshold in ({"threshold": 0}, {"threshold": 0.9}, {"threshold": -1})
    )
    assert everything == 1, "every pixel has at least the probability 0"
    assert everything > automatic > surest > 0.15


def test_exif_rotation_is_undone(client, tmp_path):
    with Image.open(sample(ASTRONAUT)) as photograph:
        upright = photograph.crop((0, 0, 512, 400))
        exif = Image.Exif()
        exif[274] = 6  # to be turned a quarter clockwise, as telephones store portraits
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "rotated.jpg", exif=exif, quality=95)
        upright.save(tmp_path / "upright.png")
    turned, straight = (
        client.predict(handle_file(tmp_path / name), api_name="/segment") for name in ("rotated.jpg", "upright.png")
    )
    assert (turned[1]["width"], turned[1]["height"]) == (512, 400)
    assert pixels(turned[0]).shape == (400, 512, 3)
    assert np.mean(mask_of(turned[1], "person") == mask_of(straight[1], "person")) > 0.98


def test_transparency_is_over_white(client, tmp_path):
    with Image.open(sample(ASTRONAUT)) as photograph:
        photograph.putalpha(255)
        photograph.paste((0, 0, 0, 0), (0, 0, 512, 40))
        photograph.save(tmp_path / "transparent.png")
    overlay, result = client.predict(handle_file(tmp_path / "transparent.png"), api_name="/segment")
    assert (result["width"], result["height"]) == (512, 512)
    assert mask_of(result, "person").mean() > 0.3
    top = pixels(overlay)[:40]
    assert np.median(top) == 255


def test_sixteen_bits_are_scaled(client, tmp_path):
    with Image.open(sample(ASTRONAUT)) as photograph:
        grey = np.asarray(photograph.convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as deep:
        assert deep.mode == "I;16"
    overlay, result = client.predict(handle_file(tmp_path / "deep.png"), api_name="/segment")
    assert (result["width"], result["height"]) == (512, 512)
    painted = np.any([coco_mask.decode(each["rle"]) for each in result["classes"]], axis=0)
    same = np.all(pixels(overlay) == grey[..., None], axis=2)
    assert same[~painted].mean() > 0.95, "what is not painted, but for outlines, is the photograph"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mode": "binary", "class_name": "unicorn"}, "no class 'unicorn'; choose one of: .*tvmonitor"),
        ({"mode": "binary", "class_name": "background"}, "the background is no object; choose 'any'"),
        ({"model": "unet"}, "no model 'unet'; choose 'auto' or one of: deeplabv3_resnet101"),
        ({"model": "deeplabv3_resnet50"}, "ResNet-50 is not on this machine.*choose another"),
        ({"mode": "both"}, "mode must be 'multiclass' or 'binary', got 'both'"),
        ({"mode": "binary", "threshold": 3}, "probability from 0 to 1.*got 3"),
        ({"mode": "binary", "threshold": "high"}, "probability from 0 to 1.*got 'high'"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_segment_errors(client, quiet, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(handle_file(sample(CAT)), api_name="/segment", **arguments)


def test_segment_errors_for_what_is_no_photograph(client, quiet, tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(sample(CAT).read_bytes()[:3000])
    for name, sentence in (("notes.txt", "notes.txt is not an image.*use JPEG"), ("cut.jpg", "cut.jpg is damaged")):
        with pytest.raises(AppError, match=sentence):
            client.predict(handle_file(tmp_path / name), api_name="/segment")
    with pytest.raises(AppError, match="Give an image"):
        client.predict(None, api_name="/segment")


def test_two_clients_at_once_each_get_their_own(page, tmp_path):
    def ask(image_id: int, mode: str) -> list:
        mine = Client(page.url, download_files=tmp_path / mode, verbose=False)
        return [mine.predict(handle_file(sample(image_id)), mode=mode, api_name="/segment") for _ in range(2)]

    with ThreadPoolExecutor(2) as both:
        astronauts, dogs = both.map(ask, [ASTRONAUT, DOG], ["binary", "multiclass"])
    for answers, image_id, mode, first in ((astronauts, ASTRONAUT, "binary", "any"), (dogs, DOG, "multiclass", "dog")):
        for overlay, result in answers:
            assert (result["file"], result["mode"]) == (sample(image_id).name, mode)
            assert result["classes"][0]["name"] == first
            assert pixels(overlay).shape == (result["height"], result["width"], 3)
            assert without(result, "seconds") == without(answers[0][1], "seconds")
