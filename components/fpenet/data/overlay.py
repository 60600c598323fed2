"""Images of faces with overlaid keypoints, coloured by region.

Used by the validation report, the labelling guideline and the label diff.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fpenet.data.crops.geometry import CropBox, cut
from fpenet.data.images import read_grey
from fpenet.data.sample import Bools, FaceSample, Floats
from fpenet.keypoints import scheme_for

PICTURE_PX = 160
_MARGIN = 1.6  # side of the image divided by the longer side of the box around the points
_COLOURS = {
    "chin": "#35d04f",
    "eyebrows": "#ffd83a",
    "nose": "#3ad6ff",
    "eyes": "#ff7df0",
    "mouth": "#ff5a4d",
    "pupils": "#ffffff",
    "ears": "#9fff9f",
    "eye_contours": "#c9a0ff",
}
_PLAIN = "#ffd83a"  # a keypoint of no region


def point_colours(num_keypoints: int) -> list[str]:
    """The colour of each of ``num_keypoints`` keypoints, by its region.

    Raises:
        InputError: ``num_keypoints`` is not positive.
    """
    colours = [_PLAIN] * num_keypoints
    for name, indices in scheme_for(num_keypoints).regions.items():
        for k in indices if name in _COLOURS else ():
            colours[k] = _COLOURS[name]
    return colours


def image_box(points: Floats) -> CropBox:
    """The square around the labelled points of ``points`` (K, 2) that an image of the face
    shows."""
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    x, y = (low + high) / 2
    return CropBox(float(x), float(y), max(float((high - low).max()), 8.0) * _MARGIN)


def face_image(
    image: Path, box: CropBox, side_px: int = PICTURE_PX, turn: bool | None = None
) -> Image.Image:
    """The square ``box`` of an image file as a colour image of ``side_px``.

    Args:
        turn: as in ``FaceSample``.

    Raises:
        Refusal: the image cannot be read.
    """
    return Image.fromarray(cut(read_grey(image, turn=turn), box, side_px)).convert("RGB")


def draw_points(canvas: Image.Image, points_px: Floats, visible: Bools) -> None:
    """Overlay points (K, 2), pixels of ``canvas``; hidden points are hollow, NaN is left out."""
    draw = ImageDraw.Draw(canvas)
    for (x, y), is_visible, colour in zip(
        points_px, visible, point_colours(len(points_px)), strict=True
    ):
        if np.isnan(x):
            continue
        dot = (x - 1.5, y - 1.5, x + 1.5, y + 1.5)
        draw.ellipse(dot, fill=colour if is_visible else None, outline=colour)


def draw_face(sample: FaceSample, root: Path) -> Image.Image:
    """(PICTURE_PX, PICTURE_PX) image of a face with overlaid points; hidden points are hollow.

    Raises:
        Refusal: the image cannot be read.
    """
    box = image_box(sample.points)
    canvas = face_image(root / sample.image, box, turn=sample.turn)
    draw_points(canvas, box.to_crop(sample.points, PICTURE_PX), sample.visible)
    return canvas
