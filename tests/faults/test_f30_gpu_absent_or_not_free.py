"""F30: a GPU that is absent, busy or sliced leaves its target pending; the others are built.

Each by its real cause. What needs a GPU is not run without one; the decision itself, on values of a
driver, is tested in tests/deploy/engines/test_absence.py.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.engines.cuda_device import CudaDevice, cuda_device
from fpenet.deploy.engines.targets import TARGETS
from fpenet.params import Params

DEVICE = cuda_device()
HOLD_THE_GPU = """
import ctypes
cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
assert cuda.cuInit(0) == 0
assert cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device) == 0
print("held", flush=True)
input()
"""


@pytest.fixture
def build(stages: SimpleNamespace, params: Params, tmp_path: Path) -> Any:
    """Run stage build for some targets; its summary, and its rows by ``target/precision``."""

    def run(*targets: str) -> tuple[dict[str, Any], dict[str, Any]]:
        summary = build_engines(
            crop_dir=stages.crop,
            evaluate_dir=stages.evaluate,
            export_dir=stages.export,
            calibrate_dir=stages.calibrate,
            build=params.build.model_copy(update={"targets": targets}),
            evaluate=params.evaluate,
            out_dir=tmp_path,
        )
        rows = json.loads((tmp_path / "engines.json").read_text())["engines"]
        return summary, {f"{row['target']}/{row['precision']}": row for row in rows}

    return run


def own_target(device: CudaDevice | None) -> str:
    """A target that this machine's GPU builds for itself; skips the test where there is none."""
    if device is None:
        pytest.skip("not run: no CUDA device here")
    for name, target in TARGETS.items():
        own = target.runtime == "tensorrt"
        if own and target.compute_capability == device.compute_capability:
            return name
    pytest.skip(f"not run: no target is built on {device.name}")


@contextmanager
def another_process_computes() -> Iterator[None]:
    """A process of another program has a context on the GPU meanwhile."""
    command = [sys.executable, "-c", HOLD_THE_GPU]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "held\n"
        yield
        child.stdin.close()


@pytest.mark.skipif(DEVICE is not None, reason="not run: there is a CUDA device here")
def test_f30_without_a_gpu_its_targets_are_pending_and_the_others_are_built(build: Any) -> None:
    summary, rows = build("h200", "nano", "cpu")
    assert summary["status"] == {"pending": 3, "ready": 2}
    assert summary["partial"] is True
    for name, device, pool in (
        ("h200/fp16", "H200", "h200"),
        ("h200/int8", "H200", "h200"),
        ("nano/fp16", "Jetson Nano", "nano"),
    ):
        assert rows[name]["status"] == "pending"
        assert rows[name]["file"] is None
        assert rows[name]["reason"] == (
            f"no CUDA device here; engines for {device} are built by the worker of pool {pool}"
        )
    assert (rows["cpu/fp32"]["status"], rows["cpu/int8"]["status"]) == ("ready", "ready")


@pytest.mark.gpu
def test_f30_a_target_of_another_gpu_than_the_one_here_is_pending(build: Any) -> None:
    own_target(DEVICE)
    _, rows = build("nano", "cpu")
    assert rows["nano/fp16"]["status"] == "pending"
    assert rows["nano/fp16"]["reason"].startswith("the CUDA device here is SM ")
    assert rows["cpu/fp32"]["status"] == "ready"


@pytest.mark.gpu
def test_f30_a_gpu_on_which_another_process_computes_is_pending(build: Any) -> None:
    name = own_target(DEVICE)
    with another_process_computes():
        found = cuda_device()
        assert found is not None
        if found.sliced:
            pytest.skip("not run: the CUDA device here is sliced (MIG)")
        if not found.other_processes:
            pytest.skip("not run: NVML does not tell of other processes here")
        summary, rows = build(name, "cpu")
    assert rows[f"{name}/fp16"]["status"] == "pending"
    assert "is busy: " in rows[f"{name}/fp16"]["reason"]
    assert rows["cpu/fp32"]["status"] == "ready"
    assert summary["partial"] is True


@pytest.mark.gpu
def test_f30_a_slice_of_a_gpu_is_pending(build: Any) -> None:
    name = own_target(DEVICE)
    assert DEVICE is not None
    if not DEVICE.sliced:
        pytest.skip("not run: the CUDA device here is whole, not sliced (MIG)")
    summary, rows = build(name, "cpu")
    assert rows[f"{name}/fp16"]["status"] == "pending"
    assert "is sliced (MIG)" in rows[f"{name}/fp16"]["reason"]
    assert rows["cpu/fp32"]["status"] == "ready"
    assert summary["partial"] is True
