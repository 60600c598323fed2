"""Weights of a registered version become a folder here, once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.params import Params
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.registry.local_models import in_registry, local_model, local_weights
from tests.promoting import Promoting


def test_weights_are_fetched_by_version_and_by_alias(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    tmp_path: Path,
    params_with: Callable[..., Params],
) -> None:
    from mlflow import MlflowClient

    release = register(stage_folders())
    model = release["trainable_model"]
    MlflowClient().set_registered_model_alias(model, "best", "1")
    asked = {
        "train.start_from": f"models:/{model}@best",
        "train.teacher": f"models:/{model}/1",
    }
    params = params_with(asked)
    assert in_registry(params) == ["train.start_from", "train.teacher", "gate.champion"]
    found = local_weights(params, tmp_path / "weights").train
    assert found.start_from == found.teacher == (tmp_path / f"weights/{model}-1").as_posix()
    folder = Path(found.teacher)
    assert (folder / "trainable.safetensors").read_bytes() == b"batch norm"
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert [path.name for path in folder.parent.iterdir()] == [f"{model}-1"]
    (folder / "mark").touch()
    local_weights(params, tmp_path / "weights")
    assert (folder / "mark").exists()  # it was not fetched again


def test_a_version_that_is_not_there_is_named(
    mlflow_store: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    for asked, error, said in (
        (
            "models:/nobody",
            ValueError,
            r"train\.teacher: models:/nobody; must be models:/NAME/VERS",
        ),
        ("models:/nobody/7", ConnectionError, "nobody"),
        ("models:/nobody@best", ConnectionError, "nobody"),
    ):
        with pytest.raises(error, match=said):
            local_weights(params_with({"train.teacher": asked}), tmp_path)


def test_a_folder_stays_as_it_is(tmp_path: Path, params_with: Callable[..., Params]) -> None:
    params = params_with({"train.start_from": "work/train/0123"})
    assert local_weights(params, tmp_path, ["train"]) is params


def test_the_champion_is_what_the_release_pointer_names(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    promoting: Callable[..., Promoting],
    tmp_path: Path,
) -> None:
    release = register(stage_folders())
    gate = promoting()
    assert gate.params.gate.champion == "auto"

    def champion() -> str | None:
        return local_weights(gate.params, tmp_path / "weights", ["gate"]).gate.champion

    assert champion() is None
    gate.request("1")
    assert champion() is None  # an alias is a request
    assert decide_request(gate.params)
    found = champion()
    assert found == (tmp_path / f"weights/{release['model']}-1").as_posix()
    assert (Path(found) / "cpu/fp32.onnx").read_bytes() == b"engine"


def test_a_registered_version_is_a_model_to_compare(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    tmp_path: Path,
) -> None:
    release = register(stage_folders())
    deployed = local_model(f"models:/{release['model']}/1", tmp_path / "weights")
    assert (deployed / "cpu/fp32.onnx").read_bytes() == b"engine"
    trained = local_model(f"models:/{release['trainable_model']}/1", tmp_path / "weights")
    assert (trained / "model.safetensors").read_bytes() == b"weights"
    assert local_model(str(tmp_path), tmp_path / "weights") == tmp_path
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        local_model("nowhere", tmp_path)


def test_without_a_registry_there_is_no_champion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert local_weights(params_with(), tmp_path).gate.champion is None
