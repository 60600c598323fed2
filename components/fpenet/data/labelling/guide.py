"""The guideline for labellers: the numbers of the keypoints on a face, and the labelling rules.

The face is rendered by synthface, so that the numbers are exactly at the keypoints. Source: FPENet
model card (docs/fpenet.md).
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fpenet.data.crops.geometry import CropBox, cut
from fpenet.data.images import read_colour
from fpenet.data.overlay import point_colours
from fpenet.keypoints import custom_scheme, scheme_for
from fpenet.params.scheme import SchemeParams
from synthface.rendering.render import render_face
from synthface.spec import Expression, FaceSpec, RenderedFace

PICTURE_PX = 900
_VIEWS = {
    "The face": ("chin", "eyebrows", "nose", "ears"),
    "The subject's right eye": ("eyes", "pupils", "eye_contours"),
    "The subject's left eye": ("eyes", "pupils", "eye_contours"),
    "The mouth": ("mouth",),
}
_RULES = (
    "Label every keypoint, in the order of the numbers. The subject's right is on the left.",
    "If an object or an extreme pose hides a keypoint, label its most probable position and mark"
    " it <b>occluded</b>.",
    "The face box is as tight as possible.",
    "Label the occlusion level of the face, 0 (nothing hidden) to 9 (nearly all hidden); faces"
    " above 5 are not used for training.",
    "Do not label a face at the edge of the image if less than 60 % of it is visible.",
    "A second annotator checks the labels without the points of the first annotator.",
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "img{width:100%;max-width:900px}td,th{padding:.1rem .8rem;text-align:left}"
)


def guide_page(num_keypoints: int, scheme: SchemeParams | None = None) -> str:
    """One HTML page that needs no network.

    Args:
        scheme: the set's own scheme: its names and its picture are shown. Without a picture, only
            FPENet's keypoints have images.

    Raises:
        Refusal: the picture of the scheme cannot be read; an InputError that names the file.
    """
    rules = "".join(f"<li>{rule}</li>" for rule in _RULES)
    parts = [f"<h1>Labelling {num_keypoints} keypoints</h1>", f"<ol>{rules}</ol>"]
    regions: Mapping[str, Sequence[int]] = scheme_for(num_keypoints).regions
    if scheme is not None and scheme.regions:
        regions = custom_scheme(scheme).regions
    parts.append(
        _table(
            ("region", "keypoints"),
            [
                (name.replace("_", " "), _numbers(indices))
                for name, indices in regions.items()
                if name not in ("all", "head_pose")
            ],
        )
    )
    names = enumerate((keypoint.name for keypoint in scheme.keypoints) if scheme else (), 1)
    named = [(str(number), name) for number, name in names if name != str(number)]
    parts.append(_table(("number", "keypoint"), named))
    if scheme is not None and scheme.picture is not None:
        images = {"The keypoints": Image.fromarray(read_colour(scheme.picture))}
    else:  # keypoints with names may be others than ours
        images = {} if named else guide_images(num_keypoints)
    for title, image in images.items():
        file = io.BytesIO()
        image.save(file, format="PNG", optimize=True)
        data = base64.b64encode(file.getvalue()).decode()
        parts.append(f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{data}">')
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>Labelling</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(heads: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    """The rows as an HTML table; empty text if there are none."""
    if not rows:
        return ""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def guide_images(num_keypoints: int) -> dict[str, Image.Image]:
    """Title -> image of a rendered face with numbered keypoints; empty for a custom scheme."""
    scheme = scheme_for(num_keypoints)
    if not scheme.of_fpenet:
        return {}
    face = model_face()
    points = np.asarray(face.points[:num_keypoints], dtype=np.float64)
    regions = scheme.regions
    middle = float(points[27, 0])
    images = {}
    for title, names in _VIEWS.items():
        numbered = [k for name in names if name in regions for k in regions[name]]
        if "eye" in title:
            numbered = [k for k in numbered if (points[k, 0] < middle) == ("right" in title)]
        images[title] = _numbered(face.image, points, numbered)
    return images


def model_face() -> RenderedFace:
    """The face of the guideline, with open eyes and lips, so that no points coincide."""
    opened = Expression(eye_open=1.3, mouth_open=7.0)
    return render_face(FaceSpec(expression=opened, px_per_mm=1.75, centre_px=(320.0, 205.0)))


def _numbered(
    image: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
    points: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    numbered: Sequence[int],
) -> Image.Image:
    low, high = points[numbered].min(axis=0), points[numbered].max(axis=0)
    x, y = (low + high) / 2
    box = CropBox(float(x), float(y), float((high - low).max()) * 1.25)
    overlay = Image.fromarray(cut(image, box, PICTURE_PX)).convert("RGB")
    draw = ImageDraw.Draw(overlay)
    font = ImageFont.load_default(18)
    colours = point_colours(len(points))
    positions = box.to_crop(points, PICTURE_PX)
    for k in numbered:
        u, v = positions[k]
        draw.ellipse((u - 4, v - 4, u + 4, v + 4), fill=colours[k], outline="#000000")
        draw.text(
            (u + 6, v - 6),
            str(k + 1),
            fill=colours[k],
            font=font,
            anchor="lb",
            stroke_width=2,
            stroke_fill="#000000",
        )
    return overlay


def _numbers(indices: Sequence[int]) -> str:
    """0-based indices as 1-based numbers: ``37-48``."""
    ordered = sorted(k + 1 for k in indices)
    if ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}-{ordered[-1]}"
    return ", ".join(map(str, ordered))
