"""Files that are there whole or not at all."""

import pytest

from segcore.files.atomic import atomic_write


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Two runs with one --out: each leaves its own file whole, and the later one stays."""
    path = tmp_path / "labels.png"
    with atomic_write(path) as first:
        first.write_text("the first, which takes longer")
        with atomic_write(path) as second:
            second.write_text("the second")
        assert path.read_text() == "the second"
    assert path.read_text() == "the first, which takes longer"
    assert [each.name for each in tmp_path.iterdir()] == ["labels.png"]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / f"{'x' * 251}.png"
    with atomic_write(path) as file:
        assert file.suffix == ".png"  # by which some libraries know what to write
        file.write_text("done")
    assert path.read_text() == "done"


@pytest.mark.parametrize("single_writer", [False, True])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, single_writer):
    path = tmp_path / "model.safetensors"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), atomic_write(path, single_writer=single_writer) as file:
        file.write_text("half of")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_single_writer_clears_away_what_was_left_by_a_kill(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for text in ("killed", "done"):
        writing = atomic_write(path, single_writer=True)
        writing.__enter__().write_text(text)
    writing.__exit__(None, None, None)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] and path.read_text() == "done"


def test_a_link_stays_and_its_file_is_written(tmp_path):
    """As `--json /dev/stdout > scores.json`: /dev/stdout is a link, and must not become a file."""
    (tmp_path / "dev").mkdir()
    link, target = tmp_path / "dev" / "stdout", tmp_path / "scores.json"
    target.write_text("before")
    link.symlink_to(target)
    with atomic_write(link) as file:
        assert file.parent == tmp_path
        file.write_text("done")
    assert link.is_symlink() and target.read_text() == "done"
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [target.name]
