"""Find the image that a label names, in this order:

1. as written, from the folder of the label file, then from the root (``data.images``);
2. in ``images/`` of the folder of the labels, and in the folder of images beside it;
3. by the longest end of the written path that exactly one image of the set has, which finds paths
   of another machine or a container, URLs and a file beside the labels; capitals count only if that
   decides; last without the hash that Label Studio puts before an upload.

An image is used only if it is below the folder of the labels or of ``data.images``; a link may lead
out of them into ``data.images`` and into DVC's cache, or anywhere with ``data.follow_links``.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path, PurePosixPath

from fpenet.data.readers.image_folders import ImageFolders, walk_folder
from fpenet.data.readers.image_names import ImageName, is_image, parse_image_name
from fpenet.data.rejected import Refusal
from fpenet.data.sources.dvc_project import is_cached_object

_MOST_NEAREST = 20  # messages that name the nearest image; a set without images has many faces
_MOST_NAMES = 20_000  # names among which the nearest is looked for


class ImageSearch:
    """The images of a set; the folders are listed once, when a name is not found as written.

    Attributes:
        folders: see ``ImageFolders``.
        names: image -> every name by which labels mean it.
        by_ending: images that were found by the end of a path, not as written.
    """

    def __init__(self, folders: ImageFolders) -> None:
        self.folders = folders
        self.names: dict[str, set[str]] = defaultdict(set)
        self.by_ending: set[str] = set()
        self._results: dict[tuple[str, str], str | Refusal] = {}
        self._real_folders: dict[str, str] = {}
        self._endings: dict[tuple[int, bool], dict[str, list[str]]] = {}
        self._nearest = 0

    def find(self, name: object, beside: Path) -> str:
        """The image's path below the root, with forward slashes.

        Args:
            name: as in the labels.
            beside: the label file.

        Raises:
            Refusal: no name, no such image, several, or one outside of the folders of the set.
        """
        key = str(name), str(beside.parent)
        if key not in self._results:
            try:
                self._results[key] = self._find(parse_image_name(name), beside.parent)
            except Refusal as refusal:
                self._results[key] = refusal
        result = self._results[key]
        if isinstance(result, Refusal):
            raise result
        self.names[result].add(os.path.normpath(key[0].replace("\\", "/")))
        return result

    def find_named_after(self, label_file: Path, beside: Sequence[Path] = ()) -> str:
        """The image with the name of the label file, for formats with one label file an image.

        It is beside the label file, else at the same place below the folder of images, else the
        only one of this name below the nearest folder above the label file that has one.

        Args:
            beside: further folders, in which it is looked for after that of the label file.

        Raises:
            Refusal: none, or several.
        """
        stem = label_file.name.rsplit(".", 1)[0]
        places = [label_file.parent, *beside]
        if label_file.is_relative_to(self.folders.labels):
            below = label_file.relative_to(self.folders.labels).parent
            places += [folder / below for folder in self._image_folders()]
        for place in places:
            listed = [n for n in self._listing(str(place)) if stem in (n, n.rsplit(".", 1)[0])]
            if len(listed) > 1:
                raise Refusal(
                    "image ambiguous",
                    f"{label_file.name}: {place} has {', '.join(sorted(listed))}; it must have one"
                    " image of this name",
                )
            if listed and (image := self._inside(str(place / listed[0]))):
                return image
        matches = self._nearest_of(self._by_stem.get(stem, []), label_file.parent)
        if len(matches) == 1:
            self.by_ending.add(matches[0])
            return matches[0]
        if matches:
            raise _ambiguous(label_file.name, matches)
        looked = ", ".join(str(place / f"{stem}.*") for place in dict.fromkeys(places))
        raise Refusal(
            "image missing",
            f"{label_file.name}: no image of this name; looked for {looked}{self._near(stem)}",
        )

    def _nearest_of(self, images: Sequence[str], folder: Path) -> Sequence[str]:
        """Those of ``images`` that are below the nearest folder at or above ``folder``."""
        for above in (folder, *folder.parents):
            place = os.path.relpath(above, self.folders.root)
            if place == "." or place.startswith(".."):
                return images
            if near := [image for image in images if image.startswith(f"{place}/")]:
                return near
        return images

    def contested(self) -> dict[str, Refusal]:
        """The images that were found by the end of a path for two different names."""
        return {
            image: Refusal(
                "image ambiguous", f"{image} fits both {' and '.join(sorted(names)[:2])}"
            )
            for image in self.by_ending
            if len(names := self.names[image]) > 1
        }

    def _find(self, name: ImageName, beside: Path) -> str:
        candidates = list(dict.fromkeys(self._candidates(name, beside)))
        is_outside = False
        for path in candidates:
            if os.path.isfile(path):
                if image := self._inside(path):
                    return image
                is_outside = True
        if not is_outside or name.absolute:  # a link or .. that leaves is not replaced by another
            image = self._by_ending(name, beside)
            if image is not None:
                self.by_ending.add(image)
                return image
        folders = self.folders.allowed
        leaves = not any(_is_below(path, str(folder)) for path in candidates for folder in folders)
        if is_outside or (leaves and not name.absolute):
            raise Refusal(
                "image outside",
                f"{name.written!r} is outside of the labels' folder {self.folders.labels};"
                " data.images names the folder of the images; data.follow_links: true allows links",
            )
        raise Refusal(
            "image missing",
            f"{name.written}: no such image; looked for {', '.join(candidates)}"
            f"{self._instead(candidates)}{self._near('/'.join(name.parts))}",
        )

    def _candidates(self, name: ImageName, beside: Path) -> Iterator[str]:
        if name.absolute:
            yield os.path.normpath(name.path)
            return
        below = [] if ".." in name.path.split("/") else self._image_folders()
        for folder in (beside, self.folders.root, *below):
            yield os.path.normpath(f"{folder}/{name.path}")

    def _image_folders(self) -> list[Path]:
        folders = [self.folders.labels / "images", self.folders.images, self.folders.root]
        return [folder for folder in folders if folder is not None]

    def _inside(self, path: str) -> str | None:
        """``path``, normalised, below the root; None if it leads out of the allowed folders."""
        parent, file = os.path.split(path)
        if parent not in self._real_folders:
            self._real_folders[parent] = os.path.realpath(parent)
        real = f"{self._real_folders[parent]}/{file}"
        if os.path.islink(path):
            real = os.path.realpath(path)
        root, folders = str(self.folders.root), [str(folder) for folder in self.folders.allowed]
        is_below = any(_is_below(path, folder) for folder in folders)
        if any(_is_below(real, folder) for folder in folders):
            return os.path.relpath(path if _is_below(path, root) else real, root)
        linked = self.folders.follow_links or any(
            is_cached_object(str(folder), real) for folder in self.folders.digested
        )
        return os.path.relpath(path, root) if is_below and linked else None

    @cached_property
    def _images(self) -> list[str]:
        """Every image of the set, by its path below the root."""
        root, links = str(self.folders.root), self.folders.follow_links
        images: dict[str, None] = {}
        for base in self.folders.allowed:
            for folder, files in walk_folder(base, links):
                for file in filter(is_image, files):
                    path = f"{folder}/{file}"
                    if not os.path.islink(path) or self._inside(path):
                        images[os.path.relpath(path, root)] = None
        return list(images)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = defaultdict(list)
        for image in self._images:
            file = image.rsplit("/", 1)[-1]
            for stem in (file, file.rsplit(".", 1)[0]):
                stems[stem].append(image)
        return stems

    def _listing(self, folder: str) -> Sequence[str]:
        """Names of the images in a folder of the set."""
        return self._by_folder.get(os.path.relpath(folder, self.folders.root), ())

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        folders: dict[str, list[str]] = defaultdict(list)
        for image in self._images:
            folder, _, file = image.rpartition("/")
            folders[folder or "."].append(file)
        return folders

    def _by_ending(self, name: ImageName, beside: Path) -> str | None:
        for parts in (name.parts, name.without_hash):
            for folded in (False, True):
                for count in range(len(parts or ()), 0, -1):
                    ending = "/".join((parts or ())[-count:])
                    key: Callable[[str], str] = str.casefold if folded else str
                    matches = self._ending_index(count, folded).get(key(ending), [])
                    if len(matches) > 1:
                        near = os.path.relpath(beside / ending, self.folders.root)
                        matches = [near] if near in matches else matches
                    if len(matches) > 1:
                        raise _ambiguous(name.written, matches)
                    if matches:
                        return matches[0]
        return None

    def _ending_index(self, count: int, folded: bool) -> dict[str, list[str]]:
        """The last ``count`` parts of a path -> the images that end so."""
        if (count, folded) not in self._endings:
            index: dict[str, list[str]] = defaultdict(list)
            for image in self._images:
                parts = image.split("/")
                if len(parts) >= count:
                    ending = "/".join(parts[-count:])
                    index[ending.casefold() if folded else ending].append(image)
            self._endings[count, folded] = index
        return self._endings[count, folded]

    def _instead(self, candidates: Sequence[str]) -> str:
        """A file where a folder is expected, e.g. a link that an archive wrote as text."""
        for path in candidates:
            for parent in Path(path).parents:
                if parent.is_file():
                    return f"; {parent} is a file, not a folder"
        return ""

    def _near(self, path: str) -> str:
        """``; face1.png is there``: the image of the nearest name, for a message."""
        self._nearest += 1
        if self._nearest > _MOST_NEAREST:
            return ""
        if not self._images:
            return "; the set has no image: data.images names their folder"
        file = path.rsplit("/", 1)[-1]
        same = self._by_stem.get(PurePosixPath(file).stem, [])
        names = {image.rsplit("/", 1)[-1]: image for image in self._images[:_MOST_NAMES]}
        near = same[:1] or [names[n] for n in get_close_matches(file, names, 1)]
        return f"; {near[0]} is there" if near else f"; e.g. {self._images[0]} is there"


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _ambiguous(name: str, matches: Sequence[str]) -> Refusal:
    more = f" and {len(matches) - 2} more" if len(matches) > 2 else ""
    return Refusal(
        "image ambiguous", f"{name}: fits both {matches[0]} and {matches[1]}{more}; name one"
    )
