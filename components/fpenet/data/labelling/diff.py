"""Differences between two labelled sets of the same images, face by face.

Input: the set before and after a correction, of any format. Output: for each face the distance that
each keypoint moved, and the keypoints whose visibility changed; as JSON values and as one HTML
page.
"""

import base64
import html
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageDraw

from fpenet.core.errors import InputError
from fpenet.data.overlay import face_image, image_box
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.sample import FaceSample, Floats
from fpenet.keypoints import scheme_for

PICTURE_PX = 320
MOVED_PX = 0.05
"""Pixels; a smaller distance is a rounding of a format, not a change."""
_WAS, _IS = "#ff5a4d", "#35d04f"
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}"
    "div{display:flex;flex-wrap:wrap;gap:.7rem}figure{margin:0;width:320px;font-size:13px}"
    "figcaption{overflow-wrap:anywhere}td,th{text-align:left;padding:.1rem .8rem}"
)


@dataclass(frozen=True, slots=True)
class FaceDiff:
    """One face in both sets.

    Attributes:
        moved: (K,) distance of each keypoint in image pixels; NaN if one set does not label it.
        newly_hidden, newly_visible: 0-based keypoints.
        labelled, unlabelled: 0-based keypoints that only the new, or only the old set has.
    """

    old: FaceSample
    new: FaceSample
    moved: Floats
    newly_hidden: tuple[int, ...]
    newly_visible: tuple[int, ...]
    labelled: tuple[int, ...]
    unlabelled: tuple[int, ...]

    @property
    def level_changed(self) -> bool:
        """Whether the occlusion level of the face is different."""
        return self.old.occlusion_level != self.new.occlusion_level

    @property
    def changed(self) -> bool:
        """Whether anything is different."""
        flags = (self.newly_hidden, self.newly_visible, self.labelled, self.unlabelled)
        return any(flags) or self.level_changed or bool(np.nanmax(self.moved) > MOVED_PX)


def diff_sets(old: LabelledSet, new: LabelledSet) -> list[FaceDiff]:
    """The differences of the faces of both sets, the largest mean distance first.

    Faces are paired within an image by the mean distance of their points, nearest first.

    Raises:
        InputError: the numbers of keypoints differ, or no image is in both.
    """
    if old.num_keypoints != new.num_keypoints:
        raise InputError(
            f"{new.root}: {new.num_keypoints} keypoints; {old.root} has {old.num_keypoints}"
        )
    before: dict[str, list[FaceSample]] = defaultdict(list)
    for sample in old.samples:
        before[sample.image].append(sample)
    after: dict[str, list[FaceSample]] = defaultdict(list)
    for sample in new.samples:
        after[sample.image].append(sample)
    common = [image for image in after if image in before]
    if not common:
        example = next(iter(after))
        raise InputError(f"{new.root}: no image of {old.root} is in it; it has e.g. {example}")
    diffs = [
        _diff(was, now) for image in common for was, now in _pairs(before[image], after[image])
    ]
    return sorted(diffs, key=lambda diff: -float(np.nan_to_num(np.nanmean(diff.moved))))


def _pairs(
    old: Sequence[FaceSample], new: Sequence[FaceSample]
) -> Iterator[tuple[FaceSample, FaceSample]]:
    distances = sorted(
        (float(np.nanmean(np.linalg.norm(was.points - now.points, axis=1))), i, j)
        for i, was in enumerate(old)
        for j, now in enumerate(new)
        if (~np.isnan(was.points) & ~np.isnan(now.points)).any()
    )
    taken_old: set[int] = set()
    taken_new: set[int] = set()
    for _, i, j in distances:
        if i not in taken_old and j not in taken_new:
            taken_old.add(i)
            taken_new.add(j)
            yield old[i], new[j]


def _diff(old: FaceSample, new: FaceSample) -> FaceDiff:
    had, has = ~np.isnan(old.points[:, 0]), ~np.isnan(new.points[:, 0])
    in_both = had & has
    return FaceDiff(
        old,
        new,
        np.linalg.norm(new.points - old.points, axis=1),
        _indices(in_both & old.visible & ~new.visible),
        _indices(in_both & ~old.visible & new.visible),
        _indices(has & ~had),
        _indices(had & ~has),
    )


def _indices(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, ...]:
    return tuple(int(k) for k in np.flatnonzero(mask))


def summary_of(diffs: Sequence[FaceDiff]) -> dict[str, Any]:
    """Counts and distances of all faces as JSON values; image pixels, keypoints 1-based."""
    moved = np.array([diff.moved for diff in diffs])
    regions = scheme_for(moved.shape[1]).regions
    changed = [diff for diff in diffs if diff.changed]
    return {
        "faces": len(diffs),
        "changed": len(changed),
        "moved_px": {name: _mean(moved[:, list(indices)]) for name, indices in regions.items()},
        "newly_hidden": sum(len(diff.newly_hidden) for diff in diffs),
        "newly_visible": sum(len(diff.newly_visible) for diff in diffs),
        "labelled": sum(len(diff.labelled) for diff in diffs),
        "unlabelled": sum(len(diff.unlabelled) for diff in diffs),
        "occlusion_level_changed": sum(diff.level_changed for diff in diffs),
        "changes": [
            {
                "image": diff.new.image,
                "moved_px": _mean(diff.moved),
                "farthest": {"keypoint": int(np.nanargmax(diff.moved)) + 1}
                | {"px": round(float(np.nanmax(diff.moved)), 3)},
                "newly_hidden": [k + 1 for k in diff.newly_hidden],
                "newly_visible": [k + 1 for k in diff.newly_visible],
                "labelled": [k + 1 for k in diff.labelled],
                "unlabelled": [k + 1 for k in diff.unlabelled],
                "occlusion_level": [diff.old.occlusion_level, diff.new.occlusion_level],
            }
            for diff in changed
        ],
    }


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return round(float(known.mean()), 3) if known.size else None


def diff_page(diffs: Sequence[FaceDiff], root: Path, most: int) -> str:
    """One HTML page: the summary, and the first ``most`` changed faces with moved points.

    Args:
        root: the folder of the images.
    """
    summary = summary_of(diffs)
    rows = [(name, value) for name, value in summary.items() if isinstance(value, int)]
    rows += [(f"mean distance, {name}, px", value) for name, value in summary["moved_px"].items()]
    parts = ["<h1>What changed</h1>", "<p>Before: red. After: green.</p>", _table(rows), "<div>"]
    for diff in [diff for diff in diffs if diff.changed][:most]:
        text = f"mean {_mean(diff.moved)} px, farthest {np.nanmax(diff.moved):.1f} px"
        image = html.escape(diff.new.image)
        parts.append(
            f'<figure><img alt="" src="data:image/jpeg;base64,{_encoded_image(diff, root)}">'
            f"<figcaption>{image}<br>{text}</figcaption></figure>"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Labels</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</div></body></html>\n"
    )


def _table(rows: Iterable[tuple[str, object]]) -> str:
    cells = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{value}</td></tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>"


def _encoded_image(diff: FaceDiff, root: Path) -> str:
    """The JPEG in base64 of a face with its points before and after."""
    box = image_box(np.concatenate([diff.old.points, diff.new.points]))
    image = face_image(root / diff.new.image, box, PICTURE_PX, diff.new.turn)
    draw = ImageDraw.Draw(image)
    was, now = (box.to_crop(sample.points, PICTURE_PX) for sample in (diff.old, diff.new))
    for k, distance in enumerate(diff.moved):
        if distance > MOVED_PX:
            draw.line((*was[k], *now[k]), fill="#ffffff")
    for points, colour in ((was, _WAS), (now, _IS)):
        for x, y in points[~np.isnan(points[:, 0])]:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=85)
    return base64.b64encode(file.getvalue()).decode()
