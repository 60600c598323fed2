"""F30: a GPU that is absent, busy or sliced leaves its target pending; the others are built."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.deploy.engines import tensorrt_engine
from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.engines.cuda_device import CudaDevice, throttles
from fpenet.deploy.engines.targets import TARGETS, Pending
from fpenet.deploy.engines.tensorrt_engine import absence
from fpenet.params import Params

H200 = CudaDevice("NVIDIA H200", (9, 0), False, 0, 140_000)
OWN = "H200 builds its own engines: worker of pool h200"


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
            "the CUDA device here is busy: 2 other processes compute",
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


def test_a_busy_gpu_makes_a_partial_release_and_stops_nothing_else(
    stages: SimpleNamespace, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = replace(H200, other_processes=1)
    monkeypatch.setattr(tensorrt_engine, "cuda_device", lambda: busy)
    summary = build_engines(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        export_dir=stages.export,
        calibrate_dir=stages.calibrate,
        build=params.build.model_copy(update={"targets": ("h200", "nano", "cpu")}),
        evaluate=params.evaluate,
        out_dir=tmp_path,
    )
    assert summary["status"] == {"pending": 3, "ready": 2}
    assert summary["partial"] is True
    text = (tmp_path / "engines.json").read_text()
    assert f"the CUDA device here is busy: 1 other processes compute; {OWN}" in text
    assert "the CUDA device here is SM 9.0; Jetson Nano builds its own engines" in text


def test_why_a_clock_is_held_down_has_a_name() -> None:
    assert throttles(0) == throttles(1) == ()  # 1: idle
    assert throttles(0x44) == ("power cap", "thermal, hardware")
