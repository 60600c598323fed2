"""Whether a machine may build for a target now: decided on what its driver and NVML say."""

from dataclasses import replace
from pathlib import Path

import pytest

from fpenet.deploy.engines import tensorrt_engine
from fpenet.deploy.engines.cuda_device import CudaDevice, throttles
from fpenet.deploy.engines.targets import TARGETS, Pending
from fpenet.deploy.engines.tensorrt_engine import absence
from fpenet.params import Params

H200 = CudaDevice("NVIDIA H200", (9, 0), False, 0, 140_000)
OWN = "engines for H200 are built by the worker of pool h200"


@pytest.mark.parametrize(
    ("device", "installed", "why"),
    [
        (None, None, "no CUDA device here"),
        (replace(H200, compute_capability=(7, 5)), None, "the CUDA device here is SM 7.5"),
        (
            replace(H200, name="NVIDIA H200 MIG 1g.18gb", sliced=True),
            None,
            "the CUDA device here, NVIDIA H200 MIG 1g.18gb, is sliced (MIG)",
        ),
        (
            replace(H200, other_processes=2),
            None,
            "the CUDA device here is busy: 2 other processes use it",
        ),
        (
            replace(H200, free_mb=500),
            None,
            "the CUDA device here is busy: 500 MB free, build.workspace_mb is 1024",
        ),
        (H200, "tensorrt not installed here (extra tensorrt)", "tensorrt not installed here"),
    ],
)
def test_a_target_waits_for_a_free_gpu_of_its_own(
    params: Params, device: CudaDevice | None, installed: str | None, why: str
) -> None:
    found = absence(TARGETS["h200"], device, installed, params.build)
    assert isinstance(found, Pending)
    assert found.reason.startswith(why)
    assert found.reason.endswith(OWN)


def test_a_free_gpu_builds_and_so_does_one_of_which_nvml_says_little(params: Params) -> None:
    quiet = replace(H200, other_processes=None, free_mb=None)  # a Jetson
    for device in (H200, quiet):
        assert absence(TARGETS["h200"], device, None, params.build) is None


def test_the_empty_wheel_of_the_package_index_is_not_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert (tensorrt_engine.missing() or "").startswith("the tensorrt installed here is an empty")


def test_why_a_clock_is_held_down_has_a_name() -> None:
    assert throttles(0) == throttles(1) == ()  # 1: idle
    assert throttles(0x44) == ("power cap", "thermal, hardware")
