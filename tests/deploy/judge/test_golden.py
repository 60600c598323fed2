"""Golden vectors: what is wrong with an engine is said, and it runs where it can harm nothing."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fpenet.deploy.bundle.bundle_model import GoldenLimits
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.judge.golden import (
    GOLDEN,
    Golden,
    check_golden,
    faults,
    make_golden,
    predict_in_child,
    read_golden,
)
from fpenet.params import Params
from fpenet.provenance.checksums import write_checksums
from fpenet.provenance.signing import SigningKey

LIMITS = GoldenLimits({"fp32": 0.01, "int8": 1.0}, 4096, 60.0)


@pytest.fixture(scope="module")
def golden(stages: SimpleNamespace) -> Golden:
    return read_golden((stages.build / GOLDEN).read_bytes(), GOLDEN)


def test_the_vectors_are_rendered_faces_and_the_points_of_the_fp32_network(
    stages: SimpleNamespace, golden: Golden, tmp_path: Path
) -> None:
    assert golden.crops.shape == (8, 1, 80, 80)
    assert golden.points.shape == (8, 68, 2)
    points, _ = open_engine(stages.export / "opset17" / "fp32.onnx")(golden.crops)
    assert np.abs(points - golden.points).max() < 1e-3
    again = make_golden(open_engine(stages.export / "opset17" / "fp32.onnx", threads=1), 1.2)
    again.save(tmp_path / GOLDEN)
    assert (tmp_path / GOLDEN).read_bytes() == (stages.build / GOLDEN).read_bytes()


def test_an_engine_in_a_child_process_says_what_it_says_here(
    stages: SimpleNamespace, golden: Golden
) -> None:
    path = stages.build / "cpu" / "int8.onnx"
    said = predict_in_child("onnxruntime", path.read_bytes(), golden, 3, LIMITS, "int8.onnx")
    assert isinstance(said, tuple)
    points, confidence = open_engine(path, threads=1)(golden.crops)
    assert np.abs(said[0] - points).max() < 1e-3
    assert np.abs(said[1] - confidence).max() < 1e-4


def test_the_distance_is_the_mean_of_the_worst_crop() -> None:
    # Two crops of two keypoints: off by 3-4-5 and 0 on the first, by 1 and 2 on the second.
    points = np.array([[[0.0, 0.0], [40, 40]], [[10, 10], [60, 60]]], np.float32)
    golden = Golden(np.zeros((2, 1, 80, 80), np.uint8), points)
    said = points + np.array([[[3, 4], [0, 0]], [[1, 0], [0, 2]]], np.float32)
    px, reasons = faults(said, np.ones((2, 2), np.float32), golden, 2.5)
    assert px == pytest.approx(2.5)
    assert reasons == ()
    _, (reason,) = faults(said, np.ones((2, 2), np.float32), golden, 2.4)
    assert reason == "its mean error on golden face 1 is 2.5 px, the budget is 2.4 px"


def test_each_engine_of_a_bundle_is_checked_or_said_not_to_run_here(
    stages: SimpleNamespace,
) -> None:
    found = {one.engine_id: one for one in check_golden(stages.bundle / "cpu")}
    assert set(found) == {"cpu/fp32", "cpu/int8"}
    assert all(one.reasons == () and one.absent is None for one in found.values())
    assert found["cpu/fp32"].px == pytest.approx(0.0, abs=0.01)
    (pending,) = check_golden(stages.bundle / "nano")
    assert (pending.px, pending.reasons) == (None, ())
    assert pending.absent == "it is not built yet; run build.sh"


def test_the_rows_of_the_build_say_how_far_off_the_engines_are(stages: SimpleNamespace) -> None:
    rows = json.loads((stages.build / "engines.json").read_text())["engines"]
    px = {f"{row['target']}/{row['precision']}": row["golden_px"] for row in rows}
    assert px["cpu/fp32"] < 0.01 < px["cpu/int8"]
    assert px["nano/fp16"] is None
    model = json.loads((stages.bundle / "cpu" / "model.json").read_text())
    assert {row["golden_px"] for row in model["engines"]} == {px["cpu/fp32"], px["cpu/int8"]}


def test_a_bundle_whose_engine_belongs_to_other_vectors_is_refused(
    stages: SimpleNamespace, golden: Golden, signing_key: SigningKey, tmp_path: Path
) -> None:
    folder = tmp_path / "cpu"
    shutil.copytree(stages.bundle / "cpu", folder)
    Golden(golden.crops, golden.points + np.float32(20.0)).save(folder / GOLDEN)
    write_checksums(folder, signing_key)
    fp32 = next(one for one in check_golden(folder) if one.engine_id == "cpu/fp32")
    assert fp32.reasons[-1].endswith(" is 28.3 px, the budget is 0.05 px")


def test_every_precision_has_a_budget(params: Params) -> None:
    said: dict[str, Any] = params.build.golden.model_dump()
    assert set(said["px"]) == {"fp32", "fp16", "int8"}
