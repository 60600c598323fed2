"""Stage export: the trained net as ONNX, FP32 and FP16, at every opset that the targets want.

Input: a train folder. Does: torch to ONNX, constants folded, shapes inferred, checked. Output:
``opset<NN>/fp32.onnx``, ``fp32_cpu.onnx`` (with the soft-argmax of a CPU) and ``fp16.onnx``; the
crop as ONNX too (``preprocess``); and ``model.json``. The heat maps are no output.
"""

import json
import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs
import torch
from onnx import ModelProto, TensorProto, helper

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.onnx.network import (
    half_precision,
    opset_of,
    read_network,
    rebuilt,
    set_metadata,
)
from fpenet.deploy.onnx.onnx_file import (
    BOXES,
    CONFIDENCE,
    IMAGE,
    INPUT,
    KEYPOINTS,
    KEYPOINTS_IMAGE,
)
from fpenet.deploy.onnx.preprocess import end_to_end, place, preprocess
from fpenet.keypoints import scheme_for
from fpenet.model.checkpoint import load_net
from fpenet.model.nets.net_description import NET_FILE, NetDescription
from fpenet.model.nets.recombinator import Recombinator
from fpenet.params import ExportParams
from fpenet.provenance.digest import digest_file


def onnx_from_net(net: Recombinator, opset: int, products: bool = False) -> ModelProto:
    """The net as an FP32 network with a dynamic batch.

    Args:
        net: in eval mode; (N, 1, 80, 80) to points (N, K, 2) and confidence (N, K).
        products: the soft-argmax by matrix products, for a CPU.

    Raises:
        InputError: the exporter gave another opset.
    """
    with tempfile.TemporaryDirectory(prefix="fpenet-onnx-") as scratch, warnings.catch_warnings():
        # torch 2.13's new exporter cannot write opset 13; the old one writes all of 13 to 20, with
        # the same tensor names, and says that it is old.
        warnings.simplefilter("ignore")
        net.soft_argmax.products = products
        torch.onnx.export(
            net,
            (torch.zeros(2, 1, CROP_PX, CROP_PX),),
            Path(scratch) / "net.onnx",
            opset_version=opset,
            dynamo=False,
            external_data=False,
            input_names=[INPUT],
            output_names=[KEYPOINTS, CONFIDENCE],
            dynamic_axes={name: {0: "N"} for name in (INPUT, KEYPOINTS, CONFIDENCE)},
        )
        graph = gs.import_onnx(onnx.load(Path(scratch) / "net.onnx"))
    graph.name = "fpenet"
    graph.fold_constants().cleanup().toposort()
    folded = gs.export_onnx(graph)
    _set_output_shapes(folded, net)
    if opset_of(folded) != opset:
        raise InputError(f"asked for opset {opset}, the exporter wrote {opset_of(folded)}")
    return rebuilt(folded, folded.graph.node, folded.graph.initializer)


def _set_output_shapes(model: ModelProto, net: torch.nn.Module) -> None:
    """Say how many keypoints there are; behind a dynamic batch the exporter does not know."""
    with torch.inference_mode():
        outputs = net(torch.zeros(1, 1, CROP_PX, CROP_PX))
    for value, output in zip(model.graph.output, outputs, strict=True):
        shape = ["N", *output.shape[1:]]
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape))


def about_network(about: NetDescription, weights: str, precision: str) -> dict[str, str]:
    """What travels inside every ONNX file, so that one alone says how to use it.

    Args:
        about: ``model.json`` of the train folder.
        weights: SHA-256 of ``model.safetensors``.
    """
    dataset, box_scale = about.trained_on(NET_FILE)
    regions = about.regions or scheme_for(about.num_keypoints).regions
    return {
        "fpenet": version("fpenet"),
        "net": about.net,
        "num_keypoints": str(about.num_keypoints),
        "regions": json.dumps(dict(regions)),
        "dataset": dataset,
        "box_scale": str(box_scale),
        "crop_px": str(CROP_PX),
        "confidence": about.confidence,
        **({} if about.confidence_px is None else {"confidence_px": str(about.confidence_px)}),
        "precision": precision,
        "input": "grey levels 0..255 of the 80x80 face crop; pixel centres at integers",
        "outputs": "points in pixels of the 80x80 crop, x right, y down; confidence 0..1",
        "weights_sha256": weights,
    }


def export_onnx(*, train_dir: Path, export: ExportParams, out_dir: Path) -> dict[str, Any]:
    """Write the network at every opset; returns the file sizes.

    Raises:
        InputError: the train folder or the exported network is not as it should be.
    """
    net, about = load_net(train_dir)
    _, scale = about.trained_on(train_dir / NET_FILE)
    weights = digest_file(train_dir / "model.safetensors")
    sizes: dict[str, int] = {}
    for done, opset in enumerate(export.opsets, start=1):
        folder = out_dir / f"opset{opset}"
        folder.mkdir()
        single = onnx_from_net(net, opset)
        for_cpu = onnx_from_net(net, opset, products=True)
        for name, model in (
            ("fp32", single),
            ("fp32_cpu", for_cpu),
            ("fp16", half_precision(single)),
            ("preprocess", preprocess(scale, opset)),
            ("place", place(opset)),
            ("end_to_end", end_to_end(for_cpu, scale)),
        ):
            said = about_network(about, weights, "fp16" if name == "fp16" else "fp32")
            set_metadata(model, said | _OTHER_TENSORS.get(name, {}))
            sizes[f"opset{opset}/{name}.onnx"] = _write(model, opset, folder / f"{name}.onnx")
        report(done, len(export.opsets), "opsets")
    shutil.copy2(train_dir / NET_FILE, out_dir / NET_FILE)
    return {"net": about.net, "num_keypoints": about.num_keypoints, "size_bytes": sizes}


def _write(model: ModelProto, opset: int, path: Path) -> int:
    """Write a network and read it again; returns its size in bytes.

    Raises:
        InputError: the file is not valid, has data elsewhere, or is of another opset.
    """
    data = model.SerializeToString(deterministic=True)
    path.write_bytes(data)
    found = opset_of(read_network(path))
    if found != opset:
        raise InputError(f"{path}: is of opset {found}, not {opset}")
    return len(data)


_IMAGE_INPUT = f"{IMAGE}: uint8 (H, W, 1) grey or (H, W, 3) BGR; {BOXES}: x, y, width, height, px"
_IMAGE_OUTPUT = f"{KEYPOINTS_IMAGE}: image pixels, x right, y down; confidence 0..1"
_OTHER_TENSORS: dict[str, dict[str, str]] = {
    "preprocess": {"input": _IMAGE_INPUT, "outputs": "crops, and the squares that they show"},
    "place": {"input": "points in crops, and the squares that they show", "outputs": _IMAGE_OUTPUT},
    "end_to_end": {"input": _IMAGE_INPUT, "outputs": _IMAGE_OUTPUT},
}
"""What the files say of their tensors where it is not what the network says."""
