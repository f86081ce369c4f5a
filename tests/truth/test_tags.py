"""A CSV of tags is read as a person means it, and what is wrong with it is said in a sentence."""

from pathlib import Path

import pytest

from segcore.errors import UsageError
from segcore.truth import tags
from segcore.truth.coco import CocoDataset

IMAGES = [{"id": number, "file_name": f"sub/{number}.jpg", "width": 4, "height": 3} for number in (7, 8, 9)]


@pytest.fixture(scope="module")
def dataset():
    categories = [{"id": 1, "name": "person", "supercategory": "thing"}]
    return CocoDataset.from_document(
        Path("folder"), "val", {"images": IMAGES, "annotations": [], "categories": categories}, "instances_val.json"
    )


@pytest.fixture
def read(dataset, tmp_path):
    def read(content: str | bytes):
        file = tmp_path / "tags.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tags.read_tags(file, dataset).columns

    return read


def test_images_are_named_by_file_or_id(read):
    found = read("image,weather,camera\nsub/7.jpg,rain,A\n8, sun ,\n")
    assert found == {"weather": {7: "rain", 8: "sun"}, "camera": {7: "A"}}


def test_files_of_spreadsheets(read):
    assert read('\ufeffimage,place\r\n7,"Rome, Italy"\r\n\r\n9,-1.5\r\n') == {"place": {7: "Rome, Italy", 9: "-1.5"}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "tags.csv is empty; its first line names the columns, such as: image,weather"),
        ("sub/7.jpg,rain\n8,sun\n", "the first line is about the image 'sub/7.jpg'; put one before it that names"),
        ("image\n7\n", "has one column; give the images and, after a comma, their tags"),
        ("image;weather\n7;rain\n", "has one column; give the images and, after a comma"),
        ("image,weather\n7,rain,wet\n", "line 2 has 3 cells, and the first line has 2; put cells with commas in"),
        ("image,a,a\n7,1,2\n", "the first line must give each tag a name of its own"),
        ("image,\n7,1\n", "the first line must give each tag a name of its own"),
        ("image,weather\n1,sun\n7,rain\n2.jpg,x\n", r"val has no image '1' \(line 2\), '2.jpg' \(line 4\); give file"),
        ("image,w\n1,a\n2,a\n3,a\n4,a\n5,a\n", r"'1' \(line 2\), '2' \(line 3\), '3' \(line 4\) and 2 more; give"),
        ("image,weather\n7,sun\nsub/7.jpg,rain\n", "the image 'sub/7.jpg' is in lines 2 and 3; keep one"),
        ('image,weather\n7,"=HYPERLINK(""http://x"")"\n', "line 2: '=HYPERLINK.* looks like a formula; tags are plain"),
        ("image,@SUM(A1)\n7,1\n", "line 1: '@SUM\\(A1\\)' looks like a formula"),
        ("image,weather\n7,\x1b[31m\n", "line 2: '\\\\x1b\\[31m' holds control characters"),
        ("image,weather\n7," + "x" * 101 + "\n", "line 2: a tag has at most 100 characters, not 101"),
        ("image,weather\n7," + "x" * 140_000 + "\n", "line 2 is not CSV: field larger than field limit"),
        ('image,weather\n7,"rain\n', "line 2 is not CSV: unexpected end of data"),
        ("image,wéather\n7,rain\n".encode("latin-1"), "tags.csv is not UTF-8; save it as CSV in UTF-8"),
        ("image,weather\n7,rain\n".encode("utf-16"), "tags.csv is not UTF-8"),
        (b"image,weather\n7,ra\0in\n", "tags.csv is no text; save the table as CSV"),
        ("image," + ",".join(f"t{n}" for n in range(21)) + "\n", "has 21 tags; give at most 20"),
        (b"x" * (tags.MAX_BYTES + 1), "is larger than 10 MB; give the tags alone"),
    ],
)
def test_what_is_wrong_is_said(read, content, sentence):
    with pytest.raises(UsageError, match=sentence):
        read(content)


def test_a_file_that_is_not_there(dataset, tmp_path):
    for name in ("no.csv", "x\0y", "."):
        with pytest.raises(UsageError, match="give a CSV file"):
            tags.read_tags(tmp_path / name, dataset)


def test_a_tag_with_a_value_of_its_own_for_each_image_is_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(tags, "MOST_VALUES", 2)
    file = tmp_path / "tags.csv"
    file.write_text("image,name\n7,a\n8,b\n9,c\n")
    with pytest.raises(UsageError, match="the tag 'name' has 3 different values, .* sort them into at most 2"):
        tags.read_tags(file, dataset)
