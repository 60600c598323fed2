"""A repeated release is registered again only where MLflow has lost something of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from fpenet.provenance.manifest import Manifest, seal
from fpenet.release.registry.registered import is_registered
from fpenet.release.release_manifest import RELEASE_MANIFEST, ReleaseManifest

Finished = tuple[Path, ReleaseManifest]


@pytest.fixture
def finished(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    tmp_path: Path,
) -> Finished:
    """A finished folder of the stage register, and its release, which is a candidate."""
    release = ReleaseManifest.from_tree(register(stage_folders("good")), "release.json")
    folder = tmp_path / "register"
    folder.mkdir()
    release.write(folder / RELEASE_MANIFEST)
    seal(folder, Manifest("register", "k", {}, {}, "c", {}, {}, {}))
    assert release.alias == "candidate"
    return folder, release


def test_a_release_is_registered_as_long_as_mlflow_has_all_of_it(
    finished: Finished, mlflow_server: str
) -> None:
    folder, release = finished
    assert is_registered(folder, mlflow_server, {})
    assert is_registered(folder, f"{mlflow_server}/", {})
    client = MlflowClient()
    client.delete_registered_model_alias(release.model, "candidate")
    assert not is_registered(folder, mlflow_server, {})
    client.set_registered_model_alias(release.model, "candidate", release.version)
    assert is_registered(folder, mlflow_server, {})
    client.delete_run(release.run_id)
    client.restore_run(release.run_id)
    client.set_terminated(release.run_id, "FAILED")
    assert not is_registered(folder, mlflow_server, {})
    client.set_terminated(release.run_id, "FINISHED")
    client.delete_model_version(release.trainable_model, release.trainable_version)
    assert not is_registered(folder, mlflow_server, {})


def test_an_alias_that_went_to_a_later_release_is_taken_back_by_registering(
    finished: Finished,
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    mlflow_server: str,
) -> None:
    register(stage_folders("later", kpi_all=4.0))
    assert not is_registered(finished[0], mlflow_server, {})


def test_a_refused_release_needs_no_alias(
    finished: Finished,
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    mlflow_server: str,
) -> None:
    folder = finished[0]
    verdict = {"passed": False, "reasons": ["too far off"]}
    tree = register(stage_folders("bad", verdict=verdict))
    refused = ReleaseManifest.from_tree(tree, "release.json")
    assert refused.alias is None
    refused.write(folder / RELEASE_MANIFEST)
    assert not is_registered(folder, mlflow_server, {})  # another file than was sealed
    (folder / "manifest.json").unlink()
    seal(folder, Manifest("register", "k", {}, {}, "c", {}, {}, {}))
    assert is_registered(folder, mlflow_server, {})


def test_a_server_that_does_not_respond_is_left_to_the_stage(finished: Finished) -> None:
    assert not is_registered(finished[0], "http://127.0.0.1:9", {})
