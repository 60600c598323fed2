"""What NVIDIA's FPENet model card says of NVIDIA's model: the numbers that ours stand beside.

Source: FPENet model card. It does not say which column of its evaluation the errors are, nor how
many pictures of the 23 people they were measured on.
"""

from fpenet.deploy.engines.targets import TARGETS

URL = "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/tao/models/fpenet"
DATASET = "multi_pie"
KPI_PX = {"all": 6.1, "eyes": 3.33, "mouth": 2.96}
"""Region -> mean error, px of the source image, on the tight keypoint crop, of Multi-PIE."""
UNIT = "tight/image_px"
"""The unit of our KPI report that is defined the same."""
LATENCY_MS = {
    name: target.card.latency_ms
    for name, target in TARGETS.items()
    if target.card and target.card.latency_ms
}
"""Target -> milliseconds of a face at batch 1, FP16, measured by trtexec."""
MAX_YAW = 60
"""Degrees; beyond it the card calls its own model limited."""
