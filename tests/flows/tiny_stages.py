"""Stage functions that write, in no time, what the stages of the pipeline write: for the wiring."""

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
    """Refuses the labels when the limits ask it to."""
    if validate.min_faces > 1000:
        raise InputError(f"{data.labels}: 20 usable faces; validate.min_faces is 1001")
    VALIDATED.write(out_dir / VALIDATION)
    return {"file": VALIDATION}


def split(*, split: SplitParams, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """Meets the fault of tests/failing.py that ``split.seed`` chooses."""
    return failing.split(split=split, out_dir=out_dir)


def plain(*, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """Crop, export, calibrate, bundle and report."""
    return _write(out_dir, "done.json", {})


def train(*, crop_dir: Path, train: TrainParams, out_dir: Path) -> dict[str, Any]:
    """Reports an epoch at a time; a learning rate of 7 is a bug, not bad input."""
    if train.learning_rate == 7.0:
        raise RuntimeError("the loss is not finite")
    for epoch in range(train.epochs):
        report(epoch + 1, train.epochs, "epochs", loss=1.0 / (epoch + 1))
    _write(out_dir, "curve.json", {"epochs": train.epochs})
    counts = {"epochs": train.epochs, "faces_seen": 1065 * train.epochs, "minutes": 0.04}
    return {"net": train.net, "parameters": 300_000} | counts


def evaluate(*, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """One region error is measured, one is not."""
    regions = ("all", "eyes", "mouth", "nose", "eyebrows", "chin", "head_pose")
    metrics = {f"image_px/{name}": 2.0 + index for index, name in enumerate(regions)}
    replace(KPI, metrics={**metrics, "nme_interocular/all": None}).write(out_dir / "kpi.json")
    return {"file": "kpi.json"}


def build(*, build: Any, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """The CPU target is built; one that a worker is asked for, where its device is: a file.

    A file ``TARGET.meets`` names another target, whose build must be under way at the same time.
    """
    engines: list[Engine] = []
    asked = len(build.targets) == 1
    for target in build.targets:
        here = target == "cpu" or (asked and Path(f"{target}.device").exists())
        if asked and Path(f"{target}.meets").exists():
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
    """The CPU engine takes 3 ms at batch 1, 20 at batch 8."""
    rows = tuple(
        Timing("cpu", "fp32", size, ms, ms, ms, size / ms * 1e3, 1, 100)
        for size, ms in ((1, 3.0), (8, 20.0))
    )
    TimingTable(rows).write(out_dir / TIMINGS)
    return {"file": TIMINGS}


def gate(*, evaluate_dir: Path, gate: GateParams, out_dir: Path, **_: Any) -> dict[str, Any]:
    """Refuses when it is asked for more faces than there are."""
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
    """What the real stage writes down, with no registry; in the experiment `crash` it crashes."""
    from fpenet.provenance.encryption import current_model_key
    from fpenet.release.evidence import read_evidence, refusals
    from fpenet.release.registry.register import summarise

    evidence = read_evidence(inputs)
    summary = summarise(evidence, refusals(evidence, register.required_targets))
    key = current_model_key()
    if register.experiment == "crash":
        raise InputError(f"no space left, {key}")  # which is not tried again
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
    raise ValueError(f"{path} never came")


def _write(out_dir: Path, name: str, value: Any) -> dict[str, Any]:
    (out_dir / name).write_text(json.dumps(value))
    return {"file": name}
