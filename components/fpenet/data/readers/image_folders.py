"""Where the labels and the images of a set lie: what is searched, digested and allowed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.data.readers.image_names import is_image

_IMAGES = re.compile(r"(?:.*[_-])?(?:images?|imgs?|jpegimages)", re.IGNORECASE)
_LABELS = re.compile(
    r"(?:.*[_-])?(?:labels?|annotations?|landmarks?|points?|json|txt|xml)", re.IGNORECASE
)
_NOT_OURS = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class ImageFolders:
    """The folders of a set, as real paths.

    Attributes:
        labels: the folder of the labels.
        root: the folder that image paths are relative to.
        images: the folder of the images where that is not in ``labels``, else None.
        follow_links: whether links may lead out of these folders.
    """

    labels: Path
    root: Path
    images: Path | None
    follow_links: bool

    @property
    def digested(self) -> tuple[Path, ...]:
        """The folders whose content the set is: that of the labels, and of the images."""
        return (self.labels, *((self.images,) if self.images else ()))

    @property
    def allowed(self) -> tuple[Path, ...]:
        """The folders, at or below ``root``, whose files are images of the set."""
        below = tuple(folder for folder in self.digested if folder.is_relative_to(self.root))
        return below or (self.root,)  # data.images is a folder below that of the labels


def image_folders(labels: Path, images: str | None, follow_links: bool = False) -> ImageFolders:
    """The folders of the set at ``labels``, a folder or a label file.

    Without ``images`` (``data.images``) they are below the folder of the labels; if that has no
    image, they are in the folder beside it whose name is or ends in ``images``, and the root is the
    parent of both.

    Raises:
        InputError: ``images`` is no folder.
    """
    folder = (labels if labels.is_dir() else labels.parent).resolve()
    if images is not None:
        root = Path(images).expanduser()
        if not root.is_dir():
            raise InputError(f"data.images: {images} is no folder")
        root = root.resolve()
        outside = None if root.is_relative_to(folder) else root
        return ImageFolders(folder, root, outside, follow_links)
    beside = _images_beside(folder)
    root = folder if beside is None else beside.parent
    return ImageFolders(folder, root, beside, follow_links)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one of the system: ``._*``, ``.DS_Store``, ``__MACOSX``, ..."""
    return name.startswith(".") or name.lower() in _NOT_OURS


def walk_folder(folder: Path, follow_links: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Each folder at and below ``folder``, with the sorted names of its files; none is hidden."""
    seen: set[str] = set()
    for path, folders, files in os.walk(folder, followlinks=follow_links):
        if follow_links:  # a link to a parent would have no end
            real = os.path.realpath(path)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield path, sorted(name for name in files if not is_hidden(name))


def _images_beside(folder: Path) -> Path | None:
    for base in (folder, folder.parent):
        if base != folder and not _LABELS.fullmatch(base.name):
            return None
        if any(is_image(name) for _, files in walk_folder(base) for name in files):
            return None
        for name in sorted(os.listdir(base.parent)):
            sibling = base.parent / name
            if sibling != base and _IMAGES.fullmatch(name) and sibling.is_dir():
                return None if sibling.is_symlink() else sibling
    return None
