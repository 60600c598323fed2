"""Stage bundle: one folder a target with all that ships there.

Input: export, calibrate, build, benchmark and gate folders. Does: takes each engine that the gate
passed, or that nothing here could execute (marked so); an engine that only its own device can build
ships as ONNX, calibration cache and ``build.sh``. Output: ``<target>/`` with ``model.json``,
``golden.npz``, the crop as ONNX, ``README.txt``, ``SHA256SUMS`` and its signature,
``1/<precision>.*`` or ``source/``, and where these run the runtime a ``triton/`` repository and
``deepstream/`` configurations; ``bundle.json`` says what was left out and why.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.core.records import encode
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.benchmark.timings import TIMINGS, TimingTable
from fpenet.deploy.bundle.bundle_model import (
    BUNDLE,
    MODEL,
    BundleContents,
    BundleEngine,
    BundleModel,
    GoldenLimits,
    LeftOut,
    TensorSpec,
)
from fpenet.deploy.bundle.deepstream import write_deepstream
from fpenet.deploy.bundle.readme import readme
from fpenet.deploy.bundle.triton import engine_place, write_repository
from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineStatus, EngineTable
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import GpuTarget, Precision, cache_name, target_named
from fpenet.deploy.engines.trtexec import CACHE, build_script, sources
from fpenet.deploy.judge.golden import GOLDEN
from fpenet.deploy.onnx.onnx_file import CONFIDENCE, INPUT, KEYPOINTS
from fpenet.kpi.gate import GATE, GateDecision
from fpenet.model.nets.net_description import NET_FILE, NetDescription
from fpenet.params import BuildParams, BundleParams
from fpenet.provenance.checksums import write_checksums
from fpenet.provenance.digest import digest_file
from fpenet.provenance.signing import SigningKey

BUILD_SCRIPT = "build.sh"
FASTEST_FIRST: tuple[Precision, ...] = ("int8", "fp16", "fp32")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The folders that a bundle is made from, and what their reports say."""

    export_dir: Path
    calibrate_dir: Path
    build_dir: Path
    timings: TimingTable
    gate: GateDecision
    about: NetDescription
    golden: GoldenLimits
    signing_key: SigningKey
    build: BuildParams


def reason_left_out(engine: Engine, gate: GateDecision) -> str | None:
    """Why an engine does not ship; None where it does.

    Args:
        gate: the gate's decision; an executed engine that it does not name did not pass.
    """
    if engine.ready:
        return None if gate.engine_passed(engine.id) else "the gate did not pass it"
    if engine.status is EngineStatus.BUILT_NOT_JUDGED:
        return None
    if engine.status is EngineStatus.PENDING and target_named(engine.target).built_on_device:
        return None
    return str(engine.reason)


def bundle_target(
    name: str, rows: list[Engine], inputs: Inputs, bundle: BundleParams, out_dir: Path
) -> None:
    """Fill the folder of one target.

    Args:
        rows: of ``engines.json``, those that ship.

    Raises:
        InputError: an engine is not the one that was built.
    """
    target = target_named(name)
    pending = [row.precision for row in rows if row.status is EngineStatus.PENDING]
    for row in rows:
        if row.status is EngineStatus.PENDING:
            _copy_sources(target, row.precision, inputs, out_dir)
        else:
            _copy_engine(row, inputs.build_dir, out_dir)
    if pending:
        script = out_dir / BUILD_SCRIPT
        text = build_script(
            target, pending, _least_reduced(rows).precision, bundle.max_batch_size, inputs.build
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
    # What was judged comes before what was not, then the fastest.
    rows = sorted(
        rows,
        key=lambda row: (not row.ready, FASTEST_FIRST.index(row.precision)),
    )
    first = rows[0] if rows[0].ready else _least_reduced(rows)
    suffix = RUNTIMES[target.runtime].suffix
    on_device = first.status is EngineStatus.PENDING
    if engine_place(target) is not None:
        write_repository(
            out_dir / "triton",
            target,
            inputs.about.num_keypoints,
            bundle.max_batch_size,
            inputs.export_dir / f"opset{target.opset}",
            None if on_device else out_dir / "1" / f"{first.precision}{suffix}",
        )
    if target.built_on_device:
        write_deepstream(
            out_dir / "deepstream", target, first.precision, bundle.max_batch_size, on_device
        )
    model = describe(name, target, rows, first.precision, inputs, bundle)
    shutil.copyfile(inputs.build_dir / GOLDEN, out_dir / GOLDEN)
    for crop in ("preprocess.onnx", "place.onnx"):
        shutil.copyfile(inputs.export_dir / f"opset{target.opset}" / crop, out_dir / crop)
    model.write(out_dir / MODEL)
    (out_dir / "README.txt").write_text(readme(model), encoding="utf-8")
    write_checksums(out_dir, inputs.signing_key)


def describe(
    name: str,
    target: GpuTarget,
    rows: list[Engine],
    default: Precision,
    inputs: Inputs,
    bundle: BundleParams,
) -> BundleModel:
    """``model.json``: everything that a program needs to use the engines of one target."""
    keypoints = inputs.about.num_keypoints
    dataset, box_scale = inputs.about.trained_on(inputs.export_dir / NET_FILE)
    version = target.runtime_version
    return BundleModel(
        name="fpenet",
        version=bundle.version,
        target=name,
        device=target.device,
        compute_capability=target.compute_capability,
        runtime=target.runtime,
        runtime_version=".".join(map(str, version)) if version else rows[0].runtime_version,
        net=inputs.about.net,
        num_keypoints=keypoints,
        dataset=dataset,
        box_scale=box_scale,
        confidence=inputs.about.confidence,
        confidence_px=inputs.about.confidence_px,
        crop_px=CROP_PX,
        input=TensorSpec(INPUT, "float32", ("N", 1, CROP_PX, CROP_PX)),
        outputs=(
            TensorSpec(KEYPOINTS, "float32", ("N", keypoints, 2)),
            TensorSpec(CONFIDENCE, "float32", ("N", keypoints)),
        ),
        max_batch_size=min(target.batch[2], bundle.max_batch_size),
        default=default,
        golden=inputs.golden,
        gate_passed=inputs.gate.passed,
        engines=tuple(_bundle_engine(row, inputs.timings) for row in rows),
        signed_by=inputs.signing_key.public.described,
    )


def _bundle_engine(row: Engine, timings: TimingTable) -> BundleEngine:
    return BundleEngine(
        precision=row.precision,
        status=row.status,
        file=f"1/{Path(row.file).name}" if row.file else None,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        runtime_version=row.runtime_version,
        compute_capability=row.compute_capability,
        driver_cuda=row.driver_cuda,
        hardware_compatibility=row.hardware_compatibility,
        version_compatible=row.version_compatible,
        golden_px=row.golden_px,
        parity_px=row.parity_px,
        metrics=row.metrics,
        latency=tuple(timings.of_engine(row.id)),
    )


def bundle_targets(
    *,
    export_dir: Path,
    calibrate_dir: Path,
    build_dir: Path,
    benchmark_dir: Path,
    gate_dir: Path,
    bundle: BundleParams,
    build: BuildParams,
    signing_key: SigningKey,
    out_dir: Path,
) -> dict[str, Any]:
    """Write a folder for every target of which something ships.

    Returns:
        precisions by target, with their status, and what was left out with its reason.
    """
    inputs = Inputs(
        export_dir,
        calibrate_dir,
        build_dir,
        TimingTable.read(benchmark_dir / TIMINGS),
        GateDecision.read(gate_dir / GATE),
        NetDescription.read(export_dir / NET_FILE),
        GoldenLimits.read(build_dir / "golden.json"),
        signing_key,
        build,
    )
    rows = EngineTable.read(build_dir / ENGINES).engines
    reasons = [reason_left_out(row, inputs.gate) for row in rows]
    shipped: dict[str, dict[Precision, EngineStatus]] = {}
    targets = list(dict.fromkeys(row.target for row in rows))
    for done, name in enumerate(targets, start=1):
        own = [
            row
            for row, reason in zip(rows, reasons, strict=True)
            if row.target == name and reason is None
        ]
        if own:
            (out_dir / name).mkdir()
            bundle_target(name, own, inputs, bundle, out_dir / name)
            shipped[name] = {row.precision: row.status for row in own}
        report(done, len(targets), "targets")
    contents = BundleContents(
        bundle.version,
        inputs.gate.passed,
        signing_key.public.described,
        shipped,
        tuple(
            LeftOut(row.target, row.precision, reason)
            for row, reason in zip(rows, reasons, strict=True)
            if reason is not None
        ),
    )
    contents.write(out_dir / BUNDLE)
    summary: dict[str, Any] = encode(contents)
    return summary


def _copy_engine(row: Engine, build_dir: Path, out_dir: Path) -> None:
    assert row.file is not None
    source = build_dir / row.file
    if digest_file(source) != row.sha256:
        raise InputError(f"{source}: is not the engine that was built; run the build stage again")
    (out_dir / "1").mkdir(exist_ok=True)
    shutil.copyfile(source, out_dir / "1" / source.name)


def _copy_sources(target: GpuTarget, precision: Precision, inputs: Inputs, out_dir: Path) -> None:
    (out_dir / "source").mkdir(exist_ok=True)
    for name in sources(target, precision):
        if name == CACHE:
            assert target.runtime_version is not None
            found = inputs.calibrate_dir / cache_name(target.runtime_version, target.opset)
        else:
            # An FP32 network is here for its cache, so it is the one that the cache belongs to.
            folder = inputs.export_dir if name.endswith("fp16.onnx") else inputs.calibrate_dir
            found = folder / f"opset{target.opset}" / Path(name).name
        if not found.is_file():
            raise InputError(f"{found}: missing; {target.device} is built from it")
        shutil.copyfile(found, out_dir / name)


def _least_reduced(rows: list[Engine]) -> Engine:
    """The row with the most precise arithmetic: what to run while none was judged."""
    return max(rows, key=lambda row: FASTEST_FIRST.index(row.precision))
