"""Many photographs through one segmenter: order, laziness, errors in place, and what may stand for a photograph."""

from __future__ import annotations

import gc
import io
import threading
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from segcore import Segmentation
from segcore.errors import DeviceMemoryError, ImageError, SegcoreError, UsageError
from segcore.inference import sources

SHIPPED = "deeplabv3_mobilenet_v2"


@pytest.fixture
def quick(segmenter, monkeypatch):
    """The same segmenter with a network that answers at once: the mean colour of each photograph, in class 1."""
    batches = []

    def predict_logits(batch, *, tta=None):
        batches.append(len(batch))
        logits = torch.zeros(len(batch), 21, 2, 2)
        logits[:, 1] = batch.mean((1, 2, 3))[:, None, None]
        return logits

    monkeypatch.setattr(segmenter, "predict_logits", predict_logits)
    segmenter.batches = batches
    return segmenter


def grey(level, size=(30, 20)):
    return Image.new("RGB", size, (level,) * 3)


def level_of(result):
    return result.image[0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [2])
def test_results_are_those_of_one_by_one(segmenter, examples_coco, batch_size):
    paths = sorted((examples_coco / "samples").glob("*.jpg"))[:3]
    together = list(segmenter(paths, batch_size=batch_size))
    for path, result in zip(paths, together, strict=True):
        alone = segmenter(path)
        np.testing.assert_allclose(result.logits.astype(np.float32), alone.logits.astype(np.float32), atol=0.02)
        assert (result.labels == alone.labels).mean() > 0.999
        assert (result.name, result.size_hw, result.categories) == (path.stem, alone.size_hw, alone.categories)
        assert result.provenance.seconds > 0


@pytest.mark.parametrize("batch_size", [1, 3, 4, 50])
def test_order_and_batches(quick, batch_size):
    levels = list(range(0, 200, 20))
    results = list(quick((grey(level) for level in levels), batch_size=batch_size))
    assert [level_of(each) for each in results] == levels
    assert [each.name for each in results] == [f"image_{number:06d}" for number in range(1, 11)]
    full, rest = divmod(len(levels), batch_size)
    assert quick.batches == [batch_size] * full + [rest] * bool(rest)


def test_photographs_of_other_shapes_share_a_batch_where_their_tensors_do(quick):
    photographs = [grey(10), grey(20, (60, 20)), grey(30), grey(40, (60, 20))]
    assert [level_of(each) for each in quick(photographs, batch_size=4, resize="aspect")] == [10, 20, 30, 40]
    assert quick.batches == [2, 2]
    assert [each.provenance.resize for each in quick(photographs, batch_size=4)] == ["squeeze"] * 4
    assert quick.batches == [2, 2, 4]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_a_broken_one_is_an_error_in_its_place(quick, tmp_path, batch_size):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    given = [grey(10), tmp_path / "broken.jpg", grey(30), None, tmp_path / "absent.jpg", grey(60)]
    results = list(quick(given, batch_size=batch_size))
    assert [isinstance(each, SegcoreError) for each in results] == [False, True, False, True, True, False]
    assert [level_of(results[place]) for place in (0, 2, 5)] == [10, 30, 60]
    assert "broken.jpg is not an image" in str(results[1])
    assert "NoneType" in str(results[3])
    assert "no file absent.jpg" in str(results[4])


def test_an_error_keeps_no_photograph_in_memory(quick, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8" + bytes(1000))
    (error,) = quick([tmp_path / "broken.jpg"])
    assert error.__traceback__ is error.__cause__ is error.__context__ is None


def test_a_folder(quick, tmp_path):
    for name in ("b.png", "a.png", ".hidden.png"):
        grey(len(name)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photograph")
    for folder in (tmp_path, str(tmp_path)):
        assert [each.name for each in quick(folder)] == ["a", "b"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no photographs in the folder .*empty"):
        quick(tmp_path / "empty")


def test_nothing_is_read_before_it_is_asked_for_and_then_little_ahead(quick):
    taken = []

    def frames():
        for level in range(200):
            taken.append(level)
            yield grey(level)

    stream = quick(frames(), batch_size=4)
    assert taken == []
    for number, _ in enumerate(stream):
        assert len(taken) <= number + 1 + 2 * 4
        if number == 20:
            break
    stream.close()
    assert len(taken) < 40


def test_the_next_photograph_is_decoded_while_the_network_runs(quick, monkeypatch):
    """The network waits for it: one after the other, this would never end."""
    decoded = [threading.Event() for _ in range(4)]
    run, seen = quick.predict_logits, iter(range(1, 4))

    def predict_logits(batch, **options):
        if (number := next(seen, None)) is not None:
            assert decoded[number].wait(60)
        return run(batch, **options)

    def frames():
        for event in decoded:
            yield grey(9)
            event.set()

    monkeypatch.setattr(quick, "predict_logits", predict_logits)
    assert len(list(quick(frames()))) == 4


@pytest.mark.slow
def test_what_was_handed_out_is_let_go(quick):
    """Of twenty photographs no more are in memory than twice a batch."""
    alive = weakref.WeakSet()

    def frames():
        for level in range(20):
            pixels = np.full((20, 30, 3), level, np.uint8).view(Tracked)
            alive.add(pixels)
            yield pixels

    class Tracked(np.ndarray):
        __hash__ = object.__hash__

    most = 0
    for result in quick(frames(), batch_size=4):
        alive.add(result.image.view(Tracked))
        del result
        gc.collect()
        most = max(most, len(alive))
    assert 0 < most <= 3 * 4


def test_what_the_iterable_raises_comes_after_what_it_gave(quick):
    def frames():
        yield from (grey(level) for level in (10, 20, 30))
        raise OSError("the camera was unplugged")

    stream, levels = quick(frames(), batch_size=2), []
    with pytest.raises(OSError, match="unplugged"):
        levels.extend(level_of(each) for each in stream)
    assert levels == [10, 20, 30]


def test_too_little_memory_for_one_photograph_of_a_batch(quick, monkeypatch):
    run = quick.predict_logits

    def predict_logits(batch, **options):
        if (batch.mean((1, 2, 3)) > 1).any():
            raise DeviceMemoryError("too large")
        return run(batch, **options)

    monkeypatch.setattr(quick, "predict_logits", predict_logits)
    results = list(quick([grey(10), grey(250), grey(30)], batch_size=3))
    assert [type(each) for each in results] == [Segmentation, DeviceMemoryError, Segmentation]


def test_open_files(quick, tmp_path):
    path = tmp_path / "photo.png"
    grey(77).save(path)
    with path.open("rb") as file:
        result = quick(file)
        assert (level_of(result), result.name, file.closed) == (77, "photo", False)
    assert level_of(quick(io.BytesIO(path.read_bytes()))) == 77
    with path.open("rb") as file, path.open("rb") as other:
        assert [level_of(each) for each in quick([file, other])] == [77, 77]
    with pytest.raises(ImageError, match=r"photo.png cannot be read from \(read of closed file\)"):
        quick(file)
    text = tmp_path / "text.txt"
    text.write_text("text")
    with text.open() as file, pytest.raises(ImageError, match='text.txt is open for reading text.*mode "rb"'):
        quick(file)
    with pytest.raises(ImageError, match="more than|most that is read"):
        sources.reading.read(io.BytesIO(path.read_bytes()), max_bytes=10)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.full((3, 20, 30), 51, dtype=torch.uint8),
        torch.full((1, 20, 30), 51, dtype=torch.uint8),
        torch.full((20, 30), 51, dtype=torch.uint8),
        torch.full((3, 20, 30), 0.2),
        torch.full((3, 20, 30), 0.2, dtype=torch.bfloat16),
        torch.full((3, 20, 30), 0.2, requires_grad=True),
    ],
)
def test_tensors(quick, tensor):
    result = quick(tensor)
    np.testing.assert_array_equal(result.image, np.full((20, 30, 3), 51, np.uint8))


def test_a_tensor_keeps_its_rows_and_channels(quick):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    np.testing.assert_array_equal(quick(tensor).image, pixels)
    np.testing.assert_array_equal(quick(tensor / 255).image, pixels)


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (torch.zeros(2, 3, 4, 4), r"\(3, H, W\).*\(2, 3, 4, 4\)"),
        (torch.zeros(4, 4, 3), r"\(3, H, W\).*\(4, 4, 3\)"),
        (torch.full((3, 4, 4), -0.1), "from 0 to 1.*not normalised"),
        (torch.full((3, 4, 4), float("nan")), "from 0 to 1"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8.*int64"),
        (torch.zeros(3, 0, 4), "."),
    ],
)
def test_tensors_errors(quick, tensor, problem):
    with pytest.raises(ImageError, match=problem):
        quick(tensor)


def test_stream_errors(quick):
    with pytest.raises(UsageError, match="at least 1 photograph, got 0"):
        quick([grey(1)], batch_size=0)
    with pytest.raises(UsageError, match="float16"):
        quick([grey(1)], dtype="uint8")
    with pytest.raises(UsageError, match="resize 'crop'"):
        quick([grey(1)], resize="crop")
    with pytest.raises(UsageError, match="put it into a list"):
        quick.stream(grey(1))
    with pytest.raises(UsageError, match="put it into a list"):
        quick.stream("photo.jpg")
    assert list(quick([])) == []
