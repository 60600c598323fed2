"""Stage build: an engine for every target and precision; the engines that run here are judged.

Input: crop, evaluate, export and calibrate folders. Does: builds the engines that this machine can
build; runs each engine that can run here on the golden crops, in a separate process, and then
judges it on the evaluation set; makes the parity checks. Output: ``engines.json``,
``parity.json``, ``golden.npz`` and ``golden.json``; ``<target>/<precision>.onnx`` or ``.engine``;
for each executed engine ``.kpi.json`` and ``.predictions.npz``. A target whose device is absent is
``pending``; a target that fails does not stop the others.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.bundle.bundle_model import GoldenLimits
from fpenet.deploy.engines.cuda_device import driver_cuda
from fpenet.deploy.engines.engine_table import (
    ENGINES,
    Engine,
    EngineStatus,
    EngineTable,
    count_statuses,
)
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import (
    TARGETS,
    Network,
    Pending,
    Precision,
    network_for,
    profile,
    target_named,
)
from fpenet.deploy.judge.golden import GOLDEN, Golden, check_engine, make_golden
from fpenet.deploy.judge.parity import (
    PARITY,
    ParityTable,
    distances,
    engine_parity_check,
    parity_checks,
)
from fpenet.kpi.evaluate import evaluate_model
from fpenet.kpi.predictions import Predict, load_predictions, predict_all
from fpenet.kpi.report import KpiReport
from fpenet.params import BuildParams, EvaluateParams
from fpenet.provenance.digest import digest_bytes

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The faces that every engine is judged on, and the output of torch for them.

    Attributes:
        points: (N, K, 2) torch's points, 80x80 crop pixels.
        confidence_px: the confidence is the probability of an error below this distance (see
            ``describe_confidence``).
        golden: the golden vectors, which an engine must reproduce before it is judged.
    """

    store: CropStore
    points: NDArray[np.float32]
    params: EvaluateParams
    confidence_px: float | None
    golden: Golden

    def points_of(self, predict: Predict) -> NDArray[np.float32]:
        """(N, K, 2) the engine's points on the judged faces."""
        images = self.store.images(self.store.rows(self.store.judged_part))
        return predict_all(predict, images, self.params.batch_size)[0]


def golden_limits(build: BuildParams) -> GoldenLimits:
    """Section ``build.golden`` as it is saved with the engines."""
    golden = build.golden
    return GoldenLimits(golden.px.model_dump(), golden.memory_mb, golden.seconds)


def build_engine(
    target: str,
    precision: Precision,
    network: Network,
    judged: EvaluationSet,
    build: BuildParams,
    out_dir: Path,
) -> Engine:
    """Build one engine into ``out_dir``/<target>/ and, where it runs here, judge it.

    Raises:
        InputError: the runtime refuses the network, or the engine does not give the golden points.
    """
    gpu_target = target_named(target)
    runtime = RUNTIMES[gpu_target.runtime]
    engine = Engine(target, gpu_target.runtime, precision, EngineStatus.PENDING)
    built = runtime.build(network, gpu_target, precision, build)
    if isinstance(built, Pending):
        return replace(engine, reason=built.reason)
    path = out_dir / target / f"{precision}{runtime.suffix}"
    on_device = gpu_target.built_on_device
    engine = replace(
        engine,
        file=path.relative_to(out_dir).as_posix(),
        size_bytes=len(built.engine_bytes),
        sha256=digest_bytes(built.engine_bytes),
        runtime_version=built.runtime_version,
        compute_capability=gpu_target.compute_capability,
        driver_cuda=driver_cuda() if on_device else None,
        hardware_compatibility=build.hardware_compatibility if on_device else "none",
        version_compatible=build.version_compatible and on_device,
    )
    limits = golden_limits(build)
    batch = profile(gpu_target, build.dla)[2]
    checked = check_engine(
        engine.id, engine.built_for, batch, built.engine_bytes, judged.golden, limits, path.name
    )
    if checked.reasons:
        raise InputError(f"golden vectors: {'; '.join(checked.reasons)}")
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(built.engine_bytes)
    os.replace(partial, path)
    if checked.absent is not None:
        return replace(engine, status=EngineStatus.BUILT_NOT_JUDGED, reason=checked.absent)
    predict = runtime.load(built.engine_bytes, str(path), 0)
    if isinstance(predict, Pending):
        return replace(engine, status=EngineStatus.BUILT_NOT_JUDGED, reason=predict.reason)
    # The largest batch of an engine is the largest batch of its profile.
    params = judged.params.model_copy(
        update={"batch_size": min(judged.params.batch_size, gpu_target.batch[2])}
    )
    kpi, predictions = evaluate_model(predict, judged.store, params, judged.confidence_px)
    kpi.write(path.with_suffix(".kpi.json"))
    predictions.save(path.with_suffix(".predictions.npz"))
    return replace(
        engine,
        status=EngineStatus.READY,
        golden_px=checked.px,
        metrics=dict(kpi.metrics),
        kpi=path.with_suffix(".kpi.json").relative_to(out_dir).as_posix(),
        predictions=path.with_suffix(".predictions.npz").relative_to(out_dir).as_posix(),
        parity_px=float(np.mean(distances(predictions.points, judged.points))),
    )


def check_parity(judged: EvaluationSet, export_dir: Path, calibrate_dir: Path) -> dict[str, Any]:
    """Points of every rendering at the newest opset, executed by ONNX Runtime.

    Raises:
        InputError: a rendering is missing.
    """
    newest = _newest(export_dir)
    files = {
        "onnx": newest / "fp32.onnx",
        "fp16": newest / "fp16.onnx",
        "int8": calibrate_dir / newest.name / "int8_cpu.onnx",
        "int8_signed": calibrate_dir / newest.name / "int8.onnx",
    }
    return {name: judged.points_of(open_engine(path)) for name, path in files.items()}


def _newest(export_dir: Path) -> Path:
    """The folder of the newest opset that was exported."""
    return max(export_dir.glob("opset*"), key=lambda folder: folder.name)


def build_engines(
    *,
    crop_dir: Path,
    evaluate_dir: Path,
    export_dir: Path,
    calibrate_dir: Path,
    build: BuildParams,
    evaluate: EvaluateParams,
    out_dir: Path,
) -> dict[str, Any]:
    """Build every target of ``build.targets``.

    Returns:
        how many engines have each status; the first parity check that exceeds its budget, None
        where all checks pass; the mean distance of every check.

    Raises:
        OSError: the disk is full or read-only. Any other error of one target makes only that
            target ``failed``.
    """
    store = open_crops(crop_dir)
    kpi = KpiReport.read(evaluate_dir / "kpi.json")
    reference = load_predictions(evaluate_dir / "predictions.npz")
    golden = make_golden(open_engine(_newest(export_dir) / "fp32.onnx", threads=1), store.box_scale)
    golden.save(out_dir / GOLDEN)
    golden_limits(build).write(out_dir / "golden.json")
    within_px = kpi.confidence.within_px
    judged = EvaluationSet(store, reference.points, evaluate, within_px, golden)
    points = check_parity(judged, export_dir, calibrate_dir) | {"torch": judged.points}
    names = store.table["image"].to_pylist()
    faces = [names[row] for row in store.rows(store.judged_part)]
    checks = parity_checks(points, faces, build.parity_px)

    engines: list[Engine] = []
    requested = list(_requested(build))
    for done, (target, precision) in enumerate(requested, start=1):
        gpu_target = target_named(target)
        try:
            network = network_for(gpu_target, precision, export_dir, calibrate_dir)
            engines.append(build_engine(target, precision, network, judged, build, out_dir))
        except Exception as error:  # an error of one target must not stop the others
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise  # not an error of the target; a cached stage would keep it as failed
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
            engines.append(
                Engine(target, gpu_target.runtime, precision, EngineStatus.FAILED, reason)
            )
        report(done, len(requested), "engines")
    for engine in engines:
        if engine.predictions is not None:
            engine_id = str(engine.id)
            points[engine_id] = load_predictions(out_dir / engine.predictions).points
            checks.append(
                engine_parity_check(engine_id, engine.precision, points, faces, build.parity_px)
            )
    ParityTable(tuple(checks)).write(out_dir / PARITY)
    EngineTable(tuple(engines)).write(out_dir / ENGINES)
    return count_statuses(engines) | {
        "parity_lost": next((check.name for check in checks if not check.passed), None),
        "parity_px": {check.name: check.mean_px for check in checks},
    }


def _requested(build: BuildParams) -> Iterator[tuple[str, Precision]]:
    for target in build.targets:
        for precision in TARGETS[target].precisions:
            if precision in build.precisions:
                yield target, precision
