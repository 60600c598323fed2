"""Use what ADDITIONS added to a copy of the project: run in the copy by test_how_to_add.py.

    python trials.py FILE NAME...

Each trial loads params that name the new entry and runs the smallest thing that uses it. FILE
becomes a JSON object: name -> traceback, empty where the trial passed.
"""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fpenet.data.crops.store import CropStore
from fpenet.data.sample import FaceSample, fixed_lists
from fpenet.kpi.evaluate import judge
from fpenet.kpi.predictions import predict_judged
from fpenet.kpi.report import KpiReport
from fpenet.params import EvaluateParams, Params, load_params

PARAMS = Path("params.yaml")
FIVE = np.array([[[20.0, 24], [44, 24], [32, 34], [24, 44], [40, 44]]])


def params_with(**keys: Any) -> Params:
    """params.yaml of the copy with some keys changed; ``__`` stands for a dot."""
    return load_params(PARAMS, overrides={k.replace("__", "."): v for k, v in keys.items()})


def store_of(points: Any) -> CropStore:
    """The evaluation faces with points (N, K, 2) in crop pixels; face boxes of 40 x 40 crop px."""
    count, keypoints = points.shape[:2]
    columns = {"side": 160.0, "box_width": 80.0, "box_height": 80.0, "part": "kpi"}
    table = pa.table(
        {
            "points": fixed_lists(points.reshape(count, -1)),
            "subject": [f"s{number}" for number in range(count)],
            "occlusion_level": pa.nulls(count, pa.int8()),
            **{name: [value] * count for name, value in columns.items()},
        }
    )
    crops = np.full((count, 112, 112), 5, np.uint8)
    in_store = (points + 16).astype(np.float32)
    visible = np.ones((count, keypoints), bool)
    floats = dict.fromkeys(("center_x", "center_y", "side"), pa.array([], pa.float64()))
    no_rows = pa.table({"row": pa.array([], pa.int64()), **floats})
    no_crops = np.zeros((0, 80, 80), np.uint8)
    return CropStore(crops, table, in_store, visible, no_crops, no_rows, "tiny", 1.2)


def kpi_of(store: CropStore, moved: Any, evaluate: EvaluateParams) -> KpiReport:
    """The report of a model that predicts ``moved`` (1, K, 2), crop pixels."""
    confidence = np.ones(moved.shape[:2])
    predictions = predict_judged(lambda _: (moved, confidence), store, batch_size=8)
    return judge(store, predictions, evaluate)


def try_loss() -> None:
    import torch

    from fpenet.model.losses import coordinate_loss

    train = params_with(train__loss="half").train
    pred, target = torch.zeros(1, 1, 2), torch.tensor([[[3.0, -5.0]]])
    # |e| / 2 is 1.5 and 2.5; their mean is 2.
    assert float(coordinate_loss(pred, target, torch.ones(1, 1), train)) == 2.0


def try_net() -> None:
    import torch

    from fpenet.model.nets.recombinator import build_net

    net = build_net(params_with(train__net="tiny").train.net, num_keypoints=5)
    points, confidence = net(torch.zeros(2, 1, 80, 80))
    assert points.shape == (2, 5, 2)
    assert confidence.shape == (2, 5)


def try_corruption() -> None:
    from fpenet.kpi.robustness import robustness_of

    params = params_with(
        evaluate__robustness__levels={"negative": [1.0]}, evaluate__robustness__faces=1
    )
    levels = {"negative": params.evaluate.robustness.levels["negative"]}
    robustness = params.evaluate.robustness.model_copy(update={"levels": levels})
    evaluate = params.evaluate.model_copy(update={"robustness": robustness})
    seen = []

    def predict(images: Any) -> Any:
        seen.append(int(images[0, 0, 0, 0]))
        return np.repeat(FIVE, len(images), axis=0), np.ones((len(images), 5))

    curves = robustness_of(predict, store_of(FIVE), np.array([0]), {"all": range(5)}, evaluate)
    assert [curve.corruption for curve in curves.curves] == ["negative"]
    assert sorted(seen) == [5, 250]  # grey levels of the plain crop and of its negative


def try_keypoint_scheme() -> None:
    from fpenet.data.labelling.guide import guide_page
    from fpenet.keypoints import scheme_for
    from fpenet.release.report.charts import draw_mean_face

    evaluate = params_with().evaluate
    four = FIVE[:, :4]
    store = store_of(four)
    assert store.scheme == scheme_for(4)
    kpi = kpi_of(store, four + np.array([3.0, 0.0]), evaluate)
    assert kpi.metrics["crop_px/eyes"] == 3.0
    assert kpi.metrics["nme_interocular/all"] == 3.0 / 24.0  # between (20, 24) and (44, 24)
    draw_mean_face(kpi, four[0])
    assert "<td>eyes</td><td>1-2</td>" in guide_page(4)
    assert not store.scheme.of_fpenet  # its points are not the first 4 of the 68


def two_faces(folder: Path) -> Any:
    """The labelled set of a .dots file with two faces and a bad row."""
    from PIL import Image

    from fpenet.data.readers import read_labels

    for name in ("a", "b"):
        Image.new("L", (64, 64)).save(folder / f"{name}.png")
    text = "a.png 1 2 21 32\nb.png 3 4 5 6\nb.png 3 far\n"
    (folder / "faces.dots").write_text(text)
    for name in ("dots", "auto"):
        labels = read_labels(folder, params_with(data__format=name).data)
    return labels


def try_reader() -> None:
    with tempfile.TemporaryDirectory() as folder:
        labels = two_faces(Path(folder))
    assert [sample.image for sample in labels.samples] == ["a.png", "b.png"]
    assert labels.samples[0].points.tolist() == [[1, 2], [21, 32]]
    (rejected,) = labels.rejected
    assert rejected.detail == "faces.dots, line 3: a coordinate is 'far'; it must be a number"


def try_data_check() -> None:
    from fpenet.data.checks.faces import labelled_faces
    from fpenet.data.validation.run_checks import run_face_checks

    samples = [
        FaceSample(
            f"{number}.png",
            (64, 64),
            (0.0, 0.0, 64.0, 64.0),
            FIVE[0] * scale,
            np.ones(5, bool),
            0,
            f"s{number}",
            {},
        )
        for number, scale in enumerate((1.0, 1.2, 0.2))  # 24, 28.8 and 4.8 px wide
    ]
    checked = run_face_checks(labelled_faces(samples), params_with().validate_, None)
    found = [(each.check, each.severity, each.face, each.detail) for each in checked.findings]
    assert ("small", "drop", 2, "small") in found
    assert ("crowd", "warn", -1, "crowd") in found
    assert checked.kept == [0, 1]


def try_calibration_method() -> None:
    from fpenet.deploy.int8.histogram import Histogram, ranges_of

    histogram = Histogram()
    histogram.add(np.array([1.0, -6.0, 2.0]))
    calibrate = params_with(calibrate__method="half").calibrate
    assert ranges_of({"x": histogram}, calibrate) == {"x": 3.0}


def try_gpu_target() -> None:
    from fpenet.deploy.engines.targets import TARGETS, target_named
    from infra.project_files import prefect_yaml

    assert params_with(build__targets=["toy"]).build.targets == ("toy",)
    assert target_named("toy").runtime_version == TARGETS["orin-nano"].runtime_version
    assert "name: toy, work_pool: {name: toy-pool," in prefect_yaml()


def try_runtime() -> None:
    from fpenet.deploy.bundle.bundle_model import GoldenLimits
    from fpenet.deploy.bundle.triton import engine_place
    from fpenet.deploy.engines.device_fit import misfit, this_machine
    from fpenet.deploy.engines.engine_table import BuiltFor, Engine, EngineStatus, EngineTable
    from fpenet.deploy.engines.runtimes import RUNTIMES
    from fpenet.deploy.engines.targets import Built, Network, target_named
    from fpenet.deploy.judge.golden import Golden, predict_in_child

    build = params_with(build__targets=["sheet"]).build
    (name,) = build.targets
    target = target_named(name)
    runtime = RUNTIMES[target.runtime]
    with tempfile.TemporaryDirectory() as folder:
        network = Network(Path(folder) / f"{target.rendering('fp32')}.onnx")
        network.onnx.write_text("7.5")
        built = runtime.build(network, target, "fp32", build)
        assert isinstance(built, Built)
        row = Engine(name, target.runtime, "fp32", EngineStatus.READY)
        EngineTable((row,)).write(Path(folder) / "engines.json")
        assert EngineTable.read(Path(folder) / "engines.json").engines == (row,)
    assert misfit(BuiltFor(target.runtime), this_machine(target.runtime)) is None
    assert engine_place(target) is None
    golden = Golden(np.zeros((1, 1, 80, 80), np.uint8), np.zeros((1, 5, 2), np.float32))
    limits = GoldenLimits({"fp32": 0.01}, 4096, 60.0)
    result = predict_in_child(target.runtime, built.engine_bytes, golden, 1, limits, "fp32.txt")
    assert isinstance(result, tuple)
    assert result[0].tolist() == np.full((1, 5, 2), 7.5).tolist()


def try_kpi_metric() -> None:
    """A threshold, which is a key of params.yaml and nothing more, is tried with it."""
    from fpenet.kpi.gate import JudgedEngine, check_kpi

    params = params_with(
        gate__thresholds={"tiny": {"worst_px/all": 8.0}},
        gate__comparison__metrics=["worst_px_visible/all"],
    )
    moved = FIVE + np.array([[0.0, 1], [0, 2], [0, 3], [0, 4], [6, 8]])
    kpi = kpi_of(store_of(FIVE), moved, params.evaluate)
    assert kpi.metrics["worst_px/all"] == 10.0  # of (6, 8), the farthest
    assert kpi.metrics["worst_px_visible/all"] == 10.0
    (check,) = check_kpi(JudgedEngine("cpu/fp32", kpi, "kpi", 0.0, 1.0), kpi.faces, params.gate)
    assert (check.name, check.value, check.limit, check.passed) == ("worst_px/all", 10, 8, False)


def try_normaliser() -> None:
    params = params_with(gate__thresholds={"tiny": {"nme_width/all": 0.2}})
    kpi = kpi_of(store_of(FIVE), FIVE + np.array([3.0, 4.0]), params.evaluate)
    assert kpi.normalisers["width"] == "width of the face box"
    assert kpi.metrics["nme_width/all"] == 5.0 / 40.0


def try_stage() -> None:
    from fpenet.cli.main import main
    from fpenet.cli.plan import reasons_to_run
    from fpenet.provenance.manifest import Manifest, read_manifest, seal
    from infra.project_files import dvc_yaml

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        assert reasons_to_run(root, params_with())["count"] == "after crop"
        (root / "crop").mkdir()
        seal(root / "crop", Manifest("crop", "key", {}, {}, "code", {}, {}, {"faces": 2}))
        assert main(["count", "--root", folder, "--set", "crop.store_px=100"]) == 0
        summary = read_manifest(root / "count").summary
        assert summary == {"faces": 2, "store_px": 100}
        assert (root / "count/count.json").read_text() == "2"
    text = "  count:\n    cmd: ${fpenet} count\n    deps:\n      - components\n      - dvc/crop\n"
    assert f"{text}    params:\n      - crop\n" in dvc_yaml([])


def main_of_trials(file: Path, names: list[str]) -> None:
    """Run the trials and write what failed."""
    failures: dict[str, str] = {}
    for name in names:
        trial: Callable[[], None] = globals()[f"try_{name}"]
        try:
            trial()
            failures[name] = ""
        except BaseException:
            failures[name] = traceback.format_exc()
    file.write_text(json.dumps(failures), encoding="utf-8")


if __name__ == "__main__":
    main_of_trials(Path(sys.argv[1]), sys.argv[2:])
