"""The output files of ``fpenet infer``: overlays, JSON and CSV, of an image or of a video."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageDraw

from fpenet.data.overlay import point_colours
from fpenet.deploy.runtime.face_tracks import TrackedFace
from fpenet.deploy.runtime.landmarker import FaceKeypoints
from fpenet.deploy.runtime.video import Frame, VideoFile

SMALLEST_OVERLAY_PX = 640
Kind = Literal["overlay", "json", "csv"]
_COLUMNS = ("frame", "seconds", "face", "point", "x", "y", "confidence", "visible")


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


def write_image(
    stem: Path,
    name: str,
    picture: Image.Image,
    faces: Sequence[FaceKeypoints],
    write: Sequence[Kind],
) -> None:
    """Write ``stem`` with the suffixes .png, .json and .csv, as ``write`` says."""
    if "overlay" in write:
        overlay_keypoints(picture, faces).save(f"{stem}.png")
    if "json" in write:
        record = {"image": name, "width": picture.width, "height": picture.height}
        record |= {"faces": [face.to_json() for face in faces]}
        text = json.dumps(record, indent=1, allow_nan=False)
        Path(f"{stem}.json").write_text(text + "\n", encoding="utf-8")
    if "csv" in write:
        with Path(f"{stem}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(_COLUMNS)
            rows.writerows(_rows(0, 0.0, [TrackedFace(n, f) for n, f in enumerate(faces, 1)]))


@contextmanager
def video_outputs(
    stem: Path, write: Sequence[Kind]
) -> Iterator[Callable[[int, Frame, Sequence[TrackedFace]], None]]:
    """Open ``stem`` with the suffixes .mp4, .jsonl and .csv, as ``write`` says.

    Yields:
        a function that writes one frame: its number, the frame, and the faces in it.
    """
    with ExitStack() as files:
        rows: Any = None
        lines: Any = None
        video: VideoFile | None = None
        if "csv" in write:
            rows = csv.writer(
                files.enter_context(Path(f"{stem}.csv").open("w", newline="", encoding="utf-8"))
            )
            rows.writerow(_COLUMNS)
        if "json" in write:
            lines = files.enter_context(Path(f"{stem}.jsonl").open("w", encoding="utf-8"))
        if "overlay" in write:
            video = files.enter_context(VideoFile(Path(f"{stem}.mp4")))

        def add(number: int, frame: Frame, tracked: Sequence[TrackedFace]) -> None:
            if rows is not None:
                rows.writerows(_rows(number, frame.seconds, tracked))
            if lines is not None:
                faces: list[Any] = [{"number": t.number} | t.face.to_json() for t in tracked]
                record = {"frame": number, "seconds": round(frame.seconds, 6), "faces": faces}
                lines.write(json.dumps(record, allow_nan=False) + "\n")
            if video is not None:
                image, names = Image.fromarray(frame.image), [str(t.number) for t in tracked]
                video.add(overlay_keypoints(image, [t.face for t in tracked], names), frame.seconds)

        yield add


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
