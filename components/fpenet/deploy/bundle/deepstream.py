"""DeepStream configurations of a bundle: nvinfer on the face boxes of an upstream detector.

Output, below ``deepstream/``: ``nvinfer.txt`` (crops, engine, tensor meta); ``nvdspreprocess.txt``
for pipelines that prepare tensors in a separate element; ``fpenet_points.py``, which makes the
boxes square before nvinfer and reads the points after it. The input is grey levels 0 to 255 (scale
1.0, no offset). A face's square is scaled without distortion; the part outside the frame is black.
No heat map is an output.
"""

import shutil
from pathlib import Path

from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.bundle import fpenet_points
from fpenet.deploy.bundle.trtexec import CACHE, sources
from fpenet.deploy.engines.targets import GpuTarget, Precision
from fpenet.deploy.onnx.onnx_file import CONFIDENCE, INPUT, KEYPOINTS

DETECTOR_ID, FPENET_ID = 1, 2
"""``gie-unique-id`` of the upstream face detector, and of FPENet."""
SMALLEST_FACE_PX = 5
_MODES = {"fp32": 0, "int8": 1, "fp16": 2}
_LIBRARY = "/opt/nvidia/deepstream/deepstream/lib/gst-plugins/libcustom2d_preprocess.so"


def write_deepstream(
    out_dir: Path, gpu_target: GpuTarget, precision: Precision, largest_batch: int, on_device: bool
) -> None:
    """Write the folder.

    Args:
        gpu_target: a target of runtime tensorrt, which nvinfer executes.
        on_device: whether the engine is not built yet; it is built from the bundle's ``source/``.
    """
    batch = min(gpu_target.batch[2], largest_batch)
    out_dir.mkdir()
    files = {
        "nvinfer.txt": nvinfer_config(gpu_target, precision, batch, on_device),
        "nvdspreprocess.txt": preprocess_config(batch),
    }
    for name, text in files.items():
        (out_dir / name).write_text(text, encoding="utf-8")
    shutil.copyfile(fpenet_points.__file__, out_dir / "fpenet_points.py")


def nvinfer_config(gpu_target: GpuTarget, precision: Precision, batch: int, on_device: bool) -> str:
    """``nvinfer.txt``: a secondary engine on each face of the detector."""
    built_from = {}
    if on_device:
        network, *cache = sources(gpu_target, precision)
        built_from = {"onnx-file": f"../{network}"}
        built_from |= {"int8-calib-file": f"../{CACHE}"} if cache else {}
    keys = {
        "gpu-id": 0,
        "model-engine-file": f"../1/{precision}.engine",
        **built_from,
        "batch-size": batch,
        "network-mode": _MODES[precision],
        "infer-dims": f"1;{CROP_PX};{CROP_PX}",
        "network-type": 100,
        "output-tensor-meta": 1,
        "output-blob-names": f"{KEYPOINTS};{CONFIDENCE}",
        "process-mode": 2,
        "gie-unique-id": FPENET_ID,
        "operate-on-gie-id": DETECTOR_ID,
        "input-object-min-width": SMALLEST_FACE_PX,
        "input-object-min-height": SMALLEST_FACE_PX,
        "model-color-format": 2,
        "net-scale-factor": 1.0,
        "offsets": 0.0,
        "maintain-aspect-ratio": 1,
        "symmetric-padding": 0,
        "scaling-filter": 1,
    }
    return (
        "# FPENet on each face. Call square_faces of fpenet_points.py before this element, and\n"
        "# face_points after it. After nvdspreprocess, set its property input-tensor-meta=true.\n"
        + _group("property", keys)
    )


def preprocess_config(batch: int) -> str:
    """``nvdspreprocess.txt``: the same crops, prepared by a separate element."""
    keys = {
        "enable": 1,
        "target-unique-ids": FPENET_ID,
        "operate-on-gie-id": DETECTOR_ID,
        "process-on-frame": 0,
        "network-input-order": 0,
        "network-input-shape": f"{batch};1;{CROP_PX};{CROP_PX}",
        "processing-width": CROP_PX,
        "processing-height": CROP_PX,
        "network-color-format": 2,
        "tensor-data-type": 0,
        "tensor-name": INPUT,
        "maintain-aspect-ratio": 1,
        "symmetric-padding": 0,
        "scaling-filter": 1,
        "scaling-buf-pool-size": 6,
        "tensor-buf-pool-size": 6,
        "custom-lib-path": _LIBRARY,
        "custom-tensor-preparation-function": "CustomTensorPreparation",
    }
    group = {
        "src-ids": -1,
        "process-on-roi": 0,
        "process-on-all-objects": 1,
        "input-object-min-width": SMALLEST_FACE_PX,
        "input-object-min-height": SMALLEST_FACE_PX,
        "custom-input-transformation-function": "CustomAsyncTransformation",
    }
    return (
        "# The faces of the detector as tensors of FPENet's input.\n"
        + _group("property", keys)
        + _group("user-configs", {"pixel-normalization-factor": 1.0})
        + _group("group-0", group)
    )


def _group(name: str, keys: dict[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items()) + "\n"
