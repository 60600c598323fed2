"""One rendered face: what moves where, what is hidden; the same bytes on every machine."""

import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from numpy.typing import NDArray

from synthface import (
    EXPRESSIONS,
    FaceSpec,
    Identity,
    Occluder,
    RenderedFace,
    render_face,
)

FRONTAL = render_face(FaceSpec())
SIMD_FACES = """
import hashlib
from synthface import EXPRESSIONS, FaceSpec, Identity, Occluder, render_face

def digest():
    many = Identity(long_hair=True, stubble=0.4, glasses=True)
    covered = Occluder("hand", 300.0, 330.0, 30.0, 20.0, 0.6)
    faces = [
        FaceSpec(yaw_deg=-31.7, pitch_deg=4.3, roll_deg=7.9, seed=5),
        FaceSpec(many, EXPRESSIONS["scream"], illumination=16, occluder=covered, seed=6),
        FaceSpec(many, EXPRESSIONS["smile"], yaw_deg=44.4, illumination=0, seed=7),
    ]
    total = hashlib.sha256()
    for face in map(render_face, faces):
        total.update(face.image.tobytes() + face.points.tobytes() + face.visible.tobytes())
    return total.hexdigest()
"""


def grey_at(face: RenderedFace, index: int, down: int = 0) -> float:
    column, row = np.rint(face.points[index]).astype(int)
    return float(face.image[row + down, column])


def test_eye_corners_of_a_frontal_face_are_symmetric() -> None:
    outer, inner, inner_right, outer_right = FRONTAL.points[[36, 39, 42, 45]]
    assert outer[0] + outer_right[0] == pytest.approx(640.0)
    assert inner[0] + inner_right[0] == pytest.approx(640.0)
    assert outer[1] == pytest.approx(outer_right[1])


def test_the_face_fills_about_180_pixels() -> None:
    x, y, width, height = FRONTAL.face_box
    assert 170 < width < 190
    assert 170 < height < 190
    assert (x, y) == tuple(FRONTAL.points[:68].min(axis=0))


def test_a_frontal_neutral_face_hides_nothing() -> None:
    assert FRONTAL.visible.all()
    assert FRONTAL.occlusion_level == 0


def test_dark_features_lie_under_their_points() -> None:
    cheek = FRONTAL.image[255:265, 260:270].mean()
    for pupil_or_brow_or_seam in (102, 103, 19, 24, 62):
        assert grey_at(FRONTAL, pupil_or_brow_or_seam) < 0.75 * cheek


def test_the_jaw_points_lie_on_the_edge_between_jaw_and_neck() -> None:
    for point in (6, 7, 8, 9, 10):
        assert grey_at(FRONTAL, point, down=-6) > grey_at(FRONTAL, point, down=6) + 12


def test_positive_yaw_turns_the_nose_to_the_right_and_hides_the_right_ear() -> None:
    turned = render_face(FaceSpec(yaw_deg=30.0))
    eyes = turned.points[[36, 45], 0].mean()
    assert turned.points[30, 0] > eyes + 15.0
    assert turned.visible[[0, 1, 2, 3, 76, 77]].all()
    assert not turned.visible[78]


@pytest.mark.parametrize("yaw", [30.0, -30.0, 45.0])
def test_jaw_points_that_are_turned_away_lie_on_the_outline_that_is_seen(yaw: float) -> None:
    turned = render_face(FaceSpec(yaw_deg=yaw))
    out = 1 if yaw > 0.0 else -1
    far = (12, 13, 14, 15, 16) if yaw > 0.0 else (4, 3, 2, 1, 0)
    assert turned.visible[list(far)].all()
    for x, y in turned.points[list(far)]:
        row = turned.depth[round(y)]
        assert row[round(x - 2 * out)] > row[round(x + 2 * out)] + 20.0  # face, then what is behind


def test_opposite_yaws_give_mirrored_points() -> None:
    left, right = (render_face(FaceSpec(yaw_deg=yaw)) for yaw in (-30.0, 30.0))
    np.testing.assert_allclose(left.points[8, 0] + right.points[8, 0], 640.0)
    np.testing.assert_allclose(left.points[36, 0] + right.points[45, 0], 640.0)


def test_positive_pitch_lowers_the_nose_and_positive_roll_lowers_the_right_eye() -> None:
    nodding = render_face(FaceSpec(pitch_deg=15.0))
    assert nodding.points[30, 1] > FRONTAL.points[30, 1] + 10.0
    tilted = render_face(FaceSpec(roll_deg=15.0))
    assert tilted.points[45, 1] > tilted.points[36, 1] + 10.0


def test_nearly_closed_lids_hide_the_upper_and_lower_iris_edge() -> None:
    squint = render_face(FaceSpec(expression=EXPRESSIONS["squint"]))
    assert not squint.visible[[69, 71, 73, 75]].any()
    assert squint.visible[[68, 70, 72, 74, 102, 103]].all()


def test_an_occluder_hides_the_points_under_it_and_no_others() -> None:
    x, y = FRONTAL.points[48:68].mean(axis=0)
    held = Occluder("box", float(x), float(y), size=50.0, angle_deg=0.0, albedo=0.9)
    covered = render_face(FaceSpec(occluder=held))
    inside = np.abs(covered.points - (x, y)) < (50.0, 65.0)
    np.testing.assert_array_equal(covered.visible, ~inside.all(axis=1))
    assert not covered.visible[48:68].any()
    assert covered.occlusion_level == np.count_nonzero(~covered.visible[:68]) * 10 // 68


def test_a_box_over_the_whole_face_passes_occlusion_level_5() -> None:
    held = Occluder("box", 320.0, 270.0, size=85.0, angle_deg=0.0, albedo=0.5)
    assert render_face(FaceSpec(occluder=held)).occlusion_level > 5


def test_a_flash_at_plus_90_lights_the_subjects_right_cheek() -> None:
    face = render_face(FaceSpec(illumination=13))
    y = slice(250, 290)
    assert face.image[y, 250:280].mean() > 1.5 * face.image[y, 360:390].mean()


def test_rendering_twice_gives_the_same_image() -> None:
    np.testing.assert_array_equal(render_face(FaceSpec()).image, FRONTAL.image)


def test_the_seed_changes_the_image_and_not_the_points() -> None:
    other = render_face(FaceSpec(seed=1))
    assert (other.image != FRONTAL.image).any()
    np.testing.assert_array_equal(other.points, FRONTAL.points)


def test_darker_skin_makes_a_darker_face() -> None:
    dark = render_face(FaceSpec(Identity(skin_albedo=0.3)))
    assert cheek_of(dark.image) < 0.6 * cheek_of(FRONTAL.image)


def cheek_of(image: NDArray[np.uint8]) -> float:
    return float(image[255:265, 260:270].mean())


def test_the_bytes_are_the_same_with_and_without_the_cpus_extras() -> None:
    umath = import_module("numpy._core._multiarray_umath")
    present = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    if not present:
        pytest.skip("this CPU has none of the features that NumPy chooses its loops by")
    scope: dict[str, object] = {}
    exec(SIMD_FACES, scope)
    digest = scope["digest"]
    assert callable(digest)
    check = (
        SIMD_FACES
        + f"""
from numpy._core import _multiarray_umath as umath
assert not any(umath.__cpu_features__[name] for name in {present})
print(digest())
"""
    )
    plain = subprocess.run(
        [sys.executable, "-c", check],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(present)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert plain.stdout.strip() == digest()
