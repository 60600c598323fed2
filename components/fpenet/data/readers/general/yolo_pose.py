"""Reader of YOLO-pose: ``data.yaml`` with ``kpt_shape``, and one text file for each image.

A line is a class, the box (centre, width, height) and K keypoints x y, or x y v (0 unlabelled, 1
hidden, 2 visible), as fractions of the image; here in pixels, x times width, as Ultralytics
computes them. ``labels/a/b.txt`` belongs to ``images/a/b.*``. ``train``, ``val`` and ``test`` of
data.yaml are the parts train, val and kpi of the split; ``flip_idx`` are the mirror partners,
``kpt_names`` the names of the keypoints. Source: docs.ultralytics.com, datasets/pose.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import read_yaml
from fpenet.data.images import read_header
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import MAX_POINTS, LabelledFace, UnreadFace, finite_number
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, Floats
from fpenet.keypoints import SCHEMES
from fpenet.params.scheme import KeypointParams, SchemeParams

_PARTS = {"train": "train", "val": "val", "test": "kpi"}
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class PoseConfig:
    """What ``data.yaml`` says.

    Attributes:
        num_keypoints: K.
        has_flags: whether a keypoint has v.
        mirror: the mirror partner of each keypoint, or None.
        names: of the keypoints; empty if it has none.
        parts: part of the split -> the folders and lists of its images.
    """

    num_keypoints: int
    has_flags: bool
    mirror: tuple[int, ...] | None
    names: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]


def is_pose_config(file: Path) -> bool:
    """Whether the YAML file has ``kpt_shape``."""
    return "kpt_shape" in read_yaml(file)


def detects_yolo_pose(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(is_pose_config, *_YAML)


def read_config(path: Path) -> PoseConfig:
    """The content of ``data.yaml``.

    Raises:
        InputError: ``kpt_shape``, ``flip_idx`` or ``kpt_names`` is wrong, or the keypoints are
            those of a body.
    """
    tree = read_yaml(path)
    shape = tree["kpt_shape"]
    if not (
        isinstance(shape, list)
        and len(shape) == 2
        and all(isinstance(number, int) for number in shape)
        and 1 <= shape[0] <= MAX_POINTS
        and shape[1] in (2, 3)
    ):
        raise InputError(f"{path}: kpt_shape is {shape}; it must be [K, 2] or [K, 3]")
    count = shape[0]
    flips = tree.get("flip_idx")
    if flips is not None and not (
        isinstance(flips, list)
        and sorted(map(str, flips)) == sorted(map(str, range(count)))
        and all(flips[flips[k]] == k for k in range(count))
    ):
        raise InputError(f"{path}: flip_idx is {flips}; it must name the partner of {count} points")
    mirror = tuple(flips) if flips and flips != list(range(count)) else None
    classes = tree.get("names") or {}
    labels = classes.values() if isinstance(classes, Mapping) else classes
    if count == 17 and "person" in map(str, labels):
        raise InputError(
            f"{path}: 17 keypoints of the class person are those of a body, not a face"
        )
    named = tree.get("kpt_names") or ()
    names = next(iter(named.values()), ()) if isinstance(named, Mapping) else named
    if names and len(names) != count:
        raise InputError(f"{path}: kpt_names has {len(names)} names; kpt_shape says {count}")
    parts = {ours: _texts(tree.get(key)) for key, ours in _PARTS.items()}
    return PoseConfig(count, shape[1] == 3, mirror, tuple(map(str, names)), parts)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),) if value else ()


def read_yolo_pose(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of the label files, in the order of their paths.

    Raises:
        InputError: there is no ``data.yaml``, there are two, or it is wrong.
    """
    file = source.select_one("data.yaml with kpt_shape", "configs", is_pose_config, *_YAML)
    config = read_config(file)
    _take_scheme(source, config)
    listed = _listed_images(source, config, file)
    for label_file in source.below(".txt"):
        rows = [line.split() for line in label_file.read_text("utf-8-sig", "replace").splitlines()]
        if not any(len(row) > 5 for row in rows) or not rows[0][0].isdecimal():
            continue  # a list of images, a README, or an image without a face
        image = where = source.where(label_file)
        try:
            image = source.image_named_after(label_file, _image_folders(label_file))
            size = read_header(source.root / image).size
        except Refusal as refusal:
            yield UnreadFace(image, where, refusal)
            continue
        part = listed.get(image) or _part_of(image, config)
        about: dict[str, str | float] = {"split": part} if part else {}
        for number, row in enumerate(rows, start=1):
            if row:
                line = f"{where}, line {number}"
                try:
                    yield _face(row, config, image, size, line, about)
                except Refusal as refusal:
                    yield UnreadFace(image, line, refusal)


def _take_scheme(source: LabelSource, config: PoseConfig) -> None:
    count, mirror = config.num_keypoints, config.mirror
    source.keypoint_names = list(config.names)
    known = SCHEMES.get(count)
    if mirror is not None and known is not None and known.flip_map == mirror:
        source.layouts = {count: known.layout}
    elif mirror is not None:
        names = config.names or tuple(map(str, range(1, count + 1)))
        pairs = tuple((k + 1, partner + 1) for k, partner in enumerate(mirror) if k < partner)
        keypoints = tuple(KeypointParams(name=name) for name in names)
        source.own_scheme = SchemeParams(name="yolo-pose", keypoints=keypoints, mirror=pairs)


def _image_folders(file: Path) -> Sequence[Path]:
    """``images/...`` in place of the last ``labels/...`` of the path."""
    parts = list(file.parent.parts)
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == "labels":
            return (Path(*parts[:place], "images", *parts[place + 1 :]),)
    return ()


def _listed_images(source: LabelSource, config: PoseConfig, config_file: Path) -> dict[str, str]:
    """Image -> part, of the lists of images that data.yaml names."""
    listed: dict[str, str] = {}
    for part, entries in config.parts.items():
        for entry in entries:
            file = config_file.parent / entry
            if file.suffix == ".txt" and file.is_file():
                for name in file.read_text("utf-8-sig", "replace").split("\n"):
                    try:
                        listed[source.image(name.strip(), file)] = part
                    except Refusal:
                        continue  # an image that is not there has no labels
    return listed


def _part_of(image: str, config: PoseConfig) -> str | None:
    """The part whose folder has the longest end that is in the path of the image."""
    folders = image.split("/")[:-1]
    best, part = 0, None
    for name, entries in config.parts.items():
        for entry in entries:
            parts = [p for p in entry.replace("\\", "/").split("/") if p not in ("", ".", "..")]
            for count in range(len(parts), best, -1):
                end = parts[-count:]
                if any(folders[k : k + count] == end for k in range(len(folders) - count + 1)):
                    best, part = count, name
                    break
    return part


def _face(
    row: Sequence[str],
    config: PoseConfig,
    image: str,
    size: tuple[int, int],
    where: str,
    about: Mapping[str, str | float],
) -> LabelledFace:
    step = 3 if config.has_flags else 2
    expected = 5 + step * config.num_keypoints
    if len(row) != expected:
        raise Refusal("label", f"{len(row)} values; kpt_shape says {expected}")
    numbers = [finite_number(f"value {n}", value) for n, value in enumerate(row, start=1)]
    centre_x, centre_y, wide, high = numbers[1:5]
    if not (wide > 0 and high > 0):
        raise Refusal("face box", f"the box is {wide:g}x{high:g} of the image; it has no area")
    width, height = size
    values: Floats = np.reshape(numbers[5:], (-1, step))
    points: Floats = values[:, :2] * (width, height)
    missing = values[:, 2] == 0 if step == 3 else (values[:, :2] == 0).all(axis=1)
    if step == 3 and not np.isin(values[:, 2], (0, 1, 2)).all():
        k = int(np.flatnonzero(~np.isin(values[:, 2], (0, 1, 2)))[0])
        raise Refusal("visibility", f"keypoint {k + 1}: v is {values[k, 2]:g}; must be 0, 1 or 2")
    points[missing] = np.nan
    visible: Bools = ~missing if step == 2 else values[:, 2] == 2
    box = (
        (centre_x - wide / 2) * width,
        (centre_y - high / 2) * height,
        wide * width,
        high * height,
    )
    return LabelledFace(image, where, points, visible, box, attributes=about)
