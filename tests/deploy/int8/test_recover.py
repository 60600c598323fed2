"""The recovery steps on a net that INT8 hurts: one channel's range dwarfs all others'."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from fpenet.data.crops.store import open_crops
from fpenet.deploy.engines.onnxruntime_engine import load_engine
from fpenet.deploy.int8.calibrate import RECOVERY, RecoveryTable, calibrate_ranges
from fpenet.deploy.int8.calibration_cache import read_cache
from fpenet.deploy.int8.quantise import render_cache, render_qdq
from fpenet.deploy.int8.quantise_cpu import render_cpu
from fpenet.deploy.int8.recover import (
    RECOVERY_STEPS,
    Quantisation,
    RecoveryInputs,
    escalate,
    mean_distance,
    moved_px,
    ranges_on,
    recovery_inputs,
)
from fpenet.deploy.int8.recover_weights import channel_means, corrected_biases, equalised
from fpenet.deploy.onnx.network import read_network, weights_of, with_weights
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import Recombinator
from fpenet.model.qat import net_with, quantised, train_quantised
from fpenet.params import Params, RecoveryStepName

Escalate = Callable[..., RecoveryInputs]
ABOUT = NetDescription("small", 68)


def outlier(model: ModelProto) -> dict[str, NDArray[np.float32]]:
    """Weights that give the same points through a channel of encoder.2 that is 3,000 times larger.

    Only trunk.0 and, behind the join, decoder.0 (its channels 80 on) read it.
    """
    weights = weights_of(model)
    names = ("encoder.2.0.weight", "encoder.2.0.bias", "trunk.0.0.weight", "decoder.0.0.0.weight")
    changed = {name: weights[name].copy() for name in names}
    largest = 3000.0
    changed["encoder.2.0.weight"][7] *= largest
    changed["encoder.2.0.bias"][7] *= largest
    changed["trunk.0.0.weight"][:, 7] /= largest
    changed["decoder.0.0.0.weight"][:, 80 + 7] /= largest
    return changed


@pytest.fixture
def hurt(stages: SimpleNamespace, params: Params) -> Escalate:
    """Evidence of the hurt net: ``hurt(budget_px, *steps)``."""
    networks = [
        read_network(stages.export / "opset17" / f"{name}.onnx") for name in ("fp32", "fp32_cpu")
    ]
    networks = [with_weights(one, outlier(networks[0])) for one in networks]
    rows = np.arange(6)

    def make(budget_px: float, *steps: RecoveryStepName) -> RecoveryInputs:
        recovery = params.calibrate.recovery.model_copy(
            update={"budget_px": budget_px, "steps": steps}
        )
        calibrate = params.calibrate.model_copy(update={"recovery": recovery, "method": "minmax"})
        store = open_crops(stages.crop)
        return recovery_inputs(networks[0], networks[1], ABOUT, store, (rows, rows), calibrate)

    return make


def ranges(evidence: RecoveryInputs) -> Quantisation:
    return Quantisation(
        ranges_on(evidence.network, evidence.store, evidence.calibration, evidence.calibrate)
    )


def test_a_budget_that_holds_needs_no_step(hurt: Escalate) -> None:
    evidence = hurt(100.0, "exclude", "equalise")
    made, steps = escalate(ranges(evidence), evidence)
    assert [(step.name, step.held, step.kept) for step in steps] == [("ranges", True, True)]
    assert not made.weights
    assert not made.single


def test_equalising_gives_back_what_one_channel_took(hurt: Escalate) -> None:
    evidence = hurt(1e-6, "equalise")
    made, (first, second) = escalate(ranges(evidence), evidence)
    assert second.kept
    assert not second.held
    for name in ("int8", "int8_cpu"):
        assert second.px[name] < 0.7 * first.px[name]
    # In FP32 the points have not moved at all.
    images = evidence.images
    points, _ = load_engine(
        with_weights(evidence.network, made.weights).SerializeToString(), "equalised"
    )(images)
    assert mean_distance(points, evidence.points) < 1e-3


def test_a_channel_s_range_is_set_against_the_weights_that_read_it(hurt: Escalate) -> None:
    evidence = hurt(1.0)
    images = evidence.store.images(np.arange(6)).astype(np.float32)
    changed = equalised(evidence.network, images)
    before, after = weights_of(evidence.network), weights_of(evidence.network) | changed

    def spread(weights: dict[str, NDArray[np.float32]]) -> float:
        read = np.abs(weights["trunk.0.0.weight"]).max(axis=(0, 2, 3))
        return float(read.max() / read[7])

    assert spread(before) > 1000
    assert spread(after) < 100
    assert not {"heatmaps.weight", "heatmaps.bias", "head.0.weight"} & set(changed) - {
        "head.0.weight"  # what it reads was divided; what it gives is not
    }


def test_the_layers_that_alone_move_the_points_farthest_stay_in_single(hurt: Escalate) -> None:
    evidence = hurt(1e-6, "exclude")
    made, (first, second) = escalate(ranges(evidence), evidence)
    assert len(made.single) == evidence.calibrate.recovery.exclude == 3
    assert max(second.px.values()) < max(first.px.values())
    assert "px alone" in second.did
    # Their weights are FP32 in both renderings, and no cache names what they give.
    for network, render in ((evidence.network, render_qdq), (evidence.network_cpu, render_cpu)):
        model = render(network, made.amax, made.single)
        kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        found = {
            node.output[0]: kinds.get(node.input[1])
            for node in model.graph.node
            if node.op_type == "Conv"
        }
        assert all(found[name] == TensorProto.FLOAT for name in made.single)
    _, scales = read_cache(render_cache(evidence.network, made.amax, 8502, made.single))
    assert not set(scales) & set(made.single)
    assert len(scales) > 20


def test_excluding_stops_as_soon_as_the_budget_holds(hurt: Escalate) -> None:
    evidence = hurt(1.0)
    start = ranges(evidence)
    one = RECOVERY_STEPS["exclude"](
        start, dataclasses.replace(evidence, calibrate=hurt(1e9).calibrate)
    )[0]
    assert len(one.single) == 1


def test_corrected_biases_give_the_channels_their_means(hurt: Escalate) -> None:
    evidence = hurt(1.0)
    start = ranges(evidence)
    images = evidence.store.images(np.arange(6)).astype(np.float32)
    network = evidence.network
    changed = corrected_biases(network, start.amax, (), images)
    assert set(changed) <= {name for name in weights_of(network) if name.endswith(".bias")}
    assert "heatmaps.bias" not in changed
    names = [n.output[0] for n in network.graph.node if n.op_type == "Conv"][:-1]
    wanted = channel_means(network, names, images)

    def off(weights: dict[str, NDArray[np.float32]]) -> float:
        rendered = render_qdq(with_weights(network, weights), start.amax)
        found = channel_means(rendered, names, images)
        return max(float(np.abs(found[n] - wanted[n]).max() / wanted[n].std()) for n in names)

    # What ONNX Runtime fuses, and so rounds, depends on what is asked for: not to the last digit.
    assert off(changed) < 0.2 * off({})


def test_the_net_that_is_trained_rounds_as_the_rendering_does(hurt: Escalate) -> None:
    evidence = hurt(1.0)
    start = ranges(evidence)
    student = quantised(net_of(evidence.network), paths(evidence, start))
    with torch.inference_mode():
        points = student(torch.from_numpy(evidence.images).float())[0].numpy()
    rendered, _ = load_engine(
        render_qdq(evidence.network, start.amax).SerializeToString(), "rendered"
    )(evidence.images)
    lost = mean_distance(rendered, evidence.points)
    # The rendering rounds what is joined once more, and ONNX Runtime the biases.
    assert mean_distance(points, rendered) < 0.5 * lost


def test_training_with_the_rounding_brings_the_points_nearer_to_fp32_s(hurt: Escalate) -> None:
    evidence = hurt(1.0)
    start = ranges(evidence)
    torch.manual_seed(0)
    weights = train_quantised(
        net_of(evidence.network),
        paths(evidence, start),
        evidence.store,
        np.arange(6),
        epochs=12,
        learning_rate=1e-3,
        seed=0,
    )
    assert not any(name.startswith("heatmaps") for name in weights)
    trained = dataclasses.replace(start, weights=weights)
    assert moved_px(trained, evidence)["int8"] < moved_px(start, evidence)["int8"]


def test_a_rung_that_makes_it_worse_is_told_and_not_kept(
    hurt: Escalate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(made: Quantisation, evidence: RecoveryInputs) -> tuple[Quantisation, str]:
        return dataclasses.replace(made, amax={n: v * 50 for n, v in made.amax.items()}), "worse"

    monkeypatch.setitem(RECOVERY_STEPS, "equalise", worse)
    evidence = hurt(1e-6, "equalise")
    start = ranges(evidence)
    made, steps = escalate(start, evidence)
    assert [step.kept for step in steps] == [True, False]
    assert made is start


def test_the_stage_keeps_each_step_and_what_other_draws_give(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    recovery = params.calibrate.recovery.model_copy(
        update={"budget_px": 1e-6, "steps": ("exclude", "correct_biases", "equalise", "train")}
    )
    summary = calibrate_ranges(
        crop_dir=stages.crop,
        export_dir=stages.export,
        calibrate=params.calibrate.model_copy(update={"recovery": recovery}),
        out_dir=tmp_path,
    )
    found = RecoveryTable.read(tmp_path / RECOVERY)
    names = [step.name for step in found.steps]
    assert names == ["ranges", "exclude", "correct_biases", "equalise", "train"]
    assert not any(step.held for step in found.steps)
    assert summary["held"] is False
    assert [draw.seed for draw in found.draws] == [35, 1035]
    assert set(found.spread_px) == {"int8", "int8_cpu"}
    for name in names:
        assert f"| {name} |" in (tmp_path / "recovery.md").read_text()
    kept = [step.name for step in found.steps if step.kept]
    model = read_network(tmp_path / "opset17" / "int8_cpu.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["recovery"] == ", ".join(kept)
    # What cache-built engines are built from is the network that the ranges belong to.
    assert (
        said["network_sha256"]
        == json.loads((tmp_path / "ranges.json").read_text())["network_sha256"]["opset17"]
    )


def net_of(model: ModelProto) -> Recombinator:
    return net_with("small", 68, weights_of(model))


def paths(evidence: RecoveryInputs, made: Quantisation) -> dict[str, float]:
    """Layer -> range of what it reads, but the heat maps'."""
    from fpenet.deploy.int8.quantise import final_ranges

    amax = final_ranges(evidence.network, made.amax)
    return {
        node.input[1].removesuffix(".weight"): amax[node.input[0]]
        for node in evidence.network.graph.node
        if node.op_type == "Conv" and not node.input[1].startswith("heatmaps")
    }
