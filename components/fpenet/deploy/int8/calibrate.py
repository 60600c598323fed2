"""Stage calibrate: ranges of all activations on training faces, rendered for every INT8 runtime.

Input: crop and export folders. Does: samples training crops stratified by pose, light and
occlusion; computes the ranges of all activations on them; applies recovery steps while the points
of INT8 differ from those of FP32 by more than the budget. Output: ``ranges.json`` (one table for
all targets), ``opset<NN>/int8.onnx`` and ``int8_cpu.onnx`` (Q/DQ, see ``quantise``), ``fp32.onnx``
(the network that the table belongs to), a calibration cache for each TensorRT version that reads
one, the list of the faces, and ``recovery.json`` and ``recovery.md``: each recovery step, and the
error of INT8 with ranges of other calibration resamples.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord
from fpenet.data.crops.store import CropStore, Rows, open_crops
from fpenet.deploy.engines.targets import TARGETS, cache_name, tensorrt_number
from fpenet.deploy.int8.calibration_faces import draw_faces, write_faces
from fpenet.deploy.int8.quantise import quantised_tensors, render_cache, render_qdq
from fpenet.deploy.int8.quantise_cpu import render_cpu
from fpenet.deploy.int8.recover import (
    Quantisation,
    RecoveryInputs,
    RecoveryStep,
    escalate,
    mean_distance,
    predicted_points,
    ranges_on,
    recovery_inputs,
)
from fpenet.deploy.onnx.network import read_network, set_metadata, with_weights
from fpenet.model.nets.net_description import NET_FILE, NetDescription
from fpenet.params import CalibrateParams
from fpenet.provenance.digest import digest_bytes, digest_json

RECOVERY = "recovery.json"


@dataclass(frozen=True, slots=True)
class RecoveryDraw:
    """Ranges of one sample of the calibration faces.

    Attributes:
        moved_px, error_px: rendering -> mean distance of its points to FP32's and to the labels,
            pixels of the 80x80 crop.
    """

    seed: int
    moved_px: dict[str, float]
    error_px: dict[str, float]


@dataclass(frozen=True, slots=True)
class RecoveryTable(FileRecord):
    """``recovery.json``.

    Attributes:
        faces: number of faces that the distances are of.
        spread_px: rendering -> largest minus smallest ``error_px`` of the draws.
    """

    budget_px: float
    faces: int
    steps: tuple[RecoveryStep, ...]
    draws: tuple[RecoveryDraw, ...]
    spread_px: dict[str, float]


def calibrate_ranges(
    *, crop_dir: Path, export_dir: Path, calibrate: CalibrateParams, out_dir: Path
) -> dict[str, Any]:
    """Write the table of ranges, the networks and the calibration caches.

    Returns:
        method, counts, file names of the caches, the recovery steps that are part of the result,
        the mean distance of the points to FP32 by rendering, and whether it is within the budget.

    Raises:
        InputError: no usable face, a degenerate range, or networks that differ between opsets.
    """
    opsets = sorted(int(path.name.removeprefix("opset")) for path in export_dir.glob("opset*"))
    if not opsets:
        raise InputError(f"{export_dir}: no opset*/fp32.onnx; export.opsets is empty")
    newest = export_dir / f"opset{opsets[-1]}"
    networks = [read_network(newest / f"{name}.onnx") for name in ("fp32", "fp32_cpu")]
    about = NetDescription.read(export_dir / NET_FILE)
    store = open_crops(crop_dir)
    rows = draw_faces(store, calibrate.faces, calibrate.seed)
    write_faces(store, rows, out_dir / "calibration_faces.csv")
    evidence = recovery_inputs(
        networks[0], networks[1], about, store, (rows, _others(store, rows, calibrate)), calibrate
    )
    first = Quantisation(ranges_on(networks[0], store, rows, calibrate))
    made, steps = escalate(first, evidence)
    draws = _draws(evidence, first)
    _write_recovery(steps, draws, evidence, out_dir)

    digests = {}
    caches: list[str] = []
    (out_dir / "calibration").mkdir()
    for opset in opsets:
        folder = out_dir / f"opset{opset}"
        folder.mkdir()
        source = export_dir / folder.name
        model, model_cpu = (
            with_weights(read_network(source / f"{name}.onnx"), made.weights)
            for name in ("fp32", "fp32_cpu")
        )
        digests[folder.name] = _write_network(model, {}, folder / "fp32.onnx")
        metadata = {"precision": "int8", "calibration": calibrate.method}
        metadata["network_sha256"] = digests[folder.name]
        metadata["recovery"] = ", ".join(step.name for step in steps if step.kept)
        for name, rendered in (
            ("int8", render_qdq(model, made.amax, made.single)),
            ("int8_cpu", render_cpu(model_cpu, made.amax, made.single)),
        ):
            _write_network(rendered, metadata, folder / f"{name}.onnx")
        caches += _write_caches(model, opset, made, out_dir)
    table = {
        "method": calibrate.method,
        "percentile": calibrate.percentile if calibrate.method == "percentile" else None,
        "faces": len(rows),
        "faces_sha256": _faces_digest(store, rows),
        "network_sha256": digests,
        "single": list(made.single),
        "amax": made.amax,
    }
    _write_json(out_dir / "ranges.json", table)
    return {
        "method": calibrate.method,
        "faces": len(rows),
        "tensors": len(made.amax),
        "quantised_tensors": len(quantised_tensors(networks[0], made.single)),
        "opsets": opsets,
        "caches": sorted(set(caches)),
        "recovery": [step.name for step in steps if step.kept],
        "moved_px": [step for step in steps if step.kept][-1].px,
        "held": any(step.held for step in steps),
    }


def _others(store: CropStore, rows: Rows, calibrate: CalibrateParams) -> Rows:
    """Training faces that were not used for the ranges; all of them where none is left."""
    if len(rows) == len(store.rows("train")):
        return rows
    return draw_faces(store, calibrate.recovery.faces, calibrate.seed + 1, but=rows)


def _draws(evidence: RecoveryInputs, first: Quantisation) -> list[RecoveryDraw]:
    """INT8's distances with the ranges of several calibration resamples; the first is in use."""
    calibrate, store = evidence.calibrate, evidence.store
    labels = store.points_crop(evidence.others)
    held_out = evidence.others if len(evidence.others) < len(store.rows("train")) else ()
    draws = []
    for number in range(calibrate.draws):
        seed, made = calibrate.seed + 1000 * number, first
        if number > 0:
            rows = draw_faces(store, calibrate.faces, seed, but=held_out)
            made = Quantisation(ranges_on(evidence.network, store, rows, calibrate))
        found = predicted_points(made, evidence)
        draws.append(
            RecoveryDraw(
                seed,
                {n: mean_distance(p, evidence.points) for n, p in found.items()},
                {n: mean_distance(p, labels) for n, p in found.items()},
            )
        )
    return draws


def _write_recovery(
    steps: list[RecoveryStep], draws: list[RecoveryDraw], evidence: RecoveryInputs, out_dir: Path
) -> None:
    """Write ``recovery.json``, and its tables as ``recovery.md``."""
    budget = evidence.calibrate.recovery.budget_px
    names = list(steps[0].px)
    spread = {
        name: max(d.error_px[name] for d in draws) - min(d.error_px[name] for d in draws)
        for name in (names if draws else [])
    }
    table = RecoveryTable(budget, len(evidence.others), tuple(steps), tuple(draws), spread)
    table.write(out_dir / RECOVERY)
    columns = " | ".join(f"{name}, px" for name in names)
    lines = [
        f"Mean distance between the points of INT8 and of FP32 on {len(evidence.others)} faces,"
        f" pixels of the 80x80 crop; the budget is {budget:g}.\n",
        f"| step | {columns} | within the budget | kept | what it did |",
        "|---" * (len(names) + 4) + "|",
    ]
    for step in steps:
        numbers = " | ".join(f"{step.px[name]:.4f}" for name in names)
        held, kept = ("yes" if value else "no" for value in (step.held, step.kept))
        lines.append(f"| {step.name} | {numbers} | {held} | {kept} | {step.did} |")
    if draws:
        columns = " | ".join(f"{name} to FP32 | {name} to the labels" for name in names)
        lines += [
            "\nRanges of other samples of the calibration faces, mean distance in the same"
            " pixels.\n",
            f"| seed | {columns} |",
            "|---" * (2 * len(names) + 1) + "|",
        ]
    for draw in draws:
        numbers = " | ".join(
            f"{draw.moved_px[name]:.4f} | {draw.error_px[name]:.4f}" for name in names
        )
        lines.append(f"| {draw.seed} | {numbers} |")
    (out_dir / "recovery.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_caches(model: ModelProto, opset: int, made: Quantisation, out_dir: Path) -> list[str]:
    """Write the caches of all TensorRT versions that read this opset; returns their names."""
    written = []
    for target in TARGETS.values():
        for version in target.calibrated if target.opset == opset else ():
            name = cache_name(version, opset)
            if name not in written:
                written.append(name)
                text = render_cache(model, made.amax, tensorrt_number(version), made.single)
                (out_dir / name).write_text(text, encoding="utf-8")
    return written


def _write_network(model: ModelProto, values: Mapping[str, str], path: Path) -> str:
    """Write an ONNX file with the metadata ``values``; returns its SHA-256."""
    set_metadata(model, dict(values))
    data = model.SerializeToString(deterministic=True)
    path.write_bytes(data)
    return digest_bytes(data)


def _faces_digest(store: CropStore, rows: Rows) -> str:
    return digest_json([digest_bytes(crop.tobytes()) for crop in store.images(rows)])


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
