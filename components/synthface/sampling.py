"""Random sampling of subjects, and of pose, expression, light and occlusion of each face."""

import dataclasses

from synthface.exact import circle
from synthface.rng import SeededRng
from synthface.spec import Expression, FaceSpec, Identity, Occluder, OccluderKind

KINDS: tuple[OccluderKind, ...] = ("box", "hand", "mic")
LIGHT_OCCLUDER_SHARE = 0.12
BLINK_SHARE = 0.05
HEAVY_OCCLUDER_SHARE = 0.016
"""Share of faces with an occlusion level above 5, which stage validate drops."""


def sample_identity(seed: int, subject: int) -> Identity:
    """The shape and appearance of subject number ``subject`` for a ``seed``."""
    rng = SeededRng(seed, 11, subject)
    between = rng.between
    skin = between(0.34, 0.74)
    long_hair = rng.bernoulli(0.4)
    grey_haired = rng.bernoulli(0.15)
    hair = between(0.45, 0.75) if grey_haired else between(0.07, 0.07 + 0.6 * skin)
    bearded = not long_hair and rng.bernoulli(0.35)
    eye_half_width = between(13.8, 16.2)
    rng_2 = SeededRng(seed, 12, subject)
    male = bearded or (not long_hair and rng_2.bernoulli(0.55))
    full_beard = rng_2.between(0.55, 0.95) if bearded and rng_2.bernoulli(0.45) else 0.0
    bald = male and rng_2.bernoulli(0.15)
    return Identity(
        face_half_width=between(65.0, 75.0),
        chin_y=between(102.0, 118.0),
        jaw_squareness=between(0.15, 0.7),
        eye_x=between(29.5, 34.5),
        eye_half_width=eye_half_width,
        eye_height=between(8.8, 12.2),
        eye_tilt=between(-1.0, 3.0),
        iris_radius=between(4.9, 5.6),
        iris_albedo=between(0.14, 0.48),
        brow_y=between(-23.0, -17.5),
        brow_half_width=between(17.5, 22.0),
        brow_arch=between(1.5, 6.0),
        brow_thickness=between(2.2, 5.0),
        brow_albedo=min(0.9 * hair, 0.62 * skin),
        nose_tip_y=between(33.0, 41.0),
        nose_height=between(16.0, 25.0),
        nose_half_width=between(14.0, 20.0),
        mouth_y=between(66.0, 73.0),
        mouth_half_width=between(21.5, 28.0),
        upper_lip=between(4.8, 9.0),
        lower_lip=between(7.0, 11.5),
        lip_albedo=between(0.52, 0.8),
        ear_half_height=between(26.0, 33.0),
        ear_flare=between(0.2, 1.0),
        skin_albedo=skin,
        hair_albedo=hair,
        hairline_y=between(-76.0, -58.0) - (34.0 if bald else 0.0),
        hair_thickness=between(2.0, 13.0) * (0.3 if bald else 1.0),
        long_hair=long_hair,
        stubble=between(0.15, 0.55) if bearded else 0.0,
        glasses=rng.bernoulli(0.15),
        shirt_albedo=between(0.1, 0.8),
        age=rng_2.between(50.0, 78.0) if grey_haired else rng_2.between(18.0, 62.0),
        sex="male" if male else "female",
        fullness=rng_2.between(-0.8, 1.0),
        fringe=rng_2.between(8.0, 36.0) if not bald and rng_2.bernoulli(0.35) else 0.0,
        beard=full_beard,
        hat=rng_2.between(0.08, 0.7) if rng_2.bernoulli(0.1) else None,
        freckles=rng_2.between(0.03, 0.1) if rng_2.bernoulli(0.2) else 0.0,
        suit=rng_2.bernoulli(0.35),
    )


def sample_face(
    identity: Identity,
    expression: Expression,
    camera_deg: tuple[float, float],
    illumination: int,
    seed: tuple[int, ...],
) -> FaceSpec:
    """The parameters of a photograph of ``identity`` from ``camera_deg`` (yaw, height)."""
    rng = SeededRng(*seed)
    yaw = camera_deg[0] + rng.between(-5.0, 5.0)
    pitch = camera_deg[1] + rng.between(-6.0, 6.0)
    scale = rng.between(1.18, 1.4)
    shift_x = circle(yaw)[0] * 45.0 * scale
    shift_y = circle(pitch)[0] * 45.0 * scale
    centre = (
        320.0 + rng.between(-25.0, 25.0) - shift_x,
        212.0 + rng.between(-16.0, 16.0) - shift_y,
    )
    face_px = (centre[0] + 1.5 * shift_x, centre[1] + 42.0 * scale + 1.5 * shift_y)
    return FaceSpec(
        identity=identity,
        expression=_blinking(_varied(expression, rng), SeededRng(*seed, 6)),
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=rng.between(-10.0, 10.0),
        centre_px=centre,
        px_per_mm=scale,
        camera_mm=SeededRng(*seed, 7).between(650.0, 1500.0),
        illumination=illumination,
        gaze_mm=(rng.between(-2.5, 2.5), rng.between(-1.0, 1.0)),
        occluder=_sample_occluder(rng, face_px, scale),
        seed=int(rng.between(0.0, float(1 << 31))),
    )


def _varied(expression: Expression, rng: SeededRng) -> Expression:
    """``expression`` with a random strength and small changes of brows, lids and lip corners."""
    strength = rng.between(0.7, 1.1)
    changed = {
        field.name: strength * getattr(expression, field.name)
        for field in dataclasses.fields(expression)
    }
    changed["eye_open"] = 1.0 + strength * (expression.eye_open - 1.0) + rng.between(-0.1, 0.08)
    changed["brow_raise"] += rng.between(-1.0, 1.5)
    changed["corner_raise"] += rng.between(-1.0, 1.5)
    changed["mouth_widen"] += rng.between(-0.8, 0.8)
    return Expression(**changed)


def _blinking(expression: Expression, rng: SeededRng) -> Expression:
    """``expression``, with closed or nearly closed lids in a share BLINK_SHARE of the faces."""
    if not rng.bernoulli(BLINK_SHARE):
        return expression
    return dataclasses.replace(expression, eye_open=rng.between(0.02, 0.3))


def _sample_occluder(rng: SeededRng, face_px: tuple[float, float], scale: float) -> Occluder | None:
    sample = rng.between(0.0, 1.0)
    if sample < HEAVY_OCCLUDER_SHARE:
        return Occluder(
            kind="box",
            x=face_px[0] + rng.between(-15.0, 15.0),
            y=face_px[1] + rng.between(-10.0, 25.0),
            size=scale * rng.between(46.0, 66.0),
            angle_deg=rng.between(-15.0, 15.0),
            albedo=rng.between(0.2, 0.9),
        )
    if sample < HEAVY_OCCLUDER_SHARE + LIGHT_OCCLUDER_SHARE:
        return Occluder(
            kind=KINDS[rng.index(len(KINDS))],
            x=face_px[0] + rng.between(-75.0, 75.0) * scale,
            y=face_px[1] + rng.between(-40.0, 80.0) * scale,
            size=scale * rng.between(16.0, 40.0),
            angle_deg=rng.between(-60.0, 60.0),
            albedo=rng.between(0.15, 0.8),
        )
    return None
