"""A ZIP of label maps is unpacked under the photographs' names alone, within limits, or refused in a sentence."""

import io
import zipfile

import pytest

from segcore.errors import UsageError
from segcore.files import zips
from segcore.truth import label_zip
from segcore.truth.label_zip import unpack

STEMS = ("a", "b")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "out" / "maps"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def zipped(tmp_path):
    def zipped(*entries, method=zipfile.ZIP_DEFLATED):
        path = tmp_path / "maps.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return path

    return zipped


def files(folder):
    return {str(path.relative_to(folder.parent)): path.read_bytes() for path in folder.parent.rglob("*.*")}


def test_folders_inside_do_not_matter_and_strays_are_named(zipped, folder):
    entries = ("preds/a.png", b"1"), ("b.png", b"2"), ("preds/c.png", b"3"), ("readme.txt", b"4"), ("preds/", b"")
    unpacked = unpack(zipped(*entries, ("__MACOSX/preds/._a.png", b"5"), (".DS_Store", b"6")), folder, STEMS)
    assert files(folder) == {"maps/a.png": b"1", "maps/b.png": b"2"}
    assert unpacked.strays == ("preds/c.png", "readme.txt")
    assert unpacked.notice() == (
        "Left out of the ZIP, since no photograph of the set has this name: 'preds/c.png', 'readme.txt'."
    )
    assert unpack(zipped(), folder, STEMS).notice() == ""


@pytest.mark.parametrize("name", ["../../a.png", "/tmp/a.png", "..\\..\\a.png", "C:\\a.png", "x/../../../a.png"])
def test_no_name_leads_out_of_the_folder(zipped, folder, tmp_path, name):
    before = set(tmp_path.rglob("*"))
    unpack(zipped((name, b"1")), folder, STEMS)
    assert set(tmp_path.rglob("*")) - before <= {folder / "a.png", tmp_path / "maps.zip"}


def test_a_link_is_a_file(folder, tmp_path):
    entry = zipfile.ZipInfo("a.png")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "maps.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    unpack(tmp_path / "maps.zip", folder, STEMS)
    assert not (folder / "a.png").is_symlink() and (folder / "a.png").read_bytes() == b"/etc/passwd"


def test_limits(zipped, folder, monkeypatch):
    monkeypatch.setattr(label_zip, "MAX_FILE_BYTES", 200_000)
    with pytest.raises(UsageError, match=r"'a\.png' unpacks to more than 200,000 bytes"):
        unpack(zipped(("a.png", bytes(300_000))), folder, STEMS)
    (folder / "a.png").unlink()
    monkeypatch.setattr(label_zip, "_FREE_OF_RATIO", 150_000)
    with pytest.raises(UsageError, match=r"maps\.zip unpacks to too much"):
        unpack(zipped(("a.png", bytes(190_000)), ("b.png", bytes(190_000))), folder, STEMS)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 190_000 + zips._CHUNK
    monkeypatch.setattr(label_zip, "MOST_ENTRIES", 3)
    with pytest.raises(UsageError, match="lists 4 files; put at most 3 in"):
        unpack(zipped(*((f"{number}.png", b"") for number in range(4))), folder, STEMS)
    with pytest.raises(UsageError, match="lists too many files; put at most 3"):  # before the list is read
        unpack(zipped(*((f"{number}.png", b"") for number in range(400))), folder, STEMS)


def encrypted(data):
    return data.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01").replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: b"", "maps.zip is no ZIP archive; put the files into one"),
        (lambda data: b"\x89PNG" + bytes(99), "maps.zip is no ZIP archive"),
        (lambda data: data[:-1], "maps.zip is no ZIP archive"),
        (lambda data: data[:-22] + zips._LOCATOR + bytes(16) + data[-22:], "is in the ZIP64 format"),
        (lambda data: data[:30] + bytes(30) + data[60:], "damaged"),
        (lambda data: data[1:], "'a.png' is not inside the ZIP, which is damaged"),
        (lambda data: data.replace(b"content of a", b"CONTENT of a"), "'a.png' is damaged inside the ZIP"),
        (encrypted, "'a.png' is encrypted; make the ZIP without a password"),
    ],
)
def test_what_is_wrong_is_said(zipped, folder, change, sentence):
    path = zipped(("a.png", b"content of a" * 9), method=zipfile.ZIP_STORED)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UsageError, match=sentence):
        unpack(path, folder, STEMS)


def test_rare_methods_and_double_names_are_refused(zipped, folder):
    with pytest.raises(UsageError, match="compressed in a rare way; make the ZIP with the usual method"):
        unpack(zipped(("a.png", b"1"), method=zipfile.ZIP_LZMA), folder, STEMS)
    with pytest.raises(UsageError, match="maps.zip holds a.png twice, in two folders; keep one"):
        unpack(zipped(("x/a.png", b"1"), ("y/a.png", b"2")), folder, STEMS)


def test_a_file_without_a_name_is_a_stray(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "maps.zip", "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("b.png", b"2")
        archive.filelist[0].filename = archive.filelist[0].orig_filename = ""
    assert unpack(tmp_path / "maps.zip", folder, STEMS).strays == ("",)
    assert files(folder) == {"maps/b.png": b"2"}


def test_an_archive_with_a_comment_is_read(folder, tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.png", b"1")
        archive.comment = b"x" * 60_000
    (tmp_path / "maps.zip").write_bytes(data.getvalue())
    unpack(tmp_path / "maps.zip", folder, STEMS)
    assert (folder / "a.png").read_bytes() == b"1"
