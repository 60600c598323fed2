"""Timings: only of engines that run here, only of the very files that were built."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fpenet.core.engine_id import EngineId
from fpenet.deploy.benchmark.benchmark import (
    benchmark_engines,
    time_calls,
)
from fpenet.deploy.benchmark.benchmark_table import TimedModel, benchmark_table
from fpenet.deploy.benchmark.machine_state import (
    MACHINE,
    CpuState,
    GpuState,
    MachineReport,
    MachineState,
    machine_state,
    throttling,
)
from fpenet.deploy.benchmark.timings import Mode
from fpenet.deploy.benchmark.trtexec_times import read_times, time_engine, trtexec
from fpenet.deploy.engines.engine_table import Engine, EngineStatus
from fpenet.deploy.engines.targets import TARGETS
from fpenet.params import Params

RECORDING_TRTEXEC = """#!/bin/sh
echo "$*" >>"${0%/*}/calls.txt"
for option; do
    case "$option" in
    --exportTimes=*) times=${option#--exportTimes=} ;;
    --loadEngine=*) test -s "${option#--loadEngine=}" || { echo no engine; exit 1; } ;;
    esac
done
echo '[{"computeMs": 0.2, "latencyMs": 0.3}, {"computeMs": 0.4, "latencyMs": 0.5}]' >"$times"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with a trtexec that records its calls and writes times in its format."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "trtexec").write_text(RECORDING_TRTEXEC)
    (folder / "trtexec").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def test_every_engine_that_runs_here_is_timed_at_every_batch(stages: SimpleNamespace) -> None:
    rows = json.loads((stages.benchmark / "benchmark.json").read_text())["timings"]
    timed = [(row["target"], row["precision"], row["batch_size"]) for row in rows]
    ours = [("torch", "fp32"), ("cpu", "fp32"), ("cpu", "int8")]
    assert timed == [(*name, size) for name in ours for size in (1, 4)]
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["faces_per_second"] == pytest.approx(row["batch_size"] / row["p50_ms"] * 1e3)
        assert (row["threads"], row["runs"]) == (1, 4)
    summary = stages.summary["benchmark"]
    assert set(summary["p50_ms"]) == {"torch/fp32", "cpu/fp32", "cpu/int8"}
    assert "h200/fp16" in summary["not_timed"]
    assert "cannot run on this machine" in summary["note"]


def test_an_engine_is_timed_at_no_larger_batch_than_its_profile_has() -> None:
    sizes = [1, 8, 32, 256]
    for target, taken in (("orin-nx", [1, 8]), ("h200", [1, 8, 32]), ("cpu", sizes)):
        row = Engine(target, TARGETS[target].runtime, "int8", EngineStatus.READY)
        assert TimedModel.of_engine(row).sizes(sizes) == taken
    trained = TimedModel(EngineId("torch", "fp32"), "torch", "trained", 1, {})
    assert trained.sizes(sizes) == sizes


def test_by_default_a_thousand_calls_are_timed(params_with: Callable[..., Params]) -> None:
    assert params_with().benchmark.timed_runs >= 1000


def test_one_table_has_all_engines_beside_the_card(stages: SimpleNamespace) -> None:
    lines = (stages.benchmark / "benchmark.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    rows = {(row[0], row[1]): dict(zip(cells[0], row, strict=True)) for row in cells[2:]}
    engines = json.loads((stages.build / "engines.json").read_text())["engines"]
    assert rows.keys() == {("torch", "fp32"), *((e["target"], e["precision"]) for e in engines)}
    kpi = json.loads((stages.evaluate / "kpi.json").read_text())
    nme = kpi["metrics"][f"nme_{kpi['normaliser']}/all"]
    assert rows["torch", "fp32"]["NME"] == rows["cpu", "fp32"]["NME"] == f"{nme:.2%}"
    timings = json.loads((stages.benchmark / "benchmark.json").read_text())["timings"]
    int8 = next(r for r in timings if (r["precision"], r["batch_size"]) == ("int8", 1))
    assert rows["cpu", "int8"]["p50, ms"] == f"{int8['p50_ms']:.3f}"
    nano, xavier = rows["nano", "fp16"], rows["xavier-nx", "fp16"]
    assert (nano["card, FPS"], nano["p50, ms"], nano["status"]) == ("115", "–", "pending")
    assert (xavier["card, ms"], xavier["card, FPS"]) == ("1.3", "483")
    assert rows["xavier-nx", "int8"]["card, ms"] == "–"  # the card's are FP16


def test_the_clocks_before_and_after_are_kept(stages: SimpleNamespace) -> None:
    machine = MachineReport.read(stages.benchmark / MACHINE)
    assert machine.before.cpu.model == machine.after.cpu.model == machine_state().cpu.model
    assert list(machine.held_down) == stages.summary["benchmark"]["held_down"]
    tree = json.loads((stages.benchmark / MACHINE).read_text())
    assert tree["before"].keys() == tree["after"].keys() == {"cpu", "gpu", "power_mode"}


def test_the_power_mode_is_that_of_nvpmodel_or_absent_where_it_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvpmodel"
    program.write_text("#!/bin/sh\necho 'NV Power Mode: MAXN'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine_state().power_mode == "MAXN"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr("fpenet.deploy.benchmark.machine_state.QUERY_SECONDS", 0.2)
    assert machine_state().power_mode is None


def test_what_held_a_gpu_down_is_said() -> None:
    def state(throttled: tuple[str, ...] | None) -> MachineState:
        gpu = GpuState("T4", (7, 5), False, None, None, None, None, None, None, None, throttled)
        return MachineState(CpuState("any", 2, None, None, None, 0.1), gpu, None)

    free, hot, silent = state(()), state(("thermal, hardware",)), state(None)
    assert throttling(free, free) == throttling(silent, silent) == []
    assert throttling(free, hot) == ["the GPU's clock was held down: thermal, hardware"]


def test_trtexec_times_each_mode_with_flags_that_are_kept(tools: Path, tmp_path: Path) -> None:
    """A stand-in for trtexec: it records its command line and writes times in its format."""
    engine = tmp_path / "fp16.engine"
    engine.write_bytes(b"engine")
    program = trtexec()
    assert program == str(tools / "trtexec")
    modes = time_engine(program, engine, EngineId("orin-nx", "fp16"), [1, 8], 1000)
    assert [(m.batch_size, m.copies, m.cuda_graph) for m in modes] == [
        (size, copies, graph)
        for size in (1, 8)
        for copies, graph in ((True, False), (True, True), (False, False), (False, True))
    ]
    assert [m.p50_ms for m in modes] == pytest.approx([0.4, 0.4, 0.3, 0.3] * 2)
    assert modes[4].faces_per_second == pytest.approx(8 / 0.4e-3)
    calls = (tools / "calls.txt").read_text().splitlines()
    assert len(calls) == 8
    wanted = "--shapes=input_face_images:8x1x80x80 --warmUp=500 --duration=0 --iterations=1000"
    assert wanted in calls[7]
    assert calls[7].endswith("--noDataTransfers --useCudaGraph")
    assert modes[7].command.startswith("trtexec --loadEngine=fp16.engine --shapes=")


def test_a_trtexec_that_fails_is_quoted_and_times_must_be_times(
    tools: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="trtexec ended with 1: no engine"):
        time_engine(
            str(tools / "trtexec"), tmp_path / "none.engine", EngineId("h200", "fp16"), [1], 10
        )
    for text in ("", "[]", "[{}]", '[{"computeMs": -1}]'):
        (tmp_path / "times.json").write_text(text)
        with pytest.raises(ValueError, match=r"times\.json: "):
            read_times(tmp_path / "times.json", copies=False)


def test_an_engine_that_only_trtexec_timed_has_its_times_in_the_table() -> None:
    t4 = Engine("t4", "tensorrt_rtx", "fp16", EngineStatus.BUILT_NOT_JUDGED, size_bytes=2_000_000)
    row = TimedModel.of_engine(replace(t4, metrics={"crop_px/all": 1.25}))

    def mode(copies: bool, graph: bool, rate: float) -> Mode:
        return Mode("t4", "fp16", 1, copies, graph, 0.31, 0.35, 0.4, rate, 1000, "trtexec")

    text = benchmark_table([row], "box", [], [mode(False, True, 9999.0), mode(True, False, 3225.8)])
    assert text.splitlines()[-1] == (
        "| t4 | fp16 | tensorrt_rtx | 2.00 | – | 1.250 | 0.310 | 0.400 | 3,226 (1) | 0.33 | 2489"
        " | built, not judged |"
    )


def test_warm_up_runs_are_not_timed_and_batches_go_round_the_faces() -> None:
    seen: list[list[int]] = []

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(images[:, 0, 0, 0].tolist())
        time.sleep(0.2 if len(seen) <= 2 else 0.001)
        return images, images

    faces = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    times = time_calls(predict, faces, batch_size=2, warmup_runs=2, runs=3)
    assert seen == [[2, 0], [1, 2], [0, 1], [2, 0], [1, 2]]
    assert times.shape == (3,)
    assert (times >= 1.0).all()
    assert (times < 150.0).all()


def test_f32_an_engine_that_was_changed_is_not_opened(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    build_dir = tmp_path / "build"
    shutil.copytree(stages.build, build_dir)
    engine = build_dir / "cpu" / "int8.onnx"
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(data)
    with pytest.raises(ValueError, match=r"int8\.onnx: is not the engine that was built"):
        benchmark_engines(
            crop_dir=stages.crop,
            train_dir=stages.train,
            evaluate_dir=stages.evaluate,
            build_dir=build_dir,
            benchmark=params.benchmark,
            out_dir=tmp_path,
        )
