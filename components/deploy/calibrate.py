"""Stage calibrate: ranges of all activations on training faces, rendered for every INT8 runtime.

Input: crop and export folders. Does: draws training crops spread over pose and light, collects
activations through Polygraphy (which needs no TensorRT here) into streaming histograms. Output:
``ranges.json`` (one target-neutral table), ``opset<NN>/int8.onnx`` and ``int8_cpu.onnx`` (Q/DQ, see
``quantise``), a calibration cache for each TensorRT version that takes one, and the faces used.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from components.data.crop_store import CropStore, Rows, open_crops
from components.deploy.histogram import METHODS, Histogram
from components.deploy.network import float_activations, read_network, set_metadata
from components.deploy.onnx_file import INPUT
from components.deploy.quantise import quantised_tensors, render_cache, render_qdq
from components.deploy.quantise_cpu import render_cpu
from components.deploy.targets import TARGETS, cache_name, tensorrt_number
from components.params import CalibrateParams
from components.progress import report
from components.provenance.digest import digest_bytes, digest_file

BATCH = 8
STRATA = ("yaw", "yaw_proxy", "illumination")
"""Attributes over which the faces are spread, where the data set has them."""


def draw_faces(store: CropStore, count: int, seed: int) -> Rows:
    """At most ``count`` training faces, as evenly as can be over the strata; the same every time.

    A number falls in its fifth of the training faces, a word in itself.

    Raises:
        ValueError: there is no training face, or those drawn have no contrast.
    """
    rows = store.rows("train")
    if len(rows) == 0:
        raise ValueError(f"no face in part 'train' to calibrate on; parts: {store.parts}")
    keys = zip(*(_strata(store.attribute(name, rows)) for name in STRATA), strict=True)
    strata: dict[tuple[str, ...], list[int]] = {}
    for row, key in zip(rows.tolist(), keys, strict=True):
        strata.setdefault(key, []).append(row)
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(strata[key]).tolist() for key in sorted(strata)]
    drawn: list[int] = []
    for turn in range(max(map(len, shuffled))):
        drawn += rng.permutation([one[turn] for one in shuffled if turn < len(one)]).tolist()
    chosen = np.array(sorted(drawn[:count]))
    contrast = float(store.images(chosen).std())
    if contrast < 1.0:
        raise ValueError(
            f"the {len(chosen)} calibration faces have a contrast of {contrast:.2f} grey levels;"
            " they are not faces"
        )
    return chosen


def _strata(values: list[str | float | None]) -> list[str]:
    numbers = [value for value in values if isinstance(value, (int, float))]
    if not numbers:
        return [str(value) for value in values]
    edges = np.quantile(numbers, [0.2, 0.4, 0.6, 0.8])
    return [
        str(np.searchsorted(edges, value)) if isinstance(value, (int, float)) else "none"
        for value in values
    ]


def crop_batches(store: CropStore, rows: Rows) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The faces as the network takes them, with progress."""
    for start in range(0, len(rows), BATCH):
        yield {INPUT: store.images(rows[start : start + BATCH]).astype(np.float32)}
        report(min(start + BATCH, len(rows)), len(rows), "faces")


def collect_histograms(
    model: ModelProto, batches: Iterable[Mapping[str, NDArray[np.float32]]]
) -> dict[str, Histogram]:
    """A histogram of every float tensor of the network over all ``batches``.

    Raises:
        ValueError: no batch came, or a tensor has a value that is not finite.
    """
    from polygraphy.backend.onnx import BytesFromOnnx, modify_outputs
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.constants import MARK_ALL
    from polygraphy.logger import G_LOGGER

    histograms = {name: Histogram() for name in float_activations(model)}
    copy = ModelProto()
    copy.CopyFrom(model)
    count = 0
    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        marked = modify_outputs(copy, outputs=MARK_ALL)
        with OnnxrtRunner(SessionFromOnnx(BytesFromOnnx(marked))) as runner:
            for batch in batches:
                found = dict(runner.infer(dict(batch))) | dict(batch)
                for name, histogram in histograms.items():
                    try:
                        histogram.add(found[name])
                    except ValueError as error:
                        raise ValueError(f"tensor {name}, batch {count + 1}: {error}") from None
                count += 1
    if count == 0:
        raise ValueError(
            "calibration saw no batch: there is no face, or the batches were a generator that was"
            " used before"
        )
    return histograms


def ranges_of(histograms: Mapping[str, Histogram], calibrate: CalibrateParams) -> dict[str, float]:
    """Tensor -> amax by ``calibrate.method``."""
    method = METHODS[calibrate.method]
    return {name: method(histogram, calibrate) for name, histogram in histograms.items()}


def calibrate_ranges(
    *, crop_dir: Path, export_dir: Path, calibrate: CalibrateParams, out_dir: Path
) -> dict[str, Any]:
    """Write the table and all that is rendered from it.

    Raises:
        ValueError: no usable face, a degenerate range, or networks that differ between opsets.
    """
    networks = {
        int(folder.name.removeprefix("opset")): read_network(folder / "fp32.onnx")
        for folder in sorted(export_dir.glob("opset*"))
    }
    if not networks:
        raise ValueError(f"{export_dir}: no opset*/fp32.onnx; export.opsets is empty")
    store = open_crops(crop_dir)
    rows = draw_faces(store, calibrate.faces, calibrate.seed)
    _write_faces(store, rows, out_dir / "calibration_faces.csv")
    newest = max(networks)
    amax = ranges_of(collect_histograms(networks[newest], crop_batches(store, rows)), calibrate)
    table = {
        "method": calibrate.method,
        "percentile": calibrate.percentile if calibrate.method == "percentile" else None,
        "faces": len(rows),
        "network_sha256": digest_file(export_dir / f"opset{newest}" / "fp32.onnx"),
        "amax": amax,
    }
    text = json.dumps(table, indent=1, allow_nan=False)
    (out_dir / "ranges.json").write_text(text + "\n", encoding="utf-8")
    for opset, model in networks.items():
        (out_dir / f"opset{opset}").mkdir()
        for name, source, render in (
            ("int8", model, render_qdq),
            ("int8_cpu", read_network(export_dir / f"opset{opset}" / "fp32_cpu.onnx"), render_cpu),
        ):
            quantised = render(source, amax)
            set_metadata(quantised, {"precision": "int8", "calibration": calibrate.method})
            data = quantised.SerializeToString(deterministic=True)
            (out_dir / f"opset{opset}" / f"{name}.onnx").write_bytes(data)
    (out_dir / "calibration").mkdir()
    caches = []
    for target in TARGETS.values():
        version, model_ = target.runtime_version, networks.get(target.opset)
        if target.takes_cache and version is not None and model_ is not None:
            caches.append(cache_name(version, target.opset))
            text = render_cache(model_, amax, tensorrt_number(version))
            (out_dir / caches[-1]).write_text(text, encoding="utf-8")
    return {
        "method": calibrate.method,
        "faces": len(rows),
        "tensors": len(amax),
        "quantised_tensors": len(quantised_tensors(networks[newest])),
        "opsets": sorted(networks),
        "caches": sorted(set(caches)),
    }


def _write_faces(store: CropStore, rows: Rows, path: Path) -> None:
    """Which faces were used: row, image, SHA-256 of the 80x80 crop's bytes."""
    names = store.table["image"].to_pylist()
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["row", "image", "crop_sha256"])
        for row, crop in zip(rows.tolist(), store.images(rows), strict=True):
            lines.writerow([row, names[row], digest_bytes(crop.tobytes())])
