"""Fixtures of release stores: in a folder and in a real S3 bucket, a key, and ledger entries."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fpenet.provenance.signing import PublicKey, SigningKey, make_key
from fpenet.release.release_manifest import read_release
from fpenet.release.store.artifacts import MANIFEST_DIGEST, publish
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import open_store
from fpenet.release.store.pointer import (
    ENTRY_TAG,
    LedgerAction,
    LedgerEntry,
    entry_json,
    move,
    take_token,
)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return make_key(tmp_path / "keys/watcher.pem")


@pytest.fixture
def trusted(key: SigningKey) -> tuple[PublicKey, ...]:
    return (key.public,)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """The place of a store, and the URL of the S3 server; None for a folder."""
    if request.param == "folder":
        return str(tmp_path / "releases"), None
    bucket = request.getfixturevalue("bucket")
    return f"s3://{bucket.name}/releases", bucket.server.endpoint


@pytest.fixture
def store(place: tuple[str, str | None]) -> Store:
    return open_store(*place)


@pytest.fixture
def contents() -> Callable[[Store], dict[str, bytes]]:
    """All objects of a store, by name."""

    def read(store: Store) -> dict[str, bytes]:
        objects = {name: store.read(name) for name in store.names("")}
        return {name: each.data for name, each in objects.items() if each and name != "conditions"}

    return read


def ledger_entry(version: str, **other: object) -> LedgerEntry:
    wanted = LedgerEntry(
        sequence=0,
        token=0,
        action=LedgerAction.PROMOTED,
        requested=version,
        model="faces",
        version=version,
        name=f"deployable_v{version}.0",
        release_digest=version * 64,
        digests={"train": "a" * 64},
        who="unknown",
        why="requested in MLflow",
        when="2026-11-25T12:00:00Z",
    )
    return replace(wanted, **other)  # type: ignore[arg-type]


def promote(store: Store, key: SigningKey, *versions: str) -> list[LedgerEntry]:
    trusted = (key.public,)
    return [
        move(store, take_token(store, trusted), ledger_entry(v), key, trusted) for v in versions
    ]


def promote_release(
    store: Store, gate: SigningKey, releaser: PublicKey, release: dict[str, Any], folder: Path
) -> LedgerEntry:
    """Make a registered release deployable, as the promotion watcher does after its checks."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    folder.mkdir(parents=True)
    download_artifacts(run_id=release["run_id"], dst_path=str(folder))
    said = read_release(folder, [releaser])
    pointer = take_token(store, [gate.public])
    wanted = ledger_entry(
        said.version,
        model=said.model,
        name=said.name,
        release_digest=said.digest,
        digests={**said.digests, MANIFEST_DIGEST: publish(store, said, folder)},
    )
    moved = move(store, pointer, wanted, gate, [gate.public])
    client = MlflowClient()
    client.set_model_version_tag(said.model, said.version, ENTRY_TAG, entry_json(moved))
    client.set_registered_model_alias(said.model, "deployable", said.version)
    return moved
