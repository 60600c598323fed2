"""The table of targets, against params.yaml and what the devices can do."""

from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement

from fpenet.core.errors import InputError
from fpenet.deploy.engines.engine_table import Engine, EngineStatus, EngineTable
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import TARGETS, target_named, tensorrt_number
from fpenet.params import Params
from fpenet.stages import STAGES

PROJECT = Path(__file__).parents[3]


def test_every_opset_that_a_target_wants_is_exported(params: Params) -> None:
    assert {target.opset for target in TARGETS.values()} == set(params.export.opsets)


def test_each_target_says_what_its_runtime_needs() -> None:
    for target in TARGETS.values():
        assert target.runtime in RUNTIMES
        low, best, high = target.batch
        assert 1 <= low <= best <= high
        runtime = RUNTIMES[target.runtime]
        assert (target.compute_capability is not None) == runtime.needs_gpu
        assert (target.versions != ()) == (runtime.distributions != ())
        assert (target.runtime_version is not None) == target.built_on_device
        if target.runtime in ("onnxruntime", "tensorrt_rtx", "tensorrt"):
            assert target.built_on_device == (target.runtime == "tensorrt")
        assert len(set(target.versions)) == len(target.versions)
        if target.dla_cores:  # Xavier and Orin have one or two; TensorRT before 8.5 is another API
            assert target.compute_capability in {(7, 2), (8, 7)}


def test_the_key_of_stage_build_has_the_version_of_every_runtime() -> None:
    needed = {name for runtime in RUNTIMES.values() for name in runtime.distributions[:1]}
    assert needed == {"tensorrt", "tensorrt-rtx-cu13"}
    assert needed <= set(STAGES["build"].tools)


def test_a_table_of_engines_with_an_unknown_runtime_is_refused(tmp_path: Path) -> None:
    engine = Engine("cpu", "stone", "fp32", EngineStatus.PENDING)
    EngineTable((engine,)).write(tmp_path / "engines.json")
    with pytest.raises(InputError, match=r"runtime is 'stone'; must be one of \['onnxruntime', "):
        EngineTable.read(tmp_path / "engines.json")


def test_the_devices_of_the_card_and_of_today_are_there() -> None:
    of_the_card = {"nano", "xavier-nx", "xavier-agx", "t4"}
    orin = {"orin-nano", "orin-nx", "orin-agx"}
    servers = {"a10", "l4", "rtx-blackwell", "a100", "h100", "h200"}
    assert set(TARGETS) == of_the_card | orin | servers | {"thor", "cpu"}
    cards = {name: (t.card.latency_ms, t.card.fps) for name, t in TARGETS.items() if t.card}
    assert cards == {
        "t4": (0.33, 2489),
        "xavier-agx": (0.84, 1015),
        "xavier-nx": (1.3, 483),
        "nano": (None, 115),
    }
    capabilities = {
        "nano": (5, 3),
        "xavier-nx": (7, 2),
        "xavier-agx": (7, 2),
        "t4": (7, 5),
        "a100": (8, 0),
        "a10": (8, 6),
        "orin-nano": (8, 7),
        "orin-nx": (8, 7),
        "orin-agx": (8, 7),
        "l4": (8, 9),
        "h100": (9, 0),
        "h200": (9, 0),
        "thor": (11, 0),
        "rtx-blackwell": (12, 0),
    }
    assert {n: t.compute_capability for n, t in TARGETS.items() if n != "cpu"} == capabilities


def test_the_version_of_rtx_is_the_one_that_the_extra_pins() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pin = extras["optional-dependencies"]["rtx"][0].partition("==")[2]
    pinned = tuple(int(number) for number in pin.split(".")[:3])
    for target in TARGETS.values():
        if target.runtime == "tensorrt_rtx":
            assert target.versions == (pinned,)


def test_the_extra_for_gpu_hosts_refuses_the_empty_wheel() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = Requirement(extras["optional-dependencies"]["tensorrt"][0])
    assert wanted.name == "tensorrt"
    assert not wanted.specifier.contains("10.0.0b6", prereleases=True)
    for target in TARGETS.values():
        for version in target.versions if target.runtime == "tensorrt" else ():
            if version > (10, 0, 0):  # those before come with JetPack alone
                assert wanted.specifier.contains(".".join(map(str, version)))


def test_precisions_are_what_the_devices_compute_in() -> None:
    assert TARGETS["t4"].precisions == ("fp16",)  # ships FP16
    assert TARGETS["nano"].precisions == ("fp16",)  # SM 5.3 has no INT8 arithmetic
    assert TARGETS["cpu"].precisions == ("fp32", "int8")
    assert all("int8" in TARGETS[name].precisions for name in ("a10", "l4", "rtx-blackwell"))


def test_tensorrt_up_to_10_takes_a_cache_and_rtx_does_not() -> None:
    takers = {name for name, target in TARGETS.items() if target.takes_cache}
    xaviers, orins = {"xavier-nx", "xavier-agx"}, {"orin-nano", "orin-nx", "orin-agx"}
    assert takers >= xaviers | orins | {"thor", "h100", "h200"}
    assert not {name for name in takers if TARGETS[name].runtime == "tensorrt_rtx"}
    assert TARGETS["orin-nx"].calibrated == ((10, 3, 0), (8, 6, 2), (8, 5, 2))  # not 11.4.1
    assert TARGETS["nano"].calibrated == TARGETS["l4"].calibrated == ()


def test_versions_are_numbered_as_tensorrt_does() -> None:
    versions = [(8, 5, 2), (8, 6, 1), (10, 3, 0), (10, 16, 0)]
    assert [tensorrt_number(v) for v in versions] == [8502, 8601, 100300, 101600]


def test_an_unknown_target_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown target 'v100'; choose one of \['a10'"):
        target_named("v100")


def test_every_target_of_its_own_device_has_a_deployment_in_its_pool() -> None:
    rows = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    pools = {row["name"]: row["work_pool"]["name"] for row in rows}
    for name, target in TARGETS.items():
        if target.built_on_device:
            assert pools[name] == target.pool
    assert pools["train-and-release"] == TARGETS["cpu"].pool
