"""F31: an engine of another GPU, TensorRT or driver is refused by what is known of it, unparsed."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fpenet
from fpenet.core.records import encode
from fpenet.deploy.engines.device_fit import Machine, misfit, this_machine
from fpenet.deploy.engines.engine_table import BuiltFor
from fpenet.deploy.engines.runtimes import RUNTIMES, Runtime
from fpenet.deploy.judge import golden as golden_module
from fpenet.deploy.judge.golden import check_golden
from fpenet.deploy.runtime import landmarker
from fpenet.provenance.checksums import write_checksums
from fpenet.provenance.signing import SigningKey

ENGINE = BuiltFor("tensorrt", "10.3.0", (8, 7), (12, 6))
ORIN = Machine((8, 7), (12, 6), "10.3.0")


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Machine(None, None, None), "no CUDA device here; it was built for SM 8.7"),
        (
            Machine((9, 0), (12, 6), "10.3.0"),
            "for SM 8.7, the CUDA device here is SM 9.0; build it",
        ),
        (Machine((8, 7), (12, 6), "8.5.2"), "by tensorrt 10.3.0, here is tensorrt 8.5.2; build it"),
        (Machine((8, 7), (12, 6), "10.16.1"), "by tensorrt 10.3.0, here is tensorrt 10.16.1"),
        (Machine((8, 7), (12, 6), None), "tensorrt is not installed here"),
        (
            Machine((8, 7), (12, 2), "10.3.0"),
            "a driver of CUDA 12.6, the driver here supports CUDA 12.2",
        ),
        (
            Machine((8, 7), None, "10.3.0"),
            "a driver of CUDA 12.6, the driver here supports CUDA None",
        ),
    ],
)
def test_f31_another_device_version_or_driver_is_named(machine: Machine, said: str) -> None:
    found = misfit(ENGINE, machine)
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("more", "machine"),
    [
        ({}, ORIN),
        ({}, Machine((8, 7), (13, 0), "10.3.0.26")),
        ({"driver_cuda": None}, Machine((8, 7), None, "10.3.0")),
        ({"version_compatible": True}, Machine((8, 7), (12, 6), "10.16.1")),
        ({"hardware_compatibility": "ampere_plus"}, Machine((9, 0), (12, 6), "10.3.0")),
    ],
)
def test_f31_its_own_device_is_right_and_what_it_was_built_to_run_on(
    more: Mapping[str, Any], machine: Machine
) -> None:
    assert misfit(replace(ENGINE, **more), machine) is None


@pytest.mark.parametrize(
    ("more", "machine"),
    [
        ({"version_compatible": True}, Machine((8, 7), (12, 6), "11.4.0")),
        ({"version_compatible": True}, Machine((8, 7), (12, 6), "10.2.9")),
        ({"hardware_compatibility": "ampere_plus"}, Machine((7, 5), (12, 6), "10.3.0")),
        ({"hardware_compatibility": "same_compute_capability"}, Machine((9, 0), (12, 6), "10.3.0")),
    ],
)
def test_f31_compatible_engines_have_their_limits(
    more: Mapping[str, Any], machine: Machine
) -> None:
    assert misfit(replace(ENGINE, **more), machine) is not None


def test_f31_an_onnx_file_runs_anywhere() -> None:
    assert misfit(BuiltFor("onnxruntime"), Machine(None, None, None)) is None


@pytest.mark.parametrize("more", [{"compute_capability": None}, {"runtime_version": None}])
def test_f31_an_engine_that_does_not_name_its_device_is_refused(more: Mapping[str, Any]) -> None:
    assert misfit(replace(ENGINE, **more), ORIN) == (
        "its record does not name the GPU and the tensorrt that it was built for"
    )


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runtime may be given an engine."""

    def load(engine: bytes, source: str, threads: int) -> Any:
        raise AssertionError(f"{source} was parsed")

    for name, own in list(RUNTIMES.items()):
        monkeypatch.setitem(RUNTIMES, name, Runtime(own.build, load, own.suffix, own.needs_gpu))


@pytest.fixture
def foreign(stages: SimpleNamespace, signing_key: SigningKey, tmp_path: Path) -> Path:
    """A signed bundle whose engine an Orin built."""
    folder = tmp_path / "orin-agx"
    shutil.copytree(stages.bundle / "cpu", folder)
    model = json.loads((folder / "model.json").read_text())
    built_for = encode(ENGINE)
    model |= {"target": "orin-agx", "runtime": built_for.pop("runtime")}
    model["engines"] = [row | built_for for row in model["engines"]]
    (folder / "model.json").write_text(json.dumps(model))
    write_checksums(folder, signing_key)
    return folder


def test_f31_a_bundle_of_another_device_is_refused_before_its_engine_is_parsed(
    foreign: Path, never_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"int8\.onnx: no CUDA device here|the CUDA device here"):
        fpenet.Landmarker(foreign)
    monkeypatch.setattr(
        landmarker, "this_machine", lambda runtime: Machine((8, 7), (12, 6), "8.5.2")
    )
    with pytest.raises(ValueError, match=r"int8\.onnx: it was built by tensorrt 10\.3\.0, here is"):
        fpenet.Landmarker(foreign)


def test_f31_nor_is_it_queried(
    foreign: Path, never_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        golden_module, "this_machine", lambda runtime: Machine((9, 0), (12, 6), "10.3.0")
    )
    for found in check_golden(foreign):
        assert found.absent is not None
        assert "it was built for SM 8.7, the CUDA device here is SM 9.0" in found.absent


def test_f31_this_machine_is_described_without_a_gpu_too() -> None:
    machine = this_machine("onnxruntime")
    assert machine.runtime_version is None
    assert (machine.compute_capability is None) <= (machine.driver_cuda is None)
