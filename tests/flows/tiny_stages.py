"""Fast stage functions with the outputs of the real stages, for tests of the flows."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.core.records import fields_of
from fpenet.data.validation.validation_report import VALIDATION
from fpenet.deploy.benchmark.timings import TIMINGS, Timing, TimingTable
from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineStatus, EngineTable
from fpenet.deploy.judge.parity import PARITY, ParityCheck, ParityTable
from fpenet.kpi.gate import GATE, ChampionResult, ChampionState, GateDecision
from fpenet.kpi.report import KpiReport
from fpenet.params import (
    GateParams,
    Precision,
    RegisterParams,
    SplitParams,
    TrainParams,
    ValidateParams,
)
from fpenet.release.release_manifest import RELEASE_MANIFEST, ReleaseManifest
from tests import failing
from tests.manifests import KPI, VALIDATED


def validate(*, data: Any, validate: ValidateParams, out_dir: Path) -> dict[str, Any]:
    """Refuse the labels if ``validate.min_faces`` is above 1000."""
    if validate.min_faces > 1000:
        raise InputError(f"{data.labels}: 20 usable faces; validate.min_faces is 1001")
    VALIDATED.write(out_dir / VALIDATION)
    return {"file": VALIDATION}


def split(*, split: SplitParams, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """Raise the fault of tests/failing.py with the number ``split.seed``, if there is one."""
    return failing.split(split=split, out_dir=out_dir)


def plain(*, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """The stages crop, export, calibrate, bundle and report."""
    return _write(out_dir, "done.json", {})


def train(*, crop_dir: Path, train: TrainParams, out_dir: Path) -> dict[str, Any]:
    """Report the progress of each epoch; a learning rate of 7 raises a RuntimeError."""
    if train.learning_rate == 7.0:
        raise RuntimeError("the loss is not finite")
    for epoch in range(train.epochs):
        report(epoch + 1, train.epochs, "epochs", loss=1.0 / (epoch + 1))
    _write(out_dir, "curve.json", {"epochs": train.epochs})
    counts = {"epochs": train.epochs, "faces_seen": 1065 * train.epochs, "minutes": 0.04}
    net = {"net": train.net, "parameters": 300_000, "num_keypoints": 68, "box_scale": 1.2}
    return net | counts | {"confidence": "learned"}


def evaluate(*, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """A KPI report with pixel errors, but without NME."""
    regions = ("all", "eyes", "mouth", "nose", "eyebrows", "chin", "head_pose")
    metrics = {f"image_px/{name}": 2.0 + index for index, name in enumerate(regions)}
    replace(KPI, metrics={**metrics, "nme_box/all": None}).write(out_dir / "kpi.json")
    return {"file": "kpi.json"}


def build(*, build: Any, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """Build the CPU target, and in a worker the target whose device, a file, exists.

    A file ``TARGET.meets`` contains another target, whose build must run at the same time.
    """
    engines: list[Engine] = []
    is_worker = len(build.targets) == 1
    for target in build.targets:
        here = target == "cpu" or (is_worker and Path(f"{target}.device").exists())
        if is_worker and Path(f"{target}.meets").exists():
            Path(f"{target}.started").touch()
            _wait_for(Path(Path(f"{target}.meets").read_text() + ".started"))
        precision: Precision = "fp32" if target == "cpu" else "fp16"
        file = f"{target}/{precision}.onnx"
        if here:
            (out_dir / target).mkdir()
            (out_dir / file).write_text(target)
        engines.append(
            Engine(
                target,
                "onnxruntime" if target == "cpu" else "tensorrt",
                precision,
                EngineStatus.READY if here else EngineStatus.PENDING,
                "" if here else "no device",
                file if here else None,
                1_230_000 if here else None,
                parity_px=0.001 if here else None,
                metrics={},
            )
        )
    check = ParityCheck("onnx", "torch", 0.001, 0.002, 0.01, True, ())
    ParityTable((check,)).write(out_dir / PARITY)
    EngineTable(tuple(engines)).write(out_dir / ENGINES)
    return {"file": ENGINES}


def benchmark(*, build_dir: Path, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """The CPU engine needs 3 ms at batch 1, and 20 ms at batch 8."""
    rows = tuple(
        Timing("cpu", "fp32", size, ms, ms, ms, size / ms * 1e3, 1, 100)
        for size, ms in ((1, 3.0), (8, 20.0))
    )
    TimingTable(rows).write(out_dir / TIMINGS)
    return {"file": TIMINGS}


def gate(*, evaluate_dir: Path, gate: GateParams, out_dir: Path, **_: Any) -> dict[str, Any]:
    """Refuse the release if ``gate.min_faces`` is larger than the number of faces."""
    faces = KpiReport.read(evaluate_dir / "kpi.json").num_faces
    passed = faces >= gate.min_faces
    reasons = () if passed else (f"insufficient evidence: {faces} faces",)
    champion = ChampionResult(ChampionState.FIRST_RELEASE, "none")
    decision = GateDecision(
        passed, reasons, (), {"cpu/fp32": passed}, "synthetic", champion, comparisons=()
    )
    decision.write(out_dir / GATE)
    return {"file": GATE}


def register(
    *,
    inputs: Mapping[str, Path],
    register: RegisterParams,
    signing_key: Any,
    out_dir: Path,
) -> dict[str, Any]:
    """Write release.json without a registry; in the experiment `crash` raise an InputError."""
    from fpenet.provenance.encryption import current_model_key
    from fpenet.release.evidence import read_evidence, refusals
    from fpenet.release.registry.register import summarise

    evidence = read_evidence(inputs)
    summary = summarise(evidence, refusals(evidence, register.required_targets))
    key = current_model_key()
    if register.experiment == "crash":
        raise InputError(f"no space left, {key}")  # an InputError is not retried
    manifest = ReleaseManifest(
        **fields_of(summary),
        model="tiny",
        version="7",
        name="tiny",
        trainable_model="tiny-trainable",
        trainable_version="7",
        signed_by=signing_key.public.described,
        run_id="run",
        experiment_id="experiment",
        encryption=key.id(b"salt") if key else "none",
        files={},
        report=(inputs["report"] / "report.html").as_posix(),
        model_card=(inputs["report"] / "model_card.md").as_posix(),
        model_card_sha256="0" * 64,
    )
    manifest.write(out_dir / RELEASE_MANIFEST)
    return {"file": RELEASE_MANIFEST}


def _wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise ValueError(f"{path} does not exist after 60 s")


def _write(out_dir: Path, name: str, value: Any) -> dict[str, Any]:
    (out_dir / name).write_text(json.dumps(value))
    return {"file": name}
