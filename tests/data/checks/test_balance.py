import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fpenet.data.checks.balance import find_imbalance, light_classes, yaw_classes
from fpenet.data.checks.faces import LabelledFaces
from fpenet.data.checks.shape_outliers import ShapeModel, fit_shape_model
from fpenet.data.checks.window import Grey
from fpenet.params import Params


def test_yaw_and_light_are_taken_from_the_labels(
    faces_with: Callable[..., LabelledFaces], params_with: Callable[..., Params]
) -> None:
    yaws = [-60.0] + [-30.0] * 9 + [0.0] * 70 + [30.0] * 10 + [60.0] * 10
    lights = ["07"] * 99 + ["12"]
    faces = faces_with(100, attributes={"yaw": yaws, "illumination": lights})
    outcome = find_imbalance(faces, None, None, params_with().validate_)
    assert outcome.numbers["yaw"] == {
        "from": "labels",
        "faces": {
            "left profile": 1,
            "turned left": 9,
            "frontal": 70,
            "turned right": 10,
            "right profile": 10,
        },
    }
    assert outcome.numbers["light"] == {"from": "labels", "faces": {"07": 99, "12": 1}}
    assert outcome.details == {-1: "yaw: 1 left profile; light: 1 12; at least 0.02 of the faces"}


def test_yaw_is_read_off_the_points_where_the_labels_do_not_tell(
    cartoons: tuple[LabelledFaces, list[Grey]],
) -> None:
    faces = cartoons[0]
    points = faces.points.copy()
    width = np.ptp(points[:, :17, 0], axis=1)
    points[0, 27:36, 0] -= 0.2 * width[0]
    points[1, 27:36, 0] += 0.4 * width[1]
    changed = dataclasses.replace(faces, points=points)
    shapes = fit_shape_model(changed)
    assert isinstance(shapes, ShapeModel)
    found = yaw_classes(changed, shapes)
    assert found is not None
    classes, source = found
    assert (classes[:2], source) == (["turned left", "right profile"], "points")
    assert classes.count("frontal") > 0.9 * len(classes)


def test_light_is_read_off_the_pictures_where_the_labels_do_not_tell(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    windows = np.full((5, 36, 36), 120, np.uint8)
    windows[1, :, :18] = 200
    windows[2, :, 18:] = 200
    windows[3], windows[4] = 20, 230
    found = light_classes(faces_with(5), windows)
    assert found is not None
    classes, source = found
    assert classes == ["even", "from the left", "from the right", "dark", "bright"]
    assert source == "images"


def test_a_set_without_bad_exposure_lacks_nothing(
    faces_with: Callable[..., LabelledFaces], params_with: Callable[..., Params]
) -> None:
    windows = np.full((90, 36, 36), 120, np.uint8)
    windows[:30, :, :18] = 200
    windows[30:60, :, 18:] = 200
    outcome = find_imbalance(faces_with(90), None, windows, params_with().validate_)
    assert outcome.details == {}
    light: Any = outcome.numbers["light"]
    assert light["faces"]["bright"] == 0


def test_where_nothing_tells_it_is_said(
    faces_with: Callable[..., LabelledFaces], params_with: Callable[..., Params]
) -> None:
    outcome = find_imbalance(faces_with(3), None, None, params_with().validate_)
    assert outcome.skipped == "yaw and light are not in labels, points or images"
