"""STAGES: one row per stage; command line, Prefect tasks, dvc.yaml and ``plan`` derive from it.

A stage function takes ``<input>_dir`` for each input stage (or ``inputs``, all folders by name, if
it reads every earlier stage), one argument for each params section, and ``out_dir``. It writes only
to ``out_dir`` and returns a summary of JSON values. It does not depend on its caller.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        run: ``module:function``, imported only when the stage runs.
        inputs: stages whose folders it reads.
        reads_all: it reads every earlier sealed stage; ``inputs`` is filled from the rows.
        sections: sections of params.yaml that it reads.
        makes: what its command makes, in one sentence: its help text.
        chapter: the part of the story that it belongs to: a panel of ``fpenet --help``.
        tools: distributions whose version changes the result.
        reads_labels: its result depends on the labelled set at ``data.labels``.
        reads_folders: keys of its section that may name a folder of another run, which it reads.
        signs: its function gets the signing key; the key's id is part of the stage's key.
        trusts: its function gets the trusted public keys; their ids are part of the stage's key.
        shared: several processes, started by ``torchrun``, may run it together.
        resumable: an interrupted run continues where it stopped.
        cached: a finished folder with the same key is reused; False for a stage that has effects
            outside its folder.
        sealed: its folder holds a manifest; False for a data set, which data.dvc describes and
            whose bytes must not depend on the version of our code.
    """

    name: str
    run: str
    inputs: tuple[str, ...]
    sections: tuple[str, ...]
    tools: tuple[str, ...] = ("numpy",)
    makes: str = field(kw_only=True)
    chapter: Literal["Data", "Train", "Judge", "Deploy", "Release"] = field(kw_only=True)
    reads_all: bool = False
    reads_labels: bool = False
    reads_folders: tuple[str, ...] = ()
    signs: bool = False
    trusts: bool = False
    shared: bool = False
    resumable: bool = False
    cached: bool = True
    sealed: bool = True


_ROWS = (
    Stage(
        "synth",
        "fpenet.data.synth:render",
        (),
        ("synth",),
        ("numpy", "scipy"),
        makes="Render a labelled set of synthetic faces.",
        chapter="Data",
        sealed=False,
    ),
    Stage(
        "validate",
        "fpenet.data.validation.validate:validate_labels",
        (),
        ("data", "validate"),
        ("numpy", "pillow", "pyarrow", "great-expectations"),
        makes="Check every label and image, and report what is wrong.",
        chapter="Data",
        reads_labels=True,
    ),
    Stage(
        "split",
        "fpenet.data.split:split_subjects",
        ("validate",),
        ("split",),
        makes="Divide the subjects into train, val and KPI parts.",
        chapter="Data",
    ),
    Stage(
        "crop",
        "fpenet.data.crops.crop_faces:crop_faces",
        ("validate", "split"),
        ("crop",),
        ("numpy", "pillow", "pyarrow"),
        makes="Cut the face crops that training and evaluation read.",
        chapter="Data",
        resumable=True,
    ),
    Stage(
        "train",
        "fpenet.model.train:train_net",
        ("crop",),
        ("train",),
        ("numpy", "torch"),
        makes="Train the net; the same command continues a stopped training.",
        chapter="Train",
        reads_folders=("start_from", "teacher", "unlabelled"),
        shared=True,
        resumable=True,
    ),
    Stage(
        "evaluate",
        "fpenet.model.evaluate:evaluate_net",
        ("crop", "train"),
        ("evaluate",),
        ("numpy", "torch", "matplotlib"),
        makes="Measure the keypoint errors of the trained net, or of any model.",
        chapter="Judge",
    ),
    Stage(
        "export",
        "fpenet.deploy.onnx.export:export_onnx",
        ("train",),
        ("export",),
        ("torch", "onnx", "onnxscript"),
        makes="Write the trained net as ONNX files and check them.",
        chapter="Deploy",
    ),
    Stage(
        "calibrate",
        "fpenet.deploy.int8.calibrate:calibrate_ranges",
        ("crop", "export"),
        ("calibrate",),
        ("numpy", "onnx", "onnxruntime", "polygraphy"),
        makes="Measure the activation ranges that INT8 engines use.",
        chapter="Deploy",
    ),
    Stage(
        "build",
        "fpenet.deploy.engines.build:build_engines",
        ("crop", "evaluate", "export", "calibrate"),
        ("build", "evaluate"),
        ("numpy", "onnxruntime", "polygraphy", "tensorrt", "tensorrt-rtx-cu13"),
        makes="Build an engine for each target and precision.",
        chapter="Deploy",
    ),
    Stage(
        "benchmark",
        "fpenet.deploy.benchmark.benchmark:benchmark_engines",
        ("crop", "train", "evaluate", "build"),
        ("benchmark",),
        ("numpy", "onnxruntime"),
        makes="Measure the latency and throughput of the engines.",
        chapter="Deploy",
    ),
    Stage(
        "gate",
        "fpenet.deploy.judge.judge_release:judge_release",
        ("crop", "evaluate", "build"),
        ("gate", "evaluate"),
        ("numpy", "onnxruntime"),
        makes="Decide which engines meet the thresholds of the release.",
        chapter="Judge",
        reads_folders=("champion",),
        trusts=True,
    ),
    Stage(
        "bundle",
        "fpenet.deploy.bundle.bundle:bundle_targets",
        ("export", "calibrate", "build", "benchmark", "gate"),
        ("bundle", "build"),
        makes="Pack the engines of each target into a signed folder.",
        chapter="Deploy",
        signs=True,
    ),
    Stage(
        "report",
        "fpenet.release.report.report:report_release",
        (),
        ("register",),
        ("numpy", "matplotlib", "jinja2"),
        makes="Write the report and the model card of the release.",
        chapter="Release",
        reads_all=True,
    ),
    Stage(
        "register",
        "fpenet.release.registry.register:register_release",
        (),
        ("register",),
        ("mlflow",),
        makes="Register the release in MLflow, with its signed manifest.",
        chapter="Release",
        reads_all=True,
        signs=True,
        cached=False,
    ),
)


def _with_inputs(rows: Sequence[Stage]) -> dict[str, Stage]:
    """The rows by name; for a row with ``reads_all``, the inputs are all earlier sealed stages."""
    stages: dict[str, Stage] = {}
    for row in rows:
        earlier = tuple(name for name, stage in stages.items() if stage.sealed)
        stages[row.name] = dataclasses.replace(row, inputs=earlier) if row.reads_all else row
    return stages


STAGES = _with_inputs(_ROWS)
