"""The shipped model from photograph to result, and what a large photograph costs."""

import copy
import dataclasses
import io
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image

from segcore import Segmentation, Segmenter
from segcore.classes import SCREEN_PALETTE
from segcore.errors import ImageError, LabelError, UsageError, WeightsError
from segcore.inference import upsampling
from segcore.inference.provenance import Provenance
from segcore.inference.task import Task
from segcore.models import loading

ROOT = Path(__file__).parents[2]
SHIPPED = "deeplabv3_mobilenet_v2"
CAT, DINING_TABLE, SOFA, TV = 8, 11, 18, 20


@pytest.fixture(scope="module")
def cat(examples_coco):
    return examples_coco / "samples" / "000000900002.jpg"


@pytest.fixture(scope="module")
def result(segmenter, cat):
    return segmenter(cat)


@pytest.mark.slow
def test_result_is_what_the_network_says(segmenter, result, cat):
    """Plain torch from the file to the label map."""
    pixels = np.asarray(Image.open(cat).convert("RGB").resize((520, 520), Image.Resampling.BILINEAR), np.float32)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    batch = torch.from_numpy((pixels / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        coarse = loading.load(SHIPPED)(batch)["out"] / loading.temperature(SHIPPED)
    height, width = Image.open(cat).height, Image.open(cat).width
    # torchvision's forward upsamples to the input's size; its stride-4 logits come back at the cells' centres.
    np.testing.assert_allclose(
        F.interpolate(torch.from_numpy(result.logits)[None].float(), (520, 520), mode="bilinear"), coarse, atol=0.05
    )
    labels = F.interpolate(torch.from_numpy(result.logits)[None].float(), (height, width), mode="bilinear").argmax(1)[0]
    assert (result.labels == labels.numpy()).mean() > 0.9999
    assert (result.labels == CAT).mean() > 0.3


def test_result_is_small(result):
    assert result.logits.dtype == np.float16
    assert result.logits.shape == (21, 130, 130)  # stride 4 of 520 x 520
    assert result.without_image().image is None
    assert len(pickle.dumps(result.without_image())) < result.logits.nbytes + 5_000 < 720_000


def test_result_says_what_made_it(result):
    provenance = result.provenance
    assert (provenance.model, provenance.resize, provenance.device) == (SHIPPED, "squeeze", "cpu")
    assert provenance.precision == "float32" and provenance.seconds > 0
    assert len(provenance.weights_sha256) == 64


@pytest.mark.slow
def test_all_kinds_of_source_agree(segmenter, result, cat):
    pixels = np.asarray(Image.open(cat).convert("RGB"))
    for source in (str(cat), cat.read_bytes(), Image.open(cat), pixels):
        other = segmenter(source)
        np.testing.assert_array_equal(other.image, pixels)
        np.testing.assert_array_equal(other.logits, result.logits)


def test_labels_probabilities_and_masks_fit_each_other(result):
    size_hw = result.size_hw
    labels, probabilities = result.labels, result.probabilities()

    assert labels.dtype == np.uint8 and labels.shape == size_hw == result.image.shape[:2]
    assert probabilities.dtype == np.float32 and probabilities.shape == (21, *size_hw)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert (labels == probabilities.argmax(axis=0)).mean() > 0.9999

    assert result.probability(CAT).dtype == np.float32
    np.testing.assert_array_equal(result.probability(CAT), probabilities[CAT])
    np.testing.assert_allclose(result.probability("any"), 1 - probabilities[0], atol=1e-6)

    assert result.binary("cat").dtype == bool
    np.testing.assert_array_equal(result.binary("cat"), labels == CAT)
    np.testing.assert_array_equal(result.binary(), labels != 0)
    np.testing.assert_array_equal(result.binary("cat", 0.3), probabilities[CAT] >= np.float32(0.3))
    np.testing.assert_array_equal(result.binary("any", threshold=0.3), result.probability("any") >= np.float32(0.3))
    assert result.binary("cat", 0.3, (40, 60)).shape == result.labels_at((40, 60)).shape == (40, 60)

    confidence = result.mean_confidence(labels)
    assert confidence[CAT] == pytest.approx(probabilities[CAT][labels == CAT].mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (DINING_TABLE, ["diningtable", "dining table"]),
        (SOFA, ["sofa", "couch"]),
        (TV, ["tvmonitor", "tv", "TV"]),
    ],
)
def test_a_class_goes_by_all_its_names(result, number, names):
    for name in names:
        np.testing.assert_array_equal(result.probability(name), result.probability(number))
        np.testing.assert_array_equal(result.binary(name, 0.01), result.binary(number, 0.01))


def test_result_errors(result):
    with pytest.raises(UsageError, match="no class 'unicorn'.*person"):
        result.probability("unicorn")
    with pytest.raises(UsageError, match="background is no object"):
        result.binary("background")
    with pytest.raises(UsageError, match="from 0 to 1.*2"):
        result.binary("cat", threshold=2)
    with pytest.raises(UsageError, match="no longer holds its photograph"):
        result.without_image().overlay()
    with pytest.raises(UsageError, match="alpha"):
        result.overlay(alpha=2)


def test_overlay_is_a_picture_of_the_photographs_size(result):
    overlay = result.overlay(alpha=0.5)
    assert isinstance(overlay, Image.Image) and overlay.mode == "RGB"
    assert overlay.size == result.size_hw[::-1]
    pixels, background = np.asarray(overlay), result.labels == 0
    np.testing.assert_array_equal(pixels[background], result.image[background])
    assert (pixels[~background] != result.image[~background]).any(axis=-1).mean() > 0.9


def test_legend_shows_the_colour_of_each_class_found(result):
    colors = {color for _, color in result.legend().getcolors(10**6)}
    present = set(np.unique(result.labels).tolist()) - {0}
    shown = {number for number in range(1, 21) if tuple(int(each) for each in SCREEN_PALETTE[number]) in colors}
    assert shown == present


def test_legend_of_a_picture_without_objects(result):
    empty = dataclasses.replace(result, logits=np.zeros_like(result.logits))
    assert (0, 0, 0) in {color for _, color in empty.legend().getcolors(10**6)}


def test_result_cannot_be_changed(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.size_hw = (1, 1)
    before = result.image.copy(), result.logits.copy()
    result.overlay(), result.labels, result.probability("cat"), result.without_image()
    np.testing.assert_array_equal(result.image, before[0])
    np.testing.assert_array_equal(result.logits, before[1])


def test_results_can_be_keys_and_compared(result):
    same = copy.copy(result)
    assert result == result and result != same
    assert len({result, same}) == 2


def test_segmentation_errors():
    provenance = Provenance("m", "0" * 64, "squeeze", "cpu", "float32", 0.1)
    with pytest.raises(LabelError, match=r"\(21, h, w\).*\(20, 3, 3\)"):
        Segmentation(np.zeros((20, 3, 3), np.float32), (9, 9), provenance)
    with pytest.raises(LabelError, match=r"\(9, 9, 3\).*\(9, 8, 3\)"):
        Segmentation(np.zeros((21, 3, 3), np.float32), (9, 9), provenance, np.zeros((9, 8, 3), np.uint8))


@pytest.mark.slow
def test_aspect_keeps_the_shape(segmenter, cat):
    result = segmenter(cat, resize="aspect")  # 451 x 300 -> 781 x 520
    assert result.provenance.resize == "aspect"
    assert result.logits.shape == (21, 130, 196)  # stride 4
    assert result.labels.shape == (300, 451)
    assert segmenter.resize == "squeeze"


def test_photographs_stand_upright(segmenter, cat):
    picture, exif, file = Image.open(cat), Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6  # to be turned by a quarter
    picture.save(file, "JPEG", exif=exif)
    assert picture.size == (451, 300)
    assert segmenter(file.getvalue()).labels.shape == (451, 300)


@pytest.mark.slow
def test_threads_do_not_disturb_each_other(segmenter, examples_coco):
    paths = sorted((examples_coco / "samples").glob("*.jpg"))[:4]
    alone = [segmenter(path).logits for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: segmenter(path).logits, paths))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_auto_is_resolved_to_what_is_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert Segmenter("auto").model == SHIPPED


def test_segmenter_errors(segmenter, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="no model 'yolo'.*auto.*deeplabv3_resnet101"):
        Segmenter("yolo")
    with pytest.raises(UsageError, match="precision 'int4'"):
        Segmenter(SHIPPED, precision="int4")
    with pytest.raises(UsageError, match="device 'tpu'"):
        Segmenter(SHIPPED, device="tpu")
    with pytest.raises(UsageError, match="resize 'crop'"):
        Segmenter(SHIPPED, resize="crop")
    with pytest.raises(UsageError, match="resize 'crop'"):
        segmenter(np.zeros((9, 9, 3), np.uint8), resize="crop")
    with pytest.raises(ImageError, match="no file nothing.jpg"):
        segmenter("nothing.jpg")
    with pytest.raises(ImageError, match="not an image"):
        segmenter(b"some text that is no image")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="fetch-weights deeplabv3_resnet101"):
        Segmenter("deeplabv3_resnet101")


def peak_bytes(function):
    """The most memory that NumPy and Python held at once during a call, beyond what they held before."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def restless():
    """Logits with a boundary in every cell: the most work that there can be."""
    return np.random.default_rng(0).standard_normal((21, 65, 65), np.float32).astype(np.float16) * 5


FORTY_EIGHT_MEGAPIXELS = 6000, 8000


@pytest.mark.slow
def test_labels_of_a_large_photograph_take_little_memory(restless):
    peak = peak_bytes(lambda: upsampling.label_map(restless, FORTY_EIGHT_MEGAPIXELS))
    assert 48e6 <= peak < 100e6  # the label map is 48 MB of it


@pytest.mark.slow
def test_probabilities_of_a_large_photograph_never_stand_side_by_side(restless):
    peak = peak_bytes(lambda: upsampling.probability(restless, FORTY_EIGHT_MEGAPIXELS, CAT))
    assert 192e6 <= peak < 400e6  # one plane of floats is 192 MB of it


def test_confidence_takes_less_than_one_plane_of_floats(restless):
    """Beyond some rows of all classes; half as wide and high as above, for speed."""
    prediction = np.eye(3000, 4000, dtype=np.uint8)
    some_rows = 4 * 21 * 65 * 4000 * 4
    assert peak_bytes(lambda: Task("binary", "cat").confidence(restless, prediction)) < some_rows + 3000 * 4000 * 4


@pytest.mark.parametrize("dtype", ["uint8", "float64", "half", None])
def test_logits_are_kept_in_floats_alone(segmenter, cat, dtype):
    with pytest.raises(UsageError, match="the logits are kept in 'float16' or 'float32'"):
        segmenter(cat, dtype=dtype)


def test_a_result_of_integers_errors():
    provenance = Provenance(SHIPPED, "0" * 64, "squeeze", "cpu", "float32", 0.0)
    with pytest.raises(LabelError, match="logits must be float16 or float32, got uint8"):
        Segmentation(np.zeros((21, 4, 4), np.uint8), (8, 8), provenance)


def test_int8_is_measured_by_a_folder_given_as_text(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=f"there are none in {tmp_path}; name a folder"):
        Segmenter(SHIPPED, device="cpu", precision="int8", calibration=str(tmp_path))


@pytest.mark.slow
def test_old_python_names_work_with_a_warning(segmenter, cat):
    with pytest.warns(FutureWarning, match="careful= is now called tta=; the old name works until version 0.2"):
        result = segmenter(cat, careful=True)
    assert result.provenance.tta
    with pytest.warns(FutureWarning, match="made_by is now called provenance"):
        assert result.made_by is result.provenance
    with pytest.warns(FutureWarning, match="careful is now called tta"):
        assert result.provenance.careful
    with pytest.warns(FutureWarning, match="careful="):
        made_so = Segmenter(SHIPPED, device="cpu", careful=True)
    with pytest.warns(FutureWarning, match="careful is now called tta"):
        assert made_so.tta and made_so.careful
    with pytest.raises(TypeError, match="give tta= alone"):
        segmenter(cat, careful=True, tta=False)
