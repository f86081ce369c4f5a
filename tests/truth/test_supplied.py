"""A visitor's own truth: every way to save a mask, COCO annotations against pycocotools, and files that are neither."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segcore.classes import COCO_TO_VOC, VOC_PALETTE
from segcore.errors import AnnotationError, ImageError, LabelError, SegcoreError
from segcore.inference.task import Task
from segcore.truth import supplied
from segcore.truth.supplied import read_truth

MULTICLASS, ANY, DOG, AEROPLANE = Task(), Task("binary"), Task("binary", "dog"), Task("binary", "aeroplane")
# 3 x 4, no symmetry: background, aeroplane, dog, person, TV, and a pixel that is not counted.
IDS = np.array([[0, 0, 12, 12], [15, 1, 0, 20], [15, 15, 0, 255]], np.uint8)
WHERE = np.array([[0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 1]], np.uint8)
GREY_RAMP = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
NOISE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


def palette_image(ids, palette):
    picture = Image.fromarray(ids)
    picture.putpalette(np.ascontiguousarray(palette, np.uint8).tobytes())
    return picture


def alpha_image(rgb, alpha):
    return Image.fromarray(np.dstack([rgb, alpha]))


@pytest.fixture
def read(tmp_path):
    """A function from a picture, bytes, or a JSON document to the truth of a photograph of a size and name."""

    def read_one(content, *, size_hw=(3, 4), photograph="photo.jpg", name=None):
        photograph = tmp_path / "photographs" / photograph if isinstance(photograph, str) else photograph
        if isinstance(content, Image.Image):
            content.save(tmp_path / (name := name or "mask.png"), "PNG")
        elif isinstance(content, bytes):
            (tmp_path / (name := name or "mask.png")).write_bytes(content)
        else:
            (tmp_path / (name := name or "truth.json")).write_text(json.dumps(content))
        return read_truth(tmp_path / name, photograph, size_hw)

    return read_one


@pytest.fixture
def rotated(tmp_path):
    """A function that writes a photograph stored as (3, 4) with an EXIF orientation."""

    def write(orientation):
        exif = Image.Exif()
        exif[274] = orientation
        Image.new("RGB", (4, 3)).save(tmp_path / "rotated.jpg", exif=exif)
        return tmp_path / "rotated.jpg"

    return write


# ---- masks of ids


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(IDS),
        Image.fromarray(IDS.astype(np.uint16)),
        palette_image(IDS, VOC_PALETTE),
        palette_image(IDS, GREY_RAMP),
        palette_image(IDS, NOISE),
        Image.fromarray(VOC_PALETTE[IDS]),
        alpha_image(VOC_PALETTE[IDS], np.full(IDS.shape, 255, np.uint8)),
        alpha_image(np.where(IDS[..., None] == 0, 77, VOC_PALETTE[IDS]), np.where(IDS == 0, 0, 255).astype(np.uint8)),
        Image.merge("LA", [Image.fromarray(IDS), Image.new("L", (4, 3), 255)]),
    ],
    ids=["grey", "16 bits", "VOC palette", "grey palette", "any palette", "RGB", "RGBA", "transparent", "LA"],
)
def test_label_maps(read, picture):
    truth = read(picture)
    assert truth.labels(MULTICLASS).tolist() == IDS.tolist()
    assert truth.labels(DOG).tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 255]]
    assert truth.labels(ANY).tolist() == [[0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 0, 255]]
    assert truth.read_as(MULTICLASS) == (
        "Read as a label map of VOC ids: aeroplane, dog, person, TV; some pixels are left out of the scores."
    )


def test_a_label_map_without_objects(read):
    for picture in (Image.new("P", (4, 3)), Image.new("RGB", (4, 3)), Image.new("L", (4, 3)), Image.new("1", (4, 3))):
        truth = read(picture)
        assert not truth.labels(MULTICLASS).any() and not truth.labels(DOG).any()
        assert truth.read_as(MULTICLASS) == "Read as a label map of VOC ids: nothing but background."


def test_white_beside_other_ids_is_not_counted(read):
    ids = np.where(IDS == 1, 0, IDS)
    colors = np.where(ids[..., None] == 255, 255, VOC_PALETTE[ids]).astype(np.uint8)
    for picture in (Image.fromarray(ids), Image.fromarray(colors)):
        assert read(picture).labels(MULTICLASS).tolist() == ids.tolist()


def test_vocs_colour_for_what_is_not_counted_is_not_white(read):
    ids = WHERE * np.uint8(255)
    for picture in (palette_image(ids, VOC_PALETTE), Image.fromarray(VOC_PALETTE[ids])):
        assert read(picture).labels(MULTICLASS).tolist() == ids.tolist()
        assert read(picture).labels(DOG).tolist() == ids.tolist()


# ---- black and white


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(WHERE * np.uint8(255)),
        Image.fromarray(WHERE.astype(bool)),
        Image.fromarray(WHERE * np.uint16(255)),
        Image.fromarray(WHERE * np.uint16(65535)),
        palette_image(WHERE, [(0, 0, 0), (255, 255, 255)]),
        palette_image(1 - WHERE, [(255, 255, 255), (0, 0, 0)]),
        palette_image(WHERE * np.uint8(255), GREY_RAMP),
        Image.fromarray(np.repeat(WHERE[..., None] * np.uint8(255), 3, axis=2)),
        alpha_image(np.full((*WHERE.shape, 3), 255, np.uint8), WHERE * np.uint8(255)),
    ],
    ids=[
        *("grey", "1 bit", "16 bits to 255", "16 bits", "palette", "palette the other way round", "grey palette"),
        *("RGB", "white on transparent"),
    ],
)
def test_black_and_white(read, picture):
    truth = read(picture)
    assert truth.labels(ANY).tolist() == truth.labels(DOG).tolist() == WHERE.tolist()
    assert truth.read_as(DOG) == "Read as black and white: white is dog, black is everything else."
    assert "white is any object" in truth.read_as(ANY)
    assert truth.read_as(MULTICLASS).endswith("It needs binary mode.")
    with pytest.raises(LabelError, match="mask.png is black and white.*choose binary mode"):
        truth.labels(MULTICLASS)


def test_transparent_colours_of_a_palette_count_as_black(read):
    white = np.full((*WHERE.shape, 3), 255, np.uint8)
    mask, blank, soft = (alpha_image(white, alpha).quantize() for alpha in (WHERE * 255, WHERE * 0, 127 * (WHERE + 1)))
    assert (mask.mode, len(np.unique(mask))) == ("P", 2)
    assert read(mask).labels(DOG).tolist() == WHERE.tolist()
    assert not read(blank).labels(DOG).any()
    with pytest.raises(LabelError, match="half transparent"):
        read(soft)
    ids = palette_image(IDS, VOC_PALETTE)
    ids.info["transparency"] = 12
    assert read(ids).labels(MULTICLASS).tolist() == IDS.tolist()


def test_all_white(read):
    truth = read(Image.new("L", (4, 3), 255))
    assert truth.labels(DOG).all()
    with pytest.raises(LabelError, match="black and white"):
        truth.labels(MULTICLASS)


def test_grey_zeros_and_ones_go_by_the_mode(read):
    truth = read(Image.fromarray(WHERE))
    assert truth.labels(MULTICLASS).tolist() == WHERE.tolist()
    assert truth.read_as(MULTICLASS) == "Read as a label map of VOC ids: aeroplane."
    assert truth.labels(DOG).tolist() == truth.labels(AEROPLANE).tolist() == WHERE.tolist()
    assert "white is dog" in truth.read_as(DOG)


def test_a_palettes_zeros_and_ones_are_ids(read):
    truth = read(palette_image(WHERE, VOC_PALETTE))
    assert truth.labels(AEROPLANE).tolist() == WHERE.tolist()
    assert not truth.labels(DOG).any()


# ---- sizes and rotations


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_the_stored_size_is_turned_with_the_photograph(read, rotated, orientation):
    truth = read(Image.fromarray(IDS), size_hw=(4, 3), photograph=rotated(orientation))

    how = {
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    expected = np.asarray(Image.fromarray(IDS).transpose(how[orientation]))
    assert truth.size_hw == (4, 3)
    assert truth.labels(MULTICLASS).tolist() == expected.tolist()


def test_a_mask_of_the_upright_size_is_not_turned(read, rotated):
    upright = np.ascontiguousarray(IDS.T)
    assert read(Image.fromarray(upright), size_hw=(4, 3), photograph=rotated(6)).labels(MULTICLASS).tolist() == (
        upright.tolist()
    )
    assert read(Image.fromarray(IDS), size_hw=(3, 4), photograph=rotated(3)).labels(MULTICLASS).tolist() == IDS.tolist()


def test_size_errors(read, rotated):
    message = "the mask is 4 x 3, but the photograph is 4032 x 3024; give a mask of the photograph's own size"
    with pytest.raises(LabelError, match=message):
        read(Image.fromarray(IDS), size_hw=(3024, 4032))
    with pytest.raises(LabelError, match="the mask is 4 x 3, but the photograph is 3 x 4"):
        read(Image.fromarray(IDS), size_hw=(4, 3), photograph=rotated(1))
    with pytest.raises(LabelError, match=r"seven.png is 12 x 8, but the photograph is 4 x 3; give the annotations"):
        read(document())


# ---- masks that are none


def blurred():
    grey = np.linspace(0, 255, 12).astype(np.uint8).reshape(3, 4)
    return Image.fromarray(grey)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.fromarray(IDS + np.uint8(2)), r"values that stand for no class, such as 22;.*0 to 20, and 255"),
        (blurred(), "such as 23, 46, 69, 92, 115;"),
        (Image.fromarray(np.full((3, 4), 300, np.uint16)), "such as 300;"),
        (palette_image(np.full((3, 4), 40, np.uint8), VOC_PALETTE), "such as 40;"),
        (Image.new("RGB", (4, 3), (1, 2, 3)), "colours that stand for no class, such as #010203;"),
        (alpha_image(VOC_PALETTE[IDS], np.full(IDS.shape, 128, np.uint8)), "half transparent"),
        (Image.merge("LA", [Image.fromarray(IDS), Image.new("L", (4, 3), 9)]), "half transparent"),
    ],
    ids=["22", "soft", "16 bits", "palette", "RGB", "RGBA", "LA"],
)
def test_mask_errors(read, picture, message):
    with pytest.raises(LabelError, match=message):
        read(picture)


def test_other_formats_errors(read):
    jpeg = io.BytesIO()
    Image.fromarray(IDS).save(jpeg, "JPEG")
    with pytest.raises(LabelError, match="mask.jpg is neither PNG nor JSON; save a mask as PNG"):
        read(jpeg.getvalue(), name="mask.jpg")
    with pytest.raises(LabelError, match="mask.png is neither PNG nor JSON"):
        read(jpeg.getvalue())
    with pytest.raises(LabelError, match="neither"):
        read(b"a diary", name="notes.txt")


def encoded(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_broken_files_errors(read, tmp_path):
    png = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 21, (64, 64)).astype(np.uint8)))
    with pytest.raises(ImageError, match="mask.png is damaged, cut short"):
        read(png[: len(png) // 2], size_hw=(64, 64))
    with pytest.raises(ImageError, match="mask.png is empty"):
        read(b"")
    with pytest.raises(ImageError, match="there is no file absent.json"):
        read_truth(tmp_path / "absent.json", "photo.jpg", (3, 4))
    with pytest.raises(ImageError, match="is a folder"):
        read_truth(tmp_path, "photo.jpg", (3, 4))


def test_damaged_masks_give_a_truth_or_a_sentence(read):
    whole, random = encoded(palette_image(IDS, VOC_PALETTE)), np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 3):
            damaged[position] = random.integers(0, 256)
        try:
            read(bytes(damaged))
        except SegcoreError as error:
            assert str(error)


def test_a_bomb_costs_no_memory(read):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 9000
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(side * (side + 1)))) + chunk(b"IEND", b"")
    tracemalloc.start()
    with pytest.raises(LabelError, match="the mask is 9000 x 9000"):
        read(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_what_is_kept_is_small(read):
    ids = np.zeros((3000, 4000), np.uint8)
    ids[500:2000, 700:3000] = 15
    truth = read(Image.fromarray(ids), size_hw=(3000, 4000))
    assert len(truth.packed) < 100_000
    assert np.array_equal(truth.labels(MULTICLASS), ids)


# ---- COCO annotations

SQUARE = [[2, 1, 6, 1, 6, 5, 2, 5]]


def document(*names, segmentation=SQUARE, category="dog", size=(12, 8)):
    """Annotations of images of these names, each with one object."""
    names = names or ("seven.png",)
    images = [
        {"id": number, "file_name": name, "width": size[0], "height": size[1]} for number, name in enumerate(names)
    ]
    annotations = [
        {"id": each["id"], "image_id": each["id"], "category_id": 7, "iscrowd": 0, "segmentation": segmentation}
        for each in images
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": category}]}


def test_annotations_equal_pycocotools(examples_coco):
    file = examples_coco / "annotations" / "instances_samples.json"
    reference = COCO(str(file))
    for image in reference.dataset["images"]:
        truth = read_truth(file, examples_coco / "samples" / image["file_name"], (image["height"], image["width"]))
        labels = truth.labels(MULTICLASS)

        objects = reference.loadAnns(reference.getAnnIds(image["id"]))
        known = [each for each in objects if each["category_id"] in COCO_TO_VOC]
        masks = {}
        crowd = np.zeros(labels.shape, bool)
        for each in known:
            if each["iscrowd"]:
                crowd |= reference.annToMask(each).astype(bool)
                continue
            number = COCO_TO_VOC[each["category_id"]]
            masks[number] = masks.get(number, False) | reference.annToMask(each).astype(bool)
        times = sum(mask.astype(int) for mask in masks.values()) + np.zeros(labels.shape, int)
        assert np.array_equal(labels == 0, (times == 0) & ~crowd)
        assert np.array_equal(labels == 255, (times > 1) | crowd)
        for number, mask in masks.items():
            assert np.array_equal(labels == number, mask & (times == 1) & ~crowd)
        others = {reference.cats[each["category_id"]]["name"] for each in objects if each not in known}
        assert truth.others == tuple(sorted(others))


def test_annotations_are_read_by_content(read):
    square = np.zeros((8, 12), np.uint8)
    square[1:5, 2:6] = 12
    text = json.dumps(document())
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        truth = read(("\n " + text).encode(encoding), size_hw=(8, 12), name="truth.png")
        assert truth.labels(MULTICLASS).tolist() == square.tolist()
        assert truth.labels(DOG).tolist() == (square // 12).tolist()
        assert truth.read_as(MULTICLASS) == "Read as COCO annotations of seven.png: dog."
    assert read(encoded(Image.fromarray(IDS)), name="mask.json").labels(MULTICLASS).tolist() == IDS.tolist()


def test_the_photographs_name_chooses_the_image(read):
    several = document("a/one.jpg", "b/two (2).jpg", "three.jpg")
    for photograph, name in (
        ("two (2).jpg", "b/two (2).jpg"),
        ("two 2.JPG", "b/two (2).jpg"),
        ("one.jpg", "a/one.jpg"),
    ):
        assert read(several, size_hw=(8, 12), photograph=photograph).annotated == name
    assert read(document(), size_hw=(8, 12), photograph="any.jpg").annotated == "seven.png"


def test_annotations_of_the_stored_size_are_turned_with_the_photograph(read, rotated):
    truth = read(document(size=(4, 3), segmentation=[[0, 0, 2, 0, 2, 1, 0, 1]]), size_hw=(4, 3), photograph=rotated(6))
    assert truth.labels(MULTICLASS).tolist() == [[0, 0, 12], [0, 0, 12], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "truth.json is no JSON, or cut short"),
        (b"[" * 100_000, "truth.json cannot be read"),
        (b'{"images": ' + b"9" * 5000 + b"}", "truth.json cannot be read"),
        (b'{"images": "\xff"}', "truth.json cannot be read"),
        (b"nothing", "truth.json is no JSON"),
        ([], "must hold an object with 'images'"),
        ({"classes": []}, "'images' is missing"),
        ({"images": [], "annotations": [], "categories": []}, "describes no images"),
        (document(category="giraffe"), "no category has the name of one of the 20 classes"),
        (document(segmentation=[[1, 2]]), r"annotations\[0\] \(id 0\): 'segmentation' must hold lists of 3 or more"),
        (document(*"abcdefg"), "no image called photo.jpg, but a, b, c, d, e and 2 more"),
        (document("a/photo.jpg", "b/photo.jpg"), "2 images called photo.jpg"),
    ],
)
def test_annotations_errors(read, content, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read(content, size_hw=(8, 12), name="truth.json")
    assert str(caught.value).startswith("truth.json")


@pytest.mark.slow
def test_annotations_that_would_take_all_memory_errors(read):
    zigzag = [[0, 0, 9999, 9999] * 300]
    with pytest.raises(AnnotationError, match="1 outlines of 5,999,400 pixels together.*too much to draw"):
        read(document(segmentation=zigzag, size=(10_000, 10_000)), size_hw=(10_000, 10_000))
    with pytest.raises(AnnotationError, match="60,000 outlines of 1,920,000 pixels"):
        read(document(segmentation=[[0, 0, 8, 0, 8, 8, 0, 8]] * 60_000), size_hw=(8, 12))


def test_annotations_of_too_many_bytes_errors(read, monkeypatch):
    monkeypatch.setattr(supplied, "MAX_JSON_BYTES", 100)
    with pytest.raises(AnnotationError, match="truth.json has .* MB, and .* is the most that is read"):
        read(document(), size_hw=(8, 12))
