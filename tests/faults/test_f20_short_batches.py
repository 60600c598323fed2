"""The original never scores an incomplete last batch (docs/fpenet.md, KPI); ours gives the same
KPI at any batch size."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.judge.judge_models import all_faces_judged
from fpenet.kpi.evaluate import evaluate_model, judge
from fpenet.kpi.predictions import Predict, predict_judged
from fpenet.model.checkpoint import load_net
from fpenet.model.evaluate import torch_predict
from fpenet.params import EvaluateParams


def trained(stages: SimpleNamespace) -> Predict:
    return torch_predict(load_net(stages.train)[0])


def shipped(stages: SimpleNamespace) -> Predict:
    return open_engine(stages.build / "cpu/fp32.onnx", threads=1)


@pytest.mark.parametrize("opened", [trained, shipped])
def test_f20_batches_of_1_7_and_64_give_the_same_kpi(
    stages: SimpleNamespace,
    crop_dir: Path,
    evaluate_params: EvaluateParams,
    opened: Callable[[SimpleNamespace], Predict],
) -> None:
    store, predict = all_faces_judged(open_crops(crop_dir)), opened(stages)
    assert len(store.rows("kpi")) == 10  # a multiple of none but 1
    one, *others = (
        evaluate_model(predict, store, evaluate_params.model_copy(update={"batch_size": size}))[0]
        for size in (1, 7, 64)
    )
    for other in others:
        assert other.num_faces == one.num_faces == 10
        assert other.metrics.keys() == one.metrics.keys()
        for name, value in one.metrics.items():
            assert other.metrics[name] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("size", [1, 7, 9, 10, 64])
def test_f20_the_face_of_the_last_batch_counts_like_any_other(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams, size: int
) -> None:
    points = np.random.default_rng(0).uniform(10, 70, (10, 3, 2))
    store = store_of(points, [f"s{n}" for n in range(10)])
    images = list(store.images(np.arange(10)))
    sizes: list[int] = []

    def predict(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right but for the last face, which is 10 px off."""
        sizes.append(len(batch))
        which = [next(n for n in range(10) if np.array_equal(images[n], one)) for one in batch]
        moved = points[which] + np.array([[[10.0, 0.0]]]) * (np.array(which) == 9)[:, None, None]
        return moved, np.ones((len(batch), 3))

    kpi = judge(store, predict_judged(predict, store, size), evaluate_params)
    assert sum(sizes) == 10
    assert kpi.metrics["crop_px/all"] == pytest.approx(1.0, abs=1e-5)
