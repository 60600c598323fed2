"""``fpenet infer``: keypoints of the faces in images, in folders of images, and in videos.

Input: files and a model. Output, for each image, ``<stem>.keypoints`` as ``.png`` (the image with
boxes and points), ``.json`` and ``.csv`` (one row for each point); for each video ``.mp4``,
``.jsonl`` (one line for each frame) and ``.csv``, with numbered faces and smoothed points. All
coordinates are pixels of the image or frame after the rotation that its metadata defines. A file
that cannot be used is named at the end, and costs nothing else.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.images import read_picture
from fpenet.data.rejected import Refusal
from fpenet.deploy.runtime.face_detection import FaceBox, load_detector
from fpenet.deploy.runtime.face_tracks import FaceTracks
from fpenet.deploy.runtime.infer_inputs import OUTPUT, InferInput, images_in, list_inputs
from fpenet.deploy.runtime.infer_outputs import Kind, video_outputs, write_image
from fpenet.deploy.runtime.landmarker import Landmarker, checked_box
from fpenet.deploy.runtime.one_euro import Smoothing
from fpenet.deploy.runtime.video import Frame, count_frames, read_frames

LOGGER = logging.getLogger(__name__)

_MOST_NAMED = 20  # files in one line


@dataclass(frozen=True, slots=True)
class InferOptions:
    """The face boxes, the kinds of output, and how folders are read.

    Attributes:
        face_box: (x, y, width, height) in image pixels, the same in every image and in the first
            frame of every video; ``whole``: the whole image is the face; ``detect``: detect all
            faces.
        write: the kinds of output.
        frames_per_second: the images of a folder are the frames of one video, in the order of
            their names; None: they are separate images.
        smoothing: smoothing of the points in videos; None: no smoothing.
        detect_every: frames of a video from one detection to the next.
        recursive: also the files in the folders of a folder.
    """

    face_box: FaceBox | Literal["whole", "detect"] = "detect"
    write: Sequence[Kind] = ("overlay", "json")
    frames_per_second: float | None = None
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    detect_every: int = 10
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class InferSummary:
    """The number of images and videos that were used, and a line for each file that was not."""

    inputs: int
    refused: Sequence[str]


def infer_files(
    paths: Sequence[Path], landmarker: Landmarker, out: Path, options: InferOptions
) -> InferSummary:
    """Write the outputs of ``options`` into ``out``.

    Returns:
        the number of images and videos, and why files were refused. Of a video that is damaged, the
        outputs hold the frames before the damage.

    Raises:
        InputError: nothing could be used, the box has no area, there is no detector, or two inputs
            would write the same file.
    """
    if options.face_box == "detect":
        load_detector()
    elif not isinstance(options.face_box, str):
        checked_box(options.face_box)
    if options.recursive and options.frames_per_second:
        raise InputError("--recursive: with --fps, name each folder of frames")
    inputs = list_inputs(paths, options.recursive, bool(options.frames_per_second))
    refused: list[str] = []
    used = 0
    for done, each in enumerate(inputs, start=1):
        try:
            if each.kind == "image":
                _infer_image(each, landmarker, out, options)
            else:
                _infer_video(each, landmarker, out, options, refused)
            used += 1
        except InputError as error:
            refused.append(_line(each.path, error))
        if each.kind == "image":
            report(done, len(inputs), "images")
    if not used:
        more = f"; and {len(refused) - _MOST_NAMED} more" if len(refused) > _MOST_NAMED else ""
        raise InputError("; ".join(refused[:_MOST_NAMED]) + more)
    return InferSummary(used, refused)


def _line(path: Path, error: InputError) -> str:
    """The reason of a refusal after the path, which it may name already."""
    text = str(error).removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")
    return f"{path}: {text}"


def _infer_image(
    source: InferInput, landmarker: Landmarker, out: Path, options: InferOptions
) -> None:
    picture = read_picture(source.path)
    faces = landmarker.keypoints(np.asarray(picture), options.face_box)
    if not faces:
        LOGGER.warning("%s: no face detected; name its box, or use --detector whole", source.path)
    write_image(_stem(source, out), source.path.name, picture, faces, options.write)


def _infer_video(
    source: InferInput,
    landmarker: Landmarker,
    out: Path,
    options: InferOptions,
    refused: list[str],
) -> None:
    """Follow the faces of a video; frames of a folder that cannot be read go to ``refused``."""
    tracks = FaceTracks(landmarker, options.face_box, options.smoothing, options.detect_every)
    frames = _frames(source, options, refused)
    followed = ((n, each, tracks.follow(each.image, each.seconds)) for n, each in frames)
    first = next(followed, None)
    if first is None:
        raise InputError(f"{source.path}: no frame in it can be read")
    number, total, empty = 0, _number_of_frames(source), 0
    damage: InputError | None = None
    with video_outputs(_stem(source, out), options.write) as add_frame:
        try:
            for number, frame, tracked in chain([first], followed):
                empty += not tracked
                add_frame(number, frame, tracked)
                report(number + 1, max(total, number + 1), "frames")
        except InputError as error:
            damage = error
    if empty:
        LOGGER.warning("%s: no face in %d frames", source.path, empty)
    if damage is not None:
        raise InputError(f"{_line(source.path, damage)}; the outputs end after frame {number}")


def _stem(source: InferInput, out: Path) -> Path:
    """The path of the outputs without their suffix; its folder exists afterwards."""
    stem = out / source.stem.parent / f"{source.stem.name}{OUTPUT}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    return stem


def _frames(
    source: InferInput, options: InferOptions, refused: list[str]
) -> Iterator[tuple[int, Frame]]:
    """Number and image of each frame; an image of a folder that cannot be used has none."""
    if source.kind == "video":
        yield from enumerate(read_frames(source.path))
        return
    assert options.frames_per_second is not None
    size: tuple[int, int] | None = None
    for number, path in enumerate(images_in(source.path)):
        try:
            picture = read_picture(path).convert("RGB")
            size = size or picture.size
            if picture.size != size:
                raise Refusal("image size", f"{path.name}: {picture.size} px, the first: {size}")
        except Refusal as refusal:
            refused.append(_line(path, refusal))
            continue
        yield number, Frame(number / options.frames_per_second, np.asarray(picture))


def _number_of_frames(source: InferInput) -> int:
    """The number of frames; 0 where the file does not have it."""
    return count_frames(source.path) if source.kind == "video" else len(images_in(source.path))
