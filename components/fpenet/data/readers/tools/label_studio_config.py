"""The labelling config of a Label Studio project: XML with the root ``View``, beside an export."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.data.readers.tools.xml_elements import xml_elements, xml_root

_ROOT = "View"
_POINT_LABELS = ("keypointlabels", "labels")


@dataclass(frozen=True, slots=True)
class LabellingConfig:
    """What the reader needs of a config.

    Attributes:
        file: its name, for messages; empty: there is no config.
        names: labels of keypoints, in order.
        image_keys: keys of a task's ``data`` that are shown as images.
    """

    file: str = ""
    names: tuple[str, ...] = ()
    image_keys: tuple[str, ...] = ()


def labelling_config(folders: Iterable[Path]) -> LabellingConfig:
    """The first config in the folders, or an empty one.

    Raises:
        InputError: a config is broken, or two keypoints of it have one name.
    """
    for folder in dict.fromkeys(folders):
        for file in sorted(folder.glob("*.xml")):
            try:
                is_config = not file.name.startswith(".") and xml_root(file) == _ROOT
            except (InputError, OSError):
                continue
            if is_config:
                return _read_config(file)
    return LabellingConfig()


def _read_config(file: Path) -> LabellingConfig:
    names: list[str] = []
    keys: list[str] = []
    for _, view in xml_elements(file, [_ROOT]):
        for tag in view.iter():
            kind = tag.tag.lower()
            if kind == "image":
                keys.append(tag.get("value", "").removeprefix("$"))
            elif kind in _POINT_LABELS:
                labels = [child for child in tag.iter() if child.tag.lower() == "label"]
                names += [label.get("alias") or label.get("value") or "" for label in labels]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{file}: label {repeated!r} is repeated; a keypoint has one label")
    return LabellingConfig(file.name, tuple(names), tuple(key for key in keys if key))
