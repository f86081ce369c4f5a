"""COCO on demand, from a server that errs: the folder is complete at any time, and what could not be had is named."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segcore.errors import AnnotationError, Cancelled, DownloadError, NoRoomError, UsageError
from segcore.files import download
from segcore.truth import coco_json, fetch_annotations, fetch_job
from segcore.truth import fetch_coco as fetching
from segcore.truth.coco import CocoDataset
from segcore.truth.fetch_coco import fetch_coco
from tests.helpers.misbehaving_server import GOOD, MisbehavingServer, Twist

ROOT = Path(__file__).parents[2]
SPLIT = "val2017"
ARCHIVE = "/annotations/annotations_trainval2017.zip"
MEMBER = f"annotations/instances_{SPLIT}.json"
WIDTH, HEIGHT = 64, 48
PERSON, DOG, CAT, GIRAFFE = 1, 18, 17, 25
OF_IMAGE = {each: (PERSON, DOG, CAT, GIRAFFE)[each % 4] for each in range(1, 13)}
CROWD = 12  # a giraffe, and a crowd of people
NAMES = {each: f"{each:012}.jpg" for each in OF_IMAGE} | {7: "more/photo #7, größer.jpg"}


def jpeg(seed: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    colors = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(colors).resize((width, height)).save(file, "JPEG")
    return file.getvalue()


PHOTOGRAPHS = {NAMES[each]: jpeg(each) for each in OF_IMAGE}


def annotated(number: int, image: int, category: int) -> dict:
    x, y = 4 + image, 3 + image
    box = [x, y, x + 20, y, x + 20, y + 12, x, y + 12]
    record = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "segmentation": [box]}
    return record | {"area": 240, "bbox": [x, y, 20, 12]}


def document() -> dict:
    runs = [10 * HEIGHT, 5 * HEIGHT, (WIDTH - 15) * HEIGHT]
    crowd = {"iscrowd": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs}}
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 1, "name": "a licence"}],
        "images": [
            {"id": each, "file_name": NAMES[each], "width": WIDTH, "height": HEIGHT, "license": 1} for each in OF_IMAGE
        ],
        "annotations": [annotated(each, each, category) for each, category in OF_IMAGE.items()]
        + [annotated(100, CROWD, PERSON) | crowd],
        "categories": [
            {"id": number, "name": name}
            for number, name in ((PERSON, "person"), (DOG, "dog"), (CAT, "cat"), (GIRAFFE, "giraffe"))
        ],
    }


def zipped(members: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


WHOLE = json.dumps(document())
ZIP = zipped({"annotations/instances_train2017.json": "{}", MEMBER: WHOLE, "annotations/captions_val2017.json": "{}"})


def address(name: str) -> str:
    return f"/{SPLIT}/{quote(name)}"


def served(behaviour=(), archive: bytes | None = ZIP) -> MisbehavingServer:
    files = {address(name): content for name, content in PHOTOGRAPHS.items()}
    return MisbehavingServer(files | ({ARCHIVE: archive} if archive is not None else {}), behaviour)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def quick(monkeypatch):
    """No waiting between attempts."""
    monkeypatch.setattr(download, "_delay", lambda *_: 0.0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new" / "coco"


def fetch(server: MisbehavingServer, folder: Path, count: int = 12, **options):
    return fetch_coco(folder, SPLIT, count=count, base_url=server.url, **options)


def described(value) -> str | None:
    """A Twist by what is unusual in it, as a test's name."""
    if isinstance(value, Twist):
        return " ".join(f"{key}={each!r}"[:30] for key, each in vars(value).items() if each != getattr(GOOD, key))
    return None


def asked_for(server: MisbehavingServer) -> list[str]:
    """The paths of all requests since the last time, in order of name."""
    paths = sorted(each.path for each in server.requests)
    server.requests.clear()
    return paths


def files(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def expected_files(ids) -> list[str]:
    names = [f"{SPLIT}/{NAMES[each]}" for each in ids]
    return sorted([*names, f"annotations/instances_{SPLIT}.json", f"annotations/whole/instances_{SPLIT}.json"])


def check_folder(folder: Path, ids) -> None:
    """That the folder holds these images, whole and with all that is known of them, and nothing besides."""
    assert files(folder) == expected_files(ids)
    dataset = CocoDataset.open(folder, SPLIT)
    assert [each.id for each in dataset.images] == sorted(ids)
    for each in ids:
        assert dataset.read_image(each).shape == (HEIGHT, WIDTH, 3)
        assert dataset.path(each).read_bytes() == PHOTOGRAPHS[NAMES[each]]
    part = json.loads((folder / "annotations" / f"instances_{SPLIT}.json").read_text())
    whole = document()
    assert {key: part[key] for key in ("info", "licenses", "categories")} == {
        key: whole[key] for key in ("info", "licenses", "categories")
    }
    assert part["images"] == [each for each in whole["images"] if each["id"] in ids]
    assert part["annotations"] == [each for each in whole["annotations"] if each["image_id"] in ids]


# ---- what is fetched


def test_all_of_it_is_a_coco_folder(folder):
    stages = []
    with served() as server:
        fetched = fetch(server, str(folder), progress=lambda *each: stages.append(each))
        assert asked_for(server) == sorted([ARCHIVE, *map(address, PHOTOGRAPHS)])
    assert fetched == fetching.FetchedCoco(folder, SPLIT, tuple(range(1, 13)), {}, 12)
    check_folder(folder, fetched.ids)
    assert (folder / "annotations" / "whole" / f"instances_{SPLIT}.json").read_text() == WHOLE
    assert stages[-1] == (fetch_job.PHOTOGRAPHS, 12, 12) and (fetch_job.ANNOTATIONS, len(ZIP), len(ZIP)) in stages


def test_a_part_of_it_says_the_same_as_the_whole(folder):
    with served() as server:
        fetched = fetch(server, folder, 5, classes=["person", "dog"])
    check_folder(folder, fetched.ids)
    part = COCO(folder / "annotations" / f"instances_{SPLIT}.json")
    whole = COCO(folder / "annotations" / "whole" / f"instances_{SPLIT}.json")
    assert sorted(part.getImgIds()) == list(fetched.ids)
    for each in fetched.ids:
        assert part.imgToAnns[each] == whole.imgToAnns[each]


def test_a_seed_decides_which_and_a_smaller_count_is_part_of_a_larger(tmp_path):
    chosen = {}
    with served() as server:
        for seed in range(3):
            for count in (2, 3, 6, 11):
                folder = tmp_path / f"{seed} {count}"
                chosen[seed, count] = set(fetch(server, folder, count, seed=seed).ids)
                assert len(chosen[seed, count]) == count
                check_folder(folder, chosen[seed, count])
    for seed in range(3):
        assert chosen[seed, 2] < chosen[seed, 3] < chosen[seed, 6] < chosen[seed, 11]
    assert len({frozenset(chosen[seed, 6]) for seed in range(3)}) == 3


def test_what_is_here_does_not_change_the_choice(tmp_path):
    with served() as server:
        alone = fetch(server, tmp_path / "alone", 4, seed=7)
        fetch(server, tmp_path / "shared", 6, seed=1)
        asked_for(server)
        beside = fetch(server, tmp_path / "shared", 4, seed=7)
        assert beside.ids == alone.ids
        new = set(alone.ids) - set(fetch(server, tmp_path / "shared", 6, seed=1).ids)
        assert asked_for(server) == sorted(address(NAMES[each]) for each in new)
        check_folder(tmp_path / "shared", {*alone.ids, *fetch(server, tmp_path / "shared", 6, seed=1).ids})


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["dog"], {1, 5, 9}),
        (["Dog", 8], {1, 5, 9, 2, 6, 10}),
        (["person"], {4, 8, 12}),  # of which the last shows a crowd
        (["any"], {1, 2, 4, 5, 6, 8, 9, 10, 12}),
    ],
)
def test_classes(folder, classes, expected):
    with served() as server:
        fetched = fetch(server, folder, 100, classes=classes)
    assert set(fetched.ids) == expected and fetched.available == len(expected)
    check_folder(folder, expected)


def test_only_what_is_missing_is_fetched(folder):
    with served() as server:
        few = fetch(server, folder, 3)
        asked_for(server)
        more = fetch(server, folder, 8)
        assert asked_for(server) == sorted(address(NAMES[each]) for each in set(more.ids) - set(few.ids))
        check_folder(folder, more.ids)
        assert fetch(server, folder, 3).ids == few.ids
        assert asked_for(server) == []
    check_folder(folder, more.ids)


@pytest.mark.parametrize("damage", ["cut", "another size", "no image", "gone"])
def test_a_photograph_that_is_damaged_is_fetched_again_whoever_wanted_it(folder, caplog, damage):
    with served() as server:
        first = set(fetch(server, folder, 5).ids)
        other = (first - set(fetch(server, folder, 2).ids)).pop()
        path = folder / SPLIT / NAMES[other]
        wrong = {"cut": PHOTOGRAPHS[NAMES[other]][:-300], "another size": jpeg(1, 60, 40), "no image": b"<html>"}
        path.write_bytes(wrong[damage]) if damage in wrong else path.unlink()
        asked_for(server)
        fetch(server, folder, 2)
        assert asked_for(server) == ([] if damage == "gone" else [address(NAMES[other])])
    assert damage == "gone" or f"{path}: " in caplog.text and "fetching it again" in caplog.text
    check_folder(folder, first - {other} if damage == "gone" else first)


def test_a_photograph_that_stays_damaged_is_left_out(folder, quick):
    with served() as server:
        fetch(server, folder)
        (folder / SPLIT / NAMES[3]).write_bytes(b"<html>")
        del server.files[address(NAMES[3])]
        fetched = fetch(server, folder)
    assert list(fetched.failed) == [NAMES[3]] and 3 not in fetched.ids
    assert [each.id for each in CocoDataset.open(folder).images] == list(fetched.ids)


def test_annotations_that_were_there_before_stay_and_serve_as_the_whole(folder):
    path = folder / "annotations" / f"instances_{SPLIT}.json"
    path.parent.mkdir(parents=True)
    path.write_text(WHOLE)
    (folder / SPLIT).mkdir()
    (folder / SPLIT / NAMES[1]).write_bytes(b"somebody's own")
    with served() as server:
        fetched = fetch(server, folder, 3, classes=["cat"])
        assert fetched.ids == (2, 6, 10)
        assert asked_for(server) == [address(NAMES[each]) for each in fetched.ids]
    assert path.read_text() == WHOLE
    assert files(folder) == [
        f"annotations/instances_{SPLIT}.json",
        *(f"{SPLIT}/{NAMES[each]}" for each in (1, *fetched.ids)),
    ]


def test_two_splits_in_one_folder(folder):
    other = zipped({"annotations/instances_tiny.json": WHOLE})
    with served(archive=other) as server:
        server.files |= {address(name).replace(SPLIT, "tiny"): content for name, content in PHOTOGRAPHS.items()}
        tiny = fetch_coco(folder, "tiny", count=2, base_url=server.url)
        server.files[ARCHIVE] = ZIP
        fetched = fetch(server, folder, 3)
    for split, ids in (("tiny", tiny.ids), (SPLIT, fetched.ids)):
        dataset = CocoDataset.open(folder, split)
        assert tuple(each.id for each in dataset.images) == ids
        for each in ids:
            dataset.read_image(each)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "at least 1 image, got 0"),
        ({"classes": ["cats"]}, "no class 'cats'; choose one of"),
        ({"classes": ["background"]}, "no object"),
        ({"classes": ["sofa"]}, "no image of val2017 has an object of these"),
        ({"max_bytes": 0}, "more than 0 bytes"),
    ],
)
def test_usage_errors(folder, options, message):
    with served() as server, pytest.raises(UsageError, match=message):
        fetch(server, folder, **options)


@pytest.mark.parametrize("split", ["", "..", "../val2017", "a/b", "a\\b", "/tmp", "annotations", "Annotations", "a\n"])
def test_splits_that_lead_elsewhere(tmp_path, split):
    with served() as server, pytest.raises(UsageError, match="a split is a name such as"):
        fetch_coco(tmp_path / "coco", split, count=1, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


# ---- the annotations


@pytest.fixture
def official(monkeypatch):
    """A server that is taken for COCO's own."""
    with served() as server:
        monkeypatch.setattr(fetching, "OFFICIAL_URL", server.url)
        monkeypatch.setattr(fetch_job, "OFFICIAL_URL", server.url)
        known = {"expected_bytes": len(ZIP), "sha256_prefix": hashlib.sha256(ZIP).hexdigest()}
        monkeypatch.setattr(fetch_annotations, "_OFFICIAL_ARCHIVE", known)
        yield server


def test_the_published_file_is_known_by_size_and_hash():
    """As published; a slip of the finger here would make everybody's download fail."""
    known = fetch_annotations._OFFICIAL_ARCHIVE
    assert known["expected_bytes"] == 252907541
    assert known["sha256_prefix"] == "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"
    assert fetch_job.OFFICIAL_URL == "https://s3.amazonaws.com/images.cocodataset.org"


def test_the_default_is_coco_itself_and_checked(official, folder, quick):
    good = zipped({MEMBER: WHOLE.replace("2017", "2016")})
    official.files[ARCHIVE] = good
    with pytest.raises(DownloadError, match="bytes instead of"):
        fetch_coco(folder, count=2)
    official.files[ARCHIVE] = ZIP[:-1] + b"\x01"
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch_coco(folder, count=2)
    assert files(folder) == []
    official.files[ARCHIVE] = ZIP
    check_folder(folder, fetch_coco(folder, count=2).ids)


def test_the_default_has_two_splits(official, folder):
    with pytest.raises(UsageError, match="no split 'test2017'; choose one of: train2017, val2017"):
        fetch_coco(folder, "test2017", count=2)
    assert official.requests == []


def test_a_good_zip_that_a_killed_process_left_is_used(official, folder):
    path = folder / "annotations" / "whole" / ARCHIVE.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    path.write_bytes(ZIP)
    fetched = fetch_coco(folder, count=2)
    assert ARCHIVE not in asked_for(official)
    check_folder(folder, fetched.ids)


def test_a_mirrors_zip_that_a_killed_process_left_is_not_trusted(folder):
    path = folder / "annotations" / "whole" / ARCHIVE.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    path.write_bytes(zipped({MEMBER: "{}"}))
    with served() as server:
        check_folder(folder, fetch(server, folder).ids)


def test_a_mirror_may_serve_a_coco_folder(folder):
    with served(archive=None) as server:
        server.files[f"/{MEMBER}"] = WHOLE.encode()
        check_folder(folder, fetch(server, folder).ids)


def test_a_mirror_without_annotations(folder):
    with served(archive=None) as server, pytest.raises(DownloadError, match=f"{MEMBER}.*404"):
        fetch(server, folder)
    assert files(folder) == []


def test_only_404_means_that_there_is_no_zip(folder):
    with served(Twist(status=403)) as server, pytest.raises(DownloadError, match="zip.*403"):
        fetch(server, folder)


def test_a_broken_whole_is_fetched_again(folder, caplog):
    with served() as server:
        fetch(server, folder, 4)
        (folder / "annotations" / "whole" / f"instances_{SPLIT}.json").write_text(WHOLE[:-100])
        check_folder(folder, fetch(server, folder, 4).ids)
    assert "fetching it again" in caplog.text


def test_a_cut_zip_is_resumed(folder, quick):
    with served({ARCHIVE: [Twist(cut_after=400), Twist(status=503)]}) as server:
        check_folder(folder, fetch(server, folder, 2).ids)
        assert [each.headers.get("range") for each in server.requests[:3]] == [None, "bytes=400-", "bytes=400-"]


def corrupted() -> bytes:
    """A zip whose member unpacks to other bytes than its CRC is of."""
    stored = bytearray(zipped({MEMBER: WHOLE}, zipfile.ZIP_STORED))
    stored[stored.index(b'"year": 2017') + 8] ^= 1
    return bytes(stored)


def encrypted() -> bytes:
    content = bytearray(zipped({MEMBER: WHOLE}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"<html>Please log in</html>", "no sound zip file"),
        (b"", "no sound zip file"),
        (ZIP[:-30], "no sound zip file"),
        (corrupted(), "no sound zip file .*CRC"),
        (encrypted(), "no sound zip file .*encrypted"),
        (zipped({MEMBER: WHOLE}, zipfile.ZIP_BZIP2), "no sound zip file .*unusual"),
        (zipped({MEMBER: b" " * 3_000_000}), "no sound zip file .*3,000,000 bytes"),
    ],
)
def test_a_zip_that_is_none(folder, archive, message, monkeypatch):
    monkeypatch.setattr(coco_json, "MAX_ANNOTATION_BYTES", 2_000_000)
    with served(archive=archive) as server:
        with pytest.raises(DownloadError, match=message):
            fetch(server, folder)
        assert files(folder) == []
        server.files[ARCHIVE] = ZIP
        check_folder(folder, fetch(server, folder).ids)


def test_a_zip_that_unpacks_to_more_than_it_says(folder):
    content = zipped({MEMBER: WHOLE + " " * 1_000_000})
    said = (len(WHOLE) + 1_000_000).to_bytes(4, "little")
    assert content.count(said) == 2
    with served(archive=content.replace(said, len(WHOLE).to_bytes(4, "little"))) as server:
        with pytest.raises(DownloadError, match="no sound zip file"):
            fetch(server, folder)
    assert files(folder) == []


def test_bytes_of_zips_changed_at_random(folder, quick):
    rng = random.Random(0)
    with served() as server:
        for _ in range(60):
            content = bytearray(ZIP)
            for _ in range(3):
                content[rng.randrange(len(content))] = rng.randrange(256)
            server.files[ARCHIVE] = bytes(content)
            try:
                fetch(server, folder, 1)
            except (DownloadError, UsageError, AnnotationError):
                assert files(folder) == []
            else:
                assert len(files(folder)) == 3
            shutil.rmtree(folder)


def test_a_zip_without_the_split(folder):
    with served(archive=zipped({"annotations/instances_a.json": "", "annotations/instances_b.json": ""})) as server:
        with pytest.raises(UsageError, match="the splits in it: a, b"):
            fetch(server, folder)
    assert files(folder) == []


def test_other_members_of_the_zip_are_left_in_it(folder, tmp_path):
    evil = {f"../{each}.txt": "evil" for each in range(4)} | {"/tmp/evil.txt": "evil", f"../../{MEMBER}": "evil"}
    with served(archive=zipped(evil | {MEMBER: WHOLE})) as server:
        check_folder(folder, fetch(server, folder).ids)
    assert [each for each in tmp_path.rglob("*") if "evil" in each.name or each.suffix == ".txt"] == []
    only_evil = zipped({f"/{MEMBER}": WHOLE, f"x/../{MEMBER}": WHOLE})
    with served(archive=only_evil) as server, pytest.raises(UsageError, match="has no annotations/instances"):
        fetch(server, tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole[:-100], "no JSON, or cut short"),
        (lambda whole: whole.replace('"width"', '"breadth"'), r"images\[0\] \(id 1\): 'width' is missing"),
        (lambda whole: whole.replace("[5, 4,", "[5e9, 4,"), r"annotations\[0\] \(id 1\): .*must lie in the picture"),
        (lambda whole: "[]", "'images', 'annotations' and 'categories'"),
    ],
)
def test_broken_annotations_are_not_kept(folder, change, message):
    with served(archive=zipped({MEMBER: change(WHOLE)})) as server:
        with pytest.raises(AnnotationError, match=f"what came from {server.url} was not kept: .*{message}"):
            fetch(server, folder)
        assert files(folder) == []


def test_annotations_that_are_too_large(folder, monkeypatch):
    monkeypatch.setattr(coco_json, "MAX_ANNOTATION_BYTES", 2_000)
    with served(archive=None) as server:
        server.files[f"/{MEMBER}"] = WHOLE.encode()
        with pytest.raises(DownloadError, match="the most that is read"):
            fetch(server, folder)
    assert not (folder / "annotations" / "whole" / f"instances_{SPLIT}.json").exists()


@pytest.mark.parametrize("name", ["../../escaped.jpg", "/tmp/escaped.jpg", "C:\\escaped.jpg", "a/../../../escaped.jpg"])
def test_file_names_cannot_leave_the_folder(tmp_path, folder, name):
    evil = document()
    evil["images"][0]["file_name"] = name
    with served(archive=zipped({MEMBER: json.dumps(evil)})) as server:
        for path in (f"/{SPLIT}/{quote(name)}", f"/{SPLIT}/{name}", "/escaped.jpg"):
            server.files[path] = jpeg(0)
        with pytest.raises(AnnotationError, match=r"images\[0\] \(id 1\): 'file_name' must be the name of a file"):
            fetch(server, folder)
        assert asked_for(server) == [ARCHIVE]
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", f"{NAMES[2]}/below.jpg"])
def test_file_names_that_cannot_be_are_named_and_the_rest_is_done(folder, name, quick):
    evil = document()
    evil["images"][0]["file_name"] = name
    with served(archive=zipped({MEMBER: json.dumps(evil)})) as server:
        server.files[address(name)] = jpeg(1)
        (folder / SPLIT).mkdir(parents=True)
        (folder / SPLIT / NAMES[2]).write_bytes(PHOTOGRAPHS[NAMES[2]])
        fetched = fetch(server, folder)
    assert list(fetched.failed) == [name]
    assert fetched.ids == tuple(range(2, 13))
    assert [each.id for each in CocoDataset.open(folder).images] == list(fetched.ids)


# ---- the photographs


@pytest.mark.slow
@pytest.mark.parametrize(
    "twist",
    [
        Twist(cut_after=300),
        Twist(headers={"Content-Length": "99999"}),
        Twist(headers={"Content-Length": "400"}),
        Twist(status=500),
        Twist(status=503),
        Twist(status=429, headers={"Retry-After": "1"}),
        Twist(body=jpeg(1, 48, 64), headers={"Content-Length": None}),
        Twist(body=b"<html>", headers={"Content-Length": "6"}),
        Twist(body=b"", headers={"Content-Length": "0"}),
        Twist(chunked=True, cut_after=300),
        Twist(stall_after=300),
        Twist(stall_after=0),
    ],
    ids=described,
)
def test_trouble_that_passes(folder, twist, quick):
    trouble = {address(NAMES[each]): [twist] * 2 for each in (3, 7)}
    with served(trouble) as server:
        fetched = fetch(server, folder, timeout=10.0 if twist.stall_after is None else 0.5)
        assert len(asked_for(server)) == 1 + 12 + 2 * 2
    assert fetched.failed == {}
    check_folder(folder, range(1, 13))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("twist", "message", "tries"),
    [
        (Twist(status=404), "404 Not Found", 1),
        (Twist(status=206), "answered 206", 1),
        (Twist(status=500), "500 Internal", 4),
        (Twist(body=jpeg(1, 48, 64), headers={"Content-Length": None}), "48 x 64 pixels instead of .*64 x 48", 4),
        (Twist(body=b"<html>", headers={"Content-Length": "6"}), "not an image", 4),
        (Twist(cut_after=300), "ended after 300 of", 4),
        (Twist(headers={"Content-Length": "400"}), "damaged", 4),
        (Twist(stall_after=300), r"nothing came from 127.0.0.1 for 0.5 s", 4),
    ],
    ids=described,
)
def test_trouble_that_stays_is_named_and_the_rest_is_done(folder, twist, message, tries, quick):
    with served({address(NAMES[7]): twist}) as server:
        fetched = fetch(server, folder, timeout=10.0 if twist.stall_after is None else 0.5)
        assert asked_for(server).count(address(NAMES[7])) == tries
    assert list(fetched.failed) == [NAMES[7]] and re.search(message, fetched.failed[NAMES[7]])
    check_folder(folder, set(OF_IMAGE) - {7})


def test_a_photograph_without_end(folder, monkeypatch):
    monkeypatch.setattr("segcore.imaging.reading.MAX_BYTES", 20_000)
    endless = Twist(body=PHOTOGRAPHS[NAMES[7]] + b"\0" * 10**6, chunked=True)
    with served({address(NAMES[7]): endless}) as server:
        fetched = fetch(server, folder)
    assert "more than 20,000 bytes" in fetched.failed[NAMES[7]]
    check_folder(folder, set(OF_IMAGE) - {7})


def test_a_server_that_goes_away_is_not_waited_for(folder, quick, monkeypatch):
    monkeypatch.setattr(fetching, "_GIVE_UP_AFTER", 3)
    with served() as server:
        first = fetch(server, folder, 4)
    with pytest.raises(DownloadError, match="4 of 12 photographs are here.*the last 3 all failed: .*refuses"):
        fetch(server, folder)
    check_folder(folder, first.ids)


def test_photographs_that_are_nowhere_do_not_end_it(folder, monkeypatch):
    monkeypatch.setattr(fetching, "_GIVE_UP_AFTER", 2)
    with served({address(NAMES[each]): Twist(status=404) for each in range(1, 12)}) as server:
        fetched = fetch(server, folder)
    assert fetched.ids == (12,) and len(fetched.failed) == 11
    check_folder(folder, [12])


# ---- an end in the middle


def test_a_limit_on_disk(folder):
    sizes = len(WHOLE) + sum(map(len, PHOTOGRAPHS.values()))
    with served() as server:
        limit = sizes - 2_000
        with pytest.raises(NoRoomError, match="of 12 photographs are here; .* MB that it may.*--max-gb") as caught:
            fetch(server, folder, max_bytes=limit)
        here = [each.id for each in CocoDataset.open(folder).images]
        assert 0 < len(here) < 12 and str(caught.value).startswith(f"{len(here)} of 12")
        check_folder(folder, here)
        own = folder / "annotations" / f"instances_{SPLIT}.json"
        assert sum((folder / each).stat().st_size for each in files(folder)) - own.stat().st_size <= limit
        with pytest.raises(NoRoomError, match=f"{len(here)} of 12"):
            fetch(server, folder, max_bytes=limit)
        check_folder(folder, here)
        fetch(server, folder, max_bytes=sizes + own.stat().st_size)
    check_folder(folder, range(1, 13))


@pytest.mark.parametrize("limit", [100, len(ZIP) + 100])
def test_a_limit_on_disk_that_not_even_the_annotations_fit(folder, limit):
    with served() as server:
        with pytest.raises(NoRoomError, match="--max-gb"):
            fetch(server, folder, max_bytes=limit)
        check_folder(folder, fetch(server, folder).ids)


def test_a_full_disk_ends_it(folder, monkeypatch):
    replace, left = os.replace, [5]

    def until_full(source, target):
        if Path(target).suffix == ".jpg":
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", until_full)
    with served() as server, pytest.raises(NoRoomError, match="5 of 12 photographs are here; .*the disk is full"):
        fetch(server, folder)
    here = [each.id for each in CocoDataset.open(folder).images]
    assert len(here) == 5
    check_folder(folder, here)


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with served() as server, pytest.raises(DownloadError, match="cannot write"):
        fetch(server, tmp_path / "file")


def test_cancel_keeps_what_is_done(folder):
    cancel = threading.Event()

    def stop_at_four(stage, done, total):
        if (stage, done) == (fetch_job.PHOTOGRAPHS, 4):
            cancel.set()

    with served() as server:
        with pytest.raises(Cancelled, match="4 of 12 photographs are here"):
            fetch(server, folder, progress=stop_at_four, cancel=cancel)
        here = [each.id for each in CocoDataset.open(folder).images]
        assert len(here) == 4
        check_folder(folder, here)
        asked_for(server)
        check_folder(folder, fetch(server, folder).ids)
        assert asked_for(server) == sorted(address(NAMES[each]) for each in set(OF_IMAGE) - set(here))


SILENT = [Twist(stall_after=0), Twist(stall_after=300), Twist(status=503, headers={"Retry-After": "100"})]


@pytest.mark.slow
@pytest.mark.parametrize("where", [ARCHIVE, address(NAMES[3])])
@pytest.mark.parametrize("twist", SILENT, ids=described)
def test_cancel_does_not_wait_for_a_server_that_is_silent(folder, where, twist):
    cancel, others = threading.Event(), [] if where == ARCHIVE else [each for each in OF_IMAGE if each != 3]
    with served({where: twist}) as server:

        def cancel_when_all_else_is_here():
            while where not in {each.path for each in server.requests} or len(here()) < len(others):
                time.sleep(0.01)
            cancel.set()

        def here():
            return list((folder / SPLIT).rglob("*.jpg"))

        threading.Thread(target=cancel_when_all_else_is_here, daemon=True).start()
        begin = time.monotonic()
        with pytest.raises(Cancelled):
            fetch(server, folder, cancel=cancel, timeout=100)
        assert time.monotonic() - begin < 50, "as long as it would have waited for the server"
    if where != ARCHIVE:
        check_folder(folder, others)


def test_cancel_before_it_begins_and_while_the_folder_is_checked(folder):
    cancel = threading.Event()
    cancel.set()
    with served() as server:
        with pytest.raises(Cancelled):
            fetch(server, folder, cancel=cancel)
        assert asked_for(server) == []
        ids = fetch(server, folder, 6).ids

        def stop(stage, *_):
            if stage == fetch_job.CHECKING:
                cancel.set()

        cancel.clear()
        with pytest.raises(Cancelled):
            fetch(server, folder, progress=stop, cancel=cancel)
    check_folder(folder, ids)


def test_an_error_of_the_callers_own_leaves_a_complete_folder(folder):
    def fail(stage, done, total):
        if (stage, done) == (fetch_job.PHOTOGRAPHS, 3):
            raise KeyboardInterrupt

    with served() as server, pytest.raises(KeyboardInterrupt):
        fetch(server, folder, progress=fail)
    here = [each.id for each in CocoDataset.open(folder).images]
    assert len(here) == 3
    check_folder(folder, here)


def program(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "segcore", "fetch-coco", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_once(process: subprocess.Popen, condition) -> None:
    deadline = time.monotonic() + 120
    try:
        while not condition():
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_process_killed_among_photographs(folder):
    slow = [address(NAMES[each]) for each in (3, 7)]
    arguments = ("--to", folder, "--count", 12, "--base-url")
    with served({each: [Twist(stall_after=300)] for each in slow}) as server:
        killed_once(
            program(*arguments, server.url), lambda: len([each for each in files(folder) if "val2017/" in each]) == 10
        )
        found = [each for each in files(folder) if not each.endswith(".lock")]
        assert found == [each for each in expected_files(set(OF_IMAGE) - {3, 7}) if "annotations/inst" not in each]
        (folder / "annotations" / "whole" / ".part-12345678.json").write_bytes(
            b"as if it had been killed while it wrote"
        )
        asked_for(server)
        server.behaviour = ()
        done = program(*arguments, server.url)
        assert done.communicate() == (f"12 of 12 images of {SPLIT} are in {folder}\n", "") and done.returncode == 0
        assert asked_for(server) == slow
    check_folder(folder, range(1, 13))


def test_a_process_killed_at_the_annotations(folder):
    part = folder / "annotations" / "whole" / f"{ARCHIVE.rpartition('/')[2]}.part"
    with served({ARCHIVE: [Twist(stall_after=500)]}) as server:
        killed_once(
            program("--to", folder, "--count", 1, "--base-url", server.url),
            lambda: part.exists() and part.stat().st_size == 500,
        )
        fetched = fetch(server, folder, 2)
        assert server.requests[1].headers["range"] == "bytes=500-"
    check_folder(folder, fetched.ids)


def test_the_annotations_are_written_now_and_then(folder, monkeypatch):
    monkeypatch.setattr(fetching, "_SAVE_EVERY", 0.0)
    seen = []

    def look(stage, done, total):
        if stage == fetch_job.PHOTOGRAPHS and done > 1:
            seen.append(len(CocoDataset.open(folder).images))

    with served() as server:
        fetch(server, folder, progress=look)
    assert seen == list(range(1, 12))


def test_two_at_once(folder):
    with served(Twist(pause=0.01)) as server, ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(fetch, server, folder, 6, seed=seed) for seed in (0, 1, 0)]
        ids = [set(each.result().ids) for each in calls]
        assert asked_for(server) == sorted([ARCHIVE, *(address(NAMES[each]) for each in ids[0] | ids[1])])
    assert ids[0] == ids[2]
    check_folder(folder, ids[0] | ids[1])


def test_who_waits_for_another_can_be_cancelled(folder):
    cancel, begun = threading.Event(), threading.Event()
    with served({ARCHIVE: Twist(pause=0.5)}) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(fetch, server, folder, 6, progress=lambda *_: begun.set())
        assert begun.wait(5)
        cancel.set()
        with pytest.raises(Cancelled, match="another process"):
            fetch(server, folder, cancel=cancel)
        check_folder(folder, first.result().ids)


# ---- the command


@pytest.mark.slow
def test_command_then_evaluate(run, folder, no_downloads, tmp_path):
    with served() as server:
        arguments = ("fetch-coco", "--to", folder, "--split", SPLIT, "--classes", "cat, dog", "--seed", 3)
        done = run(*arguments, "--count", 2, "--base-url", server.url)
    assert done == (0, f"2 of 2 images of {SPLIT} are in {folder}\n", "")
    record = tmp_path / "scores.json"
    status, _, err = run("evaluate", "--dataset", folder, "--split", SPLIT, "--json", record)
    assert (status, err) == (0, "")
    scores = json.loads(record.read_text())
    assert scores["images"] == 2 and scores["skipped"] == []


def test_command_names_what_failed(run, folder):
    with served({address(NAMES[7]): Twist(status=404)}) as server:
        status, out, err = run("fetch-coco", "--to", folder, "--count", 12, "--base-url", f"{server.url}/")
        url = f"{server.url}{address(NAMES[7])}"
    assert status == 1 and out == f"11 of 12 images of {SPLIT} are in {folder}\n"
    assert err == f"segcore: {NAMES[7]}: cannot fetch {url}: the server answered 404 Not Found; check the address\n"


def test_command_asked_for_more_than_there_are(run, folder):
    with served() as server:
        status, out, err = run(
            *("fetch-coco", "--to", folder, "--count", 50, "--classes", "cat", "--base-url", server.url)
        )
    assert (status, out) == (0, f"3 of 3 images of {SPLIT} are in {folder}\n")
    assert err == f"segcore: there are only 3 such images in {SPLIT}\n"


def test_command_errors(run, folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for arguments, message in (
        (("--to", folder), "--count"),
        (("--count", 3), "--to"),
        (("--to", folder, "--count", "many"), "--count"),
        (("--to", folder, "--count", 0), "at least 1 image"),
        (("--to", folder, "--count", 3, "--split", "../x"), "a split is a name"),
        (("--to", folder, "--count", 3, "--split", "test2017"), "choose one of: train2017, val2017"),
        (("--to", folder, "--count", 3, "--classes", "kitten"), "no class 'kitten'"),
        (("--to", folder, "--count", 3, "--max-gb", "nan"), "more than 0 bytes"),
        (("--to", tmp_path / "file", "--count", 3), "not a folder"),
    ):
        status, out, err = run("fetch-coco", *arguments)
        assert (status, out) == (2, "") and message in err
    status, out, err = run("fetch-coco", "--to", folder, "--count", 3, "--base-url", "ftp://mirror")
    assert (status, out) == (1, "") and "ftp://mirror/annotations" in err and len(err.splitlines()) == 1
    with served() as server:
        status, out, err = run(
            *("fetch-coco", "--to", folder, "--count", 3, "--max-gb", "1e-6", "--base-url", server.url)
        )
    assert (status, out) == (1, "") and "allow more with --max-gb" in err
