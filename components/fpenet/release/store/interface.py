"""The interface of a release store: the operations on the release pointer and the released files.

The release pointer is replaced by compare-and-swap. Every other object is written once and never
changed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Superseded(Exception):
    """Another run changed the object first; this call changed nothing."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of an object, and its tag: ``swap`` compares it with the stored tag."""

    data: bytes
    tag: str


class Store(Protocol):
    """Objects by name; a name is a relative path with ``/``."""

    def read(self, name: str) -> Stored | None:
        """The object; None if it does not exist."""

    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        """Replace the object if its tag is ``tag``.

        Args:
            tag: None: the object must not exist yet.

        Raises:
            Superseded: the object has another tag.
        """

    def keep(self, name: str, data: bytes) -> None:
        """Write an object once; do nothing if it exists with the same content.

        Raises:
            InputError: the object exists with other content.
        """

    def keep_file(self, name: str, path: Path) -> None:
        """Write a file once, read it back and compare its digest.

        Raises:
            InputError: the object exists with other content.
        """

    def fetch(self, name: str, path: Path) -> None:
        """Copy an object to ``path``; a partial download is continued.

        Raises:
            InputError: the object does not exist.
        """

    def names(self, prefix: str) -> list[str]:
        """The names of the objects that begin with ``prefix``, sorted."""
