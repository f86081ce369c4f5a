"""Segment a video frame by frame into a video with the classes painted over it.

    pip install ".[video]"
    python examples/video.py holiday.mp4 segmented.mp4

The network takes the frames one after the other, and the next ones are decoded meanwhile. Memory does not grow with the
length of the video. The new video has the old one's size and speed, and no sound.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from tqdm import tqdm

from segcore import Segmenter
from segcore.errors import SegcoreError
from segcore.files.atomic import atomic_write

CODECS = ("libx264", "mpeg4")  # the first that this PyAV can write
_EVEN = 2  # both codecs halve the colours' resolution


def frames_of(video: InputContainer) -> Iterator[np.ndarray]:
    """Yield each frame upright: uint8 RGB (H, W, 3). Phones store the rotation in the metadata."""
    for frame in video.decode(video=0):
        yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90))


def segment(source: Path, target: Path, segmenter: Segmenter, *, batch_size: int, alpha: float) -> int:
    """Write `target`, a copy of the video `source` with overlays. Returns the number of frames."""
    with av.open(str(source)) as video, atomic_write(target) as unfinished, av.open(str(unfinished), "w") as copy:
        stream = video.streams.video[0]
        output = None
        with tqdm(total=stream.frames or None, unit="frame") as progress:
            for result in segmenter.stream(frames_of(video), batch_size=batch_size):
                if isinstance(result, SegcoreError):
                    raise result
                picture = np.asarray(result.overlay(alpha))
                height, width = (side - side % _EVEN for side in result.size_hw)
                if output is None:
                    codec = next(each for each in CODECS if each in av.codecs_available)
                    output = copy.add_stream(codec, rate=stream.average_rate or 25)
                    output.width, output.height, output.pix_fmt = width, height, "yuv420p"
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                copy.mux(output.encode(frame))
                progress.update()
            if output is None:
                raise IndexError("it holds no frame")
            copy.mux(output.encode())
            return progress.n


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="a video file")
    parser.add_argument("target", type=Path, help="the new one, as segmented.mp4")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=1, help="frames at once; more are quicker on graphics cards")
    parser.add_argument("--alpha", type=float, default=0.5, help="how much the colours cover: 0..1")
    given = parser.parse_args()
    if given.target.exists() and given.target.samefile(given.source):
        return _failed("the new video needs another name than the old one")
    try:
        segmenter = Segmenter(given.model, device=given.device)
        frames = segment(given.source, given.target, segmenter, batch_size=given.batch_size, alpha=given.alpha)
    except (SegcoreError, OSError, av.FFmpegError, IndexError) as error:  # IndexError: it holds no pictures
        return _failed(f"{given.source}: {error}")
    print(f"{frames} frames are in {given.target}")
    return 0


def _failed(problem: str) -> int:
    print(problem, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
