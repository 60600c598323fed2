"""The typed tree of params.yaml: every choice of a run is said there once; no default is said here.

``load_params`` lays a preset (a partial tree in presets/) and dotted overrides over params.yaml and
checks the whole. Unknown keys, missing keys and wrong values are one clear line each.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import brief, nested, overlay, read_yaml
from fpenet.params.build import BuildParams as BuildParams
from fpenet.params.build import ParityParams as ParityParams
from fpenet.params.build import Precision as Precision
from fpenet.params.build import TargetName as TargetName
from fpenet.params.evaluate import ComparisonParams as ComparisonParams
from fpenet.params.evaluate import CorruptionName as CorruptionName
from fpenet.params.evaluate import EvaluateParams as EvaluateParams
from fpenet.params.evaluate import GateParams as GateParams
from fpenet.params.evaluate import IntervalParams as IntervalParams
from fpenet.params.evaluate import SliceParams as SliceParams
from fpenet.params.promote import PromoteParams as PromoteParams
from fpenet.params.registered import Registered
from fpenet.params.section import Fraction, Name, Section
from fpenet.params.sweep import RangeParams as RangeParams
from fpenet.params.sweep import SweepParams as SweepParams
from fpenet.params.train import AugmentParams as AugmentParams
from fpenet.params.train import HeatmapLossName as HeatmapLossName
from fpenet.params.train import LossName as LossName
from fpenet.params.train import NetName as NetName
from fpenet.params.train import TrainParams as TrainParams
from fpenet.params.validate import CheckName as CheckName
from fpenet.params.validate import Severity as Severity
from fpenet.params.validate import ValidateParams as ValidateParams

ViewName = Annotated[
    str, Registered(("synthface.multipie:CAMERA_GROUPS", "synthface.multipie:CAMERAS"))
]
SIGNING_KEY_VARIABLE = "FPENET_SIGNING_KEY"
"""Where the private key lies; read at the edge (cli, flows), which lays it over params.yaml."""
CalibrationMethod = Annotated[str, Registered(("fpenet.deploy.int8.histogram:METHODS",))]
RecoveryRung = Annotated[str, Registered(("fpenet.deploy.int8.recover:RECOVERY_STEPS",))]


class TrustParams(Section):
    """Part of no stage's key: where a key lies changes nothing, which key it is does."""

    public_keys: tuple[Path, ...]
    """Files of public keys, and folders of such files."""
    signing_key: Path
    """The private key; ``SIGNING_KEY_VARIABLE`` of the environment comes first."""


class SynthParams(Section):
    seed: NonNegativeInt
    subjects: Annotated[int, Field(ge=1, le=323)]
    """Training subjects, beside the 23 KPI subjects."""
    faces_per_subject: PositiveInt
    views: Annotated[tuple[ViewName, ...], Field(min_length=1)]
    """Cameras, and groups of them."""
    scheme: Path | None
    """A scheme file, whose keypoints are labelled; None: the card's 104."""
    workers: PositiveInt | None
    """Processes; None: one a processor. They change the time and not a byte."""


class StorageParams(Section):
    endpoint: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")] | None
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None
    prefix: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)*$")]


class DataParams(Section):
    labels: str
    """Folder of a labelled data set, or its label file, here or at ``s3://bucket/prefix``."""
    format: Annotated[str, Registered(("fpenet.data.readers:READERS",), ("auto",))]
    name: Name | Literal["auto"]
    """Keys the gate's thresholds; auto takes it from the set itself."""
    keypoints: PositiveInt | Literal["auto"]
    subject_pattern: str
    """Regular expression with a group ``subject``, matched on the image's base name."""
    subject_per_image: bool
    """Each image is its own subject, where neither the format nor a CSV tells who it is."""


class SplitParams(Section):
    by: Annotated[str, Registered(("fpenet.data.split:RULES",), ("auto",))]
    kpi_subjects: tuple[str, ...]
    val_fraction: Fraction
    seed: NonNegativeInt


class CropParams(Section):
    box_scale: Annotated[float, Field(ge=1.0, le=4.0)]
    store_px: Annotated[int, Field(ge=80, le=320, multiple_of=2)]


class ExportParams(Section):
    opsets: tuple[Annotated[int, Field(ge=13, le=20)], ...]


class RecoveryParams(Section):
    """The recovery ladder of INT8."""

    budget_px: PositiveFloat
    faces: PositiveInt
    rungs: tuple[RecoveryRung, ...]
    """Climbed in this order, until the budget holds."""
    exclude: PositiveInt
    epochs: Annotated[int, Field(ge=1, le=3)]
    learning_rate: PositiveFloat


class CalibrateParams(Section):
    faces: PositiveInt
    seed: NonNegativeInt
    method: CalibrationMethod
    percentile: Annotated[float, Field(gt=50.0, le=100.0)]
    draws: NonNegativeInt
    recovery: RecoveryParams


class BenchmarkParams(Section):
    warmup_runs: NonNegativeInt
    timed_runs: PositiveInt
    targets: tuple[TargetName, ...] | None
    batch_sizes: tuple[PositiveInt, ...]
    threads: PositiveInt


class BundleParams(Section):
    version: Name
    max_batch_size: PositiveInt


class RegisterParams(Section):
    experiment: Name
    trainable_model: Name
    deployable_model: Name
    required_targets: tuple[TargetName, ...]
    encrypt: bool
    """Store weights and bundles encrypted with the model load key, which the environment has."""


class Params(Section):
    """The whole of params.yaml."""

    preset: Name
    trust: TrustParams
    synth: SynthParams
    storage: StorageParams
    data: DataParams
    validate_: ValidateParams = Field(alias="validate")
    split: SplitParams
    crop: CropParams
    train: TrainParams
    sweep: SweepParams
    evaluate: EvaluateParams
    gate: GateParams
    export: ExportParams
    calibrate: CalibrateParams
    build: BuildParams
    benchmark: BenchmarkParams
    bundle: BundleParams
    register_: RegisterParams = Field(alias="register")
    promote: PromoteParams

    def section(self, name: str) -> Section:
        """The section called ``name`` in params.yaml."""
        for field, info in type(self).model_fields.items():
            if name in (field, info.alias):
                section: Section = getattr(self, field)
                return section
        raise KeyError(name)


def load_params(
    path: Path, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Params:
    """Read ``path``, lay the preset beside it and then the dotted ``overrides`` over it, check all.

    Args:
        preset: name of a file in ``presets/`` next to ``path``; None takes the key ``preset``.
        overrides: ``{"train.epochs": 3}``.

    Raises:
        InputError: naming file, key, value and what is allowed.
    """
    tree = read_yaml(path)
    overrides = dict(overrides or {})
    tree["preset"] = overrides.pop("preset", preset) or tree.get("preset")
    presets = path.parent / "presets"
    known = sorted(file.stem for file in presets.glob("*.yaml"))
    if tree["preset"] not in known:
        raise InputError(f"{path}: preset is {tree['preset']!r}; choose one of {known}")
    source = f"{path} with preset {tree['preset']}"
    tree = overlay(tree, read_yaml(presets / f"{tree['preset']}.yaml"))
    tree = overlay(tree, nested(overrides))
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{source}: {'; '.join(map(_complaint, error.errors()))}") from None


def _complaint(problem: Any) -> str:
    """What pydantic found, with the key, its value and what is allowed."""
    loc = [str(part) for part in problem["loc"]]
    said = f"{'.'.join(loc)} is {brief(problem['input'])}: "
    if problem["type"] != "extra_forbidden":
        return said + str(problem["msg"])
    section: Any = Params
    for part in loc:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        if part in fields:
            section = fields[part].annotation
    near = get_close_matches(loc[-1], fields, n=1)
    known = f"did you mean {near[0]}?" if near else f"choose one of {sorted(fields)}"
    return f"{said}no such key; {known}"
