"""The numbers of NVIDIA's FPENet model card, which the report shows next to ours.

Source: FPENet model card. The card does not specify the column of its evaluation that the errors
are from, nor the number of images of the 23 subjects.
"""

from fpenet.deploy.engines.targets import TARGETS

URL = "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/tao/models/fpenet"
DATASET = "multi_pie"
KPI_PX = {"all": 6.1, "eyes": 3.33, "mouth": 2.96}
"""Region -> mean error, px of the source image, on the tight keypoint crop, of Multi-PIE."""
UNIT = "tight/image_px"
"""The unit of our KPI report with the same definition."""
LATENCY_MS = {
    target: gpu_target.card.latency_ms
    for target, gpu_target in TARGETS.items()
    if gpu_target.card and gpu_target.card.latency_ms
}
"""Target -> latency in milliseconds at batch 1, FP16, measured by trtexec."""
MAX_YAW = 60
"""Degrees; the card warns that the model is limited above this yaw."""
