"""Whether MLflow still has a release as it was registered, asked by HTTP.

A repeated release has nothing to register, and the import of MLflow's package takes seconds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fpenet.core.errors import InputError
from fpenet.provenance.manifest import verify
from fpenet.release.evidence import RELEASE_TAG
from fpenet.release.fetch.download import read_json_url
from fpenet.release.release_manifest import RELEASE_MANIFEST, ReleaseManifest


def is_registered(folder: Path, address: str, headers: Mapping[str, str]) -> bool:
    """Whether MLflow has the run, the versions and the aliases of a finished stage register.

    Args:
        folder: the folder of the stage.
        address: URL of MLflow, ``http://host:5000``.
        headers: sent with every request, e.g. the authorization.

    Returns:
        False also where the folder or MLflow's answer cannot be read: registering again repairs it,
        or says what is wrong.
    """
    try:
        verify(folder)
        release = ReleaseManifest.read(folder / RELEASE_MANIFEST)
        api = f"{address.rstrip('/')}/api/2.0/mlflow"
        run = read_json_url(f"{api}/runs/get?{urlencode({'run_id': release.run_id})}", headers)
        return run["run"]["info"]["status"] == "FINISHED" and all(
            _has_version(api, headers, release, model, version)
            for model, version in (
                (release.model, release.version),
                (release.trainable_model, release.trainable_version),
            )
        )
    except (InputError, ConnectionError, LookupError, TypeError):
        return False


def _has_version(
    api: str, headers: Mapping[str, str], release: ReleaseManifest, model: str, version: str
) -> bool:
    """Whether the version is of this release, and has its alias if the release has one."""
    query = urlencode({"name": model, "version": version})
    row = read_json_url(f"{api}/model-versions/get?{query}", headers)["model_version"]
    if _tags(row).get(RELEASE_TAG) != release.release_digest or row["run_id"] != release.run_id:
        return False
    if release.alias is None:
        return True
    query = urlencode({"name": model, "alias": release.alias})
    row = read_json_url(f"{api}/registered-models/alias?{query}", headers)["model_version"]
    return bool(row["version"] == version)


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in row.get("tags", ())}
