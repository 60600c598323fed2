"""The release store in a folder: writes hold a lock and end with a rename."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.files import locked, write_whole
from fpenet.provenance.digest import digest_bytes, digest_file
from fpenet.release.store.interface import Stored, Superseded


@dataclass(frozen=True, slots=True)
class FileStore:
    """A release store in a folder; its file system supports locks and atomic renames."""

    folder: Path

    def read(self, name: str) -> Stored | None:
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return Stored(data, digest_bytes(data))

    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        with self._locked():
            stored = self.read(name)
            if (stored.tag if stored else None) != tag:
                raise Superseded(f"another run changed {self.folder / name}")
            self._write(name, data)

    def keep(self, name: str, data: bytes) -> None:
        with self._locked():
            stored = self.read(name)
            if stored is None:
                self._write(name, data)
            elif stored.data != data:
                raise InputError(f"{self.folder / name}: the store already has other content")

    def keep_file(self, name: str, path: Path) -> None:
        destination, expected = self.folder / name, digest_file(path)
        if not destination.exists():
            partial = self._partial(name)
            shutil.copyfile(path, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(destination)
        if digest_file(destination) != expected:
            raise InputError(f"{destination}: the store already has other content; remove it")

    def fetch(self, name: str, path: Path) -> None:
        if not (self.folder / name).is_file():
            raise InputError(f"{self.folder / name}: no such file")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / name, path)

    def names(self, prefix: str) -> list[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        names = (path.relative_to(self.folder).as_posix() for path in files)
        return sorted(name for name in names if name.startswith(prefix) and "/." not in f"/{name}")

    def _partial(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.{os.getpid()}.partial")

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, self._partial(name).name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            yield
