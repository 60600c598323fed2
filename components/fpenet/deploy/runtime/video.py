"""Reads the frames of a video and writes frames as a video, by FFmpeg (extra ``video``)."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from fpenet.data.file_kind import UNKNOWN, read_kind

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp")
"""Suffixes by which a file in a folder is meant as a video, whatever is in it."""
_DEMUXERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,asf,flv,ogg,h264,hevc,vvc,av1,obu,vc1,ivf,mxf,rm,nut,"
    "wtv,gxf,dv,yuv4mpegpipe,h263,h261,dirac,cavsvideo,swf,nsv"
)
"""FFmpeg's readers of video files. Others read what a file names: playlists, URLs, devices."""
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
    with _opened(path) as container:
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


def count_frames(path: Path) -> int:
    """The number of frames in the file's metadata; 0 where it is absent.

    Raises:
        InputError: as for ``read_frames``.
    """
    with _opened(path) as container:
        return int(container.streams.video[0].frames)


def has_video(path: Path) -> bool:
    """Whether FFmpeg finds a video stream in the file; False without PyAV."""
    try:
        with _opened(path):
            return True
    except InputError:
        return False


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    """FFmpeg's container of the file, with a video stream; its errors become ``InputError``."""
    av = _av()
    try:
        with av.open(str(path), options={"format_whitelist": _DEMUXERS}) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream")
            yield container
    except av.error.FileNotFoundError:
        raise InputError(f"{path}: No such file or directory") from None
    except (av.error.ArgumentError, av.error.InvalidDataError) as error:
        kind = read_kind(Path(path))
        name = "not a video that FFmpeg reads" if kind.is_video or kind is UNKNOWN else kind.name
        raise InputError(f"{path}: {name} ({error.strerror})") from None
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


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
