"""Slices: who is in them, and what is not one."""

from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.kpi.evaluate import judge
from fpenet.kpi.predictions import predict_judged
from fpenet.kpi.slices.slice_faces import quartiles, slice_faces, yaw_camera
from fpenet.params import EvaluateParams

POINTS = np.random.default_rng(0).uniform(10, 70, (6, 3, 2))
PEOPLE = ["a", "a", "b", "b", "c", "d"]


def members(store: CropStore) -> dict[str, dict[str, list[int]]]:
    found = slice_faces(store, np.arange(len(store.table)))
    return {
        name: {value: faces.tolist() for value, faces in values.items()}
        for name, values in found.slices.items()
    }


def test_yaw_goes_to_the_nearest_camera_and_above_60_degrees_is_a_slice_of_its_own(
    store_of: Callable[..., CropStore],
) -> None:
    store = store_of(POINTS, PEOPLE, yaw=[-88.0, 60.0, 61.0, 8.0, 7.0, None])
    found = members(store)
    assert found["yaw"] == {"-90": [0], "0": [4], "15": [3], "60": [1, 2]}
    assert found["yaw_range"] == {"up to 30": [3, 4], "30 to 60": [1], "above 60": [0, 2]}


def test_every_camera_of_multi_pie_has_its_own_yaw() -> None:
    from fpenet.data.readers.datasets.multi_pie import YAW_DEG

    assert {camera: float(yaw_camera(yaw)) for camera, yaw in YAW_DEG.items()} == YAW_DEG


def test_any_attribute_is_sliced_and_an_unknown_value_is_in_no_slice(
    store_of: Callable[..., CropStore],
) -> None:
    store = store_of(
        POINTS,
        PEOPLE,
        sex=["f", "f", "m", "m", None, "f"],
        light=["07"] * 6,
        picture=list("uvwxyz"),
        age=[20.0, 20.0, 30.0, 30.0, 40.0, None],
    )
    found = slice_faces(store, np.arange(6))
    assert members(store)["sex"] == {"f": [0, 1, 5], "m": [2, 3]}
    assert members(store)["age"] == {"20": [0, 1], "30": [2, 3], "40": [4]}
    assert found.left_out["light"] == "all faces are 07"
    assert found.left_out["occlusion_level"] == "not known for any face"


def test_an_attribute_of_names_is_no_slice(store_of: Callable[..., CropStore]) -> None:
    count = 50
    store = store_of(
        np.zeros((count, 1, 2)), ["a"] * count, picture=[str(number) for number in range(count)]
    )
    assert slice_faces(store, np.arange(count)).left_out["picture"] == (
        "50 values; at most 40 become slices"
    )


def test_hidden_points_and_face_size_are_slices(store_of: Callable[..., CropStore]) -> None:
    visible = np.ones((6, 10), bool)
    visible[1, :2] = visible[2, :3] = False
    store = store_of(np.zeros((6, 10, 2)), PEOPLE, visible=visible)
    assert members(store)["hidden_points"] == {
        "none": [0, 3, 4, 5],
        "up to 20 %": [1],
        "over 20 %": [2],
    }
    assert slice_faces(store, np.arange(6)).left_out["face_size"] == "all faces are 64 to 128 px"


def test_many_numbers_are_cut_at_their_quartiles() -> None:
    words = quartiles([float(number) for number in range(100)])
    assert [words.count(word) for word in dict.fromkeys(words)] == [25, 25, 25, 25]
    assert words[0] == "0 to 24.75"


def test_a_slice_has_its_own_numbers_and_a_small_one_says_too_few(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams
) -> None:
    points, people = np.tile(POINTS, (3, 1, 1)), [f"{who}{n}" for n in range(3) for who in PEOPLE]
    store = store_of(points, people, sex=["f", "f", "m", "m", "m", "m"] * 3)

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        longer = np.array([1, 1, 2, 2, 2, 2] * 3)[:, None, None]
        return points + longer * [[[3.0, 4.0]]], np.ones((18, 3))

    slices = evaluate_params.slices.model_copy(update={"min_subjects": 6})
    evaluate_params = evaluate_params.model_copy(update={"slices": slices})
    found = judge(store, predict_judged(predict, store, 64), evaluate_params).slices
    rows = {row.value: row for row in found if row.attribute == "sex"}
    assert rows["m"].metrics["crop_px/all"] == pytest.approx(10.0, abs=1e-4)
    assert rows["m"].intervals["crop_px/all"] == pytest.approx((10.0, 10.0), abs=1e-4)
    assert (rows["m"].num_faces, rows["m"].num_subjects) == (12, 9)
    assert rows["f"].too_few == "too few: 6 faces of 3 subjects; must be at least 2 of 6"
    assert (rows["f"].metrics, rows["f"].intervals) == ({}, {})
