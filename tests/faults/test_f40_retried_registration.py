from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.release.registry import versions


def test_f40_a_retry_gives_the_same_versions_and_the_same_run(
    register: Callable[..., dict[str, Any]], stage_folders: Callable[..., dict[str, Path]]
) -> None:
    from mlflow import MlflowClient

    folders = stage_folders()
    first, again = register(folders), register(folders)
    assert again == first
    client = MlflowClient()
    for model in (first["model"], first["trainable_model"]):
        assert len(client.search_model_versions(f"name = '{model}'")) == 1
    assert len(client.search_runs([first["experiment_id"]])) == 1


def test_f40_a_registration_that_died_half_way_is_taken_up(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    folders = stage_folders()

    def die(*_: object, **__: object) -> None:
        raise TimeoutError("no answer")

    with monkeypatch.context() as patch:  # the answer that never came
        patch.setattr(versions, "set_alias", die)
        with pytest.raises(TimeoutError, match="no answer"):
            register(folders)
    release = register(folders)
    assert (release["version"], release["trainable_version"]) == ("1", "1")
    aliases = MlflowClient().get_registered_model(release["model"]).aliases
    assert {name: str(version) for name, version in aliases.items()} == {"candidate": "1"}
    assert len(MlflowClient().search_runs([release["experiment_id"]])) == 1


def test_f40_another_release_gets_another_version(
    register: Callable[..., dict[str, Any]], stage_folders: Callable[..., dict[str, Path]]
) -> None:
    first = register(stage_folders("first"))
    second = register(stage_folders("second", kpi_all=4.0))
    assert first["release_digest"] != second["release_digest"]
    assert (first["version"], second["version"]) == ("1", "2")
