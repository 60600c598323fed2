"""Bundles: only what passed or could not be judged ships, and build.sh does what it says."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fpenet.deploy.bundle.bundle import bundle_targets, reason_left_out
from fpenet.deploy.engines.engine_table import Engine, EngineStatus
from fpenet.deploy.engines.targets import TARGETS, Precision
from fpenet.deploy.engines.trtexec import trtexec_options
from fpenet.kpi.gate import GATE, GateDecision
from fpenet.params import Params, TargetName
from fpenet.provenance.checksums import verify_checksums
from fpenet.provenance.digest import digest_file
from fpenet.provenance.signing import SigningKey, make_key
from tests.conftest import DEVELOPMENT_KEY, PASSED

RECORDING_TRTEXEC = """#!/bin/sh
if [ "$1" = --help ]; then
    echo "&&&& RUNNING TensorRT.trtexec [TensorRT v${TRTEXEC_VERSION:-8502}] # trtexec --help"
    exit 0
fi
printf '%s\\n' "$@" >>calls.txt
echo --- >>calls.txt
for option; do
    case "$option" in
    --saveEngine=*) echo engine >"${option#--saveEngine=}" ;;
    --timingCacheFile=*) echo measured >>"${option#--timingCacheFile=}" ;;
    --onnx=*) test -s "${option#--onnx=}" || exit 9 ;;
    --calib=*) test -s "${option#--calib=}" || exit 9 ;;
    esac
done
exit ${TRTEXEC_STATUS:-0}
"""


def model_of(folder: Path) -> dict[str, Any]:
    model: dict[str, Any] = json.loads((folder / "model.json").read_text())
    return model


def run_build(
    folder: Path, tmp_path: Path, status: int = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the bundle's build.sh from elsewhere with a trtexec that records how it was called."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "trtexec").write_text(RECORDING_TRTEXEC)
    (tools / "trtexec").chmod(0o755)
    return subprocess.run(
        ["sh", str(folder / "build.sh")],
        cwd=tmp_path,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "TRTEXEC_STATUS": str(status)} | more,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def xavier(stages: SimpleNamespace, tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with spaces" / "xavier-nx"
    shutil.copytree(stages.bundle / "xavier-nx", folder)
    return folder


def test_every_target_has_a_folder_whose_sums_hold(stages: SimpleNamespace) -> None:
    shipped = json.loads((stages.bundle / "bundle.json").read_text())["targets"]
    folders = {path.name for path in stages.bundle.iterdir() if path.is_dir()}
    assert folders == set(shipped)
    assert {"cpu", "nano", "xavier-nx", "orin-agx", "h200"} <= folders
    for name in folders:
        listed = set(verify_checksums(stages.bundle / name).digests)
        present = {
            path.relative_to(stages.bundle / name).as_posix()
            for path in (stages.bundle / name).rglob("*")
            if path.is_file()
        }
        assert present == listed | {"SHA256SUMS", "SHA256SUMS.sig"}
        checked = subprocess.run(
            ["sha256sum", "--status", "-c", "SHA256SUMS"], cwd=stages.bundle / name, check=False
        )
        assert checked.returncode == 0


def test_the_cpu_bundle_ships_the_judged_engines(stages: SimpleNamespace) -> None:
    folder = stages.bundle / "cpu"
    model = model_of(folder)
    assert (model["default"], model["num_keypoints"], model["box_scale"]) == ("int8", 68, 1.2)
    for engine in model["engines"]:
        built = stages.build / "cpu" / f"{engine['precision']}.onnx"
        assert (folder / engine["file"]).read_bytes() == built.read_bytes()
        assert engine["status"] == "ready"
        assert engine["metrics"]["nme_box/all"] > 0
        assert [row["batch_size"] for row in engine["latency"]] == [1, 4]
    text = (folder / "README.txt").read_text()
    assert re.search(r"int8: ready, 1/int8.onnx, [\d.]+ px of the crop off, [\d.]+ ms a face", text)
    assert "have not been executed" not in text


def test_an_engine_that_was_not_judged_says_so(stages: SimpleNamespace) -> None:
    nano = model_of(stages.bundle / "nano")
    assert [(e["status"], e["file"], e["metrics"]) for e in nano["engines"]] == [
        ("pending", None, None)
    ]
    text = (stages.bundle / "nano" / "README.txt").read_text()
    assert "pending, run build.sh on the device" in text
    assert "have not been executed" in text


def test_build_sh_checks_the_sums_and_calls_trtexec_once_a_precision(
    xavier: Path, tmp_path: Path
) -> None:
    done = run_build(xavier, tmp_path)
    assert done.returncode == 0, done.stderr
    shapes = [
        "--minShapes=input_face_images:1x1x80x80",
        "--optShapes=input_face_images:1x1x80x80",
        "--maxShapes=input_face_images:8x1x80x80",
    ]
    kept = ["--memPoolSize=workspace:1024", "--timingCacheFile=1/timings.partial"]
    assert (xavier / "calls.txt").read_text().splitlines() == [
        "--onnx=source/fp16.onnx",
        "--fp16",
        "--buildOnly",
        *shapes,
        *kept,
        "--saveEngine=1/fp16.partial",
        "---",
        "--onnx=source/fp32.onnx",
        "--int8",
        "--fp16",
        "--calib=source/int8.cache",
        "--buildOnly",
        *shapes,
        *kept,
        "--saveEngine=1/int8.partial",
        "---",
    ]
    assert {path.name for path in (xavier / "1").iterdir()} == {"fp16.engine", "int8.engine"}
    assert (xavier / "timings.cache").read_text() == "measured\n" * 2
    assert "built 1/fp16.engine 1/int8.engine" in done.stdout
    served = xavier / "triton" / "fpenet_engine" / "1" / "model.plan"
    assert served.read_text() == "engine\n"


def test_f32_build_sh_measures_anew_where_its_timings_were_changed(
    xavier: Path, tmp_path: Path
) -> None:
    kept = xavier / "timings.cache"
    for lines in (2, 4):  # a line a build, on top of what is known
        assert run_build(xavier, tmp_path).returncode == 0
        assert kept.read_text() == "measured\n" * lines
    kept.write_text("measured\n" * 3 + "measureD\n")
    assert run_build(xavier, tmp_path).returncode == 0
    assert kept.read_text() == "measured\n" * 2


def test_build_sh_stops_where_another_key_signed(xavier: Path, tmp_path: Path) -> None:
    own = run_build(xavier, tmp_path, FPENET_KEY=str(DEVELOPMENT_KEY.with_suffix(".pub")))
    assert own.returncode == 0, own.stderr
    assert "Signature Verified Successfully" in own.stdout
    make_key(tmp_path / "other.pem")
    done = run_build(xavier, tmp_path, FPENET_KEY=str(tmp_path / "other.pub"))
    assert done.returncode != 0
    assert "Signature Verification Failure" in done.stdout
    assert (xavier / "calls.txt").read_text().count("---") == 2  # of the first run
    assert not (xavier / "1.signature").exists()


def test_a_bundle_of_the_development_key_says_so(stages: SimpleNamespace) -> None:
    said = "made by `make setup`: for trials, not for production"
    assert said in json.loads((stages.bundle / "bundle.json").read_text())["signed_by"]
    for folder in (path for path in stages.bundle.iterdir() if path.is_dir()):
        assert said in model_of(folder)["signed_by"]
        assert (
            f"Signed by: {model_of(folder)['signed_by']}\n" in (folder / "README.txt").read_text()
        )


def test_build_sh_stops_before_trtexec_when_a_file_was_changed(
    xavier: Path, tmp_path: Path
) -> None:
    with (xavier / "source" / "int8.cache").open("a") as file:
        file.write("x: 3f800000\n")
    done = run_build(xavier, tmp_path)
    assert done.returncode != 0
    assert "source/int8.cache: FAILED" in done.stdout
    assert not (xavier / "calls.txt").exists()


def test_f36_a_build_that_fails_leaves_no_engine(xavier: Path, tmp_path: Path) -> None:
    (xavier / "timings.cache").write_text("of before\n")
    digest = digest_file(xavier / "timings.cache")
    (xavier / "timings.sum").write_text(f"{digest}  timings.cache\n")
    done = run_build(xavier, tmp_path, status=3)
    assert done.returncode == 3
    assert list((xavier / "1").iterdir()) == []
    assert (xavier / "timings.cache").read_text() == "of before\n"


@pytest.mark.parametrize("version", ["8503", "100300", ""])
def test_f31_build_sh_refuses_another_tensorrt(xavier: Path, tmp_path: Path, version: str) -> None:
    done = run_build(xavier, tmp_path, TRTEXEC_VERSION=version or "x")
    assert done.returncode == 1
    assert f"made for TensorRT 8.5.2; trtexec is of {version or '?'}" in done.stderr
    assert not (xavier / "calls.txt").exists()


def test_what_the_builder_may_do_reaches_trtexec(params: Params) -> None:
    more = {"hardware_compatibility": "ampere_plus", "version_compatible": True, "dla": True}
    build = params.build.model_copy(update={"builder_optimization_level": 5, **more})
    orin = trtexec_options(TARGETS["orin-nx"], "fp16", 32, build)
    xavier = trtexec_options(TARGETS["xavier-nx"], "fp16", 32, build)
    dla = ["--useDLACore=0", "--allowGPUFallback"]
    new = ["--builderOptimizationLevel=5", "--hardwareCompatibilityLevel=ampere+"]
    assert orin[-7:-2] == [*new, "--versionCompatible", *dla]
    assert "--maxShapes=input_face_images:1x1x80x80" in orin  # a DLA takes no other batch
    assert xavier[-4:-2] == dla  # 8.5 has none of the others
    assert not [each for each in xavier if "Level" in each or "Compatible" in each]
    nano = trtexec_options(TARGETS["nano"], "fp16", 32, build)
    assert "--workspace=1024" in nano  # 8.2
    assert "--useDLACore=0" not in nano  # it has no DLA
    assert "--maxShapes=input_face_images:8x1x80x80" in nano


def test_the_cache_in_a_bundle_is_of_its_tensorrt(stages: SimpleNamespace) -> None:
    for name, header in (("xavier-nx", "TRT-8502-"), ("orin-agx", "TRT-100300-")):
        text = (stages.bundle / name / "source" / "int8.cache").read_text()
        assert text.startswith(header + "EntropyCalibration2\n")
        # The network beside it is the one that the ranges belong to.
        network = (stages.bundle / name / "source" / "fp32.onnx").read_bytes()
        assert network == (stages.calibrate / "opset17" / "fp32.onnx").read_bytes()


@pytest.mark.parametrize(
    ("name", "precision", "options"),
    [
        ("orin-agx", "fp16", ["--onnx=source/fp16.onnx", "--stronglyTyped", "--skipInference"]),
        ("orin-agx", "int8", ["--onnx=source/fp32.onnx", "--int8", "--fp16"]),
        ("nano", "fp16", ["--onnx=source/fp16.onnx", "--fp16", "--buildOnly"]),
    ],
)
def test_options_are_those_of_the_tensorrt_on_the_device(
    params: Params, name: TargetName, precision: Precision, options: list[str]
) -> None:
    assert trtexec_options(TARGETS[name], precision, 32, params.build)[:3] == options


def test_what_the_gate_refused_or_what_failed_does_not_ship() -> None:
    gate = replace(PASSED, engines={"cpu/fp32": True, "cpu/int8": False})

    def why(
        precision: Precision, status: str, target: TargetName = "cpu", reason: str | None = None
    ) -> str | None:
        runtime = TARGETS[target].runtime
        row = Engine(target, runtime, precision, EngineStatus(status), reason)
        return reason_left_out(row, gate)

    assert why(precision="fp32", status="ready") is None
    assert why(precision="int8", status="ready") == "the gate did not pass it"
    assert why(precision="fp16", status="ready") == "the gate did not pass it"
    assert why(precision="int8", status="failed", reason="no memory") == "no memory"
    assert why(precision="int8", status="built_not_judged") is None
    assert why(precision="fp16", status="pending", target="nano") is None
    assert why(precision="fp16", status="pending", target="t4", reason="none") == "none"


def test_f35_a_refused_precision_is_left_out_and_the_other_ships(
    stages: SimpleNamespace, params: Params, signing_key: SigningKey, tmp_path: Path
) -> None:
    gate_dir = tmp_path / "gate"
    gate_dir.mkdir()
    gate = GateDecision.read(stages.gate / GATE)
    replace(gate, engines={**gate.engines, "cpu/int8": False}).write(gate_dir / GATE)
    out_dir = tmp_path / "bundle"
    out_dir.mkdir()
    summary = bundle_targets(
        export_dir=stages.export,
        calibrate_dir=stages.calibrate,
        build_dir=stages.build,
        benchmark_dir=stages.benchmark,
        gate_dir=gate_dir,
        bundle=params.bundle,
        build=params.build,
        signing_key=signing_key,
        out_dir=out_dir,
    )
    assert summary["targets"]["cpu"] == {"fp32": "ready"}
    left = {"target": "cpu", "precision": "int8", "reason": "the gate did not pass it"}
    assert left in summary["left_out"]
    assert [path.name for path in (out_dir / "cpu" / "1").iterdir()] == ["fp32.onnx"]
    served = out_dir / "cpu/triton/fpenet_engine/1/model.onnx"
    assert served.read_bytes() == (out_dir / "cpu/1/fp32.onnx").read_bytes()


def test_f32_an_engine_changed_since_it_was_built_is_not_bundled(
    stages: SimpleNamespace, params: Params, signing_key: SigningKey, tmp_path: Path
) -> None:
    build_dir = tmp_path / "build"
    shutil.copytree(stages.build, build_dir)
    with (build_dir / "cpu" / "fp32.onnx").open("ab") as file:
        file.write(b"\0")
    out_dir = tmp_path / "bundle"
    out_dir.mkdir()
    with pytest.raises(ValueError, match=r"fp32\.onnx: is not the engine that was built"):
        bundle_targets(
            export_dir=stages.export,
            calibrate_dir=stages.calibrate,
            build_dir=build_dir,
            benchmark_dir=stages.benchmark,
            gate_dir=stages.gate,
            bundle=params.bundle,
            build=params.build,
            signing_key=signing_key,
            out_dir=out_dir,
        )
