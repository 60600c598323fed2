"""The table of targets, against params.yaml and what the devices can do."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from components.deploy.engine import RUNTIMES
from components.deploy.targets import TARGETS, RuntimeName, target_named, tensorrt_number
from components.params import Params, TargetName

PROJECT = Path(__file__).parents[2]


def test_the_registries_have_a_row_for_each_name() -> None:
    assert set(TARGETS) == set(get_args(TargetName))
    assert set(RUNTIMES) == set(get_args(RuntimeName))


def test_every_opset_that_a_target_wants_is_exported(params: Params) -> None:
    assert {target.opset for target in TARGETS.values()} == set(params.export.opsets)


def test_each_target_says_what_its_runtime_needs() -> None:
    for target in TARGETS.values():
        low, best, high = target.batch
        assert 1 <= low <= best <= high
        assert (target.compute_capability is None) == (target.runtime == "onnxruntime")
        assert (target.runtime_version is not None) == (target.runtime == "tensorrt")


def test_precisions_are_what_the_devices_compute_in() -> None:
    assert TARGETS["t4"].precisions == ("fp16",)  # ships FP16
    assert TARGETS["nano"].precisions == ("fp16",)  # SM 5.3 has no INT8 arithmetic
    assert TARGETS["cpu"].precisions == ("fp32", "int8")
    assert all("int8" in TARGETS[name].precisions for name in ("a10", "l4", "rtx-blackwell"))


def test_tensorrt_up_to_10_takes_a_cache_and_rtx_does_not() -> None:
    takers = {name for name, target in TARGETS.items() if target.takes_cache}
    assert takers == {"orin-agx", "xavier-nx", "h200"}


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
        if target.runtime == "tensorrt":
            assert pools[name] == target.pool
    assert pools["train-and-release"] == TARGETS["cpu"].pool
