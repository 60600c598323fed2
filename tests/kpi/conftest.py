"""Small crop stores, and the params of their evaluation."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.data.sample import fixed_lists
from fpenet.params import EvaluateParams, load_params
from tests.conftest import PARAMS


@pytest.fixture
def evaluate_params() -> EvaluateParams:
    """Section evaluate with few resamples, small slices, and nothing that needs many faces."""
    overrides = {
        "evaluate.interval.resamples": 1000,
        "evaluate.slices.min_faces": 2,
        "evaluate.slices.min_subjects": 2,
        "evaluate.robustness.faces": 0,
        "evaluate.temporal.faces": 0,
    }
    return load_params(PARAMS, overrides=overrides).evaluate


@pytest.fixture
def store_of() -> Callable[..., CropStore]:
    """A store whose faces are all judged: ``store_of(points (N, K, 2), subjects, side, ...)``.

    Points are in pixels of the 80x80 crop, face boxes have half its side; pixels are noise.
    """

    def make(
        points: np.ndarray,
        subjects: Sequence[str],
        side: float = 160.0,
        visible: np.ndarray | None = None,
        **attributes: Sequence[str | float | None],
    ) -> CropStore:
        count, keypoints = points.shape[:2]
        center = 200.0
        image = (points - 39.5) * (side / 80) + center
        table = pa.table(
            {
                "points": fixed_lists(image.astype(np.float64).reshape(count, -1)),
                "subject": list(subjects),
                "part": ["kpi"] * count,
                "side": [side] * count,
                "box_width": [side / 2] * count,
                "box_height": [side / 2] * count,
                "occlusion_level": pa.nulls(count, pa.int8()),
                **{f"attr_{name}": list(values) for name, values in attributes.items()},
            }
        )
        crops = np.random.default_rng(1).integers(0, 256, (count, 112, 112), dtype=np.uint8)
        return CropStore(
            crops,
            table,
            (points + 16).astype(np.float32),
            np.ones((count, keypoints), bool) if visible is None else visible,
            np.zeros((0, 80, 80), np.uint8),
            pa.table(
                {
                    "row": pa.array([], pa.int64()),
                    **{
                        name: pa.array([], pa.float64())
                        for name in ("center_x", "center_y", "side")
                    },
                }
            ),
            "tiny",
            1.2,
        )

    return make
