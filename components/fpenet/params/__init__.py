"""The typed tree of params.yaml. All values are in params.yaml; there are no defaults in the code.

``load_params`` reads params.yaml, replaces values by those of a preset (a partial tree in presets/)
and by dotted overrides, and validates the result. Unknown keys, missing keys and wrong values give
one line each.
"""

from collections.abc import Mapping
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
from fpenet.core.yaml_tree import nested, overlay, read_yaml, with_home
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
from fpenet.params.section import Fraction, Name, Section, problems_of
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
"""Environment variable with the path of the private key; cli and flows read it and override
``trust.signing_key``."""
CalibrationMethod = Annotated[str, Registered(("fpenet.deploy.int8.histogram:METHODS",))]
RecoveryStepName = Annotated[str, Registered(("fpenet.deploy.int8.recover:RECOVERY_STEPS",))]


class TrustParams(Section):
    """Not part of a stage's key: the ids of the keys are, their paths are not."""

    public_keys: tuple[Path, ...]
    """Files of public keys, and folders of such files."""
    signing_key: Path
    """The private key; the environment variable ``SIGNING_KEY_VARIABLE`` overrides it."""


class SynthParams(Section):
    seed: NonNegativeInt
    subjects: Annotated[int, Field(ge=1, le=323)]
    """Training subjects, in addition to the 23 KPI subjects."""
    faces_per_subject: PositiveInt
    views: Annotated[tuple[ViewName, ...], Field(min_length=1)]
    """Names of cameras or of groups of cameras."""
    scheme: Path | None
    """A scheme file, whose keypoints are labelled; None: the 104 points of the model card."""
    workers: PositiveInt | None
    """Processes; None: one per processor. The result does not depend on their number."""


class StorageParams(Section):
    endpoint: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")] | None
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None
    prefix: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)*$")]


class DataParams(Section):
    labels: str
    """Folder of a labelled data set, or its label file; a local path or ``s3://bucket/prefix``."""
    images: str | None
    """Folder of the images; None: the folder of the labels, or ``images`` beside it."""
    follow_links: bool
    """Images may be links that lead out of the folders of the labels and of ``images``."""
    columns: dict[str, str]
    """Column of our table -> name of that column in the table; ``{k}`` is a keypoint's number."""
    format: Annotated[str, Registered(("fpenet.data.readers:READERS",), ("auto",))]
    name: Name | Literal["auto"]
    """Selects the gate's thresholds; auto: the name in the data set, or of its folder."""
    keypoints: PositiveInt | Literal["auto"]
    subject_pattern: str
    """Regular expression with a group ``subject``, matched on the image's base name."""
    subject_per_image: bool
    """Each image is a separate subject, if neither the format nor a CSV file has subjects."""


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
    """Recovery steps for INT8 accuracy."""

    budget_px: PositiveFloat
    faces: PositiveInt
    steps: tuple[RecoveryStepName, ...]
    """Applied in this order until the error is within the budget."""
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
    """Encrypt weights and bundles with the model load key from the environment."""


class Params(Section):
    """All sections of params.yaml."""

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
    """Read ``path``, apply the preset and then the dotted ``overrides``, and validate the result.

    ``~/`` at the start of a value is the home folder. Any other relative path is relative to the
    working folder, wherever ``path`` is.

    Args:
        preset: name of a file in ``presets/`` next to ``path``; None takes the key ``preset``.
        overrides: ``{"train.epochs": 3}``.

    Raises:
        InputError: names file, key, value and what is allowed.
    """
    tree = read_yaml(path)
    overrides = dict(overrides or {})
    tree["preset"] = overrides.pop("preset", preset) or tree.get("preset")
    presets = path.parent / "presets"
    if not presets.is_dir():
        raise InputError(
            f"{path}: preset is {tree['preset']!r}, a file of {presets}, which does not exist; copy"
            " presets/ of the project there too"
        )
    known = sorted(file.stem for file in presets.glob("*.yaml"))
    if tree["preset"] not in known:
        raise InputError(f"{path}: preset is {tree['preset']!r}; choose one of {known}")
    source = f"{path} with preset {tree['preset']}"
    tree = overlay(tree, read_yaml(presets / f"{tree['preset']}.yaml"))
    tree = with_home(overlay(tree, nested(overrides)))
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{source}: {problems_of(error, Params)}") from None
