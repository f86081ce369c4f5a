"""COCO's annotations as label maps, against pycocotools and torchvision's reference procedure; and broken files."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO

from segcore.classes import CLASSES, IGNORE_INDEX
from segcore.errors import AnnotationError, ImageError, UsageError
from segcore.truth import coco, coco_json
from segcore.truth.coco import CocoDataset

# As published: the category ids of torchvision's segmentation references, in the order of the classes.
TORCHVISION_CATEGORIES = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
PERSON, DOG, CAT, GIRAFFE = 1, 18, 17, 25
CATEGORIES = [
    {"id": PERSON, "name": "person"},
    {"id": DOG, "name": "dog"},
    {"id": CAT, "name": "cat"},
    {"id": GIRAFFE, "name": "giraffe"},
]
HEIGHT, WIDTH = 8, 12


def box(x: int, y: int, width: int, height: int) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def rle(x: int, y: int, width: int, height: int, *, compressed: bool = False) -> dict:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + height, x : x + width] = 1
    if compressed:
        encoded = rle_tools.encode(np.asfortranarray(mask))
        return encoded | {"counts": encoded["counts"].decode()}
    runs, value = [0], 0
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return {"size": [HEIGHT, WIDTH], "counts": runs}


def annotated(number: int, category: int, segmentation, *, crowd: int = 0, image: int = 7) -> dict:
    return {
        "id": number, "image_id": image, "category_id": category, "iscrowd": crowd, "segmentation": segmentation,
        "area": 1, "bbox": [0, 0, 1, 1],
    }  # fmt: skip


def document(*annotations: dict) -> dict:
    images = [
        {"id": 9, "file_name": "nine.png", "width": 5, "height": 4},
        {"id": 7, "file_name": "seven.png", "width": WIDTH, "height": HEIGHT},
    ]
    return {"images": images, "annotations": list(annotations), "categories": CATEGORIES}


@pytest.fixture
def written(tmp_path):
    """A function that writes a document, or a text, as a split's annotations, and gives the folder."""

    def write(content, split="tiny"):
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return write


@pytest.fixture
def opened(written):
    return lambda *annotations: CocoDataset.open(written(document(*annotations)))


# ---- label maps


def torchvision_truth(annotations: list[dict], height: int, width: int) -> np.ndarray:
    """`FilterAndRemapCocoCategories`, `ConvertCocoPolysToMask` of torchvision's references/segmentation, in NumPy."""
    masks, numbers = [], []
    for each in annotations:
        if each["category_id"] in TORCHVISION_CATEGORIES:
            decoded = rle_tools.decode(rle_tools.frPyObjects(each["segmentation"], height, width))
            masks.append(decoded.reshape(height, width, -1).any(axis=2))
            numbers.append(TORCHVISION_CATEGORIES.index(each["category_id"]))
    if not masks:
        return np.zeros((height, width), np.uint8)
    masks, numbers = np.array(masks), np.array(numbers, np.uint8)
    target = (masks * numbers[:, None, None]).max(axis=0)
    target[masks.sum(axis=0) > 1] = 255
    return target


def original_truth(reference: COCO, annotations: list[dict], height: int, width: int) -> np.ndarray:
    """The default protocol's truth from pycocotools' own masks, class by class."""
    in_class = np.zeros((21, height, width), bool)
    crowd = np.zeros((height, width), bool)
    for each in annotations:
        if each["category_id"] in TORCHVISION_CATEGORIES:
            mask = reference.annToMask(each).astype(bool)
            target = crowd if each["iscrowd"] else in_class[TORCHVISION_CATEGORIES.index(each["category_id"])]
            target |= mask
    truth = in_class.argmax(axis=0)
    truth[in_class.sum(axis=0) > 1] = 255
    truth[crowd] = 255
    return truth.astype(np.uint8)


def check_against_references(folder, split):
    dataset = CocoDataset.open(folder, split)
    reference = COCO(folder / "annotations" / f"instances_{split}.json")
    seen = set()
    for image in dataset.images:
        annotations = reference.imgToAnns[image.id]
        original, torchvision = (dataset.truth(image.id, policy) for policy in ("original", "torchvision"))
        assert np.array_equal(original, original_truth(reference, annotations, image.height, image.width))
        assert np.array_equal(torchvision, torchvision_truth(annotations, image.height, image.width))
        seen |= set(np.unique(original))
    return seen


@pytest.mark.slow
def test_truth_of_coco_equals_the_references(shared_coco):
    assert check_against_references(shared_coco, "val2017") == {*range(21), IGNORE_INDEX}


def test_truth_of_the_examples_equals_the_references(examples_coco):
    assert check_against_references(examples_coco, "samples") >= {0, 15, IGNORE_INDEX}


def test_truth_of_one_object(opened):
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[2:5, 3:9] = 12
    for segmentation in (box(3, 2, 6, 3), rle(3, 2, 6, 3), rle(3, 2, 6, 3, compressed=True)):
        dataset = opened(annotated(1, DOG, segmentation))
        for policy in ("original", "torchvision"):
            truth = dataset.truth(7, policy)
            assert truth.dtype == np.uint8 and truth.flags.c_contiguous
            assert np.array_equal(truth, expected)


def test_truth_without_objects(opened):
    dataset = opened(annotated(1, GIRAFFE, box(0, 0, 4, 4)), annotated(2, GIRAFFE, rle(0, 0, 12, 8), crowd=1))
    assert not dataset.truth(7, "original").any()
    assert not dataset.truth(7, "torchvision").any()
    assert dataset.truth(9).shape == (4, 5)


@pytest.mark.parametrize(
    ("objects", "original", "torchvision"),
    [
        # Two objects on the first row's columns 0 to 3 and 2 to 5 of the picture's top left corner.
        ([(DOG, 0), (DOG, 0)], [12, 12, 12, 12, 12, 12, 0], [12, 12, 255, 255, 12, 12, 0]),
        ([(DOG, 0), (PERSON, 0)], [12, 12, 255, 255, 15, 15, 0], [12, 12, 255, 255, 15, 15, 0]),
        ([(DOG, 0), (DOG, 1)], [12, 12, 255, 255, 255, 255, 0], [12, 12, 255, 255, 12, 12, 0]),
        ([(PERSON, 1), (DOG, 0)], [255, 255, 255, 255, 12, 12, 0], [15, 15, 255, 255, 12, 12, 0]),
        ([(DOG, 0), (GIRAFFE, 0)], [12, 12, 12, 12, 0, 0, 0], [12, 12, 12, 12, 0, 0, 0]),
        ([(DOG, 0), (GIRAFFE, 1)], [12, 12, 12, 12, 0, 0, 0], [12, 12, 12, 12, 0, 0, 0]),
    ],
)
def test_truth_where_objects_overlap(opened, objects, original, torchvision):
    dataset = opened(
        *(
            annotated(number, category, rle(2 * number, 0, 4, 1), crowd=crowd)
            for number, (category, crowd) in enumerate(objects)
        )
    )
    assert dataset.truth(7, "original")[0, :7].tolist() == original
    assert dataset.truth(7, "torchvision")[0, :7].tolist() == torchvision


def test_truth_where_three_objects_overlap(opened):
    dataset = opened(*(annotated(each, category, box(0, 0, 2, 2)) for each, category in enumerate((DOG, CAT, DOG))))
    assert dataset.truth(7, "original")[0, 0] == dataset.truth(7, "torchvision")[0, 0] == IGNORE_INDEX


def test_truth_of_an_object_of_several_polygons_that_overlap(opened):
    dataset = opened(annotated(1, DOG, box(0, 0, 4, 4) + box(2, 2, 4, 4)))
    for policy in ("original", "torchvision"):
        assert np.unique(dataset.truth(7, policy)).tolist() == [0, 12]


def test_truth_errors(opened):
    dataset = opened()
    with pytest.raises(UsageError, match="no policy 'report'; choose one of: original, torchvision"):
        dataset.truth(7, "report")
    with pytest.raises(UsageError, match="no image 8"):
        dataset.truth(8)


# ---- records


def test_images_are_sorted_and_found_by_id(opened):
    dataset = opened()
    assert [image.id for image in dataset.images] == [7, 9]
    assert dataset.image(9) == coco_json.CocoImage(id=9, file_name="nine.png", width=5, height=4)


def test_image_errors(opened):
    with pytest.raises(UsageError, match="no image 100 in tiny; its 2 ids go from 7 to 9, the nearest is 9"):
        opened().image(100)
    with pytest.raises(UsageError, match="no image '7'"):
        opened().image("7")


def test_classes_and_other_categories(opened):
    dataset = opened(
        annotated(1, PERSON, rle(0, 0, 2, 2), crowd=1),
        annotated(2, DOG, box(4, 4, 2, 2)),
        annotated(3, DOG, box(6, 4, 2, 2)),
        annotated(4, GIRAFFE, box(0, 0, 2, 2), image=9),
    )
    assert dataset.classes_in(7) == (12, 15)
    assert dataset.classes_in(9) == ()
    assert dataset.other_categories(7) == ()
    assert dataset.other_categories(9) == ("giraffe",)
    assert dataset.ids_with_class(15) == (7,)
    assert dataset.ids_with_class(8) == ()
    assert dataset.ids_with_class(None) == (7,)


def test_ids_with_class_equal_pycocotools(shared_coco):
    dataset = CocoDataset.open(shared_coco, "val2017")
    reference = COCO(shared_coco / "annotations" / "instances_val2017.json")
    for number, category in enumerate(TORCHVISION_CATEGORIES[1:], start=1):
        assert dataset.ids_with_class(number) == tuple(sorted(reference.getImgIds(catIds=[category])))


def test_ids_with_class_errors(opened):
    with pytest.raises(UsageError, match="the background is no object"):
        opened().ids_with_class(0)
    with pytest.raises(UsageError, match="no class 21"):
        opened().ids_with_class(21)


@pytest.mark.parametrize("name", ["voc", "coco", "friendly"])
def test_categories_go_by_their_names(written, name):
    """Whatever numbers a tool gave them: here those of PASCAL VOC, and some category first that nobody knows."""
    content = document(*(annotated(number, number, box(number % 9, 0, 1, 1)) for number in (0, 12, 99)))
    content["categories"] = [{"id": 99, "name": "zeppelin"}]
    content["categories"] += [{"id": number, "name": getattr(each, name)} for number, each in enumerate(CLASSES)]
    dataset = CocoDataset.open(written(content))
    assert dataset.classes_in(7) == (12,)
    assert dataset.other_categories(7) == ("background", "zeppelin")
    assert np.unique(dataset.truth(7)).tolist() == [0, 12]


def test_iscrowd_may_be_left_out(opened):
    record = annotated(1, DOG, box(0, 0, 2, 2))
    del record["iscrowd"]
    assert opened(record).truth(7)[0, 0] == 12


def test_an_object_of_no_area_is_none(opened):
    assert opened(annotated(1, DOG, []) | {"area": 0}).classes_in(7) == ()


# ---- splits


def test_splits(written):
    folder = written(document())
    assert coco.splits(folder) == ("tiny",)
    assert CocoDataset.open(str(folder)).split == "tiny"
    written(document(), "val2017")
    written(document(), "another")
    assert coco.splits(folder) == ("another", "tiny", "val2017")
    assert CocoDataset.open(folder, "tiny").split == "tiny"


def test_splits_errors(written, tmp_path):
    with pytest.raises(AnnotationError, match="no annotations/instances_<split>.json"):
        CocoDataset.open(tmp_path / "absent")
    folder = written(document())
    for split in ("train2017", "../tiny", ""):
        with pytest.raises(UsageError, match=f"no split {split!r}; choose one of: tiny"):
            CocoDataset.open(folder, split)
    written(document(), "val2017")
    with pytest.raises(UsageError, match="several splits; choose one of: tiny, val2017"):
        CocoDataset.open(folder)


# ---- photographs


def test_read_image_is_in_stored_orientation(opened, tmp_path):
    dataset = opened()
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    dataset.path(7).parent.mkdir()
    Image.fromarray(pixels).save(dataset.path(7), exif=turned)
    assert np.array_equal(dataset.read_image(7), pixels)


def test_read_image_errors(opened):
    dataset = opened()
    with pytest.raises(ImageError, match="seven.png"):
        dataset.read_image(7)
    dataset.path(9).parent.mkdir()
    Image.new("RGB", (4, 5)).save(dataset.path(9))
    with pytest.raises(AnnotationError, match="nine.png is 4 x 5 pixels, but 5 x 4 in .*instances_tiny.json"):
        dataset.read_image(9)
    dataset.path(7).write_bytes(b"no image")
    with pytest.raises(ImageError, match="seven.png"):
        dataset.read_image(7)


# ---- broken files


def refused(written, content) -> str:
    with pytest.raises(AnnotationError) as caught:
        CocoDataset.open(written(content))
    message = str(caught.value)
    assert "instances_tiny.json" in message
    return message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON, or cut short.*line 1, column 1"),
        ('{"images": [],\n "annotations": [', "no JSON, or cut short.*line 2, column 18"),
        ("\x00" * 40, "no JSON"),
        ("[" * 200_000, "cannot be read: it holds lists within thousands of lists"),
        ("[" + "9" * 5000 + "]", "cannot be read: it holds .*numbers of thousands of digits"),
        ([{"image_id": 7}], "object with 'images', 'annotations' and 'categories', not .*results"),
        ("null", "object with 'images'"),
        ({"annotations": [], "categories": []}, "'images' is missing; a file of instances has"),
        ({"images": [], "categories": []}, "'annotations' is missing"),
        ({"images": [], "annotations": []}, "'categories' is missing"),
        ({"images": {}, "annotations": [], "categories": []}, "'images' must be a list, not {}"),
        ({"images": {"a": [[["a" * 30] * 4] * 4] * 4}, "annotations": [], "categories": []}, r"list, not .{97}\.\.\.;"),
        ({"images": [3], "annotations": [], "categories": []}, r"images\[0\] must be an object, not 3"),
    ],
)
def test_open_errors_in_the_file(written, content, message):
    assert re.search(message, refused(written, content))


def test_open_errors_in_the_encoding(written):
    folder = written(document())
    (folder / "annotations" / "instances_tiny.json").write_bytes(b'{"images": "\xff\xfe\xfa"}')
    with pytest.raises(
        AnnotationError, match="instances_tiny.json cannot be read: it is no text, or damaged near byte 12"
    ):
        CocoDataset.open(folder)


def test_open_errors_in_the_size(written, monkeypatch):
    folder = written(document())
    size = (folder / "annotations" / "instances_tiny.json").stat().st_size
    monkeypatch.setattr(coco_json, "MAX_ANNOTATION_BYTES", size)
    assert len(CocoDataset.open(folder).images) == 2
    monkeypatch.setattr(coco_json, "MAX_ANNOTATION_BYTES", size - 1)
    assert re.search("the most that is read; give a part of its images", refused(written, document()))


@pytest.mark.parametrize(
    ("annotations", "categories", "kind"),
    [
        ([{"image_id": 7, "file_name": "7.png", "segments_info": []}], CATEGORIES, "panoptic"),
        ([{"image_id": 7, "id": 1, "caption": "A dog."}], None, "captions"),
        ([], [{"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}], "keypoints"),
    ],
)
def test_open_errors_in_the_kind_of_file(written, annotations, categories, kind):
    content = document() | {"annotations": annotations, "categories": categories}
    assert re.search(f"it holds {kind}.*take COCO's file of instances", refused(written, content))


@pytest.mark.parametrize("list_name", ["images", "annotations", "categories"])
@pytest.mark.parametrize(("change", "message"), [("missing", "is missing"), ("text", "must be an integer, not '1'")])
def test_open_errors_in_ids(written, list_name, change, message):
    content = json.loads(json.dumps(document(annotated(1, DOG, box(0, 0, 2, 2)))))
    content[list_name][0].pop("id")
    if change == "text":
        content[list_name][0]["id"] = "1"
    assert f"{list_name}[0]: 'id' {message}" in refused(written, content)


@pytest.mark.parametrize("list_name", ["images", "annotations", "categories"])
def test_open_errors_in_ids_that_occur_twice(written, list_name):
    content = document(annotated(1, DOG, box(0, 0, 2, 2)))
    content[list_name] = content[list_name] + content[list_name][:1]
    last = len(content[list_name]) - 1
    assert re.search(
        rf"{list_name}\[{last}\] \(id \d+\): 'id' is also that of {list_name}\[0\]", refused(written, content)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file_name": None}, "'file_name' must be a text, not None"),
        ({"height": "8"}, "'height' must be an integer, not '8'"),
        ({"width": True}, "'width' must be an integer, not True"),
        ({"width": 0}, "'width' and 'height' must be positive.*0 and 8"),
        ({"width": -12, "height": -8}, "'width' and 'height' must be positive.*-12 and -8"),
        ({"width": 10**9, "height": 10**9}, ".*100,000,000 pixels at most"),
        ({"width": 10**4000, "height": 1}, ".*they are 1000.{,50} and 1$"),
    ],
)
def test_open_errors_in_images(written, changes, message):
    content = document()
    content["images"][1] |= changes
    assert re.search(rf"images\[1\] \(id 7\): {message}", refused(written, content))


@pytest.mark.parametrize("name", ["file_name", "width", "height"])
def test_open_errors_in_images_that_lack_a_field(written, name):
    content = document()
    del content["images"][1][name]
    assert f"images[1] (id 7): '{name}' is missing" in refused(written, content)


@pytest.mark.parametrize(
    "file_name",
    [
        "/etc/passwd", "../seven.png", "a/../../seven.png", "..", "", "\\\\host\\share\\x.png", "..\\seven.png",
        "C:/seven.png", "C:seven.png", "more\\seven.png", "seven\x00.png", "seven\n.png",
    ],
)  # fmt: skip
def test_open_errors_in_file_names_that_lead_outside(written, file_name):
    content = document()
    content["images"][1]["file_name"] = file_name
    assert "images[1] (id 7): 'file_name' must be the name of a file inside" in refused(written, content)


def test_file_names_may_name_folders_inside(written):
    content = document()
    content["images"][1]["file_name"] = "more/a photo..of 7.png"
    folder = written(content)
    assert CocoDataset.open(folder).path(7) == folder / "tiny" / "more" / "a photo..of 7.png"


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 18}], r"categories\[0\] \(id 18\): 'name' is missing"),
        ([{"id": 18, "name": 3}], r"categories\[0\] \(id 18\): 'name' must be a text, not 3"),
        ([{"id": 18, "name": "dog\ud800"}], r"'name' holds half of a character: 'dog\\ud800'"),
        ([{"id": 18, "name": "perro"}], "no category has the name of one of the 20 classes"),
        (
            [{"id": 1, "name": "dog"}],
            r"annotations\[0\] \(id 5\): 'category_id' is 18, which the file does not describe",
        ),
    ],
)
def test_open_errors_in_categories(written, categories, message):
    content = document(annotated(5, DOG, box(0, 0, 2, 2))) | {"categories": categories}
    assert re.search(message, refused(written, content))


@pytest.mark.parametrize("name", ["image_id", "category_id", "segmentation"])
def test_open_errors_in_annotations_that_lack_a_field(written, name):
    record = annotated(5, DOG, box(0, 0, 2, 2))
    del record[name]
    assert f"annotations[0] (id 5): '{name}' is missing" in refused(written, document(record))


NAN = float("nan")
PIXELS = HEIGHT * WIDTH


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 8}, "'image_id' is 8, which the file does not describe"),
        ({"image_id": "7"}, "'image_id' must be an integer, not '7'"),
        ({"iscrowd": 2}, "'iscrowd' must be 0 or 1, not 2"),
        ({"segmentation": None}, "'segmentation' must be a list of polygons or an RLE, not None"),
        ({"segmentation": []}, "'segmentation' is empty, though 'area' is not 0"),
        ({"segmentation": [0, 0, 2, 0, 2, 2]}, "3 or more x, y pairs of numbers; polygon 0 is 0"),
        ({"segmentation": [[]]}, r"3 or more x, y pairs of numbers; polygon 0 is \[\]"),
        ({"segmentation": [[0, 0, 2, 2]]}, r"3 or more x, y pairs of numbers; polygon 0 is \[0, 0, 2, 2\]"),
        ({"segmentation": [[0, 0, 2, 0, 2, 2, 1]]}, "3 or more x, y pairs"),
        ({"segmentation": [[0, 0, 2, 0, 2, 2], [0, 0, 2, 0, 2, "2"]]}, "must hold numbers; polygon 1 has .2."),
        ({"segmentation": [[0, 0, 2, 0, 2, None]]}, "must hold numbers; polygon 0 has None"),
        ({"segmentation": [[0, 0, 2, 0, 2, 10**400]]}, "must hold numbers; polygon 0 has 1000"),
        ({"segmentation": [[0, 0, 2, NAN, 2, 2]]}, "must lie in the picture; y is nan in polygon 0"),
        ({"segmentation": [[0, 0, float("inf"), 0, 2, 2]]}, "must lie in the picture; x is inf in polygon 0"),
        ({"segmentation": [[0, 0, 1e9, 0, 2, 2]]}, "must lie in the picture; x is 1000000000.0 in polygon 0"),
        ({"segmentation": {"counts": [PIXELS]}}, r"'size', \[8, 12\], not None"),
        ({"segmentation": {"size": [WIDTH, HEIGHT], "counts": [PIXELS]}}, r"'size', \[8, 12\], not \[12, 8\]"),
        ({"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}, r"'size', \[8, 12\], not \[1000000"),
        ({"segmentation": {"size": [HEIGHT, WIDTH]}}, "must hold 'counts'.*not None"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [1.5]}}, r"must hold 'counts'.*not \[1.5\]"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [90]}}, "add up to 96 pixels, not to 90"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [50, 10**6]}}, "add up to 96 pixels, not to 1000050"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [100, -4]}}, "'counts' from 0"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [9 * 10**4299] * 2}}, r"must hold 'counts'.*not \[9000"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "zzz"}}, "must hold 'counts'.*not 'zzz'"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "1P"}}, "must hold 'counts'.*not '1P'"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "PSPPPPPPPP0"}}, "must hold 'counts'"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "o" * 40}}, "must hold 'counts'"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "11"}}, "add up to 96 pixels, not to 2"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "\u00e9"}}, "must hold 'counts'"),
    ],
)
def test_open_errors_in_annotations(written, changes, message):
    fine = annotated(4, DOG, box(0, 0, 2, 2))
    content = document(fine, annotated(5, DOG, box(0, 0, 2, 2)) | changes)
    assert re.search(rf"annotations\[1\] \(id 5\): .*{message}", refused(written, content))


def test_images_with_broken_annotations_are_told_where_their_truth_is_asked_for(written):
    fine, bad = annotated(4, DOG, box(0, 0, 2, 2), image=9), annotated(5, DOG, [[1, 2, 3]])
    problems: list[str] = []
    dataset = CocoDataset.open(written(document(fine, bad, annotated(6, DOG, box(1, 1, 3, 3)))), problems=problems)
    assert problems == [] and dataset.truth(9).any()
    for ask in (dataset.truth, dataset.classes_in, lambda number: list(dataset.masks(number))):
        with pytest.raises(AnnotationError, match=r"instances_tiny.json: annotations\[1\] \(id 5\): .*3 or more x, y"):
            ask(7)
    assert dataset.ids_with_class(None) == (9,)
    (part,) = dataset.part(dataset.images[:1]).broken
    assert part == 7
    assert any("annotations[1] (id 5)" in each for each in dataset.problems())


def test_broken_records_of_images_are_told_and_left_out(written):
    content = document(annotated(5, DOG, [[1, 2, 3]]), annotated(6, DOG, box(0, 0, 2, 2), image=9))
    content["images"][1] |= {"width": "wide"}
    problems: list[str] = []
    dataset = CocoDataset.open(written(content), problems=problems)
    assert len(problems) == 1 and "images[1] (id 7): 'width' must be an integer" in problems[0]
    assert [image.id for image in dataset.images] == [9] and dataset.broken == {}


def test_outlines_outside_the_20_classes_are_not_needed(opened):
    assert opened(annotated(1, GIRAFFE, None)).other_categories(7) == ("giraffe",)


def test_compressed_runs_round_trip(opened):
    rng = np.random.default_rng(0)
    for number in range(20):
        mask = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < number / 20, np.uint8)
        encoded = rle_tools.encode(mask)
        text = encoded | {"counts": encoded["counts"].decode()}
        assert np.array_equal(opened(annotated(1, DOG, text)).truth(7) == 12, mask.astype(bool))


def test_boxes_without_an_area_are_not_taken_for_ground_truth(opened):
    boxes = {key: value for key, value in annotated(5, DOG, []).items() if key != "area"}
    with pytest.raises(AnnotationError, match="'segmentation' is empty, though 'bbox' is not 0; boxes alone"):
        opened(boxes)
    assert not opened(boxes | {"bbox": [3, 3, 0, 0]}).truth(7).any()


@pytest.mark.parametrize("again", ["nine.png", "./nine.png"])
def test_a_photograph_that_is_described_twice_is_told(written, again):
    """Otherwise two label maps would count for it, and the figures of one would replace those of the other."""
    content = document()
    content["images"][1]["file_name"] = again
    with pytest.raises(
        AnnotationError, match=r"images\[1\] \(id 7\): 'file_name' is also that of images\[0\] \(id 9\)"
    ):
        CocoDataset.open(written(content))


def test_ids_of_64_bits_can_be_asked_for(written):
    content = document()
    content["images"][1]["id"] = 2**63 - 1
    dataset = CocoDataset.open(written(content))
    assert dataset.image(dataset.id_of("9223372036854775807")).file_name == "seven.png"
