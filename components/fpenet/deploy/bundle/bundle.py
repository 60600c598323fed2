"""Stage bundle: one folder for each target, with all files that ship to it.

Input: export, calibrate, build, benchmark and gate folders. Does: takes each engine that passed the
gate, and each engine that could not be executed on this machine (with that status). An engine that
can be built only on its device ships as ONNX, calibration cache and ``build.sh``. Output:
``<target>/`` with ``model.json``, ``golden.npz``, the crop as ONNX, ``README.txt``, ``SHA256SUMS``
and its signature, ``1/<precision>.*`` or ``source/``, and for the runtimes that Triton and
DeepStream execute ``triton/`` and ``deepstream/``; ``bundle.json`` lists the engines that ship and
those that do not, with the reason.
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
from fpenet.deploy.bundle.trtexec import CACHE, build_script, sources
from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineStatus, EngineTable
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import GpuTarget, Precision, cache_name, target_named
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
    """The folders that a bundle is made from, and the contents of their reports."""

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
    """Why an engine does not ship; None where it ships.

    Args:
        gate: the gate's decision; an executed engine that is not in it did not pass.
    """
    if engine.ready:
        return None if gate.engine_passed(engine.id) else "it did not pass the gate"
    if engine.status is EngineStatus.BUILT_NOT_JUDGED:
        return None
    if engine.status is EngineStatus.PENDING and target_named(engine.target).built_on_device:
        return None
    return str(engine.reason)


def bundle_target(
    target: str, engines: list[Engine], inputs: Inputs, bundle: BundleParams, out_dir: Path
) -> None:
    """Fill the folder of one target.

    Args:
        engines: the rows of ``engines.json`` that ship.

    Raises:
        InputError: the digest of an engine file differs from ``engines.json``.
    """
    gpu_target = target_named(target)
    pending = [engine.precision for engine in engines if engine.status is EngineStatus.PENDING]
    for engine in engines:
        if engine.status is EngineStatus.PENDING:
            _copy_sources(gpu_target, engine.precision, inputs, out_dir)
        else:
            _copy_engine(engine, inputs.build_dir, out_dir)
    if pending:
        script = out_dir / BUILD_SCRIPT
        text = build_script(
            gpu_target,
            pending,
            _least_reduced(engines).precision,
            bundle.max_batch_size,
            inputs.build,
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
    # Judged engines come first, then the fastest precision.
    engines = sorted(
        engines,
        key=lambda engine: (not engine.ready, FASTEST_FIRST.index(engine.precision)),
    )
    first = engines[0] if engines[0].ready else _least_reduced(engines)
    suffix = RUNTIMES[gpu_target.runtime].suffix
    on_device = first.status is EngineStatus.PENDING
    if engine_place(gpu_target) is not None:
        write_repository(
            out_dir / "triton",
            gpu_target,
            inputs.about.num_keypoints,
            bundle.max_batch_size,
            inputs.export_dir / f"opset{gpu_target.opset}",
            None if on_device else out_dir / "1" / f"{first.precision}{suffix}",
        )
    if RUNTIMES[gpu_target.runtime].deepstream:
        write_deepstream(
            out_dir / "deepstream", gpu_target, first.precision, bundle.max_batch_size, on_device
        )
    model = describe(target, gpu_target, engines, first.precision, inputs, bundle)
    shutil.copyfile(inputs.build_dir / GOLDEN, out_dir / GOLDEN)
    for crop in ("preprocess.onnx", "place.onnx"):
        shutil.copyfile(inputs.export_dir / f"opset{gpu_target.opset}" / crop, out_dir / crop)
    model.write(out_dir / MODEL)
    (out_dir / "README.txt").write_text(readme(model), encoding="utf-8")
    write_checksums(out_dir, inputs.signing_key)


def describe(
    target: str,
    gpu_target: GpuTarget,
    engines: list[Engine],
    default: Precision,
    inputs: Inputs,
    bundle: BundleParams,
) -> BundleModel:
    """``model.json``: the data that a program needs to use the engines of one target."""
    keypoints = inputs.about.num_keypoints
    dataset, box_scale = inputs.about.trained_on(inputs.export_dir / NET_FILE)
    version = gpu_target.runtime_version
    return BundleModel(
        name="fpenet",
        version=bundle.version,
        target=target,
        device=gpu_target.device,
        compute_capability=gpu_target.compute_capability,
        runtime=gpu_target.runtime,
        runtime_version=".".join(map(str, version)) if version else engines[0].runtime_version,
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
        max_batch_size=min(gpu_target.batch[2], bundle.max_batch_size),
        default=default,
        golden=inputs.golden,
        gate_passed=inputs.gate.passed,
        engines=tuple(_bundle_engine(engine, inputs.timings) for engine in engines),
        signed_by=inputs.signing_key.public.described,
    )


def _bundle_engine(engine: Engine, timings: TimingTable) -> BundleEngine:
    return BundleEngine(
        precision=engine.precision,
        status=engine.status,
        file=f"1/{Path(engine.file).name}" if engine.file else None,
        sha256=engine.sha256,
        size_bytes=engine.size_bytes,
        runtime_version=engine.runtime_version,
        compute_capability=engine.compute_capability,
        driver_cuda=engine.driver_cuda,
        hardware_compatibility=engine.hardware_compatibility,
        version_compatible=engine.version_compatible,
        golden_px=engine.golden_px,
        parity_px=engine.parity_px,
        metrics=engine.metrics,
        latency=tuple(timings.of_engine(engine.id)),
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
    """Write a folder for every target that has an engine to ship.

    Returns:
        the contents of ``bundle.json``.
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
    engines = EngineTable.read(build_dir / ENGINES).engines
    reasons = [reason_left_out(engine, inputs.gate) for engine in engines]
    shipped: dict[str, dict[Precision, EngineStatus]] = {}
    targets = list(dict.fromkeys(engine.target for engine in engines))
    for done, target in enumerate(targets, start=1):
        target_engines = [
            engine
            for engine, reason in zip(engines, reasons, strict=True)
            if engine.target == target and reason is None
        ]
        if target_engines:
            (out_dir / target).mkdir()
            bundle_target(target, target_engines, inputs, bundle, out_dir / target)
            shipped[target] = {engine.precision: engine.status for engine in target_engines}
        report(done, len(targets), "targets")
    contents = BundleContents(
        bundle.version,
        inputs.gate.passed,
        signing_key.public.described,
        shipped,
        tuple(
            LeftOut(engine.target, engine.precision, reason)
            for engine, reason in zip(engines, reasons, strict=True)
            if reason is not None
        ),
    )
    contents.write(out_dir / BUNDLE)
    summary: dict[str, Any] = encode(contents)
    return summary


def _copy_engine(engine: Engine, build_dir: Path, out_dir: Path) -> None:
    assert engine.file is not None
    source = build_dir / engine.file
    if digest_file(source) != engine.sha256:
        raise InputError(
            f"{source}: its digest is not that of engines.json; run the build stage again"
        )
    (out_dir / "1").mkdir(exist_ok=True)
    shutil.copyfile(source, out_dir / "1" / source.name)


def _copy_sources(
    gpu_target: GpuTarget, precision: Precision, inputs: Inputs, out_dir: Path
) -> None:
    (out_dir / "source").mkdir(exist_ok=True)
    for name in sources(gpu_target, precision):
        if name == CACHE:
            assert gpu_target.runtime_version is not None
            path = inputs.calibrate_dir / cache_name(gpu_target.runtime_version, gpu_target.opset)
        else:
            # An FP32 network ships only with a cache; the calibrate folder has the network that
            # the cache belongs to.
            folder = inputs.export_dir if name.endswith("fp16.onnx") else inputs.calibrate_dir
            path = folder / f"opset{gpu_target.opset}" / Path(name).name
        if not path.is_file():
            raise InputError(f"{path}: missing; engines for {gpu_target.device} are built from it")
        shutil.copyfile(path, out_dir / name)


def _least_reduced(engines: list[Engine]) -> Engine:
    """The row with the most precise arithmetic: the default where no engine was judged."""
    return max(engines, key=lambda engine: FASTEST_FIRST.index(engine.precision))
