"""MLflow's model registry: one version per release and model; registering again reuses it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from fpenet.core.errors import InputError
from fpenet.release.evidence import NAME_TAG, RELEASE_TAG
from fpenet.release.registry import tracking
from fpenet.release.release_manifest import ReleaseManifest
from fpenet.release.store.encryption import open_folder
from fpenet.release.store.pointer import ENTRY_TAG, entry_sequence

_ALIAS_EVENTS: tuple[Any, ...] = (
    "model_version_alias.created",
    "model_version_alias.deleted",
)


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a registered model.

    Attributes:
        release_digest: digest of its release, from its tag; empty if the tag is missing.
        run_id: the run that stores its files; empty if there is none.
    """

    model: str
    version: str
    release_digest: str
    run_id: str
    description: str


def read_version(model: str, version: str) -> RegisteredVersion:
    """Read one version from MLflow."""
    row = MlflowClient().get_model_version(model, version)
    fields = row.tags.get(RELEASE_TAG, ""), row.run_id or "", row.description or ""
    return RegisteredVersion(model, str(row.version), *fields)


def has_version(model: str, version: str) -> bool:
    """Whether the version exists in MLflow."""
    return bool(
        MlflowClient().search_model_versions(
            f"name = '{model}' and version_number = {int(version)}"
        )
    )


def find_named(model: str, name: str) -> str | None:
    """The number of the version named ``name``, e.g. ``deployable_v3.0``; None if there is none."""
    rows = MlflowClient().search_model_versions(
        f"name = '{model}' and tags.`{NAME_TAG}` = '{name}'"
    )
    return str(rows[0].version) if rows else None


def find_version(model: str, release_digest: str) -> str | None:
    """The number of the version of ``model`` for the release; None if there is none."""
    rows = MlflowClient().search_model_versions(
        f"name = '{model}' and tags.`{RELEASE_TAG}` = '{release_digest}'"
    )
    return str(min(int(row.version) for row in rows)) if rows else None


def register_version(
    model: str, *, source: str, run_id: str, tags: Mapping[str, str], description: str
) -> str:
    """The version of ``model`` for the release of ``tags``; it is created if it does not exist.

    Args:
        source: URI of the run's artifact folder that the version contains.

    Returns:
        the number of the version. Of two versions that two runs create at the same time the smaller
        one stays and the other is deleted.
    """
    client = MlflowClient()
    release_digest = tags[RELEASE_TAG]
    existing = find_version(model, release_digest)
    if existing is not None:
        return existing
    _ensure_model(client, model)
    created = client.create_model_version(
        model, source=source, run_id=run_id, tags=dict(tags), description=description
    )
    first = find_version(model, release_digest)
    if first is not None and int(first) < int(created.version):
        client.delete_model_version(model, str(created.version))
        return first
    return str(created.version)


def version_of_alias(model: str, alias: str) -> str:
    """The version that ``alias`` points to."""
    return str(MlflowClient().get_model_version_by_alias(model, alias).version)


def find_alias(model: str, alias: str) -> str | None:
    """The version that ``alias`` points to; None if the alias or the model does not exist."""
    try:
        aliases = MlflowClient().get_registered_model(model).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return str(aliases[alias]) if alias in aliases else None


def fetch_version(model: str, version: str, files: Sequence[str], folder: Path) -> None:
    """Download the artifacts of ``version``: the folder that contains one of ``files``.

    Raises:
        InputError: no file of ``files`` exists, or the version is encrypted and the model key is
            not set.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    source = MlflowClient().get_model_version_download_uri(model, version)
    download_artifacts(artifact_uri=source, dst_path=str(partial))
    paths = [path for file in files for path in partial.rglob(file)]
    if not paths:
        raise InputError(f"{model} version {version}: contains no {' and no '.join(files)}")
    open_folder(paths[0].parent)
    paths[0].parent.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)


def fetch_run_files(run_id: str, names: Sequence[str], folder: Path) -> set[str]:
    """Download these files and folders at the top of a run into ``folder``.

    Returns:
        the names that exist; empty if the run does not exist.
    """
    client = MlflowClient()
    try:
        present = {artifact.path for artifact in client.list_artifacts(run_id)} & set(names)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return set()
        raise
    for name in sorted(present):
        client.download_artifacts(run_id, name, str(folder))
    return present


def set_alias(model: str, alias: str, version: str) -> None:
    """Point ``alias`` to ``version``."""
    MlflowClient().set_registered_model_alias(model, alias, version)


def delete_alias(model: str, alias: str) -> None:
    """Delete ``alias``."""
    MlflowClient().delete_registered_model_alias(model, alias)


def set_description(model: str, version: str, description: str) -> None:
    """Set the description of a version; its page in MLflow shows it first."""
    MlflowClient().update_model_version(model, version, description)


def latest_sequence(model: str) -> int:
    """The latest sequence in the ledger-entry tags of ``model``'s versions; 0 if there is none."""
    rows = MlflowClient().search_model_versions(f"name = '{model}' and tags.`{ENTRY_TAG}` != ''")
    return max((entry_sequence(row.tags[ENTRY_TAG]) for row in rows), default=0)


def ensure_webhook(name: str, url: str, secret: str, refresh: bool) -> None:
    """Create or update the webhook: MLflow posts to ``url`` when an alias is set or removed.

    Args:
        name: name of the webhook; an existing webhook with this name is updated.
        secret: MLflow signs the events with it.
        refresh: also set the secret of an existing webhook; MLflow does not show the old each.
    """
    client, token = MlflowClient(), None
    while True:
        page = client.list_webhooks(page_token=token)
        webhook = next((each for each in page if each.name == name), None)
        token = page.token
        if webhook or not token:
            break
    if webhook is None:
        client.create_webhook(name, url, list(_ALIAS_EVENTS), secret=secret)
    elif refresh or webhook.url != url or not webhook.status.is_active():
        client.update_webhook(
            webhook.webhook_id,
            url=url,
            events=list(_ALIAS_EVENTS),
            secret=secret,
            status="ACTIVE",
        )


def tag_version(model: str, version: str, tags: Mapping[str, str]) -> None:
    """Set ``tags`` on an existing version."""
    client = MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(model, version, key, value)


def _ensure_model(client: MlflowClient, model: str) -> None:
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


FLOW_RUN_TAG = "fpenet.flow_run"


def link_release(release: ReleaseManifest, url: str) -> None:
    """Add the URL of a flow run to the run and both versions of a release.

    Raises:
        ConnectionError: MLflow cannot be reached.
    """
    with tracking.mlflow_errors():
        tracking.link_run(release.run_id, FLOW_RUN_TAG, url)
        for model, version in (
            (release.model, release.version),
            (release.trainable_model, release.trainable_version),
        ):
            tag_version(model, version, {FLOW_RUN_TAG: url})
