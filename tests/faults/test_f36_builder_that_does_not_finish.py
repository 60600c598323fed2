"""F36: a builder that runs out of time or memory, or is killed, leaves no engine behind.

TensorRT-RTX's real builder, which needs no GPU, is what these faults happen to.
"""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fpenet.deploy.engines import tensorrt_rtx_engine
from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.engines.builder import read_timings
from fpenet.deploy.engines.targets import TARGETS, Built, Network
from fpenet.params import Params
from tests.waiting import join

pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
pytestmark = pytest.mark.tensorrt


@pytest.fixture(scope="module")
def timings(stages: SimpleNamespace, params: Params, tmp_path_factory: Any) -> Path:
    """The folder with the timing cache that one good build has left."""
    folder: Path = tmp_path_factory.mktemp("timings")
    network = Network(stages.export / "opset17" / "fp16.onnx")
    build = params.build.model_copy(update={"timing_cache": folder})
    assert isinstance(tensorrt_rtx_engine.build(network, TARGETS["l4"], "fp16", build), Built)
    assert [path.name for path in folder.iterdir()] == ["tensorrt_rtx-1.7.1.116-sm89-l4.cache"]
    return folder


def built(stages: SimpleNamespace, params: Params, out_dir: Path, **build: Any) -> dict[str, Any]:
    """The rows of a build of l4 and cpu in half precision and less."""
    build |= {"targets": ("l4", "cpu"), "precisions": ("fp16", "fp32")}
    build_engines(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        export_dir=stages.export,
        calibrate_dir=stages.calibrate,
        build=params.build.model_copy(update=build),
        evaluate=params.evaluate,
        out_dir=out_dir,
    )
    rows = json.loads((out_dir / "engines.json").read_text())["engines"]
    return {f"{row['target']}/{row['precision']}": row for row in rows}


@pytest.mark.parametrize(
    ("build", "why"),
    [
        ({"longest_seconds": 0.05}, "did not build fp16.onnx for L4 within build.longest_seconds"),
        ({"memory_mb": 600}, "fp16.onnx for L4"),  # what fails first, the library or the builder,
    ],  # depends on the machine
    ids=["out of time", "out of memory"],
)
def test_the_target_fails_the_others_go_on_and_the_timing_cache_is_as_it_was(
    stages: SimpleNamespace,
    params: Params,
    timings: Path,
    tmp_path: Path,
    build: dict[str, Any],
    why: str,
) -> None:
    before = {path.name: path.read_bytes() for path in timings.iterdir()}
    rows = built(stages, params, tmp_path, timing_cache=timings, **build)
    assert rows["l4/fp16"]["status"] == "failed"
    assert why in rows["l4/fp16"]["reason"]
    assert rows["l4/fp16"]["file"] is None
    assert rows["cpu/fp32"]["status"] == "ready"
    assert not (tmp_path / "l4").exists()
    assert {path.name: path.read_bytes() for path in timings.iterdir()} == before


def test_a_killed_builder_is_told_from_one_that_refuses(
    stages: SimpleNamespace, params: Params, timings: Path, tmp_path: Path
) -> None:
    ended = threading.Event()

    def kill() -> None:
        while not ended.is_set():
            for child in psutil.Process().children():
                if "fpenet.deploy.engines.builder" in child.cmdline():
                    child.kill()
                    return
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        rows = built(stages, params, tmp_path, timing_cache=timings)
    finally:
        ended.set()
        join(thread)
    assert "was terminated while it built fp16.onnx for L4: signal 9" in rows["l4/fp16"]["reason"]
    assert list(tmp_path.rglob("*.engine")) == []
    assert [path.name for path in timings.iterdir()] == ["tensorrt_rtx-1.7.1.116-sm89-l4.cache"]


def test_f32_a_changed_timing_cache_is_not_read(
    stages: SimpleNamespace, params: Params, timings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = next(timings.iterdir())
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    assert read_timings(cache) is None
    network = Network(stages.export / "opset17" / "fp16.onnx")
    build = params.build.model_copy(update={"timing_cache": timings})
    assert isinstance(tensorrt_rtx_engine.build(network, TARGETS["l4"], "fp16", build), Built)
    assert f"{cache.name}: this timing cache is damaged; the kernels are timed again" in caplog.text
    assert read_timings(cache) is not None


def test_the_next_build_starts_from_the_timings_of_the_one_before(
    stages: SimpleNamespace, params: Params, timings: Path, tmp_path: Path
) -> None:
    cache = next(timings.iterdir())
    before = cache.stat().st_mtime_ns
    rows = built(stages, params, tmp_path, timing_cache=timings)
    assert rows["l4/fp16"]["status"] == "built_not_judged"
    assert cache.stat().st_mtime_ns > before
