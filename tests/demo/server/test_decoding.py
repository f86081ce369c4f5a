"""Visitors' files are decoded in other processes: as well as here, and no stranger's file holds others up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.answers.model_pool import ModelPool
from demo.server.decoding import Decoders
from demo.waiting.turns import Turns
from segcore.errors import AnnotationError, Cancelled, ImageError, LabelError
from segcore.imaging import reading
from segcore.truth.supplied import read_truth
from tests.helpers.hostile_pictures import encoded, slow_picture
from tests.helpers.samples import DOG, sample

LIMITS = {"max_pixels": 100_000_000, "max_bytes": 64 * 2**20}


@pytest.fixture(scope="module")
def decoders():
    made = Decoders()
    yield made
    made.close()


@pytest.fixture(scope="module")
def slow(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("slow") / "slow.jpg"
    path.write_bytes(slow_picture())
    return path


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_photograph_is_decoded_as_here(decoders, tmp_path, file_format):
    path = tmp_path / "photograph"
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[274] = 6
    options = {} if file_format in ("GIF", "BMP") else {"exif": exif}
    Image.fromarray(rng.integers(0, 256, (30, 50, 3), np.uint8)).save(path, file_format, **options)

    pixels = decoders.photograph(path, **LIMITS)

    assert np.array_equal(pixels, reading.read(path)) and pixels.dtype == np.uint8
    assert pixels.flags.writeable and pixels.flags.c_contiguous


def test_errors_are_the_same_sentences(decoders, tmp_path):
    for name, content in {"empty.jpg": b"", "notes.txt": b"hello", "cut.png": encoded(40, 30, "PNG")[:60]}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "large.png").write_bytes(encoded(40, 30, "PNG"))
    for name in ("empty.jpg", "notes.txt", "cut.png", "large.png", "absent.jpg"):
        with pytest.raises(ImageError) as here:
            reading.read(tmp_path / name, max_pixels=1000)
        with pytest.raises(ImageError) as there:
            decoders.photograph(tmp_path / name, max_pixels=1000, max_bytes=10**6)
        assert str(there.value) == str(here.value)


def test_a_truth_is_read_as_here(decoders, tmp_path):
    photograph = sample(DOG)
    size_hw = reading.read(photograph).shape[:2]
    labels = np.zeros(size_hw, np.uint8)
    labels[:40, :30] = 15
    Image.fromarray(labels).save(tmp_path / "mask.png")

    there, here = (read(tmp_path / "mask.png", photograph, size_hw) for read in (decoders.truth, read_truth))

    assert vars(there) == vars(here)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(AnnotationError, match="broken.json"):
        decoders.truth(tmp_path / "broken.json", photograph, size_hw)
    Image.new("L", (3, 4)).save(tmp_path / "small.png")
    with pytest.raises(LabelError, match="3 x 4"):
        decoders.truth(tmp_path / "small.png", photograph, size_hw)


@pytest.mark.slow
def test_what_nobody_waits_for_is_ended_and_the_next_is_answered(decoders, tmp_path, slow):
    Image.new("RGB", (9, 6)).save(tmp_path / "next.png")
    begun = threading.Event()

    def given_up() -> bool:
        begun.set()
        return True

    with pytest.raises(Cancelled):
        decoders.photograph(slow, **LIMITS, given_up=given_up)
    assert begun.is_set()
    assert decoders.photograph(tmp_path / "next.png", **LIMITS).shape == (6, 9, 3)


def test_a_decoder_that_dies_is_told_in_words(decoders, tmp_path, slow, capsys):
    Image.new("RGB", (9, 6)).save(tmp_path / "next.png")
    decoders.photograph(tmp_path / "next.png", **LIMITS)
    [decoder, *_] = decoders._idle

    def kill() -> bool:
        decoder._process.kill()
        return False

    decoders._idle = [decoder]
    with pytest.raises(ImageError, match="^slow.jpg is damaged, or takes too long"):
        decoders.photograph(slow, **LIMITS, given_up=kill)
    assert capsys.readouterr().err.count("\n") == 1
    assert decoders.photograph(tmp_path / "next.png", **LIMITS).shape == (6, 9, 3)


def test_one_that_saw_a_photograph_goes_in_time(tmp_path, monkeypatch):
    Image.new("RGB", (9, 6)).save(tmp_path / "photograph.png")
    monkeypatch.setattr("demo.server.decoding.RENEWED_AFTER", 0.0)
    decoders = Decoders()
    decoders.photograph(tmp_path / "photograph.png", **LIMITS)
    [before] = decoders._idle
    time.sleep(0.01)
    decoders.renew()
    [after] = decoders._idle
    decoders.renew()
    assert decoders._idle == [after] and after is not before
    assert not before.runs() and after.runs()
    decoders.close()


def limited(seconds: float, room: int, program: str) -> subprocess.CompletedProcess:
    """Run a program within limits, once it has printed "begun"."""
    begin = f"from demo.server import decoding_process; decoding_process.limit({seconds}, {room})"
    command = [sys.executable, "-c", f"{begin}\nprint('begun', flush=True)\n{program}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(1000)"])
@pytest.mark.slow
def test_time_is_limited(program):
    done = limited(0.5, 2**30, program)
    assert done.stdout == "begun\n" and done.returncode != 0 and "Error" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_memory_is_limited():
    done = limited(60, 2**28, "b'x' * 2**29")
    assert done.stdout == "begun\n" and "MemoryError" in done.stderr


def test_a_decoding_process_does_without_pytorch():
    program = "import sys; from demo.server import decoding_process; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs process ids of POSIX")
def test_they_end_with_the_page(tmp_path):
    Image.new("RGB", (9, 6)).save(tmp_path / "photograph.png")
    program = (
        "import os, signal, sys; from pathlib import Path; from demo.server.decoding import DECODERS\n"
        f"DECODERS.photograph(Path({str(tmp_path / 'photograph.png')!r}), max_pixels=100, max_bytes=10**6)\n"
        "print(DECODERS._idle[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    number, end = int(done.stdout), time.monotonic() + 300
    while Path(f"/proc/{number}/cmdline").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{number}/cmdline").exists()


@pytest.mark.slow
def test_others_are_answered_while_slow_pictures_are_decoded(tmp_path, slow):
    """Of as many slow pictures as there are turns nobody else notices anything."""
    quick = tmp_path / "quick.png"
    Image.new("RGB", (64, 48)).save(quick)
    engine = ModelPool(offline=True, turns=Turns(at_once=2))
    attackers = [engine.turns.submit(number, lambda: engine.read(slow)) for number in range(2)]
    visitors = [engine.turns.submit(f"visitor {number}", lambda: engine.read(quick).shape) for number in range(3)]
    assert [each.future.result(120) for each in visitors] == [(48, 64, 3)] * 3
    assert not any(each.future.done() for each in attackers)
    for each in attackers:
        engine.turns.cancel(each)  # which ends its decoder
        with pytest.raises(Cancelled):
            each.future.result(120)
