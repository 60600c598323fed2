"""``fpenet infer``: keypoints of the faces in images, in folders of them, and in videos.

Input: files and a model. Output, for each image, ``<stem>.keypoints`` as ``.png`` (the picture with
boxes and points), ``.json`` and ``.csv`` (a row a point); for each video ``.mp4``, ``.jsonl`` (a
line a frame) and ``.csv``, its faces numbered and their points smoothed. All in pixels of the image
or frame as it is shown: turned where the file asks for it.
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

SMALLEST_DRAWING_PX = 640
Kind = Literal["overlay", "json", "csv"]
_IMAGES = (".png", ".jpg", ".jpeg")
_COLUMNS = ("frame", "seconds", "face", "point", "x", "y", "confidence", "visible")


@dataclass(frozen=True, slots=True)
class InferOptions:
    """How faces are looked for, and what is written.

    Attributes:
        face_box: (x, y, width, height) in image pixels, the same in every image and in the first
            frame of every video; ``whole`` when the image is the face; ``detect`` finds all faces.
        frames_per_second: a folder's images are the frames of one video, by name; None: they are
            images.
        smoothing: of videos; None leaves their points as they are.
        detect_every: frames of a video from one search for faces to the next.
    """

    face_box: FaceBox | Literal["whole", "detect"] = "detect"
    write: Sequence[Kind] = ("overlay", "json")
    frames_per_second: float | None = None
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    detect_every: int = 10


def infer_files(
    inputs: Sequence[Path], landmarker: Landmarker, out: Path, options: InferOptions
) -> int:
    """Write what ``options`` name into ``out``; all inputs are opened before any is processed.

    Returns:
        of how many images and videos.

    Raises:
        InputError: naming the input or the box, and what is wrong with it.
    """
    files = list(_files(inputs, options))
    twice = [stem for stem, count in Counter(path.stem for path in files).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: two inputs with that name would write the same file")
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


def draw_keypoints(
    image: Image.Image, faces: Sequence[FaceKeypoints], names: Sequence[str] = ()
) -> Image.Image:
    """A copy of ``image`` in colour with the box and the points of each face.

    A small picture is drawn a whole number of times larger, so that its points can be told apart.

    Args:
        names: to write at the faces' boxes.
    """
    factor = max(1, -(-SMALLEST_DRAWING_PX // max(image.size)))
    size = (image.width * factor, image.height * factor)
    drawn = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(drawn)

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
    return drawn


def _infer_image(path: Path, landmarker: Landmarker, out: Path, options: InferOptions) -> None:
    faces = landmarker.keypoints(path, options.face_box)
    if not faces:
        LOGGER.warning("%s: no face found; give its box, or --detector whole", path)
    stem = out / f"{path.stem}.keypoints"
    with Image.open(path) as stored:
        image = ImageOps.exif_transpose(stored)
        if "overlay" in options.write:
            draw_keypoints(image, faces).save(f"{stem}.png")
        width, height = image.size
    if "json" in options.write:
        said = {"image": path.name, "width": width, "height": height}
        said |= {"faces": [face.to_json() for face in faces]}
        text = json.dumps(said, indent=1, allow_nan=False)
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
            found = tracks.follow(frame.image, frame.seconds)
            empty += not found
            if rows is not None:
                rows.writerows(_rows(number, frame.seconds, found))
            if lines is not None:
                faces: list[Any] = [{"number": one.number} | one.face.to_json() for one in found]
                said = {"frame": number, "seconds": round(frame.seconds, 6), "faces": faces}
                lines.write(json.dumps(said, allow_nan=False) + "\n")
            if video is not None:
                names = [str(one.number) for one in found]
                picture = Image.fromarray(frame.image)
                video.add(
                    draw_keypoints(picture, [one.face for one in found], names), frame.seconds
                )
            report(number + 1, max(total, number + 1), "frames")
    if empty:
        LOGGER.warning("%s: no face in %d frames", path, empty)


def _rows(frame: int, seconds: float, faces: Iterable[TrackedFace]) -> Iterator[tuple[Any, ...]]:
    """A row a point; faces and points count from 1, frames from 0."""
    for one in faces:
        face = one.face
        visible = [""] * len(face.keypoints) if face.visible is None else face.visible.astype(int)
        for k, ((x, y), trust, seen) in enumerate(
            zip(face.keypoints.tolist(), face.confidence.tolist(), visible, strict=True), start=1
        ):
            yield (
                frame,
                f"{seconds:.6f}",
                one.number,
                k,
                f"{x:.3f}",
                f"{y:.3f}",
                f"{trust:.5f}",
                seen,
            )


def _files(inputs: Sequence[Path], options: InferOptions) -> Iterator[Path]:
    """Images, videos, and folders that are one video; the content of other folders."""
    for path in inputs:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(path.iterdir())
        found = [one for one in inside if one.suffix.lower() in _IMAGES + SUFFIXES]
        if not found:
            raise InputError(f"{path}: no image and no video in it; wanted {_IMAGES + SUFFIXES}")
        yield from [path] if options.frames_per_second else found


def _is_image(path: Path) -> bool:
    """Whatever is neither a folder nor a video is taken for an image, and refused as one."""
    return not path.is_dir() and path.suffix.lower() not in SUFFIXES


def _frames(path: Path, options: InferOptions) -> Iterator[Frame]:
    if not path.is_dir():
        yield from read_frames(path)
        return
    assert options.frames_per_second is not None
    for number, image in enumerate(_images_in(path)):
        grey_levels(image)  # refuses what is no image
        with Image.open(image) as stored:
            upright = ImageOps.exif_transpose(stored).convert("RGB")
        yield Frame(number / options.frames_per_second, np.asarray(upright))


def _images_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _IMAGES]


def _number_of_frames(path: Path, options: InferOptions) -> int:
    """0 where the file does not say."""
    return len(_images_in(path)) if path.is_dir() else count_frames(path)
