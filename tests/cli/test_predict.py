"""`segcore predict`: its files, their keys, and what it says of what fails."""

import shutil
import threading
import unicodedata

import numpy as np
import pytest
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask

from segcore import Segmenter
from segcore.inference import export
from segcore.models import loading
from tests.cli.outputs import SHIPPED, names, pixels, read_json

CAT = 8
VOC_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()
VOC_COLORS = [  # as PASCAL VOC's development kit paints them
    *((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)),
    *((128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128)),
    *((64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)),
]


def test_predict_writes_what_the_contract_names(run, cat, tmp_path):
    done = run("predict", cat, "--out", tmp_path / "out")  # --model auto

    assert (done.status, done.out, done.err) == (0, "", "")
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]

    labels = Image.open(tmp_path / "out" / "cat_labels.png")
    assert labels.mode == "P" and labels.size == (150, 100)
    ids, colors = np.asarray(labels), np.asarray(labels.convert("RGB"))
    assert (ids == CAT).mean() > 0.3 and ids.max() <= 20
    np.testing.assert_array_equal(colors, np.array(VOC_COLORS, np.uint8)[ids])
    assert np.reshape(labels.getpalette(), (-1, 3))[:21].tolist() == [list(color) for color in VOC_COLORS]

    overlay = Image.open(tmp_path / "out" / "cat_overlay.png")
    assert overlay.mode == "RGB" and overlay.size == (150, 100)
    np.testing.assert_array_equal(np.asarray(overlay)[ids == 0], pixels(cat)[ids == 0])
    assert (np.asarray(overlay) != pixels(cat)).any(axis=-1)[ids > 0].mean() > 0.9

    record = read_json(tmp_path / "out" / "cat.json")
    assert set(record) == {
        *("schema", "file", "width", "height", "model", "weights_sha256", "resize", "device", "precision"),
        *("engine", "tta", "careful", "calibration", "refine", "seconds", "mode", "classes"),
    }
    assert (record["schema"], record["file"], record["width"], record["height"]) == (1, "cat.jpg", 150, 100)
    assert (record["model"], record["resize"], record["mode"]) == (SHIPPED, "squeeze", "multiclass")
    assert len(record["weights_sha256"]) == 64 and record["seconds"] > 0
    assert [each["id"] for each in record["classes"]][0] == CAT
    assert {each["id"] for each in record["classes"]} == set(np.unique(ids)) - {0}
    for each in record["classes"]:
        assert set(each) == {"id", "name", "pixels", "share", "confidence", "rle"}
        assert each["name"] == VOC_NAMES[each["id"]]
        np.testing.assert_array_equal(coco_mask.decode(each["rle"]), ids == each["id"])
        assert each["pixels"] == (ids == each["id"]).sum()
        assert each["share"] == pytest.approx(each["pixels"] / ids.size)
        assert 0 < each["confidence"] <= 1


def test_predict_cutout_and_probabilities(run, cat, tmp_path):
    done = run("predict", cat, "--out", tmp_path, "--cutout", "--probabilities")

    assert done.status == 0
    assert names(tmp_path) == ["cat.json", "cat.npz", "cat_cutout.png", "cat_labels.png", "cat_overlay.png"]
    ids = pixels(tmp_path / "cat_labels.png")

    cutout = pixels(tmp_path / "cat_cutout.png")
    np.testing.assert_array_equal(cutout[..., 3], np.where(ids > 0, 255, 0))
    np.testing.assert_array_equal(cutout[ids > 0][:, :3], pixels(cat)[ids > 0])
    assert not cutout[ids == 0].any()

    with np.load(tmp_path / "cat.npz") as archive:
        probabilities = archive["probabilities"].astype(np.float64)
        assert archive["classes"].tolist() == VOC_NAMES
    assert probabilities.shape == (21, 100, 150)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=5e-3)
    highest = np.sort(probabilities, axis=0)
    clear = highest[-1] - highest[-2] > 1e-3
    np.testing.assert_array_equal(probabilities.argmax(axis=0)[clear], ids[clear])
    for each in read_json(tmp_path / "cat.json")["classes"]:
        own = probabilities[each["id"]][ids == each["id"]]
        assert each["confidence"] == pytest.approx(own.mean(), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "classes"),
    [
        (("--class", "cat"), {CAT: "cat"}),
        (("--class", "cat", "--threshold", "auto"), {CAT: "cat"}),
        (("--class", "CAT", "--threshold", "0.3"), {CAT: "cat"}),
        (("--class", "potted plant", "--threshold", "0"), {16: "pottedplant"}),
        (("--class", "airplane", "--threshold", "1"), {}),
        ((), {None: "any"}),
    ],
)
def test_predict_in_binary_mode(run, cat, tmp_path, arguments, classes):
    done = run("predict", cat, "--out", tmp_path, "--mode", "binary", *arguments)

    assert done.status == 0
    record, ids = read_json(tmp_path / "cat.json"), pixels(tmp_path / "cat_labels.png")
    assert record["mode"] == "binary"
    assert {each["id"]: each["name"] for each in record["classes"]} == classes
    for each in record["classes"]:
        expected = ids > 0 if each["id"] is None else ids == each["id"]
        np.testing.assert_array_equal(coco_mask.decode(each["rle"]), expected)
        assert each["pixels"] == expected.sum() > 0
    if None not in classes:
        assert set(np.unique(ids)) <= {0, *classes}


@pytest.mark.slow
def test_predict_resize_and_precision_are_recorded(run, cat, tmp_path):
    arguments = ("--model", SHIPPED, "--resize", "aspect", "--precision", "float32", "--device", "cpu")
    assert run("predict", cat, "--out", tmp_path, *arguments).status == 0
    record = read_json(tmp_path / "cat.json")
    assert (record["resize"], record["precision"], record["device"]) == ("aspect", "float32", "cpu")
    assert (record["width"], record["height"]) == (150, 100)


@pytest.mark.slow
def test_refined_edges_are_asked_for_and_recorded(run, cat, photographs, tmp_path):
    pytest.importorskip("cv2")
    for refine in ("none", "edges"):
        assert run("predict", cat, "--out", tmp_path / refine, "--refine", refine).status == 0
    plain, refined = (read_json(tmp_path / each / "cat.json") for each in ("none", "edges"))
    assert (plain["refine"], refined["refine"]) == (None, "edges")
    before, after = (pixels(tmp_path / each / "cat_labels.png") for each in ("none", "edges"))
    assert 0 < (before != after).mean() < 0.1
    done = run("predict", cat, "--out", tmp_path / "crf", "--refine", "crf")
    assert done.status == 2 and "no refinement 'crf'" in done.err


@pytest.mark.slow
def test_predict_folders_and_files_with_names_in_common(run, photographs, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    shutil.copy(photographs / "cat.jpg", first / "a.jpg")
    shutil.copy(photographs / "person.jpg", first / "UPPER.JPG")
    (first / "notes.txt").write_text("no photograph")
    shutil.copy(photographs / "person.jpg", second / "a.jpg")
    Image.open(photographs / "cat.jpg").resize((60, 40)).save(second / "a.png")

    done = run("predict", first, second / "a.jpg", second / "a.png", first / "a.jpg", "--out", tmp_path / "out")

    assert (done.status, done.err) == (0, "")
    records = {file.stem: read_json(file) for file in (tmp_path / "out").glob("*.json")}
    sizes = sorted((each["file"], each["width"], each["height"]) for each in records.values())
    assert sizes == [("UPPER.JPG", 96, 96), ("a.jpg", 96, 96), ("a.jpg", 150, 100), ("a.png", 60, 40)]
    assert {"a", "UPPER"} < set(records) and records["a"]["width"] == 150
    for stem, record in records.items():
        assert Image.open(tmp_path / "out" / f"{stem}_labels.png").size == (record["width"], record["height"])
        assert (tmp_path / "out" / f"{stem}_overlay.png").exists()


def test_predict_names_a_folder_without_images(run, cat, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no photograph")
    done = run("predict", tmp_path / "empty", cat, "--out", tmp_path / "out")
    assert (done.status, done.err) == (1, f"segcore: {tmp_path / 'empty'}: there are no images in this folder\n")
    assert "cat.json" in names(tmp_path / "out")


@pytest.mark.slow
def test_predict_keeps_names_apart_that_a_disk_may_take_for_one(run, cat, tmp_path):
    stems = ["IMG", "img", "Caf\u00e9", "cafe\u0301"]
    for number, stem in enumerate(stems):
        (tmp_path / str(number)).mkdir()
        shutil.copy(cat, tmp_path / str(number) / f"{stem}.jpg")
    assert run("predict", *(tmp_path / str(number) for number in range(4)), "--out", tmp_path / "out").status == 0
    written = [unicodedata.normalize("NFD", name).lower() for name in names(tmp_path / "out")]
    assert len(written) == len(set(written)) == 4 * 3


def test_predict_names_what_fails_and_does_the_rest(run, cat, tmp_path):
    broken, text = tmp_path / "broken.jpg", tmp_path / "text.jpg"
    broken.write_bytes(cat.read_bytes()[:700])
    text.write_text("no photograph")

    done = run("predict", broken, tmp_path / "absent.jpg", text, cat, "--out", tmp_path / "out")

    assert (done.status, done.out) == (1, "")
    lines = done.err.splitlines()
    assert [str(each) in line for each, line in zip((broken, tmp_path / "absent.jpg", text), lines, strict=True)]
    assert "cut short" in lines[0] and "no file absent.jpg" in lines[1] and "not an image" in lines[2]
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]


@pytest.mark.slow
def test_predict_file_names_of_all_kinds(run, cat, tmp_path):
    stems = ["ein schöner Tag", "猫 и кот", "two.dots", "-dash", "100%{stem}"]
    folder, out = tmp_path / "in put", tmp_path / "out put ☂"
    folder.mkdir()
    for stem in stems:
        shutil.copy(cat, folder / f"{stem}.jpg")
    assert run("predict", folder, "--out", out).status == 0
    assert names(out) == sorted(f"{stem}{end}" for stem in stems for end in (".json", "_labels.png", "_overlay.png"))
    assert all(read_json(out / f"{stem}.json")["file"] == f"{stem}.jpg" for stem in stems)


def test_predict_finds_avif_in_a_folder(run, cat, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.open(cat).save(folder / "cat.avif", quality=90)
    done = run("predict", folder, "--out", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
    assert (pixels(tmp_path / "out" / "cat_labels.png") == CAT).mean() > 0.3


def test_predict_leaves_out_hidden_files_of_a_folder(run, cat, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    shutil.copy(cat, folder)
    for name in ("._cat.jpg", ".part-12345678.png"):  # a Mac's, and what a killed program leaves
        (folder / name).write_bytes(b"no image")
    done = run("predict", folder, "--out", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]


def test_predict_turns_photographs_upright(run, cat, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored lying on its side
    stored = Image.open(cat).transpose(Image.Transpose.ROTATE_90)
    assert stored.size == (100, 150)
    stored.save(tmp_path / "phone.jpg", exif=exif, quality=95)

    assert run("predict", tmp_path / "phone.jpg", "--out", tmp_path / "out", "--cutout").status == 0

    record = read_json(tmp_path / "out" / "phone.json")
    assert (record["width"], record["height"]) == (150, 100)
    for kind in ("labels", "overlay", "cutout"):
        picture = Image.open(tmp_path / "out" / f"phone_{kind}.png")
        assert picture.size == (150, 100) and not picture.getexif()
    assert all(each["rle"]["size"] == [100, 150] for each in record["classes"])
    assert (pixels(tmp_path / "out" / "phone_labels.png") == CAT).mean() > 0.3


def test_predict_stopped_by_the_user(run, photographs, monkeypatch, tmp_path):
    ask = Segmenter.__call__

    def interrupted_at_the_second(self, source):
        if source.name == "person.jpg":
            raise KeyboardInterrupt
        return ask(self, source)

    monkeypatch.setattr(Segmenter, "__call__", interrupted_at_the_second)
    done = run("predict", photographs, "--out", tmp_path)
    assert (done.status, done.err.splitlines()[-1]) == (1, "segcore: stopped")
    assert names(tmp_path) == ["cat.json", "cat_labels.png", "cat_overlay.png"]


@pytest.mark.slow
def test_results_are_written_while_the_network_looks_at_the_next(run, cat, monkeypatch, tmp_path):
    """What is told still comes in the order of the files."""
    folder, looks, written = tmp_path / "in", threading.Semaphore(0), []
    folder.mkdir()
    for number in range(4):
        shutil.copy(cat, folder / f"{number}.jpg")
    (folder / "2.jpg").write_bytes(b"")
    ask, write = Segmenter.__call__, export.write_results

    def looked_at(self, source):
        looks.release()
        return ask(self, source)

    def written_late(result, task, name, *rest, **options):
        if name == "0.jpg":
            assert looks.acquire(timeout=300) and looks.acquire(timeout=300)  # the second photograph is looked at
        written.append(name)
        write(result, task, name, *rest, **options)
        if name == "1.jpg":
            raise OSError("no luck")

    monkeypatch.setattr(Segmenter, "__call__", looked_at)
    monkeypatch.setattr(export, "write_results", written_late)
    done = run("predict", folder, "--out", tmp_path / "out")
    assert sorted(written) == ["0.jpg", "1.jpg", "3.jpg"] and done.status == 1
    assert [line.partition(": no luck")[0].partition(": 2")[0] for line in done.err.splitlines()] == [
        f"segcore: {folder / '1.jpg'}",
        f"segcore: {folder / '2.jpg'}",
    ]


@pytest.mark.slow
def test_verbose_says_what_is_used(run, cat, tmp_path):
    flags = "--model", SHIPPED, "--device", "cpu", "--precision", "float32"
    told = run("predict", cat, "--out", tmp_path / "verbose", *flags, "--verbose").err.splitlines()
    assert f"segcore: model {SHIPPED}, from {loading.weights_path(SHIPPED)}" in told
    assert "segcore: device cpu, precision float32, engine torch" in told
    assert run("predict", cat, "--out", tmp_path / "quiet", *flags).err == ""


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--tta", "--careful"])
def test_test_time_augmentation_by_its_new_and_its_old_name(run, cat, tmp_path, flag):
    done = run("predict", cat, "--out", tmp_path, "--model", SHIPPED, flag)
    assert done.status == 0
    assert read_json(tmp_path / "cat.json")["tta"] is True
    assert read_json(tmp_path / "cat.json")["careful"] is True  # the old name
    notice = "segcore: --careful is now called --tta; the old name still works in this version\n"
    assert done.err == (notice if flag == "--careful" else "")


def test_predict_leaves_out_a_folder_that_is_called_like_a_photograph(run, cat, tmp_path):
    (tmp_path / "in" / "album.jpg").mkdir(parents=True)
    for place in (tmp_path / "in" / "album.jpg", tmp_path / "in"):
        shutil.copy(cat, place)

    done = run("predict", tmp_path / "in", "--out", tmp_path / "out")

    assert (done.status, done.err) == (0, "")
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]


def test_predict_never_replaces_a_photograph_with_a_result(run, cat, tmp_path):
    mine = tmp_path / "cat_overlay.png"
    shutil.copy(cat, tmp_path)
    Image.open(cat).save(mine)
    before = mine.read_bytes()

    done = run("predict", tmp_path, "--out", tmp_path)

    assert done.status == 2 and "cat_overlay.png would be overwritten by a result; give --out another" in done.err
    assert mine.read_bytes() == before and names(tmp_path) == ["cat.jpg", "cat_overlay.png"]
