"""Weights that a training starts from, out of the model registry.

``models:/fpenet-trainable@candidate`` or ``models:/fpenet-trainable/3`` as ``train.start_from`` or
``train.teacher`` becomes a folder on this machine, named by the version.
"""

from pathlib import Path

from components.params import Params

_SCHEME = "models:/"
_KEYS = ("start_from", "teacher")


def in_registry(params: Params) -> list[str]:
    """The keys of section ``train`` whose weights lie in the model registry."""
    return [key for key in _KEYS if (getattr(params.train, key) or "").startswith(_SCHEME)]


def local_weights(params: Params, into: Path) -> Params:
    """``params`` with every folder of weights on this machine: below ``into``, if it was not.

    Raises:
        ValueError: the name is not of a model, a version or an alias.
        ConnectionError: MLflow refused or could not be reached.
    """
    found = {}
    for key in in_registry(params):
        from components.release import registry, tracking

        model, version, alias = _parse(getattr(params.train, key), f"train.{key}")
        with tracking.mlflow_errors():
            version = version or registry.version_of(model, alias)
            folder = into / f"{model}-{version}"
            if not folder.exists():
                registry.fetch_version(model, version, "model.json", folder)
        found[key] = folder.as_posix()
    if not found:
        return params
    return params.model_copy(update={"train": params.train.model_copy(update=found)})


def _parse(name: str, key: str) -> tuple[str, str, str]:
    """Model, version and alias; one of the last two is empty."""
    model, at, alias = name.removeprefix(_SCHEME).partition("@")
    if at:
        return model, "", alias
    model, _, version = model.partition("/")
    if not version.isdecimal():
        raise ValueError(f"{key}: {name}; wanted models:/NAME/VERSION or models:/NAME@ALIAS")
    return model, version, ""
