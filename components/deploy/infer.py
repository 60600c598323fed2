"""``fpenet infer``: keypoints of the faces in some images, drawn and as JSON.

Input: images and a model. Output: for each image ``<stem>.keypoints.png``, the picture with boxes
and points, and ``<stem>.keypoints.json``, both in pixels of the image.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from components.data.faces_drawn import point_colours
from components.deploy.landmarker import FaceKeypoints, Landmarker, grey_levels
from components.deploy.sums import DEFAULT_TRUST, Trusted
from components.progress import report

LOGGER = logging.getLogger(__name__)

SMALLEST_DRAWING_PX = 640


def draw_keypoints(image: Image.Image, faces: Sequence[FaceKeypoints]) -> Image.Image:
    """A copy of ``image`` in colour with the box and the points of each face.

    A small picture is drawn a whole number of times larger, so that its points can be told apart.
    """
    factor = max(1, -(-SMALLEST_DRAWING_PX // max(image.size)))
    size = (image.width * factor, image.height * factor)
    drawn = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(drawn)

    def place(x: float, y: float) -> tuple[float, float]:
        return (x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5

    for face in faces:
        x, y, width, height = face.box
        canvas.rectangle((*place(x, y), *place(x + width, y + height)), outline="#ffffff", width=1)
        colours = point_colours(len(face.keypoints))
        radius = max(1.5, max(width, height) * factor / 160)
        for (u, v), colour in zip(face.keypoints.tolist(), colours, strict=True):
            a, b = place(u, v)
            canvas.ellipse((a - radius, b - radius, a + radius, b + radius), fill=colour)
    return drawn


def infer_images(
    images: Sequence[Path],
    model: Path,
    out: Path,
    box: Sequence[float] | None,
    detector: Literal["dlib", "whole"],
    trusted: Trusted = DEFAULT_TRUST,
) -> None:
    """Write picture and JSON of each image into ``out``; all images are read before the first.

    Args:
        box: (x, y, width, height) of the face, image pixels, the same in every image; None leaves
            it to ``detector``.

    Raises:
        ValueError: naming the image, model or box and what is wrong.
    """
    if box is not None and len(box) != 4:
        raise ValueError(f"box has {len(box)} numbers; give x y width height")
    twice = [stem for stem, count in Counter(path.stem for path in images).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]}: two images with that name would write the same file")
    for path in images:
        grey_levels(path)
    landmarker = Landmarker(model, trusted=trusted)
    out.mkdir(parents=True, exist_ok=True)
    for done, path in enumerate(images, start=1):
        if box is not None:
            faces = landmarker.keypoints(path, (box[0], box[1], box[2], box[3]))
        else:
            faces = landmarker.keypoints(path, "whole" if detector == "whole" else "detect")
        if not faces:
            LOGGER.warning("%s: no face found; give its box, or --detector whole", path)
        with Image.open(path) as image:
            draw_keypoints(image, faces).save(out / f"{path.stem}.keypoints.png")
            width, height = image.size
        result = {
            "image": path.name,
            "width": width,
            "height": height,
            "faces": [face.to_json() for face in faces],
        }
        text = json.dumps(result, indent=1, allow_nan=False)
        (out / f"{path.stem}.keypoints.json").write_text(text + "\n", encoding="utf-8")
        report(done, len(images), "images")
