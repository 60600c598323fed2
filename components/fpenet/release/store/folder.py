"""The release store in a folder: a lock, and renames."""

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
                raise InputError(f"{self.folder / name}: holds other bytes than it should")

    def keep_file(self, name: str, path: Path) -> None:
        target, wanted = self.folder / name, digest_file(path)
        if not target.exists():
            partial = self._partial(name)
            shutil.copyfile(path, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        if digest_file(target) != wanted:
            raise InputError(f"{target}: holds other bytes than it should; remove it")

    def fetch(self, name: str, path: Path) -> None:
        if not (self.folder / name).is_file():
            raise InputError(f"{self.folder / name}: no such file")
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
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, self._partial(name).name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            yield
