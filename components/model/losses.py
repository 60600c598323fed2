"""Landmark losses as means over the coordinates that count (FACTS 3).

``weight`` (N, K) says what counts: hidden points have weight 0, and region weights are in it. The
original's sums are these means times a factor: L1 and square Euclidean times the batch size, Wing
times 2 K and its coefficient.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from components.keypoints import KeypointScheme

Loss = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]


def point_weights(
    scheme: KeypointScheme, counts: Tensor, region_weights: Mapping[Any, float] | None
) -> Tensor:
    """The weight (N, K) of every point, summing to 1.

    Args:
        counts: (N, K) bool, the points that count.
        region_weights: loss group -> weight; a group without a point that counts leaves its share
            to the others. None weighs every point that counts alike.

    Raises:
        ValueError: a weight for a group that the scheme does not have.
    """
    weight = counts.float()
    if region_weights is not None:
        absent = {name for name, w in region_weights.items() if w} - set(scheme.loss_groups)
        if absent:
            raise ValueError(
                f"train.region_weights has {sorted(absent)}; {scheme.num_keypoints} keypoints have"
                f" the groups {sorted(scheme.loss_groups)}"
            )
        weight = torch.zeros_like(weight)
        for name, keypoints in scheme.loss_groups.items():
            group = counts[:, list(keypoints)].float()
            share = region_weights.get(name, 0.0) / group.sum().clamp(min=1)
            weight[:, list(keypoints)] = group * share
    return weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def l1(pred: Tensor, target: Tensor, weight: Tensor, w: float = 0, epsilon: float = 0) -> Tensor:
    """Weighted mean of |e| over ``pred`` (N, K, 2) and ``target``."""
    return _mean(_error(pred, target, weight).abs(), weight)


def square_euclidean(
    pred: Tensor, target: Tensor, weight: Tensor, w: float = 0, epsilon: float = 0
) -> Tensor:
    """Weighted mean of e^2 over ``pred`` (N, K, 2) and ``target``."""
    return _mean(_error(pred, target, weight) ** 2, weight)


def wing(pred: Tensor, target: Tensor, weight: Tensor, w: float, epsilon: float) -> Tensor:
    """Weighted mean of Wing (Feng 2018, eq. 5): w ln(1 + |e|/epsilon) below w, |e| - C above."""
    error = _error(pred, target, weight).abs()
    offset = w - w * math.log(1 + w / epsilon)
    values = torch.where(error < w, w * torch.log1p(error / epsilon), error - offset)
    return _mean(values, weight)


def _error(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """pred - target where the weight is not 0; elsewhere 0, so that a NaN label has no gradient."""
    return pred - torch.where(weight[..., None] > 0, target, pred.detach())


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over x, y of the weighted sum of ``values`` (N, K, 2)."""
    return (values * weight[..., None]).sum() / 2


LOSSES: dict[str, Loss] = {"l1": l1, "square_euclidean": square_euclidean, "wing": wing}
