"""Weights that a training starts from, out of the model registry.

``models:/fpenet-trainable@candidate`` or ``models:/fpenet-trainable/3`` as ``train.start_from`` or
``train.teacher`` becomes a folder on this machine, named by the version.
"""

import shutil
from pathlib import Path

from components.params import Params
from components.stages import STAGES

SCHEME = "models:/"


def in_registry(params: Params) -> list[str]:
    """The keys of section ``train`` whose weights lie in the model registry."""
    values = params.train.model_dump()
    return [key for key in STAGES["train"].reads_weights if (values[key] or "").startswith(SCHEME)]


def local_weights(params: Params, into: Path) -> Params:
    """``params`` with every folder of weights on this machine: below ``into``, if it was not.

    Raises:
        ValueError: the name is not of a model, a version or an alias.
        ConnectionError: MLflow refused or could not be reached.
    """
    found = {
        key: fetch_version(getattr(params.train, key), f"train.{key}", into).as_posix()
        for key in in_registry(params)
    }
    if not found:
        return params
    return params.model_copy(update={"train": params.train.model_copy(update=found)})


def fetch_version(name: str, key: str, into: Path) -> Path:
    """The folder of the registered version ``name``, which ``key`` asks for, below ``into``."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    from components.release.tracking import mlflow_errors

    model, at, alias = name.removeprefix(SCHEME).partition("@")
    if not at:
        model, _, version = model.partition("/")
        if not version.isdecimal():
            raise ValueError(f"{key}: {name}; wanted models:/NAME/VERSION or models:/NAME@ALIAS")
    with mlflow_errors():
        if at:
            version = MlflowClient().get_model_version_by_alias(model, alias).version
        folder = into / f"{model}-{version}"
        if not folder.exists():
            partial = into / f".{folder.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            source = MlflowClient().get_model_version_download_uri(model, str(version))
            download_artifacts(artifact_uri=source, dst_path=str(partial))
            (found,) = partial.rglob("model.json")
            found.parent.rename(folder)
            shutil.rmtree(partial, ignore_errors=True)
    return folder
