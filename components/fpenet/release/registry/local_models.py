"""Models out of the registry that stages read: weights to start from, and the champion.

``models:/fpenet-trainable@candidate`` or ``models:/fpenet-trainable/3`` as ``train.start_from``,
``train.teacher`` or ``gate.champion`` becomes a folder on this machine, named by the version.
``gate.champion: auto`` is the version of the deployable model that the release pointer names; null
where there is none, or no registry: a first release.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.params import Params

_SCHEME = "models:/"
_AUTO = "auto"
_FILES = {
    "train.start_from": ("model.json",),
    "train.teacher": ("model.json",),
    "gate.champion": ("bundle.json",),
}
"""Key of params.yaml -> a file at the top of what the version holds."""


def in_registry(params: Params, sections: Collection[str] = ("train", "gate")) -> list[str]:
    """The keys of these sections that the model registry has to answer."""
    return [
        key
        for key in _FILES
        if key.split(".")[0] in sections
        and ((name := _value(params, key)).startswith(_SCHEME) or name == _AUTO)
    ]


def local_weights(
    params: Params,
    into: Path,
    sections: Collection[str] = ("train", "gate"),
    *,
    has_registry: bool = True,
) -> Params:
    """``params`` with what these sections name in the registry as folders on this machine.

    Args:
        into: where folders are made that are not there yet.
        has_registry: whether MLflow is configured; without, the champion ``auto`` is none.

    Raises:
        InputError: the name is not of a model, a version or an alias.
        ConnectionError: MLflow refused or could not be reached.
    """
    for key in in_registry(params, sections):
        section, name = key.split(".")
        folder = _fetch(params, key, into, has_registry)
        own = params.section(section).model_copy(update={name: folder})
        params = params.model_copy(update={section: own})
    return params


def local_model(name: str, into: Path) -> Path:
    """The folder or file ``name`` on this machine, or a registered model's, fetched below ``into``.

    Raises:
        InputError: it is not there, or the name is not of a model and a version.
        ConnectionError: MLflow refused or could not be reached.
    """
    path = Path(name)
    if name.startswith(_SCHEME):
        from fpenet.release.registry import tracking

        with tracking.mlflow_errors():
            path = _fetch_version(*_parse(name, "model"), ("bundle.json", "model.json"), into)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return path


def _value(params: Params, key: str) -> str:
    section, name = key.split(".")
    return getattr(params.section(section), name) or ""


def _fetch(params: Params, key: str, into: Path, has_registry: bool) -> str | None:
    """The folder of one version; None for a champion that there is not."""
    name = _value(params, key)
    if name == _AUTO and not has_registry:
        return None
    from fpenet.release.promotion.promotion import deployable_version
    from fpenet.release.registry import tracking

    with tracking.mlflow_errors():
        if name == _AUTO:
            model = params.register_.deployable_model
            found = deployable_version(params)
            if found is None:
                return None
        else:
            model, version, alias = _parse(name, key)
            return _fetch_version(model, version, alias, _FILES[key], into).as_posix()
        return _fetch_version(model, found, "", _FILES[key], into).as_posix()


def _fetch_version(model: str, version: str, alias: str, files: Sequence[str], into: Path) -> Path:
    """The folder of one version, which has one of ``files`` at its top."""
    from fpenet.release.registry import versions

    version = version or versions.version_of_alias(model, alias)
    folder = into / f"{model}-{version}"
    if not folder.exists():
        versions.fetch_version(model, version, files, folder)
    return folder


def _parse(name: str, key: str) -> tuple[str, str, str]:
    """Model, version and alias; one of the last two is empty."""
    model, at, alias = name.removeprefix(_SCHEME).partition("@")
    if at:
        return model, "", alias
    model, _, version = model.partition("/")
    if not version.isdecimal():
        raise InputError(f"{key}: {name}; wanted models:/NAME/VERSION or models:/NAME@ALIAS")
    return model, version, ""
