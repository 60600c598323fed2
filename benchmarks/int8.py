"""What INT8 costs and what it gives: error and speed of a trained net beside FP32, on one CPU core.

The net goes through the stages export and calibrate. Error is the NME by the square root of the
face box's area on the judged part: FP32, INT8 as the CPU runs it and as
TensorRT does, each with the 95 % interval of its relative loss by a bootstrap of people; and with
the heat maps in INT8 as well, which releases keep in floating point. Ranges by all methods stand
beside each other. Speed: FP32 and INT8 are timed in turn, in rounds, so that
other work on the machine hits both alike; a ratio of medians.

    python -m benchmarks.int8 [--train FOLDER --crop FOLDER] [--rounds 9] [--budget-px 0.15]
        [--save]

Without folders: ``small`` on the embedded faces, trained for one epoch, which times it and no more.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from benchmarks.result_file import run_benchmark
from benchmarks.training import embedded_crops
from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.benchmark.benchmark import time_calls
from fpenet.deploy.engines.onnxruntime_engine import load_engine, open_engine
from fpenet.deploy.int8.calibrate import calibrate_ranges
from fpenet.deploy.int8.calibration_faces import crop_batches, draw_faces
from fpenet.deploy.int8.histogram import Histogram, collect_histograms, ranges_of
from fpenet.deploy.int8.quantise import Rendering, reading_levels, scale_of
from fpenet.deploy.int8.quantise_cpu import render_cpu
from fpenet.deploy.onnx.export import export_onnx
from fpenet.deploy.onnx.network import heatmap_convolution, read_network
from fpenet.kpi.metrics import face_errors, nme
from fpenet.kpi.predictions import Predict, predict_all
from fpenet.model.train import train_net
from fpenet.params import CalibrateParams, CalibrationMethod, load_params

MEASURES = (
    "fpenet.deploy.onnx.export",
    "fpenet.deploy.int8.calibrate",
    "fpenet.deploy.engines.onnxruntime_engine",
)
_CALLS = 200
_RESAMPLES = 2000


def nme_of_faces(predict: Predict, store: CropStore) -> NDArray[np.float64]:
    """(N,) NME of each judged face, all labelled points."""
    rows = store.rows(store.judged_part)
    points, _ = predict_all(predict, store.images(rows), 32)
    found = face_errors(store, rows, points)
    return nme(found.errors, ~np.isnan(found.errors), found.headline[1]).astype(np.float64)


def loss(
    errors: NDArray[np.float64], before: NDArray[np.float64], people: NDArray[np.str_]
) -> tuple[float, float, float]:
    """Relative change of the mean error, and its 95 % interval by a bootstrap of people."""
    both = np.isfinite(errors) & np.isfinite(before)
    names, person = np.unique(people[both], return_inverse=True)
    sums = np.stack([np.bincount(person, one[both], len(names)) for one in (errors, before)])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(names), (_RESAMPLES, len(names)))
    ratios = sums[0][drawn].sum(axis=1) / sums[1][drawn].sum(axis=1) - 1
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(sums[0].sum() / sums[1].sum() - 1), float(low), float(high)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--crop", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget-px", type=float)
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Quantise, judge and time; print the tables."""
    overrides: dict[str, object] = {"export.opsets": [17], "train.epochs": 1}
    if options.budget_px is not None:
        overrides["calibrate.recovery.budget_px"] = options.budget_px
    params = load_params(Path("params.yaml"), None, overrides)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("train", "export", "calibrate")}
        for folder in folders.values():
            folder.mkdir()
        if options.train is None:
            store = embedded_crops(params)
            crop_dir = Path(str(store.crops.filename)).parent  # type: ignore[attr-defined]
            train_net(crop_dir=crop_dir, train=params.train, out_dir=folders["train"])
        else:
            folders["train"], crop_dir = options.train, options.crop
        export_onnx(train_dir=folders["train"], export=params.export, out_dir=folders["export"])
        calibrate_ranges(
            crop_dir=crop_dir,
            export_dir=folders["export"],
            calibrate=params.calibrate,
            out_dir=folders["calibrate"],
        )
        print((folders["calibrate"] / "recovery.md").read_text(encoding="utf-8"))
        exported, made = (folders[name] / "opset17" for name in ("export", "calibrate"))
        networks = {
            "FP32": exported / "fp32_cpu.onnx",
            "INT8, CPU": made / "int8_cpu.onnx",
            "INT8, TensorRT's levels": made / "int8.onnx",
        }
        store = open_crops(crop_dir)
        histograms = collected(exported, store, params.calibrate)
        engines: dict[str, Predict] = {name: open_engine(path) for name, path in networks.items()}
        network = heat_maps_too(read_network(made / "int8.onnx"), histograms, params.calibrate)
        engines["and its heat maps"] = load_engine(network.SerializeToString(), "heat maps")
        print_errors(engines, store)
        print_errors(by_method(exported, histograms, params.calibrate), store)
        print_speed(networks["FP32"], networks["INT8, CPU"], store, options.rounds)


def collected(exported: Path, store: CropStore, calibrate: CalibrateParams) -> dict[str, Histogram]:
    """Of each tensor, on the calibration faces."""
    rows = draw_faces(store, calibrate.faces, calibrate.seed)
    return collect_histograms(read_network(exported / "fp32.onnx"), crop_batches(store, rows))


def heat_maps_too(
    model: ModelProto, histograms: Mapping[str, Histogram], calibrate: CalibrateParams
) -> ModelProto:
    """The Q/DQ network with the layer of the heat maps and its result in INT8 as well."""
    name = heatmap_convolution(model).output[0]
    step = scale_of(ranges_of(histograms, calibrate)[name])
    rendering = Rendering({tensor.name: tensor for tensor in model.graph.initializer})
    for original in model.graph.node:
        node = reading_levels(original, [name])
        if name in node.output:
            rendering.quantise_weight(node)
        rendering.nodes.append(node)
        if name in node.output:
            rendering.quantise(name, step, np.int8(0))
            rendering.dequantise(name, step, np.int8(0))
    return rendering.finished(model)


def by_method(
    exported: Path, histograms: Mapping[str, Histogram], calibrate: CalibrateParams
) -> dict[str, Predict]:
    """FP32, and INT8 for the CPU with the ranges of each method, from the same histograms."""
    network = read_network(exported / "fp32_cpu.onnx")
    found = {"FP32": load_engine(network.SerializeToString(), "FP32")}
    for method in get_args(CalibrationMethod):
        amax = ranges_of(histograms, calibrate.model_copy(update={"method": method}))
        found[method] = load_engine(render_cpu(network, amax).SerializeToString(), method)
    return found


def print_errors(networks: dict[str, Predict], store: CropStore) -> None:
    """NME of each, and how much more than the first's it is."""
    rows = store.rows(store.judged_part)
    people = np.array(store.subjects(rows))
    print(f"{len(rows)} faces of {len(set(people))} people, part {store.judged_part}\n")
    print("| network | NME | relative loss | 95 % interval |\n|---|---|---|---|")
    first: NDArray[np.float64] | None = None
    for name, predict in networks.items():
        errors = nme_of_faces(predict, store)
        first = errors if first is None else first
        lost, low, high = loss(errors, first, people)
        print(f"| {name} | {np.nanmean(errors):.4%} | {lost:+.2%} | {low:+.2%} to {high:+.2%} |")
    print()


def print_speed(fp32: Path, int8: Path, store: CropStore, rounds: int) -> None:
    """Median time of a face and the ratio of the two, batch 1 and 32, one thread."""
    engines = [open_engine(path, threads=1) for path in (fp32, int8)]
    faces = store.images(store.rows(store.judged_part)[:256])
    print("| batch | FP32, ms | INT8, ms | FP32 / INT8 | of each round |\n|---|---|---|---|---|")
    for batch, calls in ((1, _CALLS), (32, _CALLS // 10)):
        times = [
            [statistics.median(time_calls(one, faces, batch, 5, calls)) for one in engines]
            for _ in range(rounds)
        ]
        ratios = sorted(a / b for a, b in times)
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        print(
            f"| {batch} | {medians[0]:.3f} | {medians[1]:.3f} | {medians[0] / medians[1]:.2f}"
            f" | {ratios[0]:.2f} to {ratios[-1]:.2f} |"
        )


if __name__ == "__main__":
    main()
