"""A Triton model repository: from an image and its face boxes to points, on the server.

Input: the engine of a bundle and the crop as ONNX (``preprocess``). Output: four models.
``fpenet`` is the ensemble that clients call. It connects ``fpenet_crops`` (image and boxes to
crops), ``fpenet_engine`` (crops to points) and ``fpenet_points`` (to points in the image). Only
``fpenet_engine`` batches, so that faces of several requests share a batch. No model has a heat map
as an output.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import GpuTarget
from fpenet.deploy.onnx.onnx_file import (
    BOXES,
    CONFIDENCE,
    IMAGE,
    INPUT,
    KEYPOINTS,
    KEYPOINTS_IMAGE,
    SQUARES,
)

LONGEST_WAIT_US = 500
"""Longest time that a request waits for other requests to share its batch."""
ENSEMBLE, CROPS, ENGINE, POINTS = "fpenet", "fpenet_crops", "fpenet_engine", "fpenet_points"


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Name, Triton's type and shape; -1 is a dimension that a request defines."""

    name: str
    kind: str
    dims: Sequence[int]

    def __str__(self) -> str:
        dims = ", ".join(map(str, self.dims))
        return f'{{ name: "{self.name}" data_type: TYPE_{self.kind} dims: [ {dims} ] }}'

    def batched(self) -> "_Tensor":
        """With the batch as a first dimension, for models that Triton does not batch."""
        return _Tensor(self.name, self.kind, (-1, *self.dims))


def engine_place(gpu_target: GpuTarget) -> Path | None:
    """The engine's path in the repository; None where Triton has no backend for the runtime."""
    triton = RUNTIMES[gpu_target.runtime].triton
    return None if triton is None else Path(ENGINE) / "1" / triton[1]


def write_repository(
    out_dir: Path,
    gpu_target: GpuTarget,
    num_keypoints: int,
    largest_batch: int,
    crop_dir: Path,
    engine_path: Path | None,
) -> None:
    """Write the four models.

    Args:
        gpu_target: a target whose runtime Triton has a backend for.
        crop_dir: folder with ``preprocess.onnx`` and ``place.onnx``.
        engine_path: path of the engine; None where ``build.sh`` builds it on the device.
    """
    place = engine_place(gpu_target)
    assert place is not None, f"{gpu_target.device}: Triton has no backend for {gpu_target.runtime}"
    for name, text in configs(gpu_target, num_keypoints, largest_batch).items():
        (out_dir / name / "1").mkdir(parents=True)
        (out_dir / name / "config.pbtxt").write_text(text, encoding="utf-8")
    for name, file in ((CROPS, "preprocess.onnx"), (POINTS, "place.onnx")):
        shutil.copyfile(crop_dir / file, out_dir / name / "1" / "model.onnx")
    # Triton needs a version folder, and many archives leave out an empty folder.
    note = "An ensemble has no file of its own.\n"
    (out_dir / ENSEMBLE / "1" / "README.txt").write_text(note, encoding="utf-8")
    if engine_path is not None:
        shutil.copyfile(engine_path, out_dir / place)


def configs(gpu_target: GpuTarget, num_keypoints: int, largest_batch: int) -> dict[str, str]:
    """Model -> its ``config.pbtxt``."""
    image = _Tensor(IMAGE, "UINT8", (-1, -1, -1))
    boxes = _Tensor(BOXES, "FP32", (-1, 4))
    squares = _Tensor(SQUARES, "FP32", (-1, 3))
    crops = _Tensor(INPUT, "FP32", (1, CROP_PX, CROP_PX))
    points = _Tensor(KEYPOINTS, "FP32", (num_keypoints, 2))
    confidence = _Tensor(CONFIDENCE, "FP32", (num_keypoints,))
    in_image = _Tensor(KEYPOINTS_IMAGE, "FP32", (-1, num_keypoints, 2))
    triton = RUNTIMES[gpu_target.runtime].triton
    assert triton is not None
    backend = triton[0]
    kind = "KIND_CPU" if gpu_target.compute_capability is None else "KIND_GPU"
    largest = min(gpu_target.batch[2], largest_batch)
    batching = f"""dynamic_batching {{
  preferred_batch_size: [ {min(gpu_target.batch[1], largest)} ]
  max_queue_delay_microseconds: {LONGEST_WAIT_US}
}}
"""
    on_cpu = 'backend: "onnxruntime"'
    return {
        ENSEMBLE: _model(
            ENSEMBLE, 'platform: "ensemble"', 0, [image, boxes], [in_image, confidence.batched()]
        )
        + _ensemble(),
        CROPS: _model(CROPS, on_cpu, 0, [image, boxes], [crops.batched(), squares], "KIND_CPU"),
        ENGINE: _model(
            ENGINE, f'backend: "{backend}"', largest, [crops], [points, confidence], kind
        )
        + batching,
        POINTS: _model(POINTS, on_cpu, 0, [points.batched(), squares], [in_image], "KIND_CPU"),
    }


def _model(
    name: str,
    runs: str,
    largest_batch: int,
    inputs: Sequence[_Tensor],
    outputs: Sequence[_Tensor],
    kind: str | None = None,
) -> str:
    def block(word: str, tensors: Sequence[_Tensor]) -> str:
        return f"{word} [\n  " + ",\n  ".join(map(str, tensors)) + "\n]\n"

    instances = f"instance_group [ {{ count: 1 kind: {kind} }} ]\n" if kind else ""
    head = f'name: "{name}"\n{runs}\nmax_batch_size: {largest_batch}\n'
    return head + block("input", inputs) + block("output", outputs) + instances


def _ensemble() -> str:
    steps = (
        (CROPS, {IMAGE: IMAGE, BOXES: BOXES}, {INPUT: "crops", SQUARES: SQUARES}),
        (ENGINE, {INPUT: "crops"}, {KEYPOINTS: "points", CONFIDENCE: CONFIDENCE}),
        (POINTS, {KEYPOINTS: "points", SQUARES: SQUARES}, {KEYPOINTS_IMAGE: KEYPOINTS_IMAGE}),
    )

    def pairs(word: str, tensors: Mapping[str, str]) -> str:
        lines = [f'{word} {{ key: "{key}" value: "{value}" }}' for key, value in tensors.items()]
        return "\n      ".join(lines)

    step_texts = [
        f"""    {{
      model_name: "{name}"
      model_version: -1
      {pairs("input_map", inputs)}
      {pairs("output_map", outputs)}
    }}"""
        for name, inputs, outputs in steps
    ]
    return "ensemble_scheduling {\n  step [\n" + ",\n".join(step_texts) + "\n  ]\n}\n"
