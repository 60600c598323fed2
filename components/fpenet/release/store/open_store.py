"""Open the release store of a URL: a folder, or a prefix of an S3 bucket."""

from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.release.store.folder import FileStore
from fpenet.release.store.interface import Store


def open_store(place: str, endpoint: str | None = None) -> Store:
    """The store at ``place``: a folder, or ``s3://bucket/prefix``.

    Args:
        endpoint: URL of the S3 server; None: AWS, or the endpoint of the AWS configuration.
    """
    if not place.startswith("s3://"):
        return FileStore(Path(place))
    try:
        from fpenet.release.store.s3 import S3Store
    except ImportError as error:  # boto3 is not in the light install
        raise InputError(f"{place}: {error}; pip install 'fpenet[s3]'") from None
    return S3Store.at(place, endpoint)


def release_store(params: Params) -> Store:
    """The release store of ``promote.store``, which contains the release pointer."""
    return open_store(params.promote.store, params.storage.endpoint)
