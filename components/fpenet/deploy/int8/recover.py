"""Recovery steps: changes of the INT8 quantisation, applied in order until the budget holds.

Input: exported networks, ranges, faces that the ranges are not from. Does: renders INT8 for
TensorRT and for the CPU, and measures how far their points lie from FP32's; while the worse of the
two is over the budget it applies the next step, and keeps a step's change where it helped. Output:
the quantisation that is rendered, and one row a step.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from fpenet.data.crops.store import CropStore, Rows
from fpenet.deploy.engines.onnxruntime_engine import load_engine
from fpenet.deploy.int8.calibration_faces import crop_batches
from fpenet.deploy.int8.histogram import collect_histograms, ranges_of
from fpenet.deploy.int8.quantise import final_ranges, render_qdq
from fpenet.deploy.int8.quantise_cpu import render_cpu
from fpenet.deploy.int8.recover_weights import corrected_biases, equalised
from fpenet.deploy.judge.parity import distances
from fpenet.deploy.onnx.network import (
    CONVOLUTIONS,
    body_nodes,
    heatmap_convolution,
    weights_of,
    with_weights,
)
from fpenet.kpi.predictions import Predict, predict_all
from fpenet.model.nets.net_description import NetDescription
from fpenet.params import CalibrateParams, RecoveryStepName

_BATCH = 32
_FACES_A_LAYER = 64  # to find the worst layers, and the means of channels


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What is rendered.

    Attributes:
        amax: tensor -> largest magnitude that INT8 stands for.
        weights: those that differ from the exported ones.
        single: what the convolutions give that stay in floating point.
    """

    amax: dict[str, float]
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    single: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryInputs:
    """What a quantisation is found from and judged by.

    Attributes:
        network, network_cpu: FP32, as exported.
        about: ``model.json`` of the export.
        calibration: rows of the faces that ranges are from; others: of those they are not from.
        images: (N, 1, 80, 80) the latter. points: (N, K, 2) what FP32 says of them.
    """

    network: ModelProto
    network_cpu: ModelProto
    about: NetDescription
    store: CropStore
    calibration: Rows
    others: Rows
    images: NDArray[np.uint8]
    points: NDArray[np.float32]
    calibrate: CalibrateParams


def ranges_on(
    network: ModelProto, store: CropStore, rows: Rows, calibrate: CalibrateParams
) -> dict[str, float]:
    """Tensor -> amax on the faces ``rows``."""
    return ranges_of(collect_histograms(network, crop_batches(store, rows)), calibrate)


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One row of ``recovery.json``.

    Attributes:
        px: rendering -> mean distance of its points to FP32's, pixels of the 80x80 crop.
        held: whether all are within the budget.
        kept: whether it is part of what is rendered.
        did: what it changed, in words.
    """

    name: str
    px: dict[str, float]
    held: bool
    kept: bool
    did: str


def recovery_inputs(
    network: ModelProto,
    network_cpu: ModelProto,
    about: NetDescription,
    store: CropStore,
    rows: tuple[Rows, Rows],
    calibrate: CalibrateParams,
) -> RecoveryInputs:
    """Evidence from the faces ``rows``: to calibrate on, and others."""
    images = store.images(rows[1])
    points, _ = predict_all(_predict(network), images, _BATCH)
    return RecoveryInputs(network, network_cpu, about, store, *rows, images, points, calibrate)


def predicted_points(
    made: Quantisation, evidence: RecoveryInputs
) -> dict[str, NDArray[np.float32]]:
    """Rendering -> (N, K, 2) its points of the other faces."""
    network, network_cpu = (
        with_weights(one, made.weights) for one in (evidence.network, evidence.network_cpu)
    )
    rendered = {
        "int8": render_qdq(network, made.amax, made.single),
        "int8_cpu": render_cpu(network_cpu, made.amax, made.single),
    }
    return {
        name: predict_all(_predict(model), evidence.images, _BATCH)[0]
        for name, model in rendered.items()
    }


def moved_px(made: Quantisation, evidence: RecoveryInputs) -> dict[str, float]:
    """How far the points of each rendering lie from FP32's, mean in pixels of the crop."""
    found = predicted_points(made, evidence)
    return {name: mean_distance(points, evidence.points) for name, points in found.items()}


def escalate(
    start: Quantisation, evidence: RecoveryInputs
) -> tuple[Quantisation, list[RecoveryStep]]:
    """Apply the steps in order until the budget holds, or there is no step left."""
    recovery = evidence.calibrate.recovery
    made, px = start, moved_px(start, evidence)
    held = max(px.values()) <= recovery.budget_px
    steps = [RecoveryStep("ranges", px, held, True, f"ranges by {evidence.calibrate.method}")]
    for name in recovery.steps:
        if held:
            break
        candidate, did = RECOVERY_STEPS[name](made, evidence)
        px = moved_px(candidate, evidence)
        kept = max(px.values()) < max(_last_kept(steps).px.values())
        held = kept and max(px.values()) <= recovery.budget_px
        steps.append(RecoveryStep(name, px, held, kept, did))
        if kept:
            made = candidate
    return made, steps


def _last_kept(steps: list[RecoveryStep]) -> RecoveryStep:
    return [step for step in steps if step.kept][-1]


def exclude(made: Quantisation, evidence: RecoveryInputs) -> tuple[Quantisation, str]:
    """Keep in floating point the layers that alone move the points farthest, until it holds."""
    recovery = evidence.calibrate.recovery
    network = with_weights(evidence.network, made.weights)
    layers = _layers(network, made)
    images, points = evidence.images[:_FACES_A_LAYER], evidence.points[:_FACES_A_LAYER]
    alone = {
        name: mean_distance(
            predict_all(_predict(_only(network, name, layers, made)), images, _BATCH)[0], points
        )
        for name in layers
    }
    worst = sorted(layers, key=lambda name: -alone[name])[: recovery.exclude]
    best = made
    for count in range(1, len(worst) + 1):
        best = replace(made, single=(*made.single, *worst[:count]))
        if max(moved_px(best, evidence).values()) <= recovery.budget_px:
            break
    left = [name for name in best.single if name not in made.single]
    return best, "in floating point: " + ", ".join(
        f"{layers[name]} ({alone[name]:.3f} px alone)" for name in left
    )


def correct_biases(made: Quantisation, evidence: RecoveryInputs) -> tuple[Quantisation, str]:
    """Give every channel the mean that it has in FP32."""
    changed = corrected_biases(
        with_weights(evidence.network, made.weights), made.amax, made.single, _some(evidence)
    )
    return replace(made, weights=made.weights | changed), f"{len(changed)} biases"


def equalise(made: Quantisation, evidence: RecoveryInputs) -> tuple[Quantisation, str]:
    """Give the channels of each activation like ranges, and take the ranges anew."""
    changed = equalised(with_weights(evidence.network, made.weights), _some(evidence))
    weights = made.weights | changed
    return replace(made, weights=weights, amax=_ranges(evidence, weights)), (
        f"{len(changed)} weights and biases"
    )


def train(made: Quantisation, evidence: RecoveryInputs) -> tuple[Quantisation, str]:
    """Train with the rounding in the forward pass, taught by the FP32 net; ranges anew."""
    from fpenet.model.qat import net_with, train_quantised

    recovery, about = evidence.calibrate.recovery, evidence.about
    network = with_weights(evidence.network, made.weights)
    net = net_with(about.net, about.num_keypoints, weights_of(network))
    reads = {node.output[0]: node.input[0] for node in network.graph.node}
    amax = final_ranges(network, made.amax, made.single)
    ranges = {path: amax[reads[name]] for name, path in _layers(network, made).items()}
    rows = np.setdiff1d(evidence.store.rows("train"), evidence.others)
    weights = train_quantised(
        net,
        ranges,
        evidence.store,
        rows,
        recovery.epochs,
        recovery.learning_rate,
        evidence.calibrate.seed,
    )
    return replace(made, weights=weights, amax=_ranges(evidence, weights)), (
        f"{recovery.epochs} epochs of {len(rows)} faces"
    )


def _layers(network: ModelProto, made: Quantisation) -> dict[str, str]:
    """What each convolution gives that is in INT8 -> path of the layer in the net."""
    heatmaps = heatmap_convolution(network).output[0]
    return {
        node.output[0]: node.input[1].removesuffix(".weight")
        for node in body_nodes(network)
        if node.op_type in CONVOLUTIONS and node.output[0] not in (heatmaps, *made.single)
    }


def _only(
    network: ModelProto, name: str, layers: Collection[str], made: Quantisation
) -> ModelProto:
    """The network with one layer in INT8."""
    others = [other for other in layers if other != name]
    return render_qdq(network, made.amax, [*made.single, *others])


def _ranges(evidence: RecoveryInputs, weights: dict[str, NDArray[np.float32]]) -> dict[str, float]:
    network = with_weights(evidence.network, weights)
    return ranges_on(network, evidence.store, evidence.calibration, evidence.calibrate)


def _some(evidence: RecoveryInputs) -> NDArray[np.float32]:
    rows = evidence.calibration
    rows = rows[:: max(1, len(rows) // _FACES_A_LAYER)][:_FACES_A_LAYER]
    return evidence.store.images(rows).astype(np.float32)


def _predict(model: ModelProto) -> Predict:
    return load_engine(model.SerializeToString(), "a rendering of the recovery steps")


def mean_distance(points: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Mean over labelled points, in their pixels; infinite where one is no number."""
    if not np.isfinite(points).all():
        return float("inf")
    return float(np.nanmean(distances(points, others)))


RECOVERY_STEPS: dict[
    RecoveryStepName, Callable[[Quantisation, RecoveryInputs], tuple[Quantisation, str]]
] = {
    "exclude": exclude,
    "correct_biases": correct_biases,
    "equalise": equalise,
    "train": train,
}
