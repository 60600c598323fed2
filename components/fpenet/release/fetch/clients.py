"""The two servers that releases are downloaded from: MLflow over HTTP, and the release store.

A client resolves an alias or a version to a release and downloads its files; a partial download is
continued. The caller checks signatures and digests. The MLflow package is not needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from fpenet.core.errors import InputError
from fpenet.provenance.signing import PublicKey, signature_of
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.fetch.download import download, read_json_url
from fpenet.release.release_manifest import RELEASE_MANIFEST, StoredFile
from fpenet.release.store.artifacts import MANIFEST_DIGEST, stored_name
from fpenet.release.store.interface import Store
from fpenet.release.store.pointer import (
    ENTRY_TAG,
    LedgerAction,
    LedgerEntry,
    check_entry,
    read_history,
)


@dataclass(frozen=True, slots=True)
class VersionQuery:
    """A version of a registered model; ``version`` has priority over ``alias``."""

    model: str
    alias: str = DEPLOYABLE
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseFiles:
    """The version to download, and the place of its files.

    Attributes:
        version: its number in the registry.
        place: in MLflow the run id, in the release store the digest of the release manifest.
        entry: the signed ledger entry that made the version deployable; None for a version or
            another alias.
    """

    version: str
    place: str
    entry: LedgerEntry | None


class ReleaseClient(Protocol):
    """A server that releases are downloaded from."""

    def choose(self, expected: VersionQuery, trusted: Sequence[PublicKey]) -> ReleaseFiles:
        """Resolve a query to one version.

        Raises:
            InputError: there is no such version, or no valid ledger entry made it deployable.
        """

    def fetch(self, choice: ReleaseFiles, name: str, stored: StoredFile | None, path: Path) -> None:
        """Download one file to ``path``.

        Args:
            stored: None for the release manifest and its signature.
        """


@dataclass(frozen=True, slots=True)
class RegistryClient:
    """An MLflow server.

    Args:
        url: ``http://host:5000``.
        headers: sent with every request, e.g. the authorization.
    """

    url: str
    headers: Mapping[str, str]

    def choose(self, expected: VersionQuery, trusted: Sequence[PublicKey]) -> ReleaseFiles:
        if expected.version is None:
            query = {"name": expected.model, "alias": expected.alias}
            row = self._api("registered-models/alias", query)
        else:
            query = {"name": expected.model, "version": expected.version}
            row = self._api("model-versions/get", query)
        version, run_id = str(row["version"]), str(row["run_id"])
        if expected.version is not None or expected.alias != DEPLOYABLE:
            return ReleaseFiles(version, run_id, None)
        tags = {tag["key"]: tag["value"] for tag in row.get("tags", ())}
        subject = f"{expected.model} version {version} has the alias {DEPLOYABLE} in MLflow"
        if ENTRY_TAG not in tags:
            raise InputError(f"{subject}, but no ledger entry: it was not promoted")
        try:
            entry = LedgerEntry.parse(tags[ENTRY_TAG], ENTRY_TAG)
            check_entry(entry, trusted)
        except InputError as error:
            raise InputError(f"{subject}, but its tag {ENTRY_TAG} is not valid: {error}") from None
        if (entry.model, entry.version) != (expected.model, version):
            raise InputError(
                f"{subject}, but its ledger entry is for {entry.model} version {entry.version}"
            )
        return ReleaseFiles(version, run_id, entry)

    def fetch(self, choice: ReleaseFiles, name: str, stored: StoredFile | None, path: Path) -> None:
        query = urlencode({"run_uuid": choice.place, "path": name})
        download(f"{self.url}/get-artifact?{query}", path, self.headers)

    def _api(self, call: str, query: Mapping[str, str]) -> dict[str, Any]:
        url = f"{self.url}/api/2.0/mlflow/{call}?{urlencode(query)}"
        row: dict[str, Any] = read_json_url(url, self.headers)["model_version"]
        return row


@dataclass(frozen=True, slots=True)
class StoreClient:
    """The release store, which contains promoted releases only."""

    store: Store

    def choose(self, expected: VersionQuery, trusted: Sequence[PublicKey]) -> ReleaseFiles:
        if expected.version is None and expected.alias != DEPLOYABLE:
            raise InputError(
                f"the release store has the alias {DEPLOYABLE} only; download {expected.alias} from"
                " MLflow"
            )
        history = read_history(self.store, trusted)
        if not history.entries:
            problems = "; ".join(history.problems)
            raise InputError(problems or "this release store contains no promoted release")
        entries = [entry for entry in history.entries if entry.model == expected.model]
        request = f"version {expected.version}" if expected.version else f"version {DEPLOYABLE}"
        version = expected.version or history.entries[0].version
        # a refused request repeats the version that stays; an earlier entry promoted that version
        entries = [
            entry
            for entry in entries
            if entry.version == version and entry.action is not LedgerAction.REFUSED
        ]
        if not entries:
            raise InputError(f"this release store has no {request} of {expected.model}")
        entry = entries[0]
        assert entry.version is not None
        return ReleaseFiles(entry.version, entry.digests.get(MANIFEST_DIGEST, ""), entry)

    def fetch(self, choice: ReleaseFiles, name: str, stored: StoredFile | None, path: Path) -> None:
        if stored is not None:
            self.store.fetch(stored_name(stored), path)
        else:
            self.store.fetch(f"releases/{choice.place}/{name}", path)


MANIFEST_FILES = (RELEASE_MANIFEST, signature_of(Path(RELEASE_MANIFEST)).name)
