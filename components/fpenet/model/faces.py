"""Training faces, stored for fast access from the training device.

On a CPU the margin crops stay memory-mapped. On a GPU they are copied to its memory once if they
fit into half of the free memory; else each batch is copied. The faces of an optional second,
unlabelled crop store are appended.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpenet.core.errors import InputError
from fpenet.data.checks.labelled_set import FEW_VISIBLE
from fpenet.data.crops.store import CROP_PX, CropStore
from fpenet.params import TrainParams

LOGGER = logging.getLogger("fpenet")
_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True, slots=True)
class TrainingFaces:
    """Training faces, accessed by row.

    Attributes:
        stored: (n, S, S) uint8 margin crops of each crop store.
        crops: (N, S, S) uint8, all margin crops on the device; None if they stay on disk.
        points: (N, K, 2) pixels of the margin crop, NaN where unlabelled. visible: (N, K) bool.
            Both on the device.
    """

    stored: tuple[NDArray[np.uint8], ...]
    crops: Tensor | None
    points: Tensor
    visible: Tensor

    @property
    def resident(self) -> bool:
        """Whether all crops are in the memory of the device."""
        return self.crops is not None

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Margin crops (n, S, S), points (n, K, 2) and visibility (n, K) of ``rows`` (n,)."""
        if self.crops is not None:
            return self.crops[rows], self.points[rows], self.visible[rows]
        indices = rows.cpu().numpy()
        crops = np.empty((len(indices), *self.stored[0].shape[1:]), np.uint8)
        first = 0
        for store in self.stored:
            in_store = (indices >= first) & (indices < first + len(store))
            crops[in_store] = store[indices[in_store] - first]
            first += len(store)
        rows = rows.to(self.points.device)
        copied = torch.from_numpy(crops).to(self.points.device)
        return copied, self.points[rows], self.visible[rows]

    @staticmethod
    def center(crops: Tensor) -> Tensor:
        """The central 80x80 crops (n, 1, 80, 80), float, of margin crops (n, S, S)."""
        edge = (crops.shape[-1] - CROP_PX) // 2
        return crops[:, None, edge : edge + CROP_PX, edge : edge + CROP_PX].float()


def open_faces(
    store: CropStore, device: torch.device | str, unlabelled: CropStore | None = None
) -> TrainingFaces:
    """The faces of ``store`` and ``unlabelled``; crops are copied to a GPU if they fit.

    Raises:
        InputError: their margin crops differ in size.
    """
    device = torch.device(device)
    stored = (store.crops,) if unlabelled is None else (store.crops, unlabelled.crops)
    if stored[-1].shape[1:] != stored[0].shape[1:]:
        raise InputError(
            f"train.unlabelled: its margin crops are {stored[-1].shape[1]} px, those of the"
            f" labelled faces {stored[0].shape[1]} px; crop.store_px must be the same"
        )
    added = sum(map(len, stored)) - len(store.crops)
    points = np.pad(store.points_margin, ((0, added), (0, 0), (0, 0)), constant_values=np.nan)
    visible = np.pad(store.visibility, ((0, added), (0, 0)))
    crops = None
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if sum(array.nbytes for array in stored) < _SHARE_OF_MEMORY * free:
            crops = torch.cat([torch.from_numpy(np.array(array)).to(device) for array in stored])
    return TrainingFaces(
        stored, crops, torch.from_numpy(points).to(device), torch.from_numpy(visible).to(device)
    )


def check_visible_points(store: CropStore, train: TrainParams) -> float:
    """The share of the labelled points of part ``train`` that count in the loss; logs under half.

    Raises:
        InputError: none counts, and there is neither a teacher nor ``elt_weight``.
    """
    rows = store.rows("train")
    labelled = np.isfinite(store.points_crop(rows)).all(axis=-1)
    counts = labelled & store.visible(rows) if train.mask_hidden else labelled
    share = float(counts.sum() / max(int(labelled.sum()), 1))
    if share == 0.0 and train.teacher is None and train.elt_weight == 0.0:
        raise InputError(
            f"no point counts in the loss: of {int(labelled.sum())} labelled points of"
            f" {len(rows)} training faces none is visible, and train.mask_hidden is true; correct"
            " the flags of the labels, or set train.mask_hidden=false"
        )
    if share < FEW_VISIBLE:
        LOGGER.warning(
            "%.0f %% of the labelled points count in the loss: the others are hidden, and"
            " train.mask_hidden is true",
            100 * share,
        )
    return share
