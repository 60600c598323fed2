"""F37: an engine that gives NaN, the same points of every face, or them in another order, fails."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fpenet.data.crops.store import open_crops
from fpenet.deploy.bundle.bundle_model import GoldenLimits
from fpenet.deploy.engines.build import EvaluationSet, build_engine
from fpenet.deploy.engines.runtimes import RUNTIMES, Runtime
from fpenet.deploy.engines.targets import Built, Network
from fpenet.deploy.judge.golden import GOLDEN, Golden, faults, predict_in_child, read_golden
from fpenet.deploy.onnx.network import read_network
from fpenet.kpi.predictions import load_predictions
from fpenet.kpi.report import KpiReport
from fpenet.params import Params

Points = NDArray[np.float32]
LIMITS = GoldenLimits({"fp32": 0.01, "int8": 1.0}, 4096, 60.0)


@pytest.fixture
def golden(stages: SimpleNamespace) -> Golden:
    return read_golden((stages.build / GOLDEN).read_bytes(), GOLDEN)


def spoilt(stages: SimpleNamespace, how: str) -> bytes:
    """The FP32 engine with a node behind its points."""
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    graph = model.graph
    last = next(node for node in graph.node if "keypoints" in node.output)
    last.output[list(last.output).index("keypoints")] = "honest"
    count = 68
    added: dict[str, NDArray[Any]]
    if how == "nan":
        added = {"number": np.array("nan", np.float32)}
        nodes = [helper.make_node("Mul", ["honest", "number"], ["keypoints"])]
    elif how == "constant":
        added = {"nought": np.array(0, np.float32), "same": np.full((1, count, 2), 40, np.float32)}
        nodes = [
            helper.make_node("Mul", ["honest", "nought"], ["zero"]),
            helper.make_node("Add", ["zero", "same"], ["keypoints"]),
        ]
    else:
        order = np.arange(count)
        order[[36, 45]] = order[[45, 36]]  # the outer corners of the eyes
        added = {"order": order}
        nodes = [helper.make_node("Gather", ["honest", "order"], ["keypoints"], axis=1)]
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in added.items())
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def built(
    stages: SimpleNamespace,
    params: Params,
    golden: Golden,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[bytes], Any]:
    """Build the CPU's FP32 engine, the builder giving these bytes."""
    kpi, found = (
        KpiReport.read(stages.evaluate / "kpi.json"),
        load_predictions(stages.evaluate / "predictions.npz"),
    )
    judged = EvaluationSet(
        open_crops(stages.crop), found.points, params.evaluate, kpi.confidence.within_px, golden
    )

    def run(engine: bytes) -> Any:
        own = RUNTIMES["onnxruntime"]
        runtime = Runtime(lambda *_: Built(engine, "1"), own.load, own.suffix, False)
        monkeypatch.setitem(RUNTIMES, "onnxruntime", runtime)
        network = Network(stages.export / "opset17" / "fp32_cpu.onnx")
        return build_engine("cpu", "fp32", network, judged, params.build, tmp_path)

    return run


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("nan", "golden vectors: 1088 of 1088 point values are no numbers"),
        ("constant", "golden vectors: it says the same points of every face"),
        ("permuted", "2 keypoints are in the place of others: 37 lies where 46 does, 46 lies"),
    ],
)
def test_f37_a_spoilt_engine_is_not_built(
    stages: SimpleNamespace, built: Callable[[bytes], Any], tmp_path: Path, how: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        built(spoilt(stages, how))
    assert not list(tmp_path.rglob("*.onnx")) + list(tmp_path.rglob("*.partial"))


def test_f37_an_engine_that_crashes_or_is_none_is_refused_and_says_why(golden: Golden) -> None:
    with pytest.raises(ValueError, match=r"x\.onnx: could not be queried \(refused\): InputError"):
        predict_in_child("onnxruntime", b"\x08\x07 no engine", golden, 8, LIMITS, "x.onnx")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (replace(LIMITS, memory_mb=250), "could not be queried"),
        (replace(LIMITS, seconds=0.05), r"gave no points within 0\.05 s"),
    ],
)
def test_f37_an_engine_that_takes_too_much_is_ended(
    stages: SimpleNamespace, golden: Golden, limits: GoldenLimits, said: str
) -> None:
    engine = (stages.build / "cpu" / "fp32.onnx").read_bytes()
    with pytest.raises(ValueError, match=said):
        predict_in_child("onnxruntime", engine, golden, 8, limits, "fp32.onnx")


def test_f37_one_keypoint_that_is_no_number_is_enough(golden: Golden) -> None:
    points = golden.points.copy()
    points[7, 67, 1] = np.inf
    confidence = np.ones(points.shape[:2], np.float32)
    assert faults(points, confidence, golden, 100.0) == (
        None,
        ("1 of 1088 point values are no numbers",),
    )
    confidence[0, 0] = np.nan
    _, reasons = faults(golden.points, confidence, golden, 100.0)
    assert reasons == ("1 of 544 confidence values are no numbers",)


def test_f37_a_failed_engine_is_a_row_with_its_reason_and_stops_no_other(
    stages: SimpleNamespace,
) -> None:
    rows = json.loads((stages.build / "engines.json").read_text())["engines"]
    assert [row["status"] for row in rows if row["target"] == "cpu"] == ["ready", "ready"]
