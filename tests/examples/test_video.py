"""The example that segments a video: frames, size and speed stay, and the classes are painted."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from segcore import Segmenter
from segcore.classes import SCREEN_PALETTE

av = pytest.importorskip("av")
EXAMPLE = Path(__file__).parents[2] / "examples" / "video.py"
CAT, FRAMES, SPEED = 8, 7, 5


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("video_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def segmenter(monkeypatch):
    """All that is bright is a cat."""
    segmenter = Segmenter("deeplabv3_mobilenet_v2", device="cpu", precision="float32")

    def predict_logits(batch, *, tta=None):
        logits = torch.zeros(len(batch), 21, *batch.shape[-2:])
        logits[:, CAT] = batch.mean(1) * 10
        return logits

    monkeypatch.setattr(segmenter, "predict_logits", predict_logits)
    return segmenter


@pytest.fixture
def video(tmp_path):
    """The right half is bright; the left half is dark, and a little less so from frame to frame."""
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=SPEED)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(FRAMES):
            pixels = np.full((48, 64, 3), 5 * number, np.uint8)
            pixels[:, 32:] = 240
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.slow
def test_a_video_is_segmented_frame_by_frame(example, segmenter, video, tmp_path):
    target = tmp_path / "segmented.mp4"
    assert example.segment(video, target, segmenter, batch_size=3, alpha=1.0) == FRAMES
    with av.open(str(target)) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == SPEED
        frames = [each.to_ndarray(format="rgb24") for each in file.decode(video=0)]
    assert [each.shape for each in frames] == [(48, 64, 3)] * FRAMES
    for number, frame in enumerate(frames):
        assert np.abs(frame[8:40, 44:56].mean((0, 1)) - SCREEN_PALETTE[CAT]).max() < 20
        assert abs(frame[8:40, 8:20].mean() - 5 * number) < 12


def test_what_is_no_video_is_told(example, tmp_path, monkeypatch, capsys):
    (tmp_path / "notes.mp4").write_text("no video")
    for name in ("notes.mp4", "absent.mp4"):
        monkeypatch.setattr(sys, "argv", ["video.py", str(tmp_path / name), str(tmp_path / "new.mp4")])
        assert example.main() == 1
        assert name in capsys.readouterr().err and not (tmp_path / "new.mp4").exists()
    monkeypatch.setattr(sys, "argv", ["video.py", *[str(tmp_path / "notes.mp4")] * 2])
    assert example.main() == 1
    assert "another name" in capsys.readouterr().err
