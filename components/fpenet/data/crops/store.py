"""The crop store: one memory-mapped uint8 array of margin crops and one Parquet table.

Files of a crop folder: ``crops.npy`` (N, S, S), the face with a margin at the resolution of the
80x80 crop, so that its centre is the network's input; ``faces.parquet``, the samples with part,
crop box and outside fraction; ``tight.npy`` (M, 80, 80) and ``tight.parquet``, the evaluation faces
on FPENet's tight keypoint crop; ``shards.jsonl``, the digest of each shard.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.sample import ATTRIBUTE, Bools, numbers_of, points_of, read_table, visible_of
from fpenet.data.split import hash_part
from fpenet.keypoints import KeypointScheme, custom_scheme, scheme_for
from fpenet.params.scheme import SchemeParams

CROP_PX = 80
"""Side of the network's input (FPENet model card)."""

Rows = NDArray[np.int64]
Singles = NDArray[np.float32]
Greys = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FaceCrops:
    """Faces on 80x80 crops.

    Attributes:
        images: (N, 1, 80, 80) uint8.
        points_crop: (N, K, 2) crop pixels, NaN where unlabelled.
        visible: (N, K) bool.
        side: (N,) side of the crop in image pixels.
    """

    images: Greys
    points_crop: Singles
    visible: Bools
    side: Singles


@dataclass(frozen=True, slots=True)
class CropStore:
    """An open crop folder; ``rows`` are indices into its faces.

    Attributes:
        root: the folder of the images that the crops were cut from.
    """

    crops: Greys
    table: pa.Table
    points_margin: Singles
    visibility: Bools
    tight_crops: Greys
    tight_table: pa.Table
    dataset: str
    box_scale: float
    own_scheme: KeypointScheme | None = None
    root: Path = Path()

    @property
    def num_keypoints(self) -> int:
        """K."""
        return int(self.points_margin.shape[1])

    @property
    def scheme(self) -> KeypointScheme:
        """The keypoint scheme: that of the set, or the default one for its number of keypoints."""
        return self.own_scheme or scheme_for(self.num_keypoints)

    @property
    def parts(self) -> list[str]:
        """The parts that have faces."""
        return sorted(set(self.table["part"].to_pylist()))

    @property
    def judged_part(self) -> str:
        """The evaluation part, of which the KPI is computed: ``kpi`` if it exists, else ``val``."""
        return "kpi" if "kpi" in self.parts else "val"

    def rows(self, part: str) -> Rows:
        """The faces of a part."""
        return np.flatnonzero(np.array(self.table["part"].to_pylist()) == part)

    def images(self, rows: Rows) -> Greys:
        """(N, 1, 80, 80) uint8: the centre of the margin crops, no resampling."""
        edge = (self.crops.shape[1] - CROP_PX) // 2
        inner = slice(edge, edge + CROP_PX)
        return np.ascontiguousarray(self.crops[rows][:, None, inner, inner])

    def points_crop(self, rows: Rows) -> Singles:
        """(N, K, 2) points in 80x80 crop pixels."""
        edge = (self.crops.shape[1] - CROP_PX) // 2
        return self.points_margin[rows] - np.float32(edge)

    def visible(self, rows: Rows) -> Bools:
        """(N, K) bool."""
        return self.visibility[rows]

    def side(self, rows: Rows) -> Singles:
        """(N,) side of the 80x80 crop in image pixels."""
        return numbers_of(self.table, "side")[rows].astype(np.float32)

    def subjects(self, rows: Rows) -> list[str]:
        """The subject of each face."""
        return list(np.array(self.table["subject"].to_pylist())[rows])

    def attribute(self, name: str, rows: Rows) -> list[str | float | None]:
        """The attribute ``name`` of the faces; None where it is not known."""
        if ATTRIBUTE + name not in self.table.column_names:
            return [None] * len(rows)
        values = self.table[ATTRIBUTE + name].to_pylist()
        return [values[row] for row in rows]

    def faces(self, rows: Rows) -> FaceCrops:
        """The faces on the pipeline's crop."""
        return FaceCrops(
            self.images(rows), self.points_crop(rows), self.visible(rows), self.side(rows)
        )

    def tight_faces(self) -> FaceCrops:
        """The evaluation faces on FPENet's tight keypoint crop (docs/fpenet.md, Crop)."""
        rows = numbers_of(self.tight_table, "row")
        side = numbers_of(self.tight_table, "side")
        center = np.stack([numbers_of(self.tight_table, f"center_{axis}") for axis in "xy"], axis=1)
        points = points_of(self.table)[rows, : self.num_keypoints]
        points = (points - center[:, None]) * (CROP_PX / side)[:, None, None]
        return FaceCrops(
            self.tight_crops[:, None],
            (points + (CROP_PX - 1) / 2).astype(np.float32),
            self.visible(rows),
            side.astype(np.float32),
        )


def _mapped(path: Path) -> Greys:
    """Memory-map the array in an ``.npy`` file; pickled objects are refused."""
    try:
        return open_memmap(path, mode="r")
    except ValueError as error:
        raise InputError(f"{path}: not an array: {error}") from None


def open_crops(crop_dir: Path) -> CropStore:
    """Open a crop folder; the margin crops stay on disk, memory-mapped."""
    table, about = read_table(crop_dir / "faces.parquet")
    crops = _mapped(crop_dir / "crops.npy")
    if len(crops) != len(table) or crops.dtype != np.uint8:
        raise InputError(
            f"{crop_dir / 'crops.npy'}: {crops.dtype} of {len(crops)} crops; faces.parquet lists"
            f" {len(table)} faces; crops must be uint8"
        )
    center = np.stack([numbers_of(table, f"center_{axis}") for axis in "xy"], axis=1)
    scale = CROP_PX / numbers_of(table, "side")
    points = (points_of(table) - center[:, None]) * scale[:, None, None]
    return CropStore(
        crops,
        table,
        (points + (crops.shape[1] - 1) / 2).astype(np.float32),
        visible_of(table),
        np.array(_mapped(crop_dir / "tight.npy")),
        read_table(crop_dir / "tight.parquet")[0],
        about["name"],
        float(about["box_scale"]),
        scheme_in(about),
        Path(about.get("root", "")),
    )


def scheme_in(about: Mapping[str, str]) -> KeypointScheme | None:
    """The custom scheme of the data set from the metadata ``about`` of a table, or None."""
    text = about.get("scheme")
    return custom_scheme(SchemeParams.model_validate_json(text)) if text else None


def first_keypoints(store: CropStore, count: int) -> CropStore:
    """``store`` with only its first ``count`` keypoints: 68 are the first of 80, and of 104."""
    return replace(
        store,
        points_margin=store.points_margin[:, :count],
        visibility=store.visibility[:, :count],
    )


def hold_aside(store: CropStore, fraction: float, seed: int) -> CropStore:
    """``store`` with a share of the ``train`` subjects as ``val``, for hyperparameter selection.

    The evaluation faces are not used, because a selection on them would bias the KPI. Which
    subjects are held out depends only on the subject and the seed.
    """
    parts = np.array(store.table["part"].to_pylist(), object)
    rows = store.rows("train")
    subjects = store.subjects(rows)
    aside = {s for s in set(subjects) if hash_part(s, seed) < fraction}
    parts[parts != "train"] = "unused"
    parts[rows[[subject in aside for subject in subjects]]] = "val"
    index = store.table.column_names.index("part")
    table = store.table.set_column(index, "part", pa.array(parts.tolist()))
    return replace(store, table=table, tight_table=store.tight_table.slice(0, 0))
