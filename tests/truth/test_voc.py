"""PASCAL VOC's layout: label maps as they are stored, whichever layout a folder has, and folders that are broken."""

from __future__ import annotations

import pickle
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from segcore.categories import VOC, Categories
from segcore.classes import CLASSES, IGNORE_INDEX
from segcore.errors import AnnotationError, ImageError, UsageError
from segcore.evaluation.protocols import protocol
from segcore.imaging.reading import File
from segcore.models.transforms import Preprocess
from segcore.truth import layouts, voc
from segcore.truth.coco import CocoDataset
from segcore.truth.layouts import open_dataset
from segcore.truth.voc import VocDataset, VocImage
from tests.helpers.voc_folder import boxes, label_file, palette_png, write_list, write_voc

DOG, PERSON, TV = 12, 15, 20
A, B, C = "2007_000042", "2007_000061", "2008_000009"
LABELS = {
    B: boxes((8, 12), (DOG, 1, 1, 5, 6), (IGNORE_INDEX, 5, 0, 6, 12)),
    A: boxes((6, 9), (DOG, 0, 0, 2, 2), (PERSON, 3, 3, 6, 9), (IGNORE_INDEX, 0, 2, 6, 3)),
    C: boxes((5, 4)),
}


@pytest.fixture
def folder(tmp_path):
    return write_voc(tmp_path / "voc", LABELS)


# ---- what it holds


def test_names_are_ids_in_order(folder):
    dataset = VocDataset.open(folder)
    assert dataset.split == "val" and dataset.categories == VOC and not dataset.has_objects
    assert [image.id for image in dataset.images] == [A, B, C]
    assert dataset.image(B) == VocImage(B, f"{B}.jpg")
    assert dataset.id_of(f" {B} ") == B
    assert dataset.path(B) == folder / "JPEGImages" / f"{B}.jpg"


def test_truth_is_the_label_map_as_stored_under_every_policy(folder):
    dataset = VocDataset.open(folder)
    for name, values in LABELS.items():
        for policy in ("original", "torchvision"):
            truth = dataset.truth(name, policy)
            assert truth.dtype == np.uint8 and truth.flags.c_contiguous
            np.testing.assert_array_equal(truth, values)
        assert list(dataset.masks(name)) == []


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("grey", lambda values, path: Image.fromarray(values).save(path)),
        ("grey of 16 bits", lambda values, path: Image.fromarray(values.astype(np.uint16)).save(path)),
        ("palette", lambda values, path: palette_png(values).save(path)),
        ("palette of 4 bits", lambda values, path: palette_png(values % 16).save(path, bits=4)),
        ("1 bit", lambda values, path: Image.fromarray(values == 255).save(path)),
    ],
)
def test_ways_to_store_a_label_map(folder, name, save):
    expected = {"palette of 4 bits": LABELS[A] % 16, "1 bit": (LABELS[A] == 255) * np.uint8(255)}.get(name, LABELS[A])
    save(LABELS[A], label_file(folder, A))
    np.testing.assert_array_equal(VocDataset.open(folder).truth(A), expected)


def test_a_palettes_colours_mean_nothing(folder):
    picture = Image.fromarray(LABELS[A])
    picture.putpalette(np.zeros((256, 3), np.uint8).tobytes())
    picture.save(label_file(folder, A), transparency=0)
    np.testing.assert_array_equal(VocDataset.open(folder).truth(A), LABELS[A])


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".avif", ".JPG"])
def test_photographs_are_found_by_their_stem(tmp_path, suffix):
    dataset = VocDataset.open(write_voc(tmp_path, LABELS, suffix=suffix))
    assert dataset.image(A).file_name == f"{A}{suffix}"
    expected = np.asarray(Image.open(tmp_path / "JPEGImages" / f"{A}{suffix}").convert("RGB"))
    np.testing.assert_array_equal(dataset.read_image(A), expected)


def test_of_two_photographs_with_one_stem_the_jpeg_counts(folder):
    Image.new("RGB", (9, 6)).save(folder / "JPEGImages" / f"{A}.png")
    (folder / "JPEGImages" / f"{A}.txt").write_text("notes")
    assert VocDataset.open(folder).image(A).file_name == f"{A}.jpg"


def test_photographs_are_read_as_they_are_stored(folder):
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    (folder / "JPEGImages" / f"{A}.jpg").unlink()
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"{A}.png", exif=turned)
    np.testing.assert_array_equal(VocDataset.open(folder).read_image(A), pixels)


def test_classes(folder):
    dataset = VocDataset.open(folder)
    assert [dataset.classes_in(each) for each in (A, B, C)] == [(DOG, PERSON), (DOG,), ()]
    assert dataset.ids_with_class(DOG) == (A, B) and dataset.ids_with_class(PERSON) == (A,)
    assert dataset.ids_with_class(None) == (A, B) and dataset.ids_with_class(8) == ()
    assert dataset.other_categories(A) == ()
    with pytest.raises(UsageError, match="the background is no object"):
        dataset.ids_with_class(0)


def test_images_whose_label_map_is_broken_have_no_class(folder):
    label_file(folder, A).write_bytes(b"no picture")
    dataset = VocDataset.open(folder)
    assert dataset.ids_with_class(DOG) == (B,)
    with pytest.raises(AnnotationError, match=f"SegmentationClass/{A}.png"):
        dataset.classes_in(A)
    palette_png(LABELS[A]).save(label_file(folder, A))
    assert dataset.ids_with_class(DOG) == (A, B)


@pytest.mark.parametrize("name", ["voc", "coco", "friendly"])
def test_classes_of_other_models_go_by_their_names(folder, name):
    write_voc(folder, {A: np.array([[0, TV, PERSON, IGNORE_INDEX]], np.uint8)})
    dataset = VocDataset.open(folder, categories=Categories.of("giraffe", getattr(CLASSES[TV], name)))
    assert dataset.truth(A).tolist() == [[0, 2, 0, IGNORE_INDEX]]
    assert dataset.classes_in(A) == (2,) and dataset.ids_with_class(1) == ()
    assert dataset.other_categories(A) == ("person",)
    with pytest.raises(AnnotationError, match=r"none of VOC's classes.*\(giraffe, zebra\)"):
        VocDataset.open(folder, categories=Categories.of("giraffe", "zebra"))


@pytest.mark.parametrize(("name", "size"), [("original", (9, 6)), ("torchvision", (30, 20)), ("report", (20, 20))])
def test_truth_of_each_protocol_is_resized_by_nearest(folder, name, size):
    preprocess = Preprocess(size=20, resize=protocol(name).resize_for("squeeze"), max_size=None)
    truth = protocol(name).truth_at_scored_size(VocDataset.open(folder), A, preprocess)
    np.testing.assert_array_equal(truth, Image.fromarray(LABELS[A]).resize(size, Image.Resampling.NEAREST))
    assert {DOG, PERSON, IGNORE_INDEX} < set(np.unique(truth))


def test_a_list_may_come_from_any_system(folder):
    path = write_list(folder, [])
    path.write_bytes(b"\xef\xbb\xbf" + f"{B}\r\n\r\n  {A}\t\r\n".encode())
    assert [image.id for image in VocDataset.open(folder).images] == [A, B]


def test_counts_of_another_truth_are_not_gone_on_with(folder):
    dataset = VocDataset.open(folder)
    before = {name: dataset.fingerprint(name) for name in LABELS}
    assert len(set(before.values())) == 3
    palette_png(LABELS[A] % 15).save(label_file(folder, A))
    label_file(folder, B).unlink()
    assert [name for name in LABELS if dataset.fingerprint(name) == before[name]] == [C]


def test_a_part_takes_its_label_maps_along(folder):
    label_file(folder, B).unlink()
    dataset = VocDataset.open(folder)
    photograph = File.at(dataset.path(A))
    part = pickle.loads(pickle.dumps(dataset.part([dataset.image(A), dataset.image(B)])))
    pixels = dataset.read_image(A)
    shutil.rmtree(folder)
    assert [image.id for image in part.images] == [A, B]
    np.testing.assert_array_equal(part.truth(A), LABELS[A])
    np.testing.assert_array_equal(part.read_image(A, photograph), pixels)
    with pytest.raises(AnnotationError, match=f"there is no SegmentationClass/{B}.png"):
        part.truth(B)
    with pytest.raises(UsageError, match="no image"):
        part.truth(C)


# ---- which layout


def test_the_layout_is_found_out(folder, examples_coco):
    assert isinstance(open_dataset(folder), VocDataset)
    assert isinstance(open_dataset(str(examples_coco)), CocoDataset)
    assert layouts.splits(folder) == ("val",) and layouts.splits(examples_coco) == ("samples",)
    assert layouts.split_file(folder, "val") == folder / "ImageSets" / "Segmentation" / "val.txt"
    assert layouts.split_file(examples_coco, "samples").name == "instances_samples.json"
    assert layouts.own_categories(folder) is VOC
    assert "dog" in layouts.own_categories(examples_coco).names


def test_a_folder_in_both_layouts_is_cocos(folder, examples_coco):
    shutil.copytree(examples_coco / "annotations", folder / "annotations")
    assert isinstance(open_dataset(folder), CocoDataset)


def test_splits(folder):
    write_list(folder, [A], "train")
    assert voc.splits(folder) == ("train", "val")
    assert [image.id for image in open_dataset(folder, "train").images] == [A]
    with pytest.raises(UsageError, match="several splits; choose one of: train, val"):
        open_dataset(folder)
    for split in ("test", "../val", ""):
        with pytest.raises(UsageError, match=f"no split {split!r}; choose one of: train, val"):
            open_dataset(folder, split)


# ---- what is wrong


def test_folders_that_are_none(tmp_path, folder):
    with pytest.raises(AnnotationError, match="there is no folder .*absent"):
        open_dataset(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="neither annotations/instances_<split>.json .* nor JPEGImages/"):
        open_dataset(tmp_path / "empty")
    (folder / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(AnnotationError, match="holds no ImageSets/Segmentation/<split>.txt; write one"):
        open_dataset(folder)
    for part in ("JPEGImages", "SegmentationClass"):
        shutil.rmtree(folder / part)
        with pytest.raises(AnnotationError, match=f"has no folder {part}; VOC's layout is"):
            open_dataset(folder)
        (folder / part).mkdir()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "val.txt names no image; write the name of one a line"),
        (b" \n\n", "val.txt names no image"),
        (b"2007_000042\n\xff\xfe\xfa", "val.txt is no text, or damaged near byte 12"),
        (b"a\nb\na\n", "val.txt: line 3 names a, as line 1 does; name each image once"),
        (b"../../secret\n", "line 1 is '../../secret'; write the name of one image, without folder"),
        (b"C:\\x\n", "line 1 is "),
        (b"..\n", r"line 1 is '\.\.'"),
        (b"a\x00b\n", "line 1 is "),
        (b"x" * 5000, "line 1 is 'xxx.{,110}; write"),
        (b"/a.jpg /b.png\n" * 30, "and 10 more"),
    ],
)
def test_lists_that_are_broken(folder, content, message):
    write_list(folder, []).write_bytes(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        open_dataset(folder)
    assert "val.txt" in str(caught.value) and len(str(caught.value)) < 6000


def test_a_list_that_is_too_long(folder, monkeypatch):
    size = (folder / "ImageSets" / "Segmentation" / "val.txt").stat().st_size
    monkeypatch.setattr(voc, "MAX_LIST_BYTES", size)
    assert len(open_dataset(folder).images) == 3
    monkeypatch.setattr(voc, "MAX_LIST_BYTES", size - 1)
    with pytest.raises(AnnotationError, match="should hold names alone"):
        open_dataset(folder)


def refused(folder, name=A):
    """What is said of an image's truth, which is also what `problems` says."""
    dataset = VocDataset.open(folder)
    with pytest.raises(AnnotationError) as caught:
        dataset.read_image(name)
        dataset.truth(name)
    assert dataset.problems() == [str(caught.value)]
    return str(caught.value)


def test_label_maps_that_are_broken(folder):
    file = label_file(folder, A)

    def said(save, message):
        file.unlink(missing_ok=True)
        save()
        problem = refused(folder)
        assert f"SegmentationClass/{A}.png" in problem and re.search(message, problem), problem

    colors = palette_png(LABELS[A]).convert("RGB")
    said(lambda: None, f"there is no .*the label map of JPEGImages/{A}.jpg; add it, or take {A} out of .*/val.txt")
    said(lambda: palette_png(LABELS[B]).save(file), f"is 12 x 8 pixels, but JPEGImages/{A}.jpg is 9 x 6; .* own size")
    said(lambda: palette_png(np.full((6, 9), 21, np.uint8)).save(file), "the value 21, but the classes are 0 to 20")
    said(lambda: Image.fromarray(np.full((6, 9), 254, np.uint8)).save(file), "the value 254")
    said(lambda: Image.fromarray(np.full((6, 9), 256, np.uint16)).save(file), "the value 256")
    said(lambda: colors.save(file), r"holds colours \(it is RGB\).*save it as a grey PNG")
    said(lambda: colors.convert("RGBA").save(file), r"it is RGBA")
    said(lambda: colors.convert("LA").save(file), r"it is LA")
    said(
        lambda: colors.convert("L").save(file, "JPEG"),
        "is JPEG inside, which may mix labels; save the label map as PNG",
    )
    said(lambda: file.write_bytes(b""), "is empty")
    said(lambda: file.write_bytes(b"no picture"), "not an image")
    said(lambda: (palette_png(LABELS[A]).save(file), file.write_bytes(file.read_bytes()[:-30])), "damaged")
    said(file.mkdir, "is a folder")


def test_photographs_that_are_broken(folder):
    dataset = VocDataset.open(folder)
    (folder / "JPEGImages" / f"{A}.jpg").write_bytes(b"no picture")
    (folder / "JPEGImages" / f"{B}.jpg").unlink()
    for name, message in ((A, "not an image"), (B, f"there is no file {B}.jpg")):
        with pytest.raises(ImageError, match=message):
            dataset.read_image(name)
    assert [each.partition(".jpg")[0][-11:] for each in dataset.problems()] == [A, B]


def test_images_that_are_not_there(folder):
    dataset = VocDataset.open(folder)
    asked = (dataset.image, dataset.path, dataset.read_image, dataset.truth, dataset.masks, dataset.classes_in)
    for ask in (*asked, dataset.other_categories, dataset.fingerprint):
        with pytest.raises(UsageError, match=f"no image '2007_1' in val; its 3 names go from {A} to {C}"):
            ask("2007_1")
    with pytest.raises(UsageError, match="no policy 'report'; choose one of: original, torchvision"):
        dataset.truth(A, "report")


def test_a_list_with_broken_lines_tells_them_to_who_asks(folder):
    write_list(folder, [A, "../x", A])
    problems: list[str] = []
    dataset = open_dataset(folder, problems=problems)
    assert [image.id for image in dataset.images] == [A]
    assert [re.search("line .", each)[0] for each in problems] == ["line 2", "line 3"]


def test_coco_has_no_image_of_that_name(examples_coco):
    with pytest.raises(UsageError, match=f"no image '{A}' in samples; ids are numbers.*542"):
        open_dataset(examples_coco).id_of(A)
    assert open_dataset(examples_coco).id_of("900001") == 900001
