"""Where releases are fetched from: MLflow over plain HTTP, or the release store; no MLflow package.

A source says what an alias or a version stands for, and brings files of it, going on after the
bytes that lie there. Nothing that it says is believed: whoever asks checks signatures and digests.
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
from fpenet.release.release_manifest import RECORD, StoredFile
from fpenet.release.store.artifacts import RECORD_DIGEST, stored_name
from fpenet.release.store.interface import Store
from fpenet.release.store.pointer import (
    LINK_TAG,
    LedgerAction,
    LedgerEntry,
    check_entry,
    read_history,
)


@dataclass(frozen=True, slots=True)
class VersionQuery:
    """Which version of a registered model; ``version`` comes before ``alias``."""

    model: str
    alias: str = DEPLOYABLE
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseFiles:
    """What is fetched.

    Attributes:
        version: its number in the registry.
        place: of its files at the source.
        link: the gate's signed word that it is deployable; None where none was asked for.
    """

    version: str
    place: str
    link: LedgerEntry | None


class ReleaseClient(Protocol):
    """Where releases are fetched from."""

    def choose(self, expected: VersionQuery, trusted: Sequence[PublicKey]) -> ReleaseFiles:
        """What ``expected`` stands for.

        Raises:
            InputError: nothing, or a version that only claims to be deployable.
        """

    def fetch(self, choice: ReleaseFiles, name: str, stored: StoredFile | None, path: Path) -> None:
        """Bring a file of the release; ``stored`` is None for the record and its signature."""


@dataclass(frozen=True, slots=True)
class RegistryClient:
    """An MLflow server.

    Args:
        url: ``http://host:5000``.
        headers: of every request: the authorization.
    """

    url: str
    headers: Mapping[str, str]

    def choose(self, expected: VersionQuery, trusted: Sequence[PublicKey]) -> ReleaseFiles:
        if expected.version is None:
            query = {"name": expected.model, "alias": expected.alias}
            found = self._api("registered-models/alias", query)
        else:
            query = {"name": expected.model, "version": expected.version}
            found = self._api("model-versions/get", query)
        version, run_id = str(found["version"]), str(found["run_id"])
        if expected.version is not None or expected.alias != DEPLOYABLE:
            return ReleaseFiles(version, run_id, None)
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", ())}
        called = f"{expected.model} version {version} is called {DEPLOYABLE} in MLflow"
        if LINK_TAG not in tags:
            raise InputError(f"{called}, but the gate did not promote it")
        try:
            link = LedgerEntry.parse(tags[LINK_TAG], LINK_TAG)
            check_entry(link, trusted)
        except InputError as error:
            raise InputError(f"{called}, but its tag {LINK_TAG} does not hold: {error}") from None
        if (link.model, link.version) != (expected.model, version):
            raise InputError(f"{called}, but the gate's word is of {link.model} {link.version}")
        return ReleaseFiles(version, run_id, link)

    def fetch(self, choice: ReleaseFiles, name: str, stored: StoredFile | None, path: Path) -> None:
        query = urlencode({"run_uuid": choice.place, "path": name})
        download(f"{self.url}/get-artifact?{query}", path, self.headers)

    def _api(self, call: str, query: Mapping[str, str]) -> dict[str, Any]:
        url = f"{self.url}/api/2.0/mlflow/{call}?{urlencode(query)}"
        answer: dict[str, Any] = read_json_url(url, self.headers)["model_version"]
        return answer


@dataclass(frozen=True, slots=True)
class StoreClient:
    """The release store: what was promoted, and nothing else."""

    store: Store

    def choose(self, expected: VersionQuery, trusted: Sequence[PublicKey]) -> ReleaseFiles:
        if expected.version is None and expected.alias != DEPLOYABLE:
            raise InputError(
                f"the release store knows {DEPLOYABLE} only; {expected.alias} is told by MLflow"
            )
        history = read_history(self.store, trusted)
        if not history.links:
            said = "; ".join(history.problems)
            raise InputError(said or "nothing was promoted in this release store")
        links = [one for one in history.links if one.model == expected.model]
        asked = f"version {expected.version}" if expected.version else DEPLOYABLE
        version = expected.version or history.links[0].version
        # a refusal repeats what stays; the word that chose it is an earlier one
        links = [
            one
            for one in links
            if one.version == version and one.action is not LedgerAction.REFUSED
        ]
        if not links:
            raise InputError(f"no {asked} of {expected.model} in this release store")
        link = links[0]
        assert link.version is not None
        return ReleaseFiles(link.version, link.digests.get(RECORD_DIGEST, ""), link)

    def fetch(self, choice: ReleaseFiles, name: str, stored: StoredFile | None, path: Path) -> None:
        if stored is not None:
            self.store.fetch(stored_name(stored), path)
        else:
            self.store.fetch(f"releases/{choice.place}/{name}", path)


RECORD_FILES = (RECORD, signature_of(Path(RECORD)).name)
