"""`python -m segcore` as a process of its own: streams, signals, `--help`, `--version`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import segcore
from tests.cli.outputs import SHIPPED, names
from tests.helpers.ctrl_c import stopped_at

ROOT = Path(__file__).parents[2]


def program(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "segcore", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_program_help():
    done = program("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert all(command in done.stdout for command in ("predict", "evaluate", "models", "fetch-weights"))


def test_program_says_its_version():
    done = program("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"segcore {segcore.__version__}\n", "")


def test_program_without_a_command():
    done = program()
    assert done.returncode == 2 and done.stdout == "" and "usage:" in done.stderr


@pytest.mark.slow
def test_program_predicts_and_says_only_what_failed(cat, tmp_path):
    shutil.copy(cat, tmp_path / "mein Kätzchen.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"")
    done = program("predict", tmp_path, "--out", tmp_path / "out", "--cutout", PYTHONIOENCODING="utf-8")

    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        f"segcore: {tmp_path / 'broken.jpg'}: broken.jpg is empty (0 bytes); try again, or use another copy"
    ]
    stem = "mein Kätzchen"
    assert names(tmp_path / "out") == sorted(
        [f"{stem}.json", f"{stem}_cutout.png", f"{stem}_labels.png", f"{stem}_overlay.png"]
    )


PROGRAM = [sys.executable, "-m", "segcore"]
CLOSED = ["sh", "-c", 'exec "$@" 2>&-', "sh"]  # what follows runs without a stderr
on_posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@pytest.mark.slow
@on_posix
def test_program_without_stderr(cat, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(cat.read_bytes()[:700])
    command = [*CLOSED, *PROGRAM, "predict", cat, broken, "--out", tmp_path / "out", "--model", SHIPPED]
    done = subprocess.run([str(each) for each in command], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]
    for name in ("cat_labels.png", "cat_overlay.png"):  # no library's complaints have gone into them
        Image.open(tmp_path / "out" / name).verify()


@pytest.mark.slow
@on_posix
def test_program_whose_reader_has_left():
    command = ["sh", "-c", '"$@" | true', "sh", *PROGRAM, "models"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", ["typing", "segcore.cli.main", "tqdm", "numpy", "torch", "torchvision"])
def test_program_stopped_while_it_starts(cat, tmp_path, module):
    model = "deeplabv3_resnet50" if module == "torchvision" else SHIPPED
    start = 'runpy.run_module("segcore", run_name="__main__", alter_sys=True)'
    done = stopped_at(module, start, "predict", cat, "--out", tmp_path / "out", "--model", model)
    assert (done.returncode, done.stderr) == (1, "segcore: stopped\n")
