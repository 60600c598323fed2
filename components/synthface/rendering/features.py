"""The drawn features of a face: nose, folds, mouth, eyes, brows and glasses, as albedo.

Each takes the albedo (M,) already there and the head frame (x, y) of those points, and gives a
new one.
"""

import numpy as np

from synthface.exact import bump, ellipse, mix, ramp, smooth_step
from synthface.head import curves
from synthface.head.landmarks import CARUNCLE
from synthface.head.surface import nose_tip_y
from synthface.rendering.texture import value_noise
from synthface.spec import FaceSpec, Floats


def paint_features(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    """All features over the bare skin."""
    albedo = _paint_nose(face, albedo, x, y)
    albedo = _paint_folds(face, albedo, x, y)
    albedo = _paint_age(face, albedo, x, y)
    albedo = _paint_mouth(face, albedo, x, y)
    for side in (-1.0, 1.0):
        albedo = _paint_eye(face, albedo, x, y, side)
    albedo = _paint_brows(face, albedo, x, y)
    return _paint_glasses(face, albedo, x, y) if face.identity.glasses else albedo


def _paint_nose(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    who, tip = face.identity, nose_tip_y(face.identity, face.expression)
    half, aside = who.nose_half_width, np.abs(x)
    hole = ramp(1.0 - ellipse(aside, y, 0.42 * half, tip + 6.6, 0.2 * half, 1.9), 0.5)
    crease = np.abs(ellipse(aside, y, 0.66 * half, tip + 3.0, 0.36 * half, 6.2) - 1.0)
    outer_side = ramp(aside - 0.62 * half, 1.5) * ramp(y - tip + 4.0, 2.0)
    under = bump(ellipse(aside, y, 0.0, tip + 10.5, 0.95 * half, 4.0))
    albedo = albedo * (1.0 - 0.16 * under)
    albedo = albedo * (1.0 - 0.16 * outer_side * ramp(0.3 - crease, 0.3))
    return albedo * (1.0 - 0.62 * hole)


def _paint_folds(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    """The fold from the nose's wing past the mouth's corner, and the shade under the lower lip."""
    who, how = face.identity, face.expression
    tip = nose_tip_y(who, how)
    top = (who.nose_half_width + 2.0, tip + 2.0)
    corner_y = who.mouth_y - how.corner_raise
    bottom = (curves.mouth_half_width(who, how) + 6.0, corner_y + 2.0)
    down = np.minimum(np.maximum((y - top[1]) / (bottom[1] - top[1]), 0.0), 1.0)
    bend = 2.0 * down * (1.0 - down)
    off = np.abs(np.abs(x) - top[0] - (bottom[0] - top[0]) * down - 3.0 * bend)
    depth = 0.05 + 0.16 * min(how.cheek_raise + 0.04 * how.lip_raise, 1.0)
    depth += 0.08 * min(max((who.age - 35.0) / 35.0, 0.0), 1.0)
    inside = ramp(y - top[1], 4.0) * ramp(bottom[1] - y, 5.0)
    albedo = albedo * (1.0 - depth * inside * bump(off * off / 30.0))
    below = float(curves.lip_curves(who, how, np.zeros(1))[3][0])
    return albedo * (1.0 - 0.22 * bump(ellipse(x, y, 0.0, below + 4.5, 17.0, 4.5)))


def _paint_age(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    """Lines of the forehead, between the brows and beside the eyes; bags under them."""
    who, how = face.identity, face.expression
    old = min(max((who.age - 28.0) / 45.0, 0.0), 1.0)
    raised = min(max(how.brow_raise / 8.0, 0.0), 1.0)
    depth = 0.16 * old + 0.1 * raised
    aside = np.abs(x)
    if depth > 0.02:
        wave = 1.6 * value_noise(x * 0.06 + 50.0, y * 0.02 + 50.0, face.seed & 63)
        for number in range(3):
            off = np.abs(y + 39.0 + 8.5 * number + wave - 0.003 * x * x)
            inside = ramp(38.0 - aside, 8.0)
            albedo = albedo * (1.0 - depth * inside * ramp(1.0 - off, 1.0))
        feet_x = aside - who.eye_x - who.eye_half_width
        for slope in (-0.45, 0.05, 0.5):
            off = np.abs(y - slope * feet_x)
            inside = ramp(feet_x - 2.0, 2.0) * ramp(15.0 - feet_x, 5.0)
            albedo = albedo * (1.0 - 0.9 * depth * inside * ramp(0.7 - off, 0.8))
    frown = ramp(0.8 - np.abs(aside - 4.0), 0.8) * bump(ellipse(x, y, 0.0, -20.0, 9.0, 10.0))
    albedo = albedo * (1.0 - (0.12 * old + 0.06 * how.brow_frown) * frown)
    bag = ellipse(aside, y, who.eye_x - 1.0, 13.0, 17.0, 6.5)
    return albedo * (1.0 - (0.05 + 0.1 * old) * bump(bag))


def _paint_mouth(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    who, how = face.identity, face.expression
    half = curves.mouth_half_width(who, how)
    here = np.nonzero((np.abs(x) < half + 3.0) & (y > who.mouth_y - 30.0))[0]
    mx, my = x[here], y[here]
    t = np.abs(mx) / half
    outer_upper, inner_upper, inner_lower, outer_lower = curves.lip_curves(who, how, t)
    lips = ramp(np.minimum(my - outer_upper, outer_lower - my)) * ramp(half - np.abs(mx))
    skin = albedo[here]
    upper_darker = 0.93 + 0.07 * np.sign(my - 0.5 * (inner_upper + inner_lower))
    colour: Floats = who.skin_albedo * who.lip_albedo * upper_darker
    colour = colour * (1.0 + 0.06 * value_noise(mx * 0.9 + 400.0, my * 0.15 + 400.0))
    colour = mix(skin, colour, lips)
    inner = ramp(np.minimum(my - inner_upper, inner_lower - my))
    inner = inner * ramp(curves.INNER_CORNER * half - np.abs(mx))
    colour = mix(colour, _paint_mouth_inside(face, mx, my, inner_upper, inner_lower), inner)
    # The seam between closed lips: a thin dark line, gone where the mouth stands open.
    seam = ramp(0.7 - np.abs(my - inner_upper), 0.5) * ramp(half - 0.5 - np.abs(mx))
    colour = colour * (1.0 - 0.6 * seam * ramp(1.5 - (inner_lower - inner_upper), 1.0))
    result = albedo.copy()
    result[here] = colour
    return result


def _paint_mouth_inside(
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


def _paint_eye(face: FaceSpec, albedo: Floats, x: Floats, y: Floats, side: float) -> Floats:
    who, how = face.identity, face.expression
    half = who.eye_half_width
    here = np.nonzero((np.abs(side * x - who.eye_x) < 1.5 * half) & (np.abs(y) < 24.0))[0]
    ex, ey = x[here], y[here]
    t = curves.eye_parameter(who, side * ex)
    upper, lower = curves.upper_lid(who, how, t), curves.lower_lid(who, how, t)
    skin = albedo[here]
    # A soft hollow around the eye, the fold above it, the rim of lashes.
    hollow = bump(ellipse(t, ey, 0.0, -2.0, 1.45, 15.0))
    skin = skin * (1.0 - 0.22 * hollow)
    within = ramp(1.0 - np.abs(t), 0.08)
    fold = ramp(0.8 - np.abs(ey - curves.lid_crease(who, how, t)), 0.8)
    skin = skin * (1.0 - 0.4 * within * fold)
    bag = ramp(1.2 - np.abs(ey - lower - 5.0 * (1.0 - 0.5 * t * t)), 1.2)
    skin = skin * (1.0 - 0.1 * within * bag)
    inside = ramp(np.minimum(ey - upper, lower - ey)) * ramp((1.0 - np.abs(t)) * half)
    ball = _paint_eyeball(face, ex, ey, t, side)
    shade = smooth_step((ey - upper + 0.5) / 5.5)
    skin = mix(skin, ball * (0.42 + 0.58 * shade), inside)
    lash = ramp(1.0 - np.abs(ey - upper + 0.3), 0.5) * ramp((1.04 - np.abs(t)) * half, 0.8)
    skin = skin * (1.0 - 0.72 * lash)
    rim = ramp(0.6 - np.abs(ey - lower), 0.5) * ramp((1.0 - np.abs(t)) * half, 0.8)
    result = albedo.copy()
    result[here] = skin * (1.0 - 0.3 * rim)
    return result


def _paint_eyeball(face: FaceSpec, x: Floats, y: Floats, t: Floats, side: float) -> Floats:
    who = face.identity
    centre_x = side * who.eye_x + face.gaze_mm[0]
    centre_y = curves.iris_y(who) + face.gaze_mm[1]
    off_x, off_y = x - centre_x, y - centre_y
    r = np.sqrt(off_x * off_x + off_y * off_y)
    white: Floats = 0.42 + 0.4 * who.skin_albedo - 0.14 * t * t
    white = mix(white, 0.75 * who.skin_albedo, ramp(CARUNCLE - t, 0.05))
    iris = who.iris_albedo * (0.75 + 0.5 * smooth_step((4.5 - r) / 3.0))
    iris = mix(iris, 0.05, ramp(2.2 - r))
    ball = mix(white, iris, ramp(who.iris_radius - r))
    glint = np.sqrt(_square(off_x - 1.4) + _square(off_y + 1.6))
    return mix(ball, 1.0, ramp(0.9 - glint, 0.5))


def _paint_brows(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    who, how = face.identity, face.expression
    here = np.nonzero(y < 0.0)[0]
    bx, by = np.abs(x[here]), y[here]
    t = curves.brow_parameter(who, bx)
    off = np.abs(by - curves.brow_line(who, how, t))
    ragged = value_noise(bx * 0.55 + by * 0.4 + 520.0, by * 0.2 + 520.0, face.seed & 63)
    cover = ramp(curves.brow_half_thickness(who, t) - off + 0.8 * ragged, 1.6)
    cover = cover * ramp((t + 1.0) * who.brow_half_width, 2.0) * ramp(1.05 - t, 0.03)
    hairs = value_noise(bx * 0.9 + by * 0.5 + 500.0, by * 0.35 + 500.0)
    result = albedo.copy()
    result[here] = mix(albedo[here], who.brow_albedo * (1.0 + 0.3 * hairs), cover * 0.82)
    return result


def _paint_glasses(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    aside = np.abs(x)
    ring = np.sqrt(ellipse(aside, y, face.identity.eye_x, 2.0, 23.0, 17.5))
    rim = ramp(0.055 - np.abs(ring - 1.0), 0.03)
    bridge = ramp(9.8 - aside, 0.5) * ramp(1.2 - np.abs(y + 2.0), 0.5)
    temple = ramp(aside - 55.0, 0.5) * ramp(1.3 - np.abs(y + 4.0), 0.5)
    return mix(albedo, 0.09, np.maximum(np.maximum(rim, bridge), temple))
