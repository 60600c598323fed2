"""Section build: the engines to build, the options of the builders, and the required accuracy."""

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
    """The check of an engine against the golden vectors: limits of error, memory and time."""

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
    """Folder with one file per runtime, version and GPU; a finished build replaces its file."""
    builder_optimization_level: Annotated[int, Field(ge=0, le=5)]
    hardware_compatibility: Literal["none", "ampere_plus", "same_compute_capability"]
    version_compatible: bool
    dla: bool
