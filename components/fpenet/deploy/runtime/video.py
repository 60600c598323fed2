"""Reads the frames of a video and writes frames as a video, by FFmpeg (extra ``video``)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpenet.core.errors import InputError

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_USUAL_FPS = 25.0
_MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: seconds since the first, and (H, W, 3) RGB."""

    seconds: float
    image: NDArray[np.uint8]


def read_frames(path: Path | str) -> Iterator[Frame]:
    """The frames of a video in their order, rotated by the file's metadata in steps of 90 degrees.

    Raises:
        InputError: the file is not a video or is damaged, or PyAV is not installed; the message
            names the file.
    """
    av = _av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            first = last = None
            for number, frame in enumerate(container.decode(stream)):
                time = frame.time
                seconds = number / frames_per_second(stream) if time is None else float(time)
                first = seconds if first is None else first
                if last is not None and seconds <= last:
                    continue  # a frame with no duration
                last = seconds
                quarters = round(frame.rotation / 90)  # counterclockwise
                yield Frame(seconds - first, np.rot90(frame.to_ndarray(format="rgb24"), quarters))
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def count_frames(path: Path) -> int:
    """The number of frames in the file's metadata; 0 where it is absent."""
    with _av().open(str(path)) as container:
        return int(container.streams.video[0].frames)


def frames_per_second(stream: Any) -> float:
    """The frame rate in the file's metadata, or ``_USUAL_FPS`` where it is absent."""
    return float(stream.average_rate or _USUAL_FPS)


class VideoFile:
    """Writes frames to a video file, one after the other; leaving the context finishes the file."""

    def __init__(self, path: Path) -> None:
        self._container = _av().open(str(path), "w")
        self._stream: Any = None

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def add(self, image: Image.Image, seconds: float) -> None:
        """Add an RGB image of the size of the first; an odd last row or column is cut off."""
        av = _av()
        width, height = (side // 2 * 2 for side in image.size)
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=25)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = _MILLISECOND
            self._stream.options = {"crf": "20"}
        frame = av.VideoFrame.from_ndarray(np.asarray(image)[:height, :width], format="rgb24")
        frame.pts, frame.time_base = round(seconds * 1000), _MILLISECOND
        self._container.mux(self._stream.encode(frame))


def _av() -> Any:
    try:
        return import_module("av")
    except ImportError:
        raise InputError(
            "reading a video needs PyAV: pip install 'fpenet[video]'; or name a folder of its"
            " frames, with --fps"
        ) from None
