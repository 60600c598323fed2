"""INT8 on one CPU core beside what the core can do, and beside dlib's 68-point predictor.

Speed, in one run, one thread, in turn, in rounds: ``nano`` and ``base`` in INT8, each beside an
INT8 matrix product of as many multiply-accumulates (the faster of two shapes, ONNX Runtime's), and
``nano`` beside dlib's shape predictor. Ratios are medians of the rounds' own ratios.

Error: NME by the square root of the face box's area on the judged part, from the source pictures.
Both start from dlib's own detection of the face, and where it finds none from the label's box on
dlib's scale; ours stands there from the label's box too, as training had it. Raw, and with each
one's mean offset per point removed, fitted on faces of ``train``: what remains is not a matter of
labelling convention.

dlib's model was trained on 300-W, whose licence (iBUG) excludes commercial use: it is measured
against, and in the extra ``bench`` alone.

    python -m benchmarks.cpu_bars [--train FOLDER --crop FOLDER] [--rounds 15] [--save]

Without folders: ``nano`` on the embedded faces, trained for one epoch, which times it and no more.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import files, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.int8 import loss
from benchmarks.nets import multiply_accumulates, networks
from benchmarks.result_file import run_benchmark
from benchmarks.training import embedded_crops
from fpenet.data.crops.geometry import cut, face_crop_box
from fpenet.data.crops.store import CropStore, Rows, open_crops
from fpenet.data.images import read_grey
from fpenet.data.sample import points_of, read_table
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.int8.calibrate import calibrate_ranges
from fpenet.deploy.onnx.export import export_onnx
from fpenet.deploy.runtime.face_detection import TIGHT_DOWN, FaceBox, tight_box
from fpenet.kpi.metrics import nme, point_errors
from fpenet.kpi.predictions import Predict, predict_all
from fpenet.model.checkpoint import fold, load_net
from fpenet.model.nets.recombinator import build_net
from fpenet.model.train import train_net
from fpenet.params import load_params

MEASURES = (
    "fpenet.model.nets.recombinator",
    "fpenet.deploy.onnx.export",
    "fpenet.deploy.int8.calibrate",
    "fpenet.deploy.engines.onnxruntime_engine",
    "fpenet.data.crops.geometry",
)
_CALLS = 40
_FIT = 600
_BARS = {"nano": 1.5, "base": 2.0}
_SHAPES = ((512, 512), (576, 64))  # columns of the left matrix, of the right one

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Source:
    """Source pictures and labels of some faces, image pixels."""

    pictures: list[NDArray[np.uint8]]
    boxes: list[FaceBox]
    labels: Points


def matrix_product(columns: int, width: int, macs: int) -> Callable[[], object]:
    """An INT8 product (rows, columns) x (columns, width) of ``macs``, one thread."""
    rows = max(1, round(macs / (columns * width)))
    rng = np.random.default_rng(0)
    right = rng.integers(-127, 127, (columns, width), np.int8)
    node = helper.make_node("MatMulInteger", ["left", "right"], ["product"])
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.UINT8, [rows, columns])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [rows, width])],
        [onnx.numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    left = rng.integers(0, 255, (rows, columns), np.uint8)
    return lambda: session.run(None, {"left": left})


def median_ms(call: Callable[[], object]) -> float:
    """Of one call."""
    times = []
    for _ in range(_CALLS):
        before = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - before)
    return statistics.median(times) / 1e6


def print_speed(
    calls: Mapping[str, Callable[[], object]], macs: Mapping[str, int], rounds: int
) -> None:
    """Both tables of speed: beside the matrix product, and beside dlib."""
    for call in calls.values():
        median_ms(call)
    found = [{name: median_ms(call) for name, call in calls.items()} for _ in range(rounds)]

    def row(name: str, others: Sequence[str], bar: float) -> str:
        ratios = sorted(each[name] / min(each[other] for other in others) for each in found)
        ratio = statistics.median(ratios)
        mine = statistics.median(each[name] for each in found)
        theirs = statistics.median(min(each[other] for other in others) for each in found)
        return (
            f"{mine:.3f} | {theirs:.3f} | {ratio:.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f}"
            f" | {bar:g} | {'met' if ratio <= bar else 'MISSED'} |"
        )

    print(f"One thread, batch 1, {rounds} rounds of {_CALLS} calls in turn; milliseconds\n")
    print("| net, INT8 | GMAC | net | matrix product | ratio | of each round | bar | |")
    print("|---" * 8 + "|")
    for name, bar in _BARS.items():
        products = [f"{name} {columns}x{width}" for columns, width in _SHAPES]
        print(f"| {name} | {macs[name] / 1e9:.3f} | {row(name, products, bar)}")
    print("\n| nano, INT8 | nano | dlib, 68 points | ratio | of each round | bar | |")
    print("|---" * 7 + "|")
    print(f"| crop to points | {row('nano', ['dlib'], 1.0)}")
    print(f"| picture and box to points | {row('nano from picture', ['dlib'], 1.0)}\n")


def pictures_of(store: CropStore, crop_dir: Path, rows: Rows) -> Source:
    """The source of the faces ``rows``."""
    table, about = read_table(crop_dir / "faces.parquet")
    taken = table.take(rows).to_pydict()
    names = ("box_x", "box_y", "box_width", "box_height")
    return Source(
        [read_grey(Path(about["root"]) / image) for image in taken["image"]],
        list(zip(*(taken[name] for name in names), strict=True)),
        points_of(table)[rows, : store.num_keypoints].astype(np.float64),
    )


def dlib_squares(dlib: Any, source: Source) -> tuple[list[Any], int]:
    """dlib's own detection of each face, else the label's box as dlib would have it; how many."""
    detector = dlib.get_frontal_face_detector()
    squares, detected = [], 0
    for picture, (x, y, width, height) in zip(source.pictures, source.boxes, strict=True):
        side = max(width, height)
        middle = np.array([x + width / 2, y + height / 2])
        wanted = middle - [side / 2, side / 2 + TIGHT_DOWN * side]
        chosen = dlib.rectangle(*(round(v) for v in (*wanted, *(wanted + side))))
        for square in detector(picture, 1):
            center = np.array([square.center().x, square.center().y + TIGHT_DOWN * side])
            near = np.abs(center - middle).max() < side / 4
            if near and 0.6 < square.width() / side < 1.6:
                chosen, detected = square, detected + 1
                break
        squares.append(chosen)
    return squares, detected


def by_dlib(predictor: Any, source: Source, squares: Sequence[Any]) -> Points:
    """(N, 68, 2) points in the pictures."""
    shapes = [predictor(p, s) for p, s in zip(source.pictures, squares, strict=True)]
    return np.array([[(part.x, part.y) for part in shape.parts()] for shape in shapes], float)


def by_net(predict: Predict, source: Source, boxes: Sequence[FaceBox], scale: float) -> Points:
    """(N, K, 2) points in the pictures."""
    crops = [face_crop_box(box, scale) for box in boxes]
    cuts = [cut(p, c, 80)[None] for p, c in zip(source.pictures, crops, strict=True)]
    found, _ = predict_all(predict, np.stack(cuts), 32)
    return np.stack(
        [c.to_image(own.astype(np.float64)) for c, own in zip(crops, found, strict=True)]
    )


def boxes_of(squares: Sequence[Any]) -> list[FaceBox]:
    """The tight box of each detection."""
    return [tight_box(s.left(), s.top(), (s.width() + s.height()) / 2) for s in squares]


def print_errors(
    found: Mapping[str, Sequence[Points]],
    fit: Source,
    judged: Source,
    people: NDArray[np.str_],
    groups: Mapping[str, NDArray[np.bool_]],
) -> None:
    """NME of each, raw and with its mean offset removed; nano beside dlib with its interval.

    Args:
        found: points on the faces of ``fit`` and on those of ``judged``.
    """
    norm_fit, norm = (
        np.array([np.sqrt(width * height) for *_, width, height in each.boxes])
        for each in (fit, judged)
    )
    known = np.logical_and.reduce(np.isfinite(judged.labels), axis=2)
    print(f"| faces | NME | {' | '.join(found)} | nano beside dlib | 95 % interval |")
    print("|---" * (4 + len(found)) + "|")
    for words, removed in (("raw", 0.0), ("offset removed", 1.0)):
        errors = {}
        for name, (on_fit, on_judged) in found.items():
            offset = np.nanmean((on_fit - fit.labels) / norm_fit[:, None, None], axis=0)
            mended = on_judged - removed * offset * norm[:, None, None]
            errors[name] = nme(point_errors(mended, judged.labels), known, norm).astype(float)
        for group, chosen in groups.items():
            each = " | ".join(f"{np.nanmean(errors[name][chosen]):.2%}" for name in found)
            change, low, high = loss(errors["nano"][chosen], errors["dlib"][chosen], people[chosen])
            print(
                f"| {group} ({chosen.sum()}) | {words} | {each} | {change:+.0%}"
                f" | {low:+.0%} to {high:+.0%} |"
            )
    print()


def networks_of(
    train_dir: Path | None, crop_dir: Path | None, root: Path
) -> tuple[Path, dict[str, Path], dict[str, int]]:
    """The crop folder, and of ``nano`` and ``base`` the INT8 network and multiply-accumulates."""
    changes: dict[str, object] = {"export.opsets": [17], "train.epochs": 1, "train.net": "nano"}
    if train_dir is None:
        changes |= {"calibrate.faces": 16, "calibrate.method": "minmax", "calibrate.draws": 0}
    params = load_params(Path("params.yaml"), None, changes)
    for name in ("train", "export", "calibrate", "base"):
        (root / name).mkdir()
    if crop_dir is None or train_dir is None:
        store = embedded_crops(params)
        crop_dir = Path(str(store.crops.filename)).parent  # type: ignore[attr-defined]
        train_dir = root / "train"
        train_net(crop_dir=crop_dir, train=params.train, out_dir=train_dir)
    export_onnx(train_dir=train_dir, export=params.export, out_dir=root / "export")
    calibrate_ranges(
        crop_dir=crop_dir,
        export_dir=root / "export",
        calibrate=params.calibrate,
        out_dir=root / "calibrate",
    )
    nano, about = load_net(train_dir)
    keypoints = about.num_keypoints
    (root / "base" / "crop").symlink_to(crop_dir.resolve())
    torch.manual_seed(0)  # how long a face takes does not depend on the weights
    base = fold(build_net("base", keypoints, batch_norm=True), "base", keypoints)
    quick = params.calibrate.model_copy(update={"faces": 16, "method": "minmax", "draws": 0})
    quick_params = params.model_copy(update={"calibrate": quick})
    networks(base, "base", keypoints, quick_params, root / "base")
    written = "calibrate/opset17/int8_cpu.onnx"
    return (
        crop_dir,
        {"nano": root / written, "base": root / "base" / written},
        {"nano": multiply_accumulates(nano), "base": multiply_accumulates(base)},
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--crop", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Time and judge both; print the tables."""
    import dlib

    model = next(p for p in files("face-recognition-models") or [] if "68_face" in p.name)
    predictor = dlib.shape_predictor(str(model.locate()))
    with tempfile.TemporaryDirectory() as scratch:
        crop_dir, paths, macs = networks_of(options.train, options.crop, Path(scratch))
        engines = {name: open_engine(path, threads=1) for name, path in paths.items()}
    store, nano = open_crops(crop_dir), engines["nano"]
    rows = store.rows(store.judged_part)
    judged = pictures_of(store, crop_dir, rows)
    squares, detected = dlib_squares(dlib, judged)
    crops = store.images(rows)
    turn = itertools.cycle(range(len(rows)))

    def one(predict: Predict) -> Callable[[], object]:
        return lambda: predict(crops[next(turn)][None])

    def from_picture() -> object:
        face = next(turn)
        crop = face_crop_box(judged.boxes[face], store.box_scale)
        return nano(cut(judged.pictures[face], crop, 80)[None, None])

    def dlib_one() -> object:
        face = next(turn)
        return predictor(judged.pictures[face], squares[face])

    calls: dict[str, Callable[[], object]] = {name: one(engines[name]) for name in engines}
    calls |= {"nano from picture": from_picture, "dlib": dlib_one}
    for name, count in macs.items():
        calls |= {f"{name} {c}x{w}": matrix_product(c, w, count) for c, w in _SHAPES}
    print(f"ONNX Runtime {onnxruntime.__version__}, dlib {version('dlib-bin')}\n")
    print_speed(calls, macs, options.rounds)
    if options.train is None or store.num_keypoints != 68:
        return
    drawn = np.random.default_rng(0).permutation(store.rows("train"))[:_FIT]
    fit = pictures_of(store, crop_dir, np.sort(drawn))
    both = ((fit, dlib_squares(dlib, fit)[0]), (judged, squares))
    scale = store.box_scale
    found = {
        "nano": [by_net(nano, source, boxes_of(own), scale) for source, own in both],
        "nano, label's box": [by_net(nano, source, source.boxes, scale) for source, _ in both],
        "dlib": [by_dlib(predictor, source, own) for source, own in both],
    }
    yaw = np.abs(np.array(store.attribute("yaw_proxy", rows), float))
    groups = {
        "all": yaw >= 0,
        "near-frontal": yaw < 0.1,
        "between": (yaw >= 0.1) & (yaw <= 0.25),
        "profile": yaw > 0.25,
    }
    print(f"{len(rows)} faces, part {store.judged_part}; dlib detects {detected} of them\n")
    print_errors(found, fit, judged, np.array(store.subjects(rows)), groups)


if __name__ == "__main__":
    main()
