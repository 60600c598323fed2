"""The S3 remote of DVC, from the section ``storage`` of params.yaml."""

from contextlib import closing
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.params import StorageParams

REMOTE = "storage"


def configure_remote(storage: StorageParams, project: Path) -> str:
    """Make ``s3://bucket/prefix`` the default remote, in .dvc/config.local; returns its URL.

    Access to the server is checked first. ``verify`` is set, so that ``dvc pull`` verifies hashes.
    Credentials are not written: DVC reads them from the same places as botocore.

    Raises:
        InputError: no bucket, no access to it, or no DVC project.
        ConnectionError: the server failed at every attempt.
    """
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    from fpenet.provenance.object_store import reach, s3_client

    if storage.bucket is None:
        raise InputError("storage.bucket is null; name the bucket of the remote")
    url = f"s3://{storage.bucket}/{storage.prefix}"
    with closing(s3_client(storage.endpoint)) as client:
        reach(client, storage.bucket, storage.prefix)
    remote: dict[str, Any] = {"url": url, "verify": True}
    if storage.endpoint is not None:
        remote["endpointurl"] = storage.endpoint
    try:
        with Repo(str(project)) as repo, repo.config.edit("local") as config:
            config["remote"][REMOTE] = remote
            config["core"]["remote"] = REMOTE
    except NotDvcRepoError:
        raise InputError(f"{project.absolute()}: not a DVC project (no .dvc/ there)") from None
    return url
