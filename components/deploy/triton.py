"""``config.pbtxt``: a bundle's folder as a model of a Triton server."""

from components.deploy.onnx_file import CONFIDENCE, INPUT, KEYPOINTS
from components.deploy.targets import GpuTarget

LONGEST_WAIT_US = 500
"""How long a request waits for others to share its batch."""


def triton_config(
    target: GpuTarget, file_name: str, num_keypoints: int, largest_batch: int
) -> str | None:
    """The configuration, with dynamic batches and no heat map among the outputs.

    Args:
        file_name: of the engine, in the folder ``1``.

    Returns:
        None where Triton has no backend for the runtime.
    """
    backends = {"onnxruntime": "onnxruntime", "tensorrt": "tensorrt"}
    if target.runtime not in backends:
        return None
    largest = min(target.batch[2], largest_batch)
    kind = "KIND_CPU" if target.compute_capability is None else "KIND_GPU"
    return f"""backend: "{backends[target.runtime]}"
default_model_filename: "{file_name}"
max_batch_size: {largest}
input [ {{ name: "{INPUT}" data_type: TYPE_FP32 dims: [ 1, 80, 80 ] }} ]
output [
  {{ name: "{KEYPOINTS}" data_type: TYPE_FP32 dims: [ {num_keypoints}, 2 ] }},
  {{ name: "{CONFIDENCE}" data_type: TYPE_FP32 dims: [ {num_keypoints} ] }}
]
instance_group [ {{ count: 1 kind: {kind} }} ]
dynamic_batching {{
  preferred_batch_size: [ {min(target.batch[1], largest)} ]
  max_queue_delay_microseconds: {LONGEST_WAIT_US}
}}
"""
