import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.deploy.engines.engine_table import Engine
from fpenet.params import Precision
from fpenet.provenance.digest import digest_file
from fpenet.release.registry.register import artifact_files


def alias_of(release: dict[str, Any]) -> str | None:
    from mlflow import MlflowClient

    version = MlflowClient().get_registered_model(release["model"]).aliases.get("candidate")
    return None if version is None else str(version)


def test_a_release_that_passed_becomes_the_candidate(
    register: Callable[..., dict[str, Any]], stage_folders: Callable[..., dict[str, Path]]
) -> None:
    from mlflow import MlflowClient

    release = register(stage_folders())
    assert (release["candidate"], release["alias"], release["state"]) == (
        True,
        "candidate",
        "complete",
    )
    assert (release["version"], release["trainable_version"]) == ("1", "1")
    assert alias_of(release) == "1"
    assert release["training"] | {"epochs": 2, "faces_seen": 64} == release["training"]
    assert set(release["digests"]) >= {"validate", "train", "bundle"}

    client = MlflowClient()
    run = client.get_run(release["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.nested.zoom"] == "0.2"
    assert run.data.metrics["kpi/image_px/all"] == 4.25
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]
    assert curve[1].timestamp - run.info.start_time == 3000
    version = client.get_model_version(release["model"], "1")
    assert version.tags["fpenet.release"] == release["release_digest"]
    assert version.tags["fpenet.gate"] == "passed"
    assert version.tags["kpi.image_px/all"] == "4.25"
    assert version.tags["engine.cpu.fp32"] == "ready"
    assert version.tags["digest.train"] == release["digests"]["train"]
    assert (version.description or "").startswith("# May be promoted\n")
    run_page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert f"[Report]({run_page}/artifacts/report/report.html)" in (version.description or "")
    assert "artifact `report/report.html` of this run" in run.data.tags["mlflow.note.content"]
    assert version.tags["fpenet.name"] == release["name"] == "deployable_v3.1"
    assert version.tags["fpenet.int8"] == "Without INT8"
    trainable = client.get_model_version(release["trainable_model"], "1")
    assert trainable.tags["fpenet.name"] == "trainable_v3.1"
    assert version.source == f"{run.info.artifact_uri}/deployable"
    stored = Path(version.source)
    assert (stored / "cpu/fp32.onnx").read_bytes() == b"engine"
    assert (stored.parent / "trainable/model.safetensors").read_bytes() == b"weights"
    assert (stored.parent / "onnx/opset17/int8.onnx").read_bytes() == b"int8"
    assert json.loads((stored.parent / "release.json").read_text()) == release
    assert (stored.parent / "report/report.html").read_text() == "numbers"
    assert Path(release["report"]).read_text() == "faces"
    assert digest_file(stored.parent / "model_card.md") == release["model_card_sha256"]


def test_a_refused_release_is_registered_with_its_reasons_and_moves_no_alias(
    register: Callable[..., dict[str, Any]], stage_folders: Callable[..., dict[str, Path]]
) -> None:
    from mlflow import MlflowClient

    first = register(stage_folders("first"))
    verdict = {"passed": False, "reasons": ["image_px/all is 7; must be below 6"]}
    second = register(stage_folders("second", verdict=verdict))
    assert (second["version"], second["candidate"], second["alias"]) == ("2", False, None)
    assert alias_of(second) == first["version"]
    version = MlflowClient().get_model_version(second["model"], "2")
    assert version.tags["fpenet.refused"] == "image_px/all is 7; must be below 6"
    assert version.tags["fpenet.gate"] == "refused"
    lines = (version.description or "").splitlines()
    assert lines[:3] == ["# Refused", "", "- image_px/all is 7; must be below 6"]


def test_a_passed_release_without_a_required_target_is_no_candidate(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    make_engine: Callable[[str, Precision, str], Engine],
) -> None:
    engines = [make_engine("cpu", "fp32", "ready"), make_engine("t4", "fp16", "pending")]
    release = register(stage_folders(engines=engines), required=("cpu", "t4"))
    assert release["gate"]["passed"] is True
    assert release["candidate"] is False
    assert release["refused"] == ["required target t4 is not ready: pending"]
    assert (release["state"], release["pending"]) == ("partial", ["t4"])
    assert alias_of(release) is None


def test_nothing_that_shows_a_labelled_face_goes_into_the_run(
    stage_folders: Callable[..., dict[str, Path]],
) -> None:
    files = artifact_files(stage_folders())
    names = {path.name for path, _ in files}
    assert {"model.safetensors", "kpi.png", "gate.json", "fp32.onnx"} <= names
    assert names.isdisjoint({"predictions.npz", "samples.parquet", "crops.npy", "drops.csv"})


def test_a_file_that_a_release_needs_is_named(
    stage_folders: Callable[..., dict[str, Path]],
) -> None:
    folders = stage_folders()
    (folders["train"] / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: missing; a release must contain it"):
        artifact_files(folders)


def test_a_deleted_experiment_is_one_clear_line(
    register: Callable[..., dict[str, Any]], stage_folders: Callable[..., dict[str, Path]]
) -> None:
    from mlflow import MlflowClient

    release = register(stage_folders("first"))
    MlflowClient().delete_experiment(release["experiment_id"])
    with pytest.raises(ValueError, match=r"register\.experiment is 'faces-.*', which was deleted"):
        register(stage_folders("second"))


def test_an_mlflow_that_is_not_there_is_one_clear_line(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    mlflow_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConnectionError, match=r"^MLflow at http://127\.0\.0\.1:9: ") as error:
        register(stage_folders())
    assert "secret" not in str(error.value)


def test_a_model_card_of_other_evidence_is_refused(
    register: Callable[..., dict[str, Any]], stage_folders: Callable[..., dict[str, Path]]
) -> None:
    folders = stage_folders()
    register(folders)
    other = stage_folders("other", kpi_all=9.9)
    report_dir = folders["gate"].with_name("report")
    with pytest.raises(ValueError, match=r"kpi\.json: not the file that the model card cites"):
        register(other, card=(report_dir / "model_card.md").read_text())
