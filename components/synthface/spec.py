"""Parameters of one face as numbers: identity, expression, pose, illumination and occluder.

Head frame, used in all of this package: x to the image's right on a frontal head, y down, z
toward the camera, in millimetres; the origin is on the midline between the ears at the height of
the eyes. The defaults are the mean head: symmetric, frontal and neutral.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""float64 for points and meshes, float32 for pixels."""
Bools = NDArray[np.bool_]

OccluderKind = Literal["box", "hand", "mic"]

IMAGE_WIDTH = 640
IMAGE_HEIGHT = 480


@dataclass(frozen=True, slots=True)
class Identity:
    """Shape and appearance of a subject: lengths in mm; albedos and shares in 0..1."""

    face_half_width: float = 70.0
    chin_y: float = 110.0
    jaw_squareness: float = 0.4
    eye_x: float = 32.0
    eye_half_width: float = 15.0
    eye_height: float = 10.8
    eye_tilt: float = 1.2
    iris_radius: float = 5.3
    iris_albedo: float = 0.28
    brow_y: float = -20.0
    brow_half_width: float = 20.0
    brow_arch: float = 4.0
    brow_thickness: float = 3.6
    brow_albedo: float = 0.16
    nose_tip_y: float = 37.0
    nose_height: float = 21.0
    nose_half_width: float = 16.5
    mouth_y: float = 70.0
    mouth_half_width: float = 25.0
    upper_lip: float = 7.0
    lower_lip: float = 9.5
    lip_albedo: float = 0.66
    """Share of the skin's albedo."""
    ear_half_height: float = 30.0
    ear_flare: float = 0.6
    """0: flat along the head, 1: perpendicular to it."""
    skin_albedo: float = 0.62
    hair_albedo: float = 0.16
    hairline_y: float = -66.0
    hair_thickness: float = 8.0
    long_hair: bool = False
    stubble: float = 0.0
    glasses: bool = False
    shirt_albedo: float = 0.35
    age: float = 30.0
    """Years; lines and folds become deeper from 30 on."""
    sex: Literal["female", "male"] = "female"
    fullness: float = 0.0
    """Fullness of cheeks and jaw: -1 thin, 1 round."""
    fringe: float = 0.0
    """Length of the hair below the hairline, mm."""
    beard: float = 0.0
    """Coverage of a full beard with moustache."""
    hat: float | None = None
    """Albedo of a cap; None: no cap."""
    freckles: float = 0.0
    suit: bool = False
    """A jacket over a white shirt."""


@dataclass(frozen=True, slots=True)
class Expression:
    """Differences from the neutral face: lengths in mm, other values are shares."""

    brow_raise: float = 0.0
    brow_frown: float = 0.0
    """Downward shift of the inner brow ends."""
    eye_open: float = 1.0
    """Lid opening as a share of the neutral one."""
    jaw_drop: float = 0.0
    mouth_open: float = 0.0
    """Gap between the lips at the midline."""
    mouth_widen: float = 0.0
    corner_raise: float = 0.0
    lip_raise: float = 0.0
    """Upward shift of the upper lip."""
    nose_wrinkle: float = 0.0
    cheek_raise: float = 0.0


EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "smile": Expression(
        eye_open=0.8,
        jaw_drop=3.0,
        mouth_open=8.0,
        mouth_widen=6.5,
        corner_raise=7.0,
        lip_raise=2.0,
        cheek_raise=1.0,
    ),
    "surprise": Expression(
        brow_raise=7.0, eye_open=1.3, jaw_drop=14.0, mouth_open=17.0, mouth_widen=-4.0
    ),
    "squint": Expression(
        brow_raise=-3.0, brow_frown=2.0, eye_open=0.42, corner_raise=1.5, cheek_raise=0.6
    ),
    "disgust": Expression(
        brow_raise=-4.0,
        brow_frown=3.0,
        eye_open=0.55,
        mouth_open=3.0,
        mouth_widen=1.0,
        corner_raise=-2.5,
        lip_raise=4.5,
        nose_wrinkle=2.5,
        cheek_raise=0.8,
    ),
    "scream": Expression(
        brow_raise=-2.0,
        brow_frown=2.5,
        eye_open=0.6,
        jaw_drop=24.0,
        mouth_open=34.0,
        mouth_widen=1.0,
        lip_raise=3.0,
        nose_wrinkle=1.0,
        cheek_raise=0.8,
    ),
}


@dataclass(frozen=True, slots=True)
class Occluder:
    """An object in front of the face, in image pixels.

    Attributes:
        kind: a box (clipboard), a hand with four fingers, or a microphone.
        x, y: centre.
        size: half width.
        angle_deg: rotation in the image plane, clockwise on screen.
        albedo: grey of its front, 0..1.
    """

    kind: OccluderKind
    x: float
    y: float
    size: float
    angle_deg: float
    albedo: float


@dataclass(frozen=True, slots=True)
class FaceSpec:
    """The input of ``render_face``; equal specs give equal bytes on every machine.

    Attributes:
        yaw_deg: positive rotates the nose toward the image's right, so that the subject's right
            cheek is visible, as in Multi-PIE's camera 24_0 (+90, "right profile").
        pitch_deg: positive moves the nose down in the image, as for an overhead camera.
        roll_deg: positive rotates the face clockwise on screen.
        centre_px: image position (x, y) of the head frame's origin.
        px_per_mm: scale at the depth of that origin.
        illumination: Multi-PIE's number 0-19; 0 and 19 have no flash.
        camera_mm: distance of the camera from the head frame's origin.
        gaze_mm: shift of both irises (x, y).
        seed: seed of background, texture and sensor noise.
    """

    identity: Identity = field(default_factory=Identity)
    expression: Expression = field(default_factory=Expression)
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    centre_px: tuple[float, float] = (320.0, 215.0)
    px_per_mm: float = 1.3
    camera_mm: float = 1400.0
    illumination: int = 7
    gaze_mm: tuple[float, float] = (0.0, 0.0)
    occluder: Occluder | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RenderedFace:
    """An image and its exact labels.

    Attributes:
        image: (480, 640) uint8 grey.
        points: (104, 2) float, image pixels (x, y), pixel centres at integers.
        visible: (104,) bool; False where the occluder or the head hides the point.
        face_box: (x, y, width, height) tight around the first 68 points.
        occlusion_level: 0-9, tenths of the first 68 points that are hidden.
        depth: (480, 640) float32, depth of the visible surface, mm toward the camera from the
            origin of the head frame; -inf for the background, inf for the occluder.
    """

    image: NDArray[np.uint8]
    points: Floats
    visible: Bools
    face_box: tuple[float, float, float, float]
    occlusion_level: int
    depth: Floats
