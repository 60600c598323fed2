"""LABEL_CHECKS: checks of a single label, independent of the other faces.

The first checks find broken labels, the remaining ones apply the rules of the model card. No image
is needed.
"""

import numpy as np

from fpenet.data.checks.faces import LabelCheck, LabelledFaces, Outcome, flag, over
from fpenet.data.sample import Bools, Floats
from fpenet.params import ValidateParams

FAR = 1.0
"""A point farther outside the image than this number of image sizes is an error."""
SAME = 1e-3
"""Two points coincide if they are in one cell of a grid; a cell is this share of the face's size.
"""
_ROWS = 4096  # faces per batch


def find_far_points(faces: LabelledFaces, params: ValidateParams) -> Outcome:
    """Visible points farther than one image size outside the image."""
    size = faces.sizes[:, None]
    with np.errstate(invalid="ignore"):
        far = ((faces.points < -FAR * size) | (faces.points > (1 + FAR) * size)).any(axis=2)
    return _first_point(faces, far & faces.visible, "{point} in a {width:g}x{height:g} image")


def _first_point(faces: LabelledFaces, wrong: Bools, text: str) -> Outcome:
    """A finding for each face with a ``wrong`` (N, K) point; names the first one."""
    details = {}
    for row in np.flatnonzero(wrong.any(axis=1)):
        k = int(np.argmax(wrong[row]))
        x, y = faces.points[row, k]
        width, height = faces.sizes[row]
        point = f"P{k + 1} is ({x:g}, {y:g}) px"
        details[int(row)] = text.format(point=point, width=width, height=height)
    return Outcome(details)


def find_collapsed(faces: LabelledFaces, params: ValidateParams) -> Outcome:
    """Faces smaller than one pixel."""
    details = {}
    count = faces.labelled.sum(axis=1)
    for row in np.flatnonzero((faces.squares[:, 2] < 1.0) & (count > 1)):
        details[int(row)] = f"all {count[row]} points are within one pixel"
    for row in np.flatnonzero(faces.boxes[:, 2:].max(axis=1) < 1.0):
        details[int(row)] = f"face box is {faces.boxes[row, 2]:g}x{faces.boxes[row, 3]:g} px"
    return Outcome(details)


def find_coincident(faces: LabelledFaces, params: ValidateParams) -> Outcome:
    """Faces with too many coincident points."""
    limit = params.max_coincident_fraction
    fraction = coincident_fraction(faces)

    def detail(row: int) -> str:
        return f"{fraction[row]:.2f} of the points coincide with another; at most {limit:g}"

    return flag(over(fraction, limit), detail)


def coincident_fraction(faces: LabelledFaces) -> Floats:
    """(N,) fraction of a face's labelled points that coincide with another of its points."""
    count = np.zeros(len(faces))
    for start in range(0, len(faces), _ROWS):
        part = slice(start, start + _ROWS)
        cell = np.maximum(faces.squares[part, 2], 1e-9)[:, None, None] * SAME
        cells = np.rint(faces.points[part] / cell)  # (n, K, 2); NaN sorts last, equals nothing
        order = np.lexsort((cells[..., 1], cells[..., 0]), axis=1)
        ordered = np.take_along_axis(cells, order[..., None], axis=1)
        count[part] = (ordered[:, 1:] == ordered[:, :-1]).all(axis=2).sum(axis=1)
    fraction: Floats = count / faces.labelled.sum(axis=1)
    return fraction


def find_occluded(faces: LabelledFaces, params: ValidateParams) -> Outcome:
    """Faces with an occlusion level above ``max_occlusion_level`` (model card: 5)."""
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(faces.occlusion > params.max_occlusion_level)
    most = params.max_occlusion_level
    return Outcome(
        {int(r): f"occlusion level {faces.occlusion[r]:g}; at most {most}" for r in rows}
    )


def find_cut_faces(faces: LabelledFaces, params: ValidateParams) -> Outcome:
    """Faces at the image border with a visible fraction below the limit (model card: 60 %)."""
    fraction = visible_fraction(faces)
    least = params.min_visible_fraction

    def detail(row: int) -> str:
        return f"{fraction[row]:.2f} of the face box is inside; at least {least:g}"

    return flag(over(1.0 - fraction, 1.0 - least), detail)


def find_points_outside(faces: LabelledFaces, params: ValidateParams) -> Outcome:
    """Faces with too many points outside the image."""
    fraction = outside_fraction(faces)
    most = params.max_points_outside_fraction

    def detail(row: int) -> str:
        return f"{fraction[row]:.2f} of the points are outside; at most {most:g}"

    return flag(over(fraction, most), detail)


def find_outside_box(faces: LabelledFaces, params: ValidateParams) -> Outcome:
    """Faces whose points are not in their face box: the box of another face, or wrong units."""
    margin = params.face_box_margin * faces.boxes[:, 2:].max(axis=1, keepdims=True)
    low, high = faces.boxes[:, :2] - margin, faces.boxes[:, :2] + faces.boxes[:, 2:] + margin
    fraction = _fraction_beyond(faces, low, high)
    most = params.max_points_outside_box_fraction

    def detail(row: int) -> str:
        x, y, width, height = faces.boxes[row]
        return (
            f"{fraction[row]:.2f} of the points are outside the face box {width:g}x{height:g} px at"
            f" ({x:g}, {y:g}) and its margin; at most {most:g}"
        )

    return flag(over(fraction, most), detail)


def visible_fraction(faces: LabelledFaces) -> Floats:
    """(N,) share of the face box's area inside the image."""
    low, size = faces.boxes[:, :2], faces.boxes[:, 2:]
    inside = np.minimum(low + size, faces.sizes - 0.5) - np.maximum(low, -0.5)
    area = size.prod(axis=1)
    line = (inside >= 0).all(axis=1).astype(float)  # a box without area: inside or not
    fraction: Floats = np.where(
        area > 0, np.maximum(inside, 0.0).prod(axis=1) / np.where(area > 0, area, 1.0), line
    )
    return fraction


def outside_fraction(faces: LabelledFaces) -> Floats:
    """(N,) share of the labelled points outside the image."""
    return _fraction_beyond(faces, np.full((len(faces), 2), -0.5), faces.sizes - 0.5)


def _fraction_beyond(faces: LabelledFaces, low: Floats, high: Floats) -> Floats:
    """(N,) share of the labelled points outside the rectangles ``low`` to ``high`` (N, 2)."""
    with np.errstate(invalid="ignore"):
        beyond = (faces.points < low[:, None]) | (faces.points > high[:, None])
    fraction: Floats = beyond.any(axis=2).sum(axis=1) / faces.labelled.sum(axis=1)
    return fraction


LABEL_CHECKS: dict[str, LabelCheck] = {
    "far point": LabelCheck(find_far_points),
    "collapsed": LabelCheck(find_collapsed),
    "coincident points": LabelCheck(find_coincident),
    "occluded": LabelCheck(find_occluded, broken=False),
    "face cut off": LabelCheck(find_cut_faces, broken=False),
    "points outside": LabelCheck(find_points_outside, broken=False),
    "outside face box": LabelCheck(find_outside_box),
}
