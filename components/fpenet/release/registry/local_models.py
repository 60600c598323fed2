"""Download the registered models that stages read: initial weights, teacher and champion.

``train.start_from``, ``train.teacher`` and ``gate.champion`` may name a registered version, e.g.
``models:/fpenet-trainable@candidate`` or ``models:/fpenet-trainable/3``. It is downloaded into a
folder named after the version. ``gate.champion: auto`` is the deployable version by the release
pointer; it is null for a first release, and where MLflow is not configured and the version was not
downloaded before.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.provenance.signing import read_trusted
from fpenet.release.store.folder import FileStore
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import POINTER, read_pointer

_SCHEME = "models:/"
_AUTO = "auto"
_FILES = {
    "train.start_from": ("model.json",),
    "train.teacher": ("model.json",),
    "gate.champion": ("bundle.json",),
}
"""Key of params.yaml -> the file at the top of the version's artifacts."""


def in_registry(params: Params, sections: Collection[str] = ("train", "gate")) -> list[str]:
    """The keys of these sections whose value is a model of the registry."""
    return [
        key
        for key in _FILES
        if key.split(".")[0] in sections
        and (is_registered(name := _value(params, key)) or name == _AUTO)
    ]


def is_registered(name: str) -> bool:
    """Whether the name is of a version in the registry: ``models:/...``."""
    return name.startswith(_SCHEME)


def check_version_name(name: str) -> None:
    """Check the form of a registered model's name.

    Raises:
        InputError: neither ``models:/NAME/VERSION`` nor ``models:/NAME@ALIAS``.
    """
    _parse(name, "model")


def names_version(params: Params, sections: Collection[str] = ("train", "gate")) -> bool:
    """Whether a key of these sections names a version in the registry, and not ``auto``."""
    return any(is_registered(_value(params, key)) for key in in_registry(params, sections))


def local_weights(
    params: Params,
    into: Path,
    sections: Collection[str] = ("train", "gate"),
    *,
    has_registry: bool = True,
) -> Params:
    """``params`` with local folders in place of the registered models of these sections.

    Args:
        into: models are downloaded below this folder; a model that exists is not downloaded again.
        has_registry: whether MLflow is configured; without it the champion ``auto`` is None unless
            its folder exists.

    Raises:
        InputError: a value does not name a registered version or alias.
        ConnectionError: MLflow cannot be reached or refuses the request.
    """
    for key in in_registry(params, sections):
        section, name = key.split(".")
        folder = _fetch(params, key, into, has_registry)
        changed = params.section(section).model_copy(update={name: folder})
        params = params.model_copy(update={section: changed})
    return params


def local_model(name: str, into: Path) -> Path:
    """The local path of a model; a registered model is downloaded below ``into``.

    Args:
        name: a folder or file, or ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.

    Raises:
        InputError: the path does not exist, or the name is not of a registered version.
        ConnectionError: MLflow cannot be reached or refuses the request.
    """
    path = Path(name)
    if is_registered(name):
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
    """The folder of the version that ``key`` names; None where there is no champion."""
    name = _value(params, key)
    if name == _AUTO and not (has_registry or isinstance(release_store(params), FileStore)):
        return None
    if name == _AUTO:
        model, version, alias = params.register_.deployable_model, deployable_version(params), ""
        if version is None:
            return None
    else:
        model, version, alias = _parse(name, key)
    if version and (folder := _folder(model, version, into)).exists():
        return folder.as_posix()  # without the import of MLflow, which takes seconds
    if name == _AUTO and not has_registry:
        return None
    from fpenet.release.registry import tracking

    with tracking.mlflow_errors():
        return _fetch_version(model, version, alias, _FILES[key], into).as_posix()


def deployable_version(params: Params) -> str | None:
    """The deployable version by the release pointer, not by the alias; None if there is none.

    Raises:
        InputError: no trusted key signed the pointer.
        ConnectionError: the store cannot be reached.
    """
    store = release_store(params)
    if isinstance(store, FileStore):
        return _deployable_in(store, params)
    from fpenet.provenance.object_store import S3_ERRORS

    try:
        return _deployable_in(store, params)
    except S3_ERRORS as error:
        line = " ".join(str(error).split())
        raise ConnectionError(f"{params.promote.store}: {line}") from None


def _deployable_in(store: Store, params: Params) -> str | None:
    if store.read(POINTER) is None:
        return None
    entry = read_pointer(store, read_trusted(params.trust.public_keys)).entry
    return entry.version if entry and entry.model == params.register_.deployable_model else None


def _fetch_version(model: str, version: str, alias: str, files: Sequence[str], into: Path) -> Path:
    """The folder of one version, which contains one of ``files`` at its top."""
    from fpenet.release.registry import versions

    version = version or versions.version_of_alias(model, alias)
    folder = _folder(model, version, into)
    if not folder.exists():
        versions.fetch_version(model, version, files, folder)
    return folder


def _folder(model: str, version: str, into: Path) -> Path:
    return into / f"{model}-{version}"


def _parse(name: str, key: str) -> tuple[str, str, str]:
    """Model, version and alias; one of the last two is empty."""
    model, at, alias = name.removeprefix(_SCHEME).partition("@")
    if at:
        return model, "", alias
    model, _, version = model.partition("/")
    if not version.isdecimal():
        raise InputError(f"{key}: {name}; must be models:/NAME/VERSION or models:/NAME@ALIAS")
    return model, version, ""
