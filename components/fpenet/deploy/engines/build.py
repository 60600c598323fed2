"""Stage build: an engine for every target and precision, those that run here judged.

Input: crop, evaluate, export and calibrate folders. Does: builds what this machine can build; asks
each engine that can run here for the golden points, in a process of its own, then runs the one
judge on it; makes the parity checks. Output: ``engines.json``, ``parity.json``,
``golden.npz`` and ``golden.json``, ``<target>/<precision>.onnx`` or ``.engine``, and of each that
was executed ``.kpi.json`` and ``.predictions.npz``. An absent device leaves its target ``pending``;
a target that fails never stops the others.
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
from fpenet.kpi.evaluate import evaluate as judge
from fpenet.kpi.predictions import Predict, load_predictions, predict_all
from fpenet.kpi.report import KpiReport
from fpenet.params import BuildParams, EvaluateParams
from fpenet.provenance.digest import digest_bytes

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The faces every engine is judged on, and what torch said of them.

    Attributes:
        points: (N, K, 2) torch's points, 80x80 crop pixels.
        confidence_px: what the confidence is the probability of (see ``describe_confidence``).
        golden: what an engine has to know before it is judged.
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
    """Section ``build.golden`` as it is kept with the engines."""
    golden = build.golden
    return GoldenLimits(golden.px.model_dump(), golden.memory_mb, golden.seconds)


def build_engine(
    name: str,
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
    target = target_named(name)
    runtime = RUNTIMES[target.runtime]
    row = Engine(name, target.runtime, precision, EngineStatus.PENDING)
    built = runtime.build(network, target, precision, build)
    if isinstance(built, Pending):
        return replace(row, reason=built.reason)
    path = out_dir / name / f"{precision}{runtime.suffix}"
    on_device = target.built_on_device
    row = replace(
        row,
        file=path.relative_to(out_dir).as_posix(),
        size_bytes=len(built.engine),
        sha256=digest_bytes(built.engine),
        runtime_version=built.runtime_version,
        compute_capability=target.compute_capability,
        driver_cuda=driver_cuda() if on_device else None,
        hardware_compatibility=build.hardware_compatibility if on_device else "none",
        version_compatible=build.version_compatible and on_device,
    )
    limits = golden_limits(build)
    batch = profile(target, build.dla)[2]
    checked = check_engine(
        row.id, row.built_for, batch, built.engine, judged.golden, limits, path.name
    )
    if checked.reasons:
        raise InputError(f"golden vectors: {'; '.join(checked.reasons)}")
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(built.engine)
    os.replace(partial, path)
    if checked.absent is not None:
        return replace(row, status=EngineStatus.BUILT_NOT_JUDGED, reason=checked.absent)
    predict = runtime.load(built.engine, str(path), 0)
    if isinstance(predict, Pending):
        return replace(row, status=EngineStatus.BUILT_NOT_JUDGED, reason=predict.reason)
    # An engine takes no larger batch than its profile has.
    how = judged.params.model_copy(
        update={"batch_size": min(judged.params.batch_size, target.batch[2])}
    )
    kpi, found = judge(predict, judged.store, how, judged.confidence_px)
    kpi.write(path.with_suffix(".kpi.json"))
    found.save(path.with_suffix(".predictions.npz"))
    return replace(
        row,
        status=EngineStatus.READY,
        golden_px=checked.px,
        metrics=dict(kpi.metrics),
        kpi=path.with_suffix(".kpi.json").relative_to(out_dir).as_posix(),
        predictions=path.with_suffix(".predictions.npz").relative_to(out_dir).as_posix(),
        parity_px=float(np.mean(distances(found.points, judged.points))),
    )


def check_parity(judged: EvaluationSet, export_dir: Path, calibrate_dir: Path) -> dict[str, Any]:
    """Points of every rendering at the newest opset, ONNX Runtime executing each.

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
        how many engines have each status, and the first parity check that is over its
        budget, None where all are within.

    Raises:
        OSError: the disk is full or may not be written; every other fault of one target fails
            that target alone.
    """
    store = open_crops(crop_dir)
    kpi, found = (
        KpiReport.read(evaluate_dir / "kpi.json"),
        load_predictions(evaluate_dir / "predictions.npz"),
    )
    golden = make_golden(open_engine(_newest(export_dir) / "fp32.onnx", threads=1), store.box_scale)
    golden.save(out_dir / GOLDEN)
    golden_limits(build).write(out_dir / "golden.json")
    judged = EvaluationSet(store, found.points, evaluate, kpi.confidence.within_px, golden)
    points = check_parity(judged, export_dir, calibrate_dir) | {"torch": judged.points}
    names = store.table["image"].to_pylist()
    faces = [names[row] for row in store.rows(store.judged_part)]
    checks = parity_checks(points, faces, build.parity_px)

    rows: list[Engine] = []
    wanted = list(_wanted(build))
    for done, (name, precision) in enumerate(wanted, start=1):
        target = target_named(name)
        try:
            network = network_for(target, precision, export_dir, calibrate_dir)
            rows.append(build_engine(name, precision, network, judged, build, out_dir))
        except Exception as error:  # one target must not stop the others, whatever its tools do
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise  # no fault of the target, which would stay failed when the stage is cached
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
            rows.append(Engine(name, target.runtime, precision, EngineStatus.FAILED, reason))
        report(done, len(wanted), "engines")
    for row in rows:
        if row.predictions is not None:
            name = str(row.id)
            points[name] = load_predictions(out_dir / row.predictions).points
            checks.append(engine_parity_check(name, row.precision, points, faces, build.parity_px))
    ParityTable(tuple(checks)).write(out_dir / PARITY)
    EngineTable(tuple(rows)).write(out_dir / ENGINES)
    return count_statuses(rows) | {
        "parity_lost": next((check.name for check in checks if not check.passed), None),
        "parity_px": {check.name: check.mean_px for check in checks},
    }


def _wanted(build: BuildParams) -> Iterator[tuple[str, Precision]]:
    for name in build.targets:
        for precision in TARGETS[name].precisions:
            if precision in build.precisions:
                yield name, precision
