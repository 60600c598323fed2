"""The part of the split that the folders of the images say: ``train``, ``val`` or ``test``."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fpenet.data.sample import FaceSample

_WORDS = {"train": "train", "val": "val", "dev": "val", "test": "kpi"}
_PART = re.compile(
    r"(?:images?[_-])?(train|val|dev|test)(?:ing|id|idation)?[_-]?(?:set|images?)?(?:[_-]?\d{4})?",
    re.IGNORECASE,
)


def part_of(name: str) -> str | None:
    """The part (train, val or kpi) that the name of a folder or of a subset says, or None.

    >>> [part_of(name) for name in ("train2017", "Validation", "testset", "faces")]
    ['train', 'val', 'kpi', None]
    """
    match = _PART.fullmatch(name.strip())
    return _WORDS[match[1].lower()] if match else None


def part_of_file(stem: str) -> str | None:
    """The part that the end of a label file's name says: ``person_keypoints_val2017``, or None."""
    return part_of(re.split(r"[_.\s-]+", stem)[-1])


def with_folder_parts(samples: Sequence[FaceSample]) -> tuple[list[FaceSample], str]:
    """The samples with the attribute ``split`` of their images' folders, and its origin in words.

    Folders count only if no sample has a part yet, every image is in such a folder, and they are of
    two parts at least.
    """
    if any("split" in sample.attributes for sample in samples):
        return list(samples), "labels or a column split"
    parts = {sample.image: _part_of_path(sample.image) for sample in samples}
    if None in parts.values() or len(set(parts.values())) < 2:
        return list(samples), "none"
    divided = [
        replace(sample, attributes={**sample.attributes, "split": str(parts[sample.image])})
        for sample in samples
    ]
    counts = Counter(str(sample.attributes["split"]) for sample in divided)
    shares = ", ".join(f"{part} ({count})" for part, count in sorted(counts.items()))
    return divided, f"folders of the images: {shares}"


def _part_of_path(image: str) -> str | None:
    folders = image.split("/")[:-1]
    return next((part for folder in folders if (part := part_of(folder))), None)
