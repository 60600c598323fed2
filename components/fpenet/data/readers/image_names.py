"""Names of images as tools write them: relative and absolute paths, of Windows too, and URLs."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from fpenet.data.images import SUFFIXES
from fpenet.data.rejected import Refusal

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LOCAL_FILE = re.compile(r"[^?]*\?(?:[^?]*&)?d=")
_UPLOAD_HASH = re.compile(r"[0-9a-f]{8}-(?=.)")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class ImageName:
    """A name of an image, taken apart.

    Attributes:
        written: as in the labels.
        path: with forward slashes; of a URL, its path.
        absolute: whether ``path`` starts at a root, a drive or a host: one of this machine or of
            another one.
    """

    written: str
    path: str
    absolute: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders and the file, without a root, a drive, ``.`` and ``..``."""
        path = _DRIVE.sub("", self.path, count=1) if self.absolute else self.path
        return tuple(part for part in path.split("/") if part not in ("", ".", ".."))

    @property
    def without_hash(self) -> tuple[str, ...] | None:
        """``parts`` without the hash that Label Studio puts before an uploaded file, or None."""
        *folders, file = self.parts or ("",)
        short = _UPLOAD_HASH.sub("", file, count=1)
        return (*folders, short) if short != file else None


def parse_image_name(name: object) -> ImageName:
    """``name`` taken apart: a path, ``file://``, ``https://``, ``s3://``, or a ``?d=`` of Label
    Studio.

    >>> parse_image_name("/data/local-files/?d=set/a%20b.png").path
    'set/a b.png'
    >>> parse_image_name("C:\\\\faces\\\\a.png").parts
    ('faces', 'a.png')

    Raises:
        Refusal: no text, or an empty one.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise Refusal("image name", f"filename is {name!r}; it must be a path")
    if _LOCAL_FILE.match(name):
        path = parse_qs(urlsplit(name).query).get("d", [name])[0]
    elif _URL.match(name):
        parts = urlsplit(name)
        host = "" if parts.scheme.lower() == "file" else parts.netloc
        below = unquote(f"{host}{parts.path}").lstrip("/")
        path = below if _DRIVE.match(below) else f"/{below}"
    else:
        path = name
    path = path.replace("\\", "/")
    absolute = path.startswith("/") or _DRIVE.match(path) is not None
    return ImageName(name, path, absolute)


def is_image(name: str) -> bool:
    """Whether the file's name ends as that of an image."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES
