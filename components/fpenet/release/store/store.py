"""Where the release pointer and the released files lie: a folder, or a prefix of an S3 bucket.

One object moves, by compare-and-swap; all others are written once, under a name that their content
decides. ``FileStore`` locks and renames; ``S3Store`` (store_s3.py) uses conditional puts.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fpenet.provenance.digest import digest_bytes, digest_file


class Superseded(Exception):
    """Another run was first; the one that is told so has changed nothing."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of an object, and the tag by which ``swap`` knows it again."""

    data: bytes
    tag: str


class Store(Protocol):
    """What the pointer needs of a place; a name is a relative path of plain words."""

    def read(self, name: str) -> Stored | None:
        """The object, or None where there is none."""

    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        """Replace the object whose tag is ``tag``; None: there must be none yet.

        Raises:
            Superseded: it is another one by now.
        """

    def keep(self, name: str, data: bytes) -> None:
        """Write an object once; nothing where the same bytes lie there.

        Raises:
            ValueError: other bytes lie there.
        """

    def keep_file(self, name: str, path: Path) -> None:
        """``keep`` of a file, which is read back and held to its digest."""

    def fetch(self, name: str, path: Path) -> None:
        """Bring an object to ``path``, going on after the bytes that lie there.

        Raises:
            ValueError: there is none.
        """

    def names(self, prefix: str) -> list[str]:
        """The names that begin with ``prefix``, sorted."""


@dataclass(frozen=True, slots=True)
class FileStore:
    """A folder, on a file system that knows locks and renames."""

    folder: Path

    def read(self, name: str) -> Stored | None:
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return Stored(data, digest_bytes(data))

    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        with self._locked():
            found = self.read(name)
            if (found.tag if found else None) != tag:
                raise Superseded(f"{self.folder / name} was moved by another run")
            self._write(name, data)

    def keep(self, name: str, data: bytes) -> None:
        with self._locked():
            found = self.read(name)
            if found is None:
                self._write(name, data)
            elif found.data != data:
                raise ValueError(f"{self.folder / name}: holds other bytes than it should")

    def keep_file(self, name: str, path: Path) -> None:
        target, wanted = self.folder / name, digest_file(path)
        if not target.exists():
            partial = self._partial(name)
            shutil.copyfile(path, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        if digest_file(target) != wanted:
            raise ValueError(f"{target}: holds other bytes than it should; remove it")

    def fetch(self, name: str, path: Path) -> None:
        if not (self.folder / name).is_file():
            raise ValueError(f"{self.folder / name}: no such file")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / name, path)

    def names(self, prefix: str) -> list[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        found = (path.relative_to(self.folder).as_posix() for path in files)
        return sorted(name for name in found if name.startswith(prefix) and "/." not in f"/{name}")

    def _partial(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.{os.getpid()}.partial")

    def _write(self, name: str, data: bytes) -> None:
        """The whole of it is on the disk under its name, or nothing is."""
        partial = self._partial(name)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / name)
        folder = os.open((self.folder / name).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def open_store(place: str, endpoint: str | None = None) -> Store:
    """The store at ``place``: a folder, or ``s3://bucket/prefix``.

    Args:
        endpoint: address of the S3 server; None: AWS, or what its own configuration says.
    """
    if not place.startswith("s3://"):
        return FileStore(Path(place))
    try:
        from fpenet.release.store.store_s3 import S3Store
    except ImportError as error:  # boto3 is not in the light install
        raise ValueError(f"{place}: {error}; pip install 'fpenet[s3]'") from None
    return S3Store.at(place, endpoint)
