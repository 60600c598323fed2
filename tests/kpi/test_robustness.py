"""What is done to faces, and that errors stay in the pixels of the clean crop."""

from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.kpi.evaluate import evaluate_model
from fpenet.kpi.robustness import CORRUPTIONS, clean, evenly, reframed
from fpenet.kpi.temporal import TemporalKind, temporal_jitter
from fpenet.params import EvaluateParams
from fpenet.params.evaluate import TemporalParams

ROWS = np.arange(4)


@pytest.fixture
def dots(store_of: Callable[..., CropStore]) -> CropStore:
    """Four faces that are one bright dot on grey, which is their only keypoint."""
    points = np.array([[[30.0, 40.0]], [[45.0, 35.0]], [[40.0, 52.0]], [[36.0, 30.0]]])
    store = store_of(points, list("aabb"))
    y, x = np.mgrid[:112, :112]
    for crop, (point,) in zip(store.crops, points + 16, strict=True):
        distance = (x - point[0]) ** 2 + (y - point[1]) ** 2
        crop[:] = 60 + 180 * np.exp(-distance / (2 * 2.0**2))
    return store


def see_dots(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the bright dot of each crop is, to a fraction of a pixel."""
    y, x = np.mgrid[:80, :80]
    weights = np.maximum(images[:, 0].astype(float) - 90, 0)
    total = np.maximum(weights.sum(axis=(1, 2)), 1e-9)
    points = [(weights * axis).sum(axis=(1, 2)) / total for axis in (x, y)]
    return np.stack(points, axis=1)[:, None], np.ones((len(images), 1))


@pytest.mark.parametrize("level", [0.05, 0.2])
@pytest.mark.parametrize("name", ["shift", "scale"])
def test_points_found_in_a_moved_box_go_back_to_the_clean_crop(
    dots: CropStore, name: str, level: float
) -> None:
    level = level if name == "shift" else 1 + level
    shown = CORRUPTIONS[name][0](dots, ROWS, level, np.random.default_rng(0))
    seen = see_dots(shown.images)[0]
    assert np.abs(seen - dots.points_crop(ROWS)).max() > 0.5
    assert np.abs(shown.to_clean(seen) - dots.points_crop(ROWS)).max() < 0.1


def test_a_shift_is_as_long_as_its_level_says(dots: CropStore) -> None:
    shown = CORRUPTIONS["shift"][0](dots, ROWS, 0.1, np.random.default_rng(0))
    assert np.linalg.norm(shown.moved, axis=1) == pytest.approx([8.0] * 4)
    assert len({tuple(move) for move in shown.moved}) == 4


def test_the_box_of_the_label_is_the_clean_crop(dots: CropStore) -> None:
    shown = reframed(dots, ROWS, np.zeros((4, 2)), np.ones(4))
    assert np.array_equal(shown.images, dots.images(ROWS))


@pytest.mark.parametrize("name", ["gamma", "blur", "noise", "jpeg", "low_resolution"])
def test_a_picture_that_suffers_keeps_its_points_where_they_are(dots: CropStore, name: str) -> None:
    level = {"gamma": 1.5, "blur": 1.0, "noise": 4.0, "jpeg": 50, "low_resolution": 40}[name]
    shown = CORRUPTIONS[name][0](dots, ROWS, level, np.random.default_rng(0))
    assert not np.array_equal(shown.images, dots.images(ROWS))
    brightest = [np.unravel_index(image[0].argmax(), (80, 80)) for image in shown.images]
    assert np.abs(np.array(brightest)[:, ::-1] - dots.points_crop(ROWS)[:, 0]).max() <= 1.5


def test_gamma_and_blur_have_their_numbers(dots: CropStore) -> None:
    chance = np.random.default_rng(0)
    flat = dots.images(ROWS)[:, :, 0, 0]
    dark = CORRUPTIONS["gamma"][0](dots, ROWS, 2.0, chance).images[:, :, 0, 0]
    assert dark == pytest.approx(np.rint(255 * (flat / 255.0) ** 2))
    point = np.zeros_like(dots.crops)
    point[:, 56, 56] = 255
    store = CropStore(point, *[getattr(dots, name) for name in list(dots.__slots__)[1:]])
    blurred = CORRUPTIONS["blur"][0](store, ROWS, 1.5, chance).images[0, 0].astype(float)
    _, x = np.mgrid[:80, :80]
    spread = (blurred * (x - 40) ** 2).sum() / blurred.sum()
    assert np.sqrt(spread) == pytest.approx(1.5, rel=0.1)


def test_a_patch_hides_the_points_that_it_covers(dots: CropStore) -> None:
    shown = CORRUPTIONS["patch"][0](dots, ROWS, 0.5, np.random.default_rng(3))
    changed = (shown.images != dots.images(ROWS))[:, 0]
    inside = [
        bool(changed[face, round(y), round(x)])
        for face, ((x, y),) in enumerate(dots.points_crop(ROWS))
    ]
    assert 0 < sum(inside) < 4
    assert shown.covered[:, 0].tolist() == inside
    assert changed.sum(axis=(1, 2)).max() <= 1600


def test_the_curves_are_of_the_same_faces_and_in_clean_pixels(
    dots: CropStore, evaluate_params: EvaluateParams
) -> None:
    levels = {"shift": (0.05, 0.15), "patch": (0.9,)}
    asked = evaluate_params.robustness.model_copy(update={"faces": 3, "levels": levels})
    kpi, _ = evaluate_model(
        see_dots, dots, evaluate_params.model_copy(update={"robustness": asked})
    )
    found = kpi.robustness
    assert found is not None
    assert (found.num_faces, found.num_subjects) == (3, 2)
    shift, patch = found.curves
    assert [level.level for level in shift.levels] == [0.05, 0.15]
    moved = [level.metrics["crop_px/all"] for level in shift.levels]
    assert all(value is not None and value < 0.2 for value in moved)
    covered = patch.levels[0].metrics["crop_px/all"]
    assert covered is not None
    assert covered > 5
    assert patch.levels[0].metrics["crop_px_visible/all"] is None  # all are covered
    clean_px = found.clean.metrics["crop_px/all"]
    assert clean_px is not None
    assert clean_px < 0.1


def test_faces_are_drawn_evenly_over_people() -> None:
    subjects = ["a"] * 50 + ["b"] * 3 + ["c"] * 2
    chosen = [subjects[face] for face in evenly(subjects, 9, seed=1)]
    assert [chosen.count(person) for person in "abc"] == [4, 3, 2]
    assert len(evenly(subjects, 500, seed=1)) == 55


def test_trembling_is_the_deviation_of_independent_errors() -> None:
    errors = np.random.default_rng(0).normal(0, 0.5, (20_000, 2, 2))
    errors += np.linspace(0, 30, 20_000)[:, None, None]  # a slow drift costs nothing
    assert temporal_jitter(errors) == pytest.approx([0.5 * np.sqrt(2)] * 2, rel=0.02)


def test_a_still_net_trembles_by_nothing_on_sequences_and_by_noise_on_stills(
    dots: CropStore, evaluate_params: EvaluateParams
) -> None:
    temporal = TemporalParams(faces=2, frames=8, shift_px=0.5, noise=0.0)
    kpi, _ = evaluate_model(
        see_dots, dots, evaluate_params.model_copy(update={"temporal": temporal})
    )
    assert kpi.temporal is not None
    assert kpi.temporal.kind is TemporalKind.STILLS
    assert kpi.temporal.frames == 16
    trembling = kpi.temporal.metrics["trembling_px/all"]
    assert trembling is not None
    assert trembling < 0.05


def test_sequences_of_the_set_are_taken_in_the_order_of_their_frames(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams
) -> None:
    points = np.array([[[30.0, 40.0]], [[31.0, 40.0]], [[33.0, 40.0]], [[50.0, 50.0]]])
    store = store_of(
        points, list("aaab"), sequence=["x", "x", "x", "y"], frame=[2.0, 0.0, 1.0, 0.0]
    )
    off = np.array([3.0, 1.0, 2.0, 9.0])  # by frame: 1, 2, 3

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        which = [
            next(n for n in range(4) if np.array_equal(image, store.images(np.arange(4))[n]))
            for image in images
        ]
        moved = points[which].copy()
        moved[:, 0, 0] += off[which]
        return moved, np.ones((len(images), 1))

    temporal = TemporalParams(faces=2, frames=8, shift_px=0.5, noise=0.0)
    kpi, _ = evaluate_model(
        predict, store, evaluate_params.model_copy(update={"temporal": temporal})
    )
    assert kpi.temporal is not None
    assert (kpi.temporal.sequences, kpi.temporal.frames) == (1, 3)
    # The error grows by 1 px a frame: sqrt(1 / 2).
    assert kpi.temporal.metrics["trembling_px/all"] == pytest.approx(np.sqrt(0.5), abs=1e-4)


def test_a_clean_crop_goes_back_to_itself(dots: CropStore) -> None:
    points = np.random.default_rng(0).normal(40, 10, (4, 1, 2))
    assert clean(dots, ROWS).to_clean(points) == pytest.approx(points)
