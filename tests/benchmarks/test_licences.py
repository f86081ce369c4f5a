"""What is installed with segcore, and whether docs/licences.md tells of it."""

from importlib.metadata import Distribution

from benchmarks import licences

TOLD = (licences.ROOT / "docs" / "licences.md").read_text("utf-8")


def test_every_package_that_is_asked_for_is_told_of():
    missing = [name for name, places in licences.named().items() if f"| {name} |" not in TOLD]
    assert not missing, f"name in docs/licences.md: {missing}"


def test_the_library_itself_asks_for_nothing_under_the_gpl():
    assert licences.named()["pillow-heif"] == ["page", "heic"]


def test_what_a_wheel_holds_is_found(tmp_path):
    """A package is read as pip leaves it: its statement, what it needs, and libraries that were put into its wheel."""
    info = tmp_path / "one-1.dist-info"
    info.mkdir()
    files = (
        "one/a.so",
        "one.libs/libx265-4883ecb5.so.217",
        "one/.dylibs/libz.1.dylib",
        "one/lib/libgomp.so.1",
        "one/b.py",
    )
    (info / "RECORD").write_text("".join(f"{each},,\n" for each in files))
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: one\nVersion: 1\nClassifier: License :: OSI Approved :: BSD\n"
    )
    one = Distribution.at(info)
    assert licences.shared_libraries(one) == ["libgomp", "libx265", "libz"]
    assert licences.licence(one) == "BSD"


def test_what_packages_need_is_followed(monkeypatch):
    needed = {
        "a": ["b[fast]>=1", "gone", "d; python_version < '3'"],
        "b": ["a", "c; extra == 'fast'"],
        "c": [],
        "d": [],
    }

    class Known:
        def __init__(self, name):
            if name not in needed:
                raise licences.PackageNotFoundError(name)
            self.name, self.requires = name, needed[name]

    monkeypatch.setattr(licences, "distribution", Known)
    assert sorted(each.name for each in licences.installed(["a"])) == ["a", "b", "c"]
