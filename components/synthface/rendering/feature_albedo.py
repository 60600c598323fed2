"""Albedo of the features of a face: nose, folds, mouth, eyes, brows and glasses.

Each function takes the albedo (M,) and the head frame (x, y) of M points, and returns the albedo
with the feature.
"""

import numpy as np

from synthface.exact import bump, ellipse, mix, ramp, smooth_step
from synthface.geometry import curves
from synthface.geometry.landmarks import CARUNCLE
from synthface.geometry.surface import nose_tip_y
from synthface.rendering.texture import value_noise
from synthface.spec import FaceSpec, Floats


def with_features(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    """The albedo (M,) of the skin with all features."""
    albedo = _with_nose(face, albedo, x, y)
    albedo = _with_folds(face, albedo, x, y)
    albedo = _with_age(face, albedo, x, y)
    albedo = _with_mouth(face, albedo, x, y)
    for side in (-1.0, 1.0):
        albedo = _with_eye(face, albedo, x, y, side)
    albedo = _with_brows(face, albedo, x, y)
    return _with_glasses(face, albedo, x, y) if face.identity.glasses else albedo


def _with_nose(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    identity, tip = face.identity, nose_tip_y(face.identity, face.expression)
    half, abs_x = identity.nose_half_width, np.abs(x)
    hole = ramp(1.0 - ellipse(abs_x, y, 0.42 * half, tip + 6.6, 0.2 * half, 1.9), 0.5)
    crease = np.abs(ellipse(abs_x, y, 0.66 * half, tip + 3.0, 0.36 * half, 6.2) - 1.0)
    outer_side = ramp(abs_x - 0.62 * half, 1.5) * ramp(y - tip + 4.0, 2.0)
    under = bump(ellipse(abs_x, y, 0.0, tip + 10.5, 0.95 * half, 4.0))
    albedo = albedo * (1.0 - 0.16 * under)
    albedo = albedo * (1.0 - 0.16 * outer_side * ramp(0.3 - crease, 0.3))
    return albedo * (1.0 - 0.62 * hole)


def _with_folds(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    """The fold from the nose past the corner of the mouth, and the shade under the lower lip."""
    identity, expression = face.identity, face.expression
    tip = nose_tip_y(identity, expression)
    top = (identity.nose_half_width + 2.0, tip + 2.0)
    corner_y = identity.mouth_y - expression.corner_raise
    bottom = (curves.mouth_half_width(identity, expression) + 6.0, corner_y + 2.0)
    down = np.minimum(np.maximum((y - top[1]) / (bottom[1] - top[1]), 0.0), 1.0)
    bend = 2.0 * down * (1.0 - down)
    distance = np.abs(np.abs(x) - top[0] - (bottom[0] - top[0]) * down - 3.0 * bend)
    depth = 0.05 + 0.16 * min(expression.cheek_raise + 0.04 * expression.lip_raise, 1.0)
    depth += 0.08 * min(max((identity.age - 35.0) / 35.0, 0.0), 1.0)
    inside = ramp(y - top[1], 4.0) * ramp(bottom[1] - y, 5.0)
    albedo = albedo * (1.0 - depth * inside * bump(distance * distance / 30.0))
    below = float(curves.lip_curves(identity, expression, np.zeros(1))[3][0])
    return albedo * (1.0 - 0.22 * bump(ellipse(x, y, 0.0, below + 4.5, 17.0, 4.5)))


def _with_age(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    """Lines on the forehead, between the brows and next to the eyes; bags under the eyes."""
    identity, expression = face.identity, face.expression
    old = min(max((identity.age - 28.0) / 45.0, 0.0), 1.0)
    raised = min(max(expression.brow_raise / 8.0, 0.0), 1.0)
    depth = 0.16 * old + 0.1 * raised
    abs_x = np.abs(x)
    if depth > 0.02:
        wave = 1.6 * value_noise(x * 0.06 + 50.0, y * 0.02 + 50.0, face.seed & 63)
        for number in range(3):
            distance = np.abs(y + 39.0 + 8.5 * number + wave - 0.003 * x * x)
            inside = ramp(38.0 - abs_x, 8.0)
            albedo = albedo * (1.0 - depth * inside * ramp(1.0 - distance, 1.0))
        feet_x = abs_x - identity.eye_x - identity.eye_half_width
        for slope in (-0.45, 0.05, 0.5):
            distance = np.abs(y - slope * feet_x)
            inside = ramp(feet_x - 2.0, 2.0) * ramp(15.0 - feet_x, 5.0)
            albedo = albedo * (1.0 - 0.9 * depth * inside * ramp(0.7 - distance, 0.8))
    frown = ramp(0.8 - np.abs(abs_x - 4.0), 0.8) * bump(ellipse(x, y, 0.0, -20.0, 9.0, 10.0))
    albedo = albedo * (1.0 - (0.12 * old + 0.06 * expression.brow_frown) * frown)
    bag = ellipse(abs_x, y, identity.eye_x - 1.0, 13.0, 17.0, 6.5)
    return albedo * (1.0 - (0.05 + 0.1 * old) * bump(bag))


def _with_mouth(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    identity, expression = face.identity, face.expression
    half = curves.mouth_half_width(identity, expression)
    indices = np.nonzero((np.abs(x) < half + 3.0) & (y > identity.mouth_y - 30.0))[0]
    mx, my = x[indices], y[indices]
    t = np.abs(mx) / half
    outer_upper, inner_upper, inner_lower, outer_lower = curves.lip_curves(identity, expression, t)
    lips = ramp(np.minimum(my - outer_upper, outer_lower - my)) * ramp(half - np.abs(mx))
    skin = albedo[indices]
    upper_darker = 0.93 + 0.07 * np.sign(my - 0.5 * (inner_upper + inner_lower))
    colour: Floats = identity.skin_albedo * identity.lip_albedo * upper_darker
    colour = colour * (1.0 + 0.06 * value_noise(mx * 0.9 + 400.0, my * 0.15 + 400.0))
    colour = mix(skin, colour, lips)
    inner = ramp(np.minimum(my - inner_upper, inner_lower - my))
    inner = inner * ramp(curves.INNER_CORNER * half - np.abs(mx))
    colour = mix(colour, _mouth_inside(face, mx, my, inner_upper, inner_lower), inner)
    # The seam between closed lips: a thin dark line, absent where the mouth is open.
    seam = ramp(0.7 - np.abs(my - inner_upper), 0.5) * ramp(half - 0.5 - np.abs(mx))
    colour = colour * (1.0 - 0.6 * seam * ramp(1.5 - (inner_lower - inner_upper), 1.0))
    result = albedo.copy()
    result[indices] = colour
    return result


def _mouth_inside(
    face: FaceSpec, x: Floats, y: Floats, inner_upper: Floats, inner_lower: Floats
) -> Floats:
    gap = inner_lower - inner_upper
    tall = np.minimum(0.75 * gap, 8.0)
    teeth = ramp(inner_upper + tall - y) * ramp(20.5 - np.abs(x), 3.0)
    enamel = 0.78 - 0.0006 * x * x
    tongue = bump(_square(x / 16.0) + _square((y - inner_lower) / 9.0))
    dark = 0.06 + 0.16 * tongue * smooth_step((gap - 10.0) / 10.0)
    return mix(dark, enamel, teeth)


def _square(value: Floats) -> Floats:
    return value * value


def _with_eye(face: FaceSpec, albedo: Floats, x: Floats, y: Floats, side: float) -> Floats:
    identity, expression = face.identity, face.expression
    half = identity.eye_half_width
    indices = np.nonzero((np.abs(side * x - identity.eye_x) < 1.5 * half) & (np.abs(y) < 24.0))[0]
    ex, ey = x[indices], y[indices]
    t = curves.eye_parameter(identity, side * ex)
    upper, lower = (
        curves.upper_lid(identity, expression, t),
        curves.lower_lid(identity, expression, t),
    )
    skin = albedo[indices]
    # A soft hollow around the eye, the fold above it, and the lashes.
    hollow = bump(ellipse(t, ey, 0.0, -2.0, 1.45, 15.0))
    skin = skin * (1.0 - 0.22 * hollow)
    within = ramp(1.0 - np.abs(t), 0.08)
    fold = ramp(0.8 - np.abs(ey - curves.lid_crease(identity, expression, t)), 0.8)
    skin = skin * (1.0 - 0.4 * within * fold)
    bag = ramp(1.2 - np.abs(ey - lower - 5.0 * (1.0 - 0.5 * t * t)), 1.2)
    skin = skin * (1.0 - 0.1 * within * bag)
    inside = ramp(np.minimum(ey - upper, lower - ey)) * ramp((1.0 - np.abs(t)) * half)
    ball = _eyeball(face, ex, ey, t, side)
    shade = smooth_step((ey - upper + 0.5) / 5.5)
    skin = mix(skin, ball * (0.42 + 0.58 * shade), inside)
    lash = ramp(1.0 - np.abs(ey - upper + 0.3), 0.5) * ramp((1.04 - np.abs(t)) * half, 0.8)
    skin = skin * (1.0 - 0.72 * lash)
    rim = ramp(0.6 - np.abs(ey - lower), 0.5) * ramp((1.0 - np.abs(t)) * half, 0.8)
    result = albedo.copy()
    result[indices] = skin * (1.0 - 0.3 * rim)
    return result


def _eyeball(face: FaceSpec, x: Floats, y: Floats, t: Floats, side: float) -> Floats:
    identity = face.identity
    centre_x = side * identity.eye_x + face.gaze_mm[0]
    centre_y = curves.iris_y(identity) + face.gaze_mm[1]
    off_x, off_y = x - centre_x, y - centre_y
    r = np.sqrt(off_x * off_x + off_y * off_y)
    white: Floats = 0.42 + 0.4 * identity.skin_albedo - 0.14 * t * t
    white = mix(white, 0.75 * identity.skin_albedo, ramp(CARUNCLE - t, 0.05))
    iris = identity.iris_albedo * (0.75 + 0.5 * smooth_step((4.5 - r) / 3.0))
    iris = mix(iris, 0.05, ramp(2.2 - r))
    ball = mix(white, iris, ramp(identity.iris_radius - r))
    glint = np.sqrt(_square(off_x - 1.4) + _square(off_y + 1.6))
    return mix(ball, 1.0, ramp(0.9 - glint, 0.5))


def _with_brows(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    identity, expression = face.identity, face.expression
    indices = np.nonzero(y < 0.0)[0]
    bx, by = np.abs(x[indices]), y[indices]
    t = curves.brow_parameter(identity, bx)
    distance = np.abs(by - curves.brow_line(identity, expression, t))
    ragged = value_noise(bx * 0.55 + by * 0.4 + 520.0, by * 0.2 + 520.0, face.seed & 63)
    cover = ramp(curves.brow_half_thickness(identity, t) - distance + 0.8 * ragged, 1.6)
    cover = cover * ramp((t + 1.0) * identity.brow_half_width, 2.0) * ramp(1.05 - t, 0.03)
    hairs = value_noise(bx * 0.9 + by * 0.5 + 500.0, by * 0.35 + 500.0)
    result = albedo.copy()
    result[indices] = mix(albedo[indices], identity.brow_albedo * (1.0 + 0.3 * hairs), cover * 0.82)
    return result


def _with_glasses(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    abs_x = np.abs(x)
    ring = np.sqrt(ellipse(abs_x, y, face.identity.eye_x, 2.0, 23.0, 17.5))
    rim = ramp(0.055 - np.abs(ring - 1.0), 0.03)
    bridge = ramp(9.8 - abs_x, 0.5) * ramp(1.2 - np.abs(y + 2.0), 0.5)
    temple = ramp(abs_x - 55.0, 0.5) * ramp(1.3 - np.abs(y + 4.0), 0.5)
    return mix(albedo, 0.09, np.maximum(np.maximum(rim, bridge), temple))
