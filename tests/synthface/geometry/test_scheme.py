"""Keypoints of one's own: where the card means them, hidden where the card's are, read again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpenet.data.crops.store import scheme_in
from fpenet.data.readers import read_labels
from fpenet.data.synth import render
from fpenet.params import Params
from fpenet.params.scheme import SchemeParams, read_scheme
from synthface import EXPRESSIONS, FaceSpec, Occluder, render_dataset, render_face
from synthface.geometry.landmarks import landmarks
from synthface.geometry.scheme import head_obj, mean_head, scheme_points, with_scheme
from synthface.sampling import sample_identity

TEN = Path(__file__).parents[3] / "schemes" / "ten.yaml"
OF_THE_CARD = [36, 39, 42, 45, 30, 31, 35, 48, 54, 8]
"""The card's keypoints that the ten of the example are."""


@pytest.fixture(scope="module")
def ten() -> SchemeParams:
    return read_scheme(TEN)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_ten_lie_where_the_card_has_them_on_everybody(
    ten: SchemeParams, expression: str
) -> None:
    for subject in range(1, 6):
        who, how = sample_identity(7, subject), EXPRESSIONS[expression]
        wanted = landmarks(who, how, (0.0, 0.0))[OF_THE_CARD]
        assert np.abs(scheme_points(ten, who, how).T - wanted).max() < 0.6  # mm


@pytest.mark.parametrize("yaw", [-60.0, 0.0, 30.0, 90.0])
def test_what_hides_the_cards_points_hides_the_ten(ten: SchemeParams, yaw: float) -> None:
    mouth = Occluder("box", 320.0, 318.0, 36.0, 0.0, 0.3)
    face = FaceSpec(yaw_deg=yaw, occluder=mouth)
    rendered = render_face(face)
    own = with_scheme(rendered, face, ten)
    np.testing.assert_allclose(own.points, rendered.points[OF_THE_CARD], atol=0.8)
    assert own.face_box == rendered.face_box
    kept = slice(0, 9)  # but the chin, which the card has on the outline
    agree = own.visible[kept] == rendered.visible[OF_THE_CARD][kept]
    assert agree.mean() >= 8 / 9
    if yaw == 0.0:
        assert not own.visible[[7, 8]].any()
        assert own.visible[:5].all()


def test_the_labels_of_a_scheme_are_read_with_what_its_keypoints_are(
    ten: SchemeParams, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    settings = {"seed": 3, "subjects": 1, "faces_per_subject": 1, "workers": 1, "scheme": str(TEN)}
    settings |= {"views": ["05_1"]}
    synth = params_with({f"synth.{key}": value for key, value in settings.items()}).synth
    render(synth=synth, out_dir=tmp_path)
    about = json.loads((tmp_path / "dataset.json").read_text())
    assert about == {"name": "synthetic-ten", "scheme": "ten"}
    labelled = read_labels(tmp_path, params_with().data)
    assert (labelled.name, labelled.num_keypoints, len(labelled.samples)) == (
        "synthetic-ten",
        10,
        24,
    )
    assert labelled.scheme == ten
    scheme = scheme_in({"scheme": ten.model_dump_json()})
    assert scheme is not None
    assert scheme.flip_map == (3, 2, 1, 0, 4, 6, 5, 8, 7, 9)
    assert scheme.eye_corners == (0, 3)
    assert scheme.regions["mouth"] == (7, 8)
    assert scheme.loss_groups == {"eyes": (0, 1, 2, 3), "mouth": (7, 8), "face": (4, 5, 6, 9)}
    with pytest.raises(ValueError, match=r"scheme\.json: scheme ten has 10 keypoints; .* 9"):
        read_labels(tmp_path, params_with({"data.keypoints": 9}).data)


def test_the_mean_head_can_be_looked_at() -> None:
    lines = head_obj().splitlines()
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int)
    np.testing.assert_allclose(vertices * [1, -1, 1], mean_head()[0].T, atol=0.001)
    assert (faces.min(), faces.max()) == (1, len(vertices))
    a, b, c = vertices[faces - 1].transpose(1, 0, 2)
    assert (a * np.cross(b, c)).sum() > 0  # outward: the volume is not negative
    mix = next(line for line in lines if line.startswith("# 37: "))
    assert mix == "# 37: {2239: 0.230, 2340: 0.390, 2339: 0.379}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keypoints": []}, "keypoints is []: Tuple should have at least 1 item"),
        ({"mirror": [[1, 11]]}, "mirror: 11 is no keypoint; must be 1 to 10"),
        ({"mirror": [[1, 2], [2, 3]]}, "mirror: a keypoint is repeated"),
        ({"regions": {"eyes": [0]}}, "regions.eyes.0 is 0: Input should be greater than 0"),
        ({"eye_corner": [1, 4]}, "eye_corner is [1, 4]: no such key; did you mean eye_corners?"),
    ],
)
def test_a_wrong_scheme_file_is_named(
    ten: SchemeParams, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "scheme.json"
    path.write_text(json.dumps(ten.model_dump(mode="json") | change))
    with pytest.raises(ValueError, match=r"scheme\.json: ") as error:
        read_scheme(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("vertices", "said"),
    [
        (
            {99999: 1.0},
            "keypoint 2 (b): there is no vertex 99999; the mean head has the vertices 0 to ",
        ),
        (None, "has no"),
    ],
)
def test_a_keypoint_that_is_not_on_the_head_is_named(
    tmp_path: Path, vertices: dict[int, float] | None, said: str
) -> None:
    keypoints = [{"name": "a", "vertices": {5: 1.0}}, {"name": "b", "vertices": vertices}]
    odd = SchemeParams.model_validate({"name": "odd", "keypoints": keypoints})
    asked: dict[str, Any] = {"seed": 0, "subjects": 1, "faces_per_subject": 1, "workers": 1}
    with pytest.raises(ValueError, match="scheme odd") as error:
        render_dataset(tmp_path, **asked, scheme=odd)
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == []
