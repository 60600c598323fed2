"""The inputs of ``fpenet infer``: images, videos, and folders of them.

Input: files and folders. Does: decides by the first bytes of each file what it is; its name does
not matter. Output: the inputs in their order, in a folder by name with numbers by their value.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fpenet.core.errors import InputError
from fpenet.data.file_kind import UNKNOWN, FileKind, read_kind
from fpenet.data.images import SUFFIXES
from fpenet.deploy.runtime.video import VIDEO_SUFFIXES, has_video

OUTPUT = ".keypoints"
"""Between the stem of an input and the suffix of an output."""


@dataclass(frozen=True, slots=True)
class InferInput:
    """One image, video, or folder of the frames of one video.

    Attributes:
        stem: path of the outputs below the output folder, without OUTPUT and suffix.
    """

    path: Path
    stem: Path
    kind: Literal["image", "video", "frames"]


def list_inputs(
    paths: Sequence[Path], recursive: bool = False, are_frames: bool = False
) -> list[InferInput]:
    """Every input of ``paths``, in their order.

    Args:
        recursive: also the files in the folders of a folder; their outputs lie in folders of the
            same names.
        are_frames: the images of a folder are the frames of one video.

    Raises:
        InputError: a folder has no image and no video, or two inputs would write the same file.
    """
    inputs = [each for path in paths for each in _inputs_of(path, recursive, are_frames)]
    for stem, count in Counter(each.stem for each in inputs).items():
        if count > 1:
            first, second = [str(each.path) for each in inputs if each.stem == stem][:2]
            raise InputError(
                f"{stem}: two inputs with this name would write the same file: {first}, {second}"
            )
    return inputs


def images_in(folder: Path) -> list[Path]:
    """The images in a folder, in their order, also those that are not read."""
    return [path for path, kind in _candidates(folder, recursive=False) if not kind.is_video]


def natural_order(path: Path) -> list[tuple[list[str | int], str]]:
    """Sort key of a path: numbers in its names count by their value.

    >>> paths = [Path("frame10.png"), Path("frame2.png")]
    >>> [path.name for path in sorted(paths, key=natural_order)]
    ['frame2.png', 'frame10.png']
    """
    key: list[tuple[list[str | int], str]] = []
    for name in path.parts:
        words = re.split(r"([0-9]+)", name)  # text and number take turns
        key.append(([int(word) if n % 2 else word for n, word in enumerate(words)], name))
    return key


def _inputs_of(path: Path, recursive: bool, are_frames: bool) -> Iterator[InferInput]:
    if not path.is_dir():
        yield InferInput(path, Path(path.stem), _way(path))
        return
    found = _candidates(path, recursive)
    if are_frames:
        found = [(file, kind) for file, kind in found if not kind.is_video]
    if not found:
        allowed = "image" if are_frames else "image and no video"
        deeper = "" if recursive or are_frames else " (--recursive also looks into its folders)"
        raise InputError(f"{path}: no {allowed} in it{deeper}")
    if are_frames:
        yield InferInput(path, Path(path.resolve().name), "frames")
        return
    for file, kind in found:
        stem = file.relative_to(path).with_suffix("")
        yield InferInput(file, stem, "video" if kind.is_video else "image")


def _way(path: Path) -> Literal["image", "video"]:
    """How a file that was named is read: as a video if FFmpeg finds one in it.

    A file that is neither is read as an image, so that its refusal names what it is.
    """
    if not path.is_file():
        return "image"
    kind = read_kind(path)
    if kind.is_video or (kind is UNKNOWN and has_video(path)):
        return "video"
    return "image"


def _candidates(folder: Path, recursive: bool) -> list[tuple[Path, FileKind]]:
    """The images and videos in a folder, by content, and files that have the suffix of one.

    Hidden files and outputs of ``fpenet infer`` are left out.
    """
    found: list[tuple[Path, FileKind]] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in names:
            path = Path(root, name)
            if name.startswith(".") or path.stem.endswith(OUTPUT) or not path.is_file():
                continue
            kind = read_kind(path)
            if kind.is_image or kind.is_video or path.suffix.lower() in SUFFIXES + VIDEO_SUFFIXES:
                found.append((path, kind))
    return sorted(found, key=lambda each: natural_order(each[0].relative_to(folder)))
