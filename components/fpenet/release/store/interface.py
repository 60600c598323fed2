"""What the release pointer and the released files need of the place where they lie.

One object moves, by compare-and-swap; all others are written once, under a name that their content
decides.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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
            InputError: other bytes lie there.
        """

    def keep_file(self, name: str, path: Path) -> None:
        """``keep`` of a file, which is read back and held to its digest."""

    def fetch(self, name: str, path: Path) -> None:
        """Bring an object to ``path``, going on after the bytes that lie there.

        Raises:
            InputError: there is none.
        """

    def names(self, prefix: str) -> list[str]:
        """The names that begin with ``prefix``, sorted."""
