"""Videos as frames, and frames as a video, by FFmpeg (extra ``video``)."""

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
    """The frames of a video in their order, turned as the file asks, in quarters.

    Raises:
        InputError: naming the file: not a video, damaged, or PyAV is not installed.
    """
    av = _av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            first = last = None
            for number, frame in enumerate(container.decode(stream)):
                told = frame.time
                seconds = number / frames_per_second(stream) if told is None else float(told)
                first = seconds if first is None else first
                if last is not None and seconds <= last:
                    continue  # a frame that is shown no time
                last = seconds
                quarters = round(frame.rotation / 90)  # counterclockwise
                yield Frame(seconds - first, np.rot90(frame.to_ndarray(format="rgb24"), quarters))
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def count_frames(path: Path) -> int:
    """How many frames the file says it has; 0 where it does not say."""
    with _av().open(str(path)) as container:
        return int(container.streams.video[0].frames)


def frames_per_second(stream: Any) -> float:
    """What the file says, or what is usual."""
    return float(stream.average_rate or _USUAL_FPS)


class VideoFile:
    """A video to write frames into, one after the other; its end is written on leaving."""

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

    def add(self, picture: Image.Image, seconds: float) -> None:
        """Add an RGB picture; all are as large as the first, less an odd row or column."""
        av = _av()
        width, height = (side // 2 * 2 for side in picture.size)
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=25)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = _MILLISECOND
            self._stream.options = {"crf": "20"}
        frame = av.VideoFrame.from_ndarray(np.asarray(picture)[:height, :width], format="rgb24")
        frame.pts, frame.time_base = round(seconds * 1000), _MILLISECOND
        self._container.mux(self._stream.encode(frame))


def _av() -> Any:
    try:
        return import_module("av")
    except ImportError:
        raise InputError(
            "reading a video needs PyAV: pip install 'fpenet[video]'; or give a folder of its"
            " frames, and --fps"
        ) from None
