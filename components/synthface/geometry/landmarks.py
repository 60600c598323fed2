"""Positions of the 104 keypoints on the head, in the head frame (mm).

0-based, "left" and "right" as seen in the image of a frontal head:

=======  =======================================================================================
0-16     jaw line from the left ear to the chin (8) to the right ear, evenly spaced along it.
         Where it is hidden, ``contour`` moves the points to the visible contour.
17-26    middle line of the left brow, outer to inner end, then of the right brow, inner to outer
27-35    ridge of the nose from its root to its tip (30); lower edge: left wing, left nostril,
         middle, right nostril, right wing
36-47    lid edges, six for each eye: left eye from its outer corner along the upper lid and back
         along the lower lid; right eye from its inner corner in the same order
48-67    lips in iBUG's order: outer edge from the left corner along the upper lip and back, then
         the inner edge in the same order
68-75    edge of the iris: left, top, right, bottom of the left eye, then of the right eye; hidden
         where a lid covers it
76-79    left ear: top, lobe; right ear: top, lobe
80-82    edge of the left lower lid between 36, 41, 40 and 39, outer to inner; 91-93 the right eye
83-89    fold above the left upper lid, image left to right; 94-100 the right eye
90       left eye, edge of the white next to the inner corner; 101 the right eye
102      centre of the left pupil; 103 of the right pupil
=======  =======================================================================================

FPENet's model card describes 68-103 only as pupils, ears and further eye points. The positions
above are defined by this project, consistent with FPENet's flip map.
"""

import numpy as np

from synthface.geometry import curves
from synthface.geometry.ear import ear_surface
from synthface.geometry.surface import WIDEST_Y, chin_y, cut_plane, front_depth, nose_tip_y
from synthface.spec import Expression, Floats, Identity

NUM_KEYPOINTS = 104
JAW = slice(0, 17)
EARS = slice(76, 80)
IRISES = [*range(68, 76), 102, 103]
JAW_TOP_Y = -6.0
CARUNCLE = -0.8
"""Eye parameter of the edge of the white next to the inner corner."""


def landmarks(identity: Identity, expression: Expression, gaze_mm: tuple[float, float]) -> Floats:
    """(104, 3) points on the skin, head frame, mm."""
    flat = np.zeros((NUM_KEYPOINTS, 2))
    jaw = _jaw(identity, expression)
    flat[0:8], flat[8], flat[9:17] = _left(jaw[:8]), jaw[8], jaw[7::-1]
    brow = _brow(identity, expression)
    flat[17:22], flat[22:27] = _left(brow), brow[::-1]
    flat[27:36] = _nose(identity, expression)
    lids, lower, crease, caruncle = _eye(identity, expression)
    flat[36:42] = _left(lids)
    flat[42:48] = lids[[3, 2, 1, 0, 5, 4]]
    flat[48:68] = _mouth(identity, expression)
    for start, side in ((68, -1.0), (72, 1.0)):
        flat[start : start + 4] = _iris(identity, side, gaze_mm)
    flat[80:83], flat[91:94] = _left(lower), lower
    flat[83:90], flat[94:101] = _left(crease), crease[::-1]
    flat[90:91], flat[101:102] = _left(caruncle), caruncle
    flat[102] = 0.5 * (flat[68] + flat[70])
    flat[103] = 0.5 * (flat[72] + flat[74])
    points = np.concatenate([flat, np.zeros((NUM_KEYPOINTS, 1))], axis=1)
    points[:, 2] = front_depth(identity, expression, flat[:, 0], flat[:, 1])
    points[JAW, 2] = cut_plane(identity, expression, flat[JAW, 1])[1]
    for start, side in ((76, -1.0), (78, 1.0)):
        points[start : start + 2] = ear_surface(
            identity, side, np.array([0.0, 0.0]), np.array([-1.0, 1.0]), np.zeros(2)
        ).T
    return points


def _left(right: Floats) -> Floats:
    """The mirror image of points of the right half."""
    mirrored: Floats = right * np.array([-1.0, 1.0])
    return mirrored


def _stack(x: Floats, y: Floats) -> Floats:
    return np.stack([x, y], axis=1)


def _jaw(identity: Identity, expression: Expression) -> Floats:
    """(9, 2) from the ear to the chin on the right side."""
    # Dense near the chin, where the contour is horizontal: below = sqrt(1 - w**2), w down to 0.
    w = np.arange(400, -1, -1) / 400.0
    w = w * w
    below = np.sqrt(1.0 - w * w)
    y = WIDEST_Y + (chin_y(identity, expression) - WIDEST_Y) * below
    x = cut_plane(identity, expression, y)[0]
    x[-1] = 0.0
    keep = y >= JAW_TOP_Y
    x, y = x[keep], y[keep]
    dx, dy = x[1:] - x[:-1], y[1:] - y[:-1]
    length = np.concatenate([np.zeros(1), np.cumsum(np.sqrt(dx * dx + dy * dy))])
    target = length[-1] * (np.arange(9) / 8.0)
    after = np.minimum(np.maximum(np.searchsorted(length, target), 1), len(length) - 1)
    share = (target - length[after - 1]) / (length[after] - length[after - 1])
    return _stack(
        x[after - 1] + share * dx[after - 1],
        y[after - 1] + share * dy[after - 1],
    )


def _brow(identity: Identity, expression: Expression) -> Floats:
    """(5, 2) of the right brow from its outer to its inner end."""
    t = np.array([0.95, 0.475, 0.0, -0.475, -0.95])
    x = identity.eye_x + 2.0 + t * identity.brow_half_width
    return _stack(x, curves.brow_line(identity, expression, t))


def _nose(identity: Identity, expression: Expression) -> Floats:
    """(9, 2) ridge from root to tip, then the lower edge from left to right."""
    tip = nose_tip_y(identity, expression)
    root = -4.0
    ridge = [(0.0, root + step / 3.0 * (tip - root)) for step in range(4)]
    half = identity.nose_half_width
    edge = [(0.95 * half, tip + 5.0), (0.45 * half, tip + 9.0), (0.0, tip + 10.0)]
    right = [edge[1], edge[0]]
    return np.array(ridge + [(-x, y) for x, y in edge[:2]] + [edge[2]] + right)


def _eye(identity: Identity, expression: Expression) -> tuple[Floats, Floats, Floats, Floats]:
    """Right eye: (6, 2) lids, (3, 2) lower lid, (7, 2) fold, (1, 2) caruncle; outer to inner."""

    def on(curve: Floats, t: Floats) -> Floats:
        return _stack(identity.eye_x + t * identity.eye_half_width, curve)

    upper_t = np.array([1.0, 1.0 / 3.0, -1.0 / 3.0])
    lower_t = np.array([-1.0, -1.0 / 3.0, 1.0 / 3.0])
    between_t = np.array([2.0 / 3.0, 0.0, -2.0 / 3.0])
    crease_t = np.arange(3, -4, -1) * 0.3
    at = np.array([CARUNCLE])
    white = 0.5 * (
        curves.upper_lid(identity, expression, at) + curves.lower_lid(identity, expression, at)
    )
    lids = np.concatenate(
        [
            on(curves.upper_lid(identity, expression, upper_t), upper_t),
            on(curves.lower_lid(identity, expression, lower_t), lower_t),
        ]
    )
    return (
        lids,
        on(curves.lower_lid(identity, expression, between_t), between_t),
        on(curves.lid_crease(identity, expression, crease_t), crease_t),
        on(white, at),
    )


def _iris(identity: Identity, side: float, gaze_mm: tuple[float, float]) -> Floats:
    """(4, 2) left, top, right, bottom of the iris of one eye; ``side`` -1 is the image's left."""
    x = side * identity.eye_x + gaze_mm[0]
    y = curves.iris_y(identity) + gaze_mm[1]
    r = identity.iris_radius
    return np.array([(x - r, y), (x, y - r), (x + r, y), (x, y + r)])


def _mouth(identity: Identity, expression: Expression) -> Floats:
    """(20, 2) lips in iBUG's order."""
    half = curves.mouth_half_width(identity, expression)
    outer = np.array([-1.0, -0.62, -0.3, 0.0, 0.3, 0.62, 1.0])
    inner = np.array([-curves.INNER_CORNER, -0.35, 0.0, 0.35, curves.INNER_CORNER])
    upper_edge, _, _, lower_edge = curves.lip_curves(identity, expression, outer)
    _, upper_seam, lower_seam, _ = curves.lip_curves(identity, expression, inner)
    return np.concatenate(
        [
            _stack(half * outer, upper_edge),
            _stack(half * outer, lower_edge)[5:0:-1],
            _stack(half * inner, upper_seam),
            _stack(half * inner, lower_seam)[3:0:-1],
        ]
    )
