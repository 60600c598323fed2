from collections.abc import Callable
from pathlib import Path

import pytest

from fpenet.deploy.engines.engine_table import Engine
from fpenet.params import Precision
from fpenet.release.evidence import (
    engine_rows,
    flat_metrics,
    flat_params,
    read_evidence,
    refusals,
    unfinished_targets,
    version_tags,
)


def test_the_release_is_the_digest_of_every_stage(
    stage_folders: Callable[..., dict[str, Path]],
) -> None:
    one, same = read_evidence(stage_folders("one")), read_evidence(stage_folders("same"))
    other = read_evidence(stage_folders("other", kpi_all=4.26))
    assert one.release_digest == same.release_digest
    assert one.release_digest != other.release_digest
    assert len(one.manifests) == 11


def test_a_release_that_passed_with_all_required_targets_may_be_a_candidate(
    stage_folders: Callable[..., dict[str, Path]],
) -> None:
    assert refusals(read_evidence(stage_folders()), ["cpu"]) == []


def test_the_reasons_of_the_gate_are_the_reasons_of_the_refusal(
    stage_folders: Callable[..., dict[str, Path]],
) -> None:
    verdict = {"passed": False, "reasons": ["image_px/all is 7; must be below 6"]}
    evidence = read_evidence(stage_folders(verdict=verdict))
    assert refusals(evidence, ["cpu"]) == ["image_px/all is 7; must be below 6"]


def test_a_refusal_without_a_reason_is_still_a_refusal(
    stage_folders: Callable[..., dict[str, Path]],
) -> None:
    assert refusals(read_evidence(stage_folders(verdict={"passed": False})), []) == [
        "the gate refused it"
    ]


@pytest.mark.parametrize(
    ("required", "reason"),
    [
        ("h200", "required target h200 is not ready: pending"),
        ("t4", "required target t4 is not ready: not built"),
        ("xavier-nx", "required target xavier-nx has no engine that passed the gate"),
        ("nano", "required target nano has no engine that passed the gate"),
    ],
)
def test_a_required_target_must_be_executed_and_judged(
    stage_folders: Callable[..., dict[str, Path]],
    make_engine: Callable[[str, Precision, str], Engine],
    required: str,
    reason: str,
) -> None:
    engines = [
        make_engine("cpu", "fp32", "ready"),
        make_engine("h200", "fp16", "pending"),
        make_engine("xavier-nx", "fp16", "ready"),
        make_engine("nano", "fp16", "ready"),
    ]
    verdict = {"engines": {"cpu/fp32": True, "xavier-nx/fp16": False}}
    evidence = read_evidence(stage_folders(engines=engines, verdict=verdict))
    assert refusals(evidence, ["cpu", required]) == [reason]


def test_a_precision_that_failed_leaves_the_target_to_the_other(
    stage_folders: Callable[..., dict[str, Path]],
    make_engine: Callable[[str, Precision, str], Engine],
) -> None:
    engines = [make_engine("cpu", "fp32", "ready"), make_engine("cpu", "int8", "ready")]
    verdict = {"engines": {"cpu/fp32": True, "cpu/int8": False}}
    evidence = read_evidence(stage_folders(engines=engines, verdict=verdict))
    assert refusals(evidence, ["cpu"]) == []
    tags = version_tags(evidence, [])
    assert tags["engine.cpu.int8"] == "ready, refused by the gate"
    assert [(row.precision, row.passed, row.p50_ms) for row in engine_rows(evidence)] == [
        ("fp32", True, 3.0),
        ("int8", False, None),
    ]


def test_pending_and_failed_targets_make_a_partial_release(
    stage_folders: Callable[..., dict[str, Path]],
    make_engine: Callable[[str, Precision, str], Engine],
) -> None:
    engines = [
        make_engine("cpu", "fp32", "ready"),
        make_engine("t4", "fp16", "built_not_judged"),
        make_engine("nano", "fp16", "pending"),
        make_engine("a10", "fp16", "failed"),
    ]
    evidence = read_evidence(stage_folders(engines=engines))
    assert unfinished_targets(engines) == {"pending": ["nano"], "failed": ["a10"]}
    assert version_tags(evidence, [])["fpenet.engines"] == "partial"


def test_parameters_are_flat_and_numbers_have_names(
    stage_folders: Callable[..., dict[str, Path]],
) -> None:
    evidence = read_evidence(stage_folders(kpi_all=None))
    params = flat_params(evidence.manifests)
    assert (params["train.seed"], params["train.nested.zoom"]) == ("35", "0.2")
    assert params["gate.nothing"] == "null"
    assert flat_metrics(evidence) == {
        "kpi/image_px/eyes": 2.5,
        "kpi/image_px/nose": 3.0,
        "parity/onnx/mean_px": 0.001,
        "parity/onnx/max_px": 0.002,
        "benchmark/cpu/fp32/batch_1/p50_ms": 3.0,
        "benchmark/cpu/fp32/batch_1/faces_per_second": 330.0,
        "benchmark/cpu/fp32/batch_8/p50_ms": 20.0,
        "benchmark/cpu/fp32/batch_8/faces_per_second": 330.0,
        "engine/cpu/fp32/size_bytes": 1200.0,
        "engine/cpu/fp32/image_px/all": 4.25,
    }


def test_a_missing_file_of_a_stage_is_named(stage_folders: Callable[..., dict[str, Path]]) -> None:
    folders = stage_folders()
    (folders["gate"] / "gate.json").unlink()
    with pytest.raises(ValueError, match=r"gate\.json"):
        read_evidence(folders)
