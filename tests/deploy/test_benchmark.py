"""Timings: only of engines that run here, only of the very files that were built."""

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from components.deploy.benchmark import benchmark_engines, time_calls
from components.params import Params


def test_every_engine_that_runs_here_is_timed_at_every_batch(stages: SimpleNamespace) -> None:
    rows = json.loads((stages.benchmark / "benchmark.json").read_text())
    timed = [(row["target"], row["precision"], row["batch_size"]) for row in rows]
    assert timed == [("cpu", "fp32", 1), ("cpu", "fp32", 4), ("cpu", "int8", 1), ("cpu", "int8", 4)]
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["faces_per_second"] == pytest.approx(row["batch_size"] / row["p50_ms"] * 1e3)
        assert (row["threads"], row["runs"]) == (1, 4)
    summary = stages.summary["benchmark"]
    assert set(summary["p50_ms"]) == {"cpu/fp32", "cpu/int8"}
    assert "h200/fp16" in summary["not_timed"]
    assert "cannot run on this machine" in summary["note"]


def test_warm_up_runs_are_not_timed_and_batches_go_round_the_faces() -> None:
    seen: list[list[int]] = []

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(images[:, 0, 0, 0].tolist())
        time.sleep(0.2 if len(seen) <= 2 else 0.001)
        return images, images

    faces = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    times = time_calls(predict, faces, batch_size=2, warmup_runs=2, runs=3)
    assert seen == [[2, 0], [1, 2], [0, 1], [2, 0], [1, 2]]
    assert times.shape == (3,)
    assert (times >= 1.0).all()
    assert (times < 150.0).all()


def test_f32_an_engine_that_was_changed_is_not_opened(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    build_dir = tmp_path / "build"
    shutil.copytree(stages.build, build_dir)
    engine = build_dir / "cpu" / "int8.onnx"
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(data)
    with pytest.raises(ValueError, match=r"int8\.onnx: is not the engine that was built"):
        benchmark_engines(
            crop_dir=stages.crop, build_dir=build_dir, benchmark=params.benchmark, out_dir=tmp_path
        )
