"""What a reader gets: the label files of a set, and the search for its images."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.data.readers.image_folders import image_folders, walk_folder
from fpenet.data.readers.image_search import ImageSearch
from fpenet.data.readers.json_records import read_label_json, read_records
from fpenet.params.scheme import SchemeParams

LABELS = "labels.json"
ABOUT = "dataset.json"
SCHEME = "scheme.json"
_OURS = {ABOUT, SCHEME}
_MOST_DETECTED = 64  # files of a folder that are opened to detect a format
_PEEKED = 8  # records of a JSON list by which its kind is known


class LabelSource:
    """A labelled set, before its format is known.

    A folder is searched with the folders below it: files nearer to the top first, then by path.
    Hidden files (``._*``, ``.DS_Store``, ``__MACOSX``, ...), dataset.json and scheme.json are no
    label files. A label file that is named is the only one.

    Attributes:
        labels: the folder or the label file, as given.
        folder: the folder of the labels, a real path.
        root: the folder that image paths are relative to, a real path.
        keypoints: ``data.keypoints``; None: all.
        columns: ``data.columns``: our column -> the name of that column in the table.
        used: the label files that were read.
        skipped: a candidate that is not a label file -> why.
        names_from: where the order of named keypoints is from; None: keypoints have numbers.
        visible_from: where the visibility of keypoints is from, if the reader did not take it as it
            is in the labels.
        keypoint_names: these names, in order; grows while the faces are read.
        layouts: number of keypoints -> whose order the format has for it.
        first_pixel: number of the first pixel in the label files, which was subtracted: 0 or 1.
        own_scheme: the scheme that the label files have, if they have one.
    """

    def __init__(
        self,
        labels: Path,
        *,
        images: str | None = None,
        follow_links: bool = False,
        keypoints: int | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        """Raises ``InputError``: no such labels, or ``images`` is no folder."""
        if not labels.exists():
            raise InputError(f"data.labels: {labels} does not exist")
        folders = image_folders(labels, images, follow_links)
        self.labels, self.folder, self.root = labels, folders.labels, folders.root
        self.keypoints = keypoints
        self.columns = dict(columns or {})
        self.search = ImageSearch(folders)
        self.used: list[Path] = []
        self.skipped: dict[Path, str] = {}
        self.names_from: str | None = None
        self.visible_from: str | None = None
        self.keypoint_names: list[str] = []
        self.layouts: dict[int, str] = {}
        self.first_pixel = 0
        self.own_scheme: SchemeParams | None = None
        self._peeks: dict[Path, Any] = {}

    @property
    def named(self) -> bool:
        """Whether a label file was named, not a folder."""
        return not self.labels.is_dir()

    @cached_property
    def _tree(self) -> list[Path]:
        paths = [
            Path(folder, name)
            for folder, files in walk_folder(self.folder, self.search.folders.follow_links)
            for name in files
            if name.lower() not in _OURS
        ]
        return sorted(paths, key=lambda path: (len(path.parts), path))

    def files(self, *suffixes: str) -> list[Path]:
        """The candidates: files with one of the ``suffixes`` (``".json"``), in any capitals."""
        if self.named:
            file = self.folder / self.labels.name
            return [file] if file.suffix.lower() in suffixes else []
        return self.below(*suffixes)

    def below(self, *suffixes: str) -> list[Path]:
        """All files of the folder with one of the ``suffixes``, also if a label file is named."""
        return [path for path in self._tree if path.suffix.lower() in suffixes]

    def has(self, accepts: Callable[[Path], bool], *suffixes: str) -> bool:
        """Whether a candidate is accepted, of the first 64; for ``detects``.

        Raises:
            InputError: ``accepts`` raises it for a label file that is named.
        """
        return any(
            self._is_accepted(file, accepts) for file in self.files(*suffixes)[:_MOST_DETECTED]
        )

    def select(
        self, what: str, accepts: Callable[[Path], bool], *suffixes: str, all_levels: bool = False
    ) -> list[Path]:
        """The candidates that are accepted; ``skipped`` gets the others.

        Args:
            what: what is looked for, for messages: ``"COCO file"``.
            accepts: whether a file is of the format; may raise InputError, which is the reason.
            all_levels: for formats with one label file an image: all of them. Else, the label files
                of the level nearest to the top; of that, only ``labels.*`` if there is one.

        Raises:
            InputError: none is accepted.
        """
        used: list[Path] = []
        for file in self.files(*suffixes):
            is_deeper = used and len(file.parts) > len(used[0].parts)
            if is_deeper and not all_levels:
                break
            if self._is_accepted(file, accepts):
                used.append(file)
                self.skipped.pop(file, None)
            else:
                self.skipped.setdefault(file, f"not a {what}")
        if not used:
            raise InputError(f"{self.labels}: no {what} in it{self.describe_skipped()}")
        if not all_levels:
            used = [f for f in used if f == self.folder / f"labels{f.suffix}"] or used
        self.used = used
        return used

    def select_one(
        self, what: str, several: str, accepts: Callable[[Path], bool], *suffixes: str
    ) -> Path:
        """The one candidate that is accepted; for formats with one label file a set.

        Args:
            what, accepts: as in ``select``.
            several: what two of them are, for the message: ``"tables"``.

        Raises:
            InputError: none is accepted, or more than one.
        """
        files = self.select(what, accepts, *suffixes)
        if len(files) > 1:
            names = ", ".join(map(self.where, files))
            raise InputError(
                f"data.labels: {self.labels} has several {several}, {names}; name one of them"
            )
        return files[0]

    def _is_accepted(self, file: Path, accepts: Callable[[Path], bool]) -> bool:
        try:
            return accepts(file)
        except (InputError, OSError) as error:
            if self.named:
                raise
            self.skipped[file] = str(error).removeprefix(f"{file}: ")
            return False

    def peek(self, file: Path) -> Any:
        """What kind of JSON the file is: the object, or the first records (8 at most) of a list.

        Raises:
            InputError: not JSON, or its first record is not.
        """
        if file not in self._peeks:
            value = _peek(file)
            if len(self._peeks) < _MOST_DETECTED:
                self._peeks[file] = value
            return value
        return self._peeks[file]

    def where(self, file: Path) -> str:
        """The file's path below the folder of the labels, for messages and rows."""
        return file.relative_to(self.folder).as_posix()

    def image(self, name: object, beside: Path) -> str:
        """The path below ``root`` of the image that a label file names; see ``image_search``.

        Raises:
            Refusal: no such image, several, or one outside of the set.
        """
        return self.search.find(name, beside)

    def image_named_after(self, file: Path, beside: Sequence[Path] = ()) -> str:
        """The path below ``root`` of the image with the name of the label file.

        Args:
            beside: further folders, in which it is looked for after that of the label file.

        Raises:
            Refusal: none, or several.
        """
        return self.search.find_named_after(file, beside)

    def describe_skipped(self) -> str:
        """``; not label files: a.json: not JSON``, or nothing; for messages."""
        rows = [f"{file}: {reason}" for file, reason in list(self.skipped.items())[:3]]
        more = [f"and {len(self.skipped) - 3} more"] if len(self.skipped) > 3 else []
        return f"; not label files: {'; '.join(rows + more)}" if rows else ""


def _peek(file: Path) -> Any:
    with file.open("rb") as opened:
        head = opened.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] != b"[":
        return read_label_json(file)
    first: list[Any] = []
    try:
        for record in read_records(file):
            first.append(record.value)
            if len(first) == _PEEKED:
                break
    except InputError:
        if not first:
            raise
    return first
