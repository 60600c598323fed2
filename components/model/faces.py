"""The faces of a training, where its device can take them.

On a CPU the margin crops stay memory-mapped. On a GPU they are copied onto it once, if they fit
into half of its free memory; else each batch is copied.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from components.data.crop_store import CROP_PX, CropStore

_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces of a crop store, and those of its rows that lie on the device.

    Attributes:
        crops: (N, S, S) uint8 on the device; None where they stay on disk.
        points: (N, K, 2) pixels of the margin crop. visible: (N, K) bool. Both on the device.
    """

    store: CropStore
    crops: Tensor | None
    points: Tensor
    visible: Tensor

    @property
    def resident(self) -> bool:
        """Whether everything lies on the device."""
        return self.crops is not None

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Margin crops (n, S, S), points (n, K, 2) and visibility (n, K) of ``rows`` (n,)."""
        if self.crops is not None:
            return self.crops[rows], self.points[rows], self.visible[rows]
        crops = torch.from_numpy(np.asarray(self.store.crops[rows.cpu().numpy()]))
        rows = rows.to(self.points.device)
        return crops.to(self.points.device), self.points[rows], self.visible[rows]

    @staticmethod
    def center(crops: Tensor) -> Tensor:
        """(n, 1, 80, 80) float: the crops as they are at inference, of margin crops (n, S, S)."""
        edge = (crops.shape[-1] - CROP_PX) // 2
        return crops[:, None, edge : edge + CROP_PX, edge : edge + CROP_PX].float()


def open_faces(store: CropStore, device: torch.device | str) -> Faces:
    """The faces of ``store``, on ``device`` as far as they fit."""
    crops = None
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if store.crops.nbytes < _SHARE_OF_MEMORY * free:
            crops = torch.from_numpy(np.asarray(store.crops)).to(device)
    return Faces(
        store,
        crops,
        torch.from_numpy(store.points_store).to(device),
        torch.from_numpy(store.visibility).to(device),
    )
