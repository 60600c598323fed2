"""``fpenet infer``: keypoints of the faces in images, in folders of images, and in videos.

Input: files and a model. Output, for each image, ``<stem>.keypoints`` as ``.png`` (the image with
boxes and points), ``.json`` and ``.csv`` (one row for each point); for each video ``.mp4``,
``.jsonl`` (one line for each frame) and ``.csv``, with numbered faces and smoothed points. All
coordinates are pixels of the image or frame after the rotation that its metadata defines.
"""

import csv
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.overlay import point_colours
from fpenet.deploy.runtime.face_detection import FaceBox
from fpenet.deploy.runtime.face_tracks import FaceTracks, TrackedFace
from fpenet.deploy.runtime.landmarker import FaceKeypoints, Landmarker, grey_levels
from fpenet.deploy.runtime.one_euro import Smoothing
from fpenet.deploy.runtime.video import SUFFIXES, Frame, VideoFile, count_frames, read_frames

LOGGER = logging.getLogger(__name__)

SMALLEST_OVERLAY_PX = 640
Kind = Literal["overlay", "json", "csv"]
_IMAGES = (".png", ".jpg", ".jpeg")
_COLUMNS = ("frame", "seconds", "face", "point", "x", "y", "confidence", "visible")


@dataclass(frozen=True, slots=True)
class InferOptions:
    """The face boxes, and the kinds of output.

    Attributes:
        face_box: (x, y, width, height) in image pixels, the same in every image and in the first
            frame of every video; ``whole``: the whole image is the face; ``detect``: detect all
            faces.
        write: the kinds of output.
        frames_per_second: the images of a folder are the frames of one video, in the order of
            their names; None: they are separate images.
        smoothing: smoothing of the points in videos; None: no smoothing.
        detect_every: frames of a video from one detection to the next.
    """

    face_box: FaceBox | Literal["whole", "detect"] = "detect"
    write: Sequence[Kind] = ("overlay", "json")
    frames_per_second: float | None = None
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    detect_every: int = 10


def infer_files(
    inputs: Sequence[Path], landmarker: Landmarker, out: Path, options: InferOptions
) -> int:
    """Write the outputs of ``options`` into ``out``; all inputs are opened before the first output.

    Returns:
        the number of images and videos.

    Raises:
        InputError: an input or the box is refused; the message names it and the reason.
    """
    files = list(_files(inputs, options))
    repeated = [stem for stem, count in Counter(path.stem for path in files).items() if count > 1]
    if repeated:
        raise InputError(f"{repeated[0]}: two inputs with this name would write the same file")
    for path in files:
        if _is_image(path):
            grey_levels(path)
        else:
            next(_frames(path, options), None)
    out.mkdir(parents=True, exist_ok=True)
    images = [path for path in files if _is_image(path)]
    for done, path in enumerate(images, start=1):
        _infer_image(path, landmarker, out, options)
        report(done, len(images), "images")
    for path in files:
        if not _is_image(path):
            _infer_video(path, landmarker, out, options)
    return len(files)


def overlay_keypoints(
    image: Image.Image, faces: Sequence[FaceKeypoints], names: Sequence[str] = ()
) -> Image.Image:
    """A copy of ``image`` in colour with the box and the points of each face.

    A small image is enlarged by a whole number, so that its points can be distinguished.

    Args:
        names: labels of the face boxes.
    """
    factor = max(1, -(-SMALLEST_OVERLAY_PX // max(image.size)))
    size = (image.width * factor, image.height * factor)
    overlay = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(overlay)

    def place(x: float, y: float) -> tuple[float, float]:
        return (x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5

    for number, face in enumerate(faces):
        x, y, width, height = face.box
        canvas.rectangle((*place(x, y), *place(x + width, y + height)), outline="#ffffff", width=1)
        if number < len(names):
            canvas.text(place(x, y), names[number], fill="#ffffff", anchor="ld", font_size=16)
        colours = point_colours(len(face.keypoints))
        radius = max(1.5, max(width, height) * factor / 160)
        for (u, v), colour in zip(face.keypoints.tolist(), colours, strict=True):
            a, b = place(u, v)
            canvas.ellipse((a - radius, b - radius, a + radius, b + radius), fill=colour)
    return overlay


def _infer_image(path: Path, landmarker: Landmarker, out: Path, options: InferOptions) -> None:
    faces = landmarker.keypoints(path, options.face_box)
    if not faces:
        LOGGER.warning("%s: no face detected; name its box, or use --detector whole", path)
    stem = out / f"{path.stem}.keypoints"
    with Image.open(path) as stored:
        image = ImageOps.exif_transpose(stored)
        if "overlay" in options.write:
            overlay_keypoints(image, faces).save(f"{stem}.png")
        width, height = image.size
    if "json" in options.write:
        record = {"image": path.name, "width": width, "height": height}
        record |= {"faces": [face.to_json() for face in faces]}
        text = json.dumps(record, indent=1, allow_nan=False)
        Path(f"{stem}.json").write_text(text + "\n", encoding="utf-8")
    if "csv" in options.write:
        with Path(f"{stem}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(_COLUMNS)
            rows.writerows(_rows(0, 0.0, [TrackedFace(n, f) for n, f in enumerate(faces, 1)]))


def _infer_video(path: Path, landmarker: Landmarker, out: Path, options: InferOptions) -> None:
    tracks = FaceTracks(landmarker, options.face_box, options.smoothing, options.detect_every)
    stem = out / f"{path.stem}.keypoints"
    total, empty = _number_of_frames(path, options), 0
    with ExitStack() as open_files:
        rows, lines, video = None, None, None
        if "csv" in options.write:
            rows = csv.writer(
                open_files.enter_context(
                    Path(f"{stem}.csv").open("w", newline="", encoding="utf-8")
                )
            )
            rows.writerow(_COLUMNS)
        if "json" in options.write:
            lines = open_files.enter_context(Path(f"{stem}.jsonl").open("w", encoding="utf-8"))
        if "overlay" in options.write:
            video = open_files.enter_context(VideoFile(Path(f"{stem}.mp4")))
        for number, frame in enumerate(_frames(path, options)):
            tracked = tracks.follow(frame.image, frame.seconds)
            empty += not tracked
            if rows is not None:
                rows.writerows(_rows(number, frame.seconds, tracked))
            if lines is not None:
                faces: list[Any] = [{"number": t.number} | t.face.to_json() for t in tracked]
                record = {"frame": number, "seconds": round(frame.seconds, 6), "faces": faces}
                lines.write(json.dumps(record, allow_nan=False) + "\n")
            if video is not None:
                names = [str(t.number) for t in tracked]
                image = Image.fromarray(frame.image)
                video.add(overlay_keypoints(image, [t.face for t in tracked], names), frame.seconds)
            report(number + 1, max(total, number + 1), "frames")
    if empty:
        LOGGER.warning("%s: no face in %d frames", path, empty)


def _rows(frame: int, seconds: float, faces: Iterable[TrackedFace]) -> Iterator[tuple[Any, ...]]:
    """One row for each point; faces and points are numbered from 1, frames from 0."""
    for tracked in faces:
        face = tracked.face
        flags = [""] * len(face.keypoints) if face.visible is None else face.visible.astype(int)
        for k, ((x, y), confidence, visible) in enumerate(
            zip(face.keypoints.tolist(), face.confidence.tolist(), flags, strict=True), start=1
        ):
            yield (
                frame,
                f"{seconds:.6f}",
                tracked.number,
                k,
                f"{x:.3f}",
                f"{y:.3f}",
                f"{confidence:.5f}",
                visible,
            )


def _files(inputs: Sequence[Path], options: InferOptions) -> Iterator[Path]:
    """Images, videos and folders that are one video; for other folders the files in them."""
    for path in inputs:
        if not path.is_dir():
            yield path
            continue
        suffixes = _IMAGES + SUFFIXES
        files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in suffixes]
        if not files:
            raise InputError(f"{path}: no image and no video in it; allowed are {suffixes}")
        yield from [path] if options.frames_per_second else files


def _is_image(path: Path) -> bool:
    """Whether a path is read as an image: it is neither a folder nor a video."""
    return not path.is_dir() and path.suffix.lower() not in SUFFIXES


def _frames(path: Path, options: InferOptions) -> Iterator[Frame]:
    if not path.is_dir():
        yield from read_frames(path)
        return
    assert options.frames_per_second is not None
    for number, image in enumerate(_images_in(path)):
        grey_levels(image)  # refuses a file that is no image
        with Image.open(image) as stored:
            upright = ImageOps.exif_transpose(stored).convert("RGB")
        yield Frame(number / options.frames_per_second, np.asarray(upright))


def _images_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _IMAGES]


def _number_of_frames(path: Path, options: InferOptions) -> int:
    """The number of frames; 0 where the file does not have it."""
    return len(_images_in(path)) if path.is_dir() else count_frames(path)
