"""A tiny labelled set that tests make and break, and the parameters of params.yaml."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.params import Params, load_params

PARAMS = Path(__file__).parents[1] / "params.yaml"
FIVE_POINTS = [(20.0, 24.0), (43.0, 24.0), (32.0, 34.0), (24.0, 44.0), (40.0, 44.5)]


@dataclass
class TinyLabels:
    """A Sloth set of 64x64 pictures, five keypoints a face, in ``folder``."""

    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        name: str,
        points: list[tuple[Any, Any]] | None = None,
        face_box: Mapping[str, Any] | None = None,
        picture: bool = True,
        **fiducial: Any,
    ) -> dict[str, Any]:
        """Add one face; ``points`` count from P1, ``fiducial`` are further keys of theirs."""
        shift = len(self.records) * 0.01  # no two faces are the same
        points = [(x + shift, y) for x, y in FIVE_POINTS] if points is None else points
        keys: dict[str, Any] = {"class": "FiducialPoints"}
        for number, (x, y) in enumerate(points, 1):
            keys |= {f"P{number}x": x, f"P{number}y": y}
        box = {"class": "FaceBbox", "Occlusion": 0, **(face_box or {})}
        if face_box is None:
            sides = zip(("x", "y", "width", "height"), (16.0, 20.0, 32.0, 28.0), strict=True)
            box |= {f"face_tight_bbox{side}": value for side, value in sides}
        record = {"filename": name, "class": "image", "annotations": [box, keys | fiducial]}
        self.records.append(record)
        if picture:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            levels = np.random.default_rng(len(self.records)).integers(0, 256, (64, 64))
            Image.fromarray(levels.astype(np.uint8)).save(path)
        return record

    def write(self) -> Path:
        """Write labels.json; returns the folder."""
        (self.folder / "labels.json").write_text(json.dumps(self.records))
        return self.folder


@pytest.fixture
def tiny_labels(tmp_path: Path) -> TinyLabels:
    """Twenty sound faces of ten people, not yet written."""
    folder = tmp_path / "faces"
    folder.mkdir()
    labels = TinyLabels(folder)
    for number in range(20):
        labels.add(f"images/s{number // 2:03d}_{number % 2}.png")
    return labels


@pytest.fixture
def params_with() -> Callable[..., Params]:
    """params.yaml with some keys changed: ``params_with({"data.labels": "faces"})``."""

    def load(overrides: Mapping[str, Any] | None = None) -> Params:
        return load_params(PARAMS, overrides=overrides)

    return load
