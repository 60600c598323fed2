"""Section build: which engines are built, how, and what one must give before it is trusted."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from fpenet.params.registered import Registered
from fpenet.params.section import Section

Precision = Literal["fp32", "fp16", "int8"]
TargetName = Annotated[str, Registered(("fpenet.deploy.engines.targets:TARGETS",))]


class ParityParams(Section):
    onnx: PositiveFloat
    fp16: PositiveFloat
    int8: PositiveFloat


class GoldenPxParams(Section):
    fp32: PositiveFloat
    fp16: PositiveFloat
    int8: PositiveFloat


class GoldenParams(Section):
    """How an engine is queried against the golden vectors, and how far off it may be."""

    px: GoldenPxParams
    memory_mb: PositiveInt
    seconds: PositiveFloat


class BuildParams(Section):
    targets: tuple[TargetName, ...]
    parity_px: ParityParams
    golden: GoldenParams
    precisions: tuple[Precision, ...]
    workspace_mb: PositiveInt
    memory_mb: PositiveInt
    longest_seconds: PositiveFloat
    timing_cache: Path
    """Folder; a file a runtime, version and GPU, replaced when a build has finished."""
    builder_optimization_level: Annotated[int, Field(ge=0, le=5)]
    hardware_compatibility: Literal["none", "ampere_plus", "same_compute_capability"]
    version_compatible: bool
    dla: bool
