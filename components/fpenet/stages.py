"""STAGES: one row a stage; command line, Prefect tasks, dvc.yaml and ``plan`` derive from it.

A stage function takes ``<input>_dir`` for each input stage, one argument for each params section
it reads, and ``out_dir``; it writes only there and returns a summary of JSON values. ``run_stage``
gives it a temporary sibling and renames: a folder that exists is complete. A stage cannot tell who
called it.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fpenet.core.stage_folder import locked, partial_folder
from fpenet.core.errors import InputError
from fpenet.data.sources.dvc_pointer import check_pointer
from fpenet.params import Params
from fpenet.provenance.digest import digest_code, digest_dataset, digest_json
from fpenet.provenance.manifest import (
    MANIFEST,
    Manifest,
    digest_given,
    read_manifest,
    seal,
    tool_versions,
    verify,
)
from fpenet.provenance.signing import read_signing_key, read_trusted


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        run: ``module:function``, imported only when the stage runs.
        inputs: stages whose folders it reads.
        sections: sections of params.yaml that it reads.
        tools: distributions whose version changes the result.
        reads_labels: its result depends on the labelled set at ``data.labels``.
        reads_folders: keys of its section that may name a folder of another run, which it reads.
        signs: its function is given the key that signs, whose id is part of the stage's key.
        trusts: its function is given the public keys that are trusted; part of the key as well.
        shared: several processes, started by ``torchrun``, may run it together.
        resumable: an interrupted run goes on where it stopped.
        cached: a finished folder with the same key is the result; False for a stage that acts on
            something outside its folder.
        sealed: its folder holds a manifest; False for a data set, which data.dvc describes and
            whose bytes must not depend on the version of our code.
    """

    name: str
    run: str
    inputs: tuple[str, ...]
    sections: tuple[str, ...]
    tools: tuple[str, ...] = ("numpy",)
    reads_labels: bool = False
    reads_folders: tuple[str, ...] = ()
    signs: bool = False
    trusts: bool = False
    shared: bool = False
    resumable: bool = False
    cached: bool = True
    sealed: bool = True


def stage_key(stage: Stage, inputs: Mapping[str, Path], params: Params) -> Manifest:
    """The manifest of a stage before it ran: its key and all that the key is made of."""
    digests = {name: read_manifest(inputs[name]).content for name in stage.inputs}
    if stage.reads_labels:
        labels = Path(params.data.labels)
        if not labels.exists():
            raise InputError(
                f"data.labels: {labels} does not exist; run `make setup` for the embedded set, or"
                " give the folder or label file of a data set"
            )
        digests["labels"] = digest_dataset(labels)
    sections = {name: params.section(name).model_dump(mode="json") for name in stage.sections}
    for key in stage.reads_folders:
        folder = sections[stage.name][key]
        if folder is not None:
            digests[key] = digest_given(Path(folder), f"{stage.name}.{key}")
    if stage.signs:
        digests["signing_key"] = read_signing_key(params.trust.signing_key).public.id
    if stage.trusts:
        digests["trusted"] = " ".join(key.id for key in read_trusted(params.trust.public_keys))
    code = digest_code(stage.run.split(":")[0])
    tools = tool_versions(stage.tools)
    key = digest_json([stage.name, digests, sections, code, tools])
    return Manifest(stage.name, key, digests, sections, code, tools, {}, {})


def run_stage(
    name: str, out_dir: Path, inputs: Mapping[str, Path], params: Params, rank: int = 0
) -> Manifest:
    """Run the stage ``name`` into ``out_dir``, unless its result is already there.

    Args:
        inputs: a finished folder for each input stage; all are verified first, as are the labels
            where a DVC pointer lies beside them.
        rank: number of this process among those of ``torchrun``; only process 0 writes.

    Returns:
        the sealed manifest.

    Raises:
        InputError: bad input; nothing is left at ``out_dir`` that was not there before.
    """
    stage = STAGES[name]
    for folder in inputs.values():
        verify(folder)
    pending = stage_key(stage, inputs, params)
    if stage.reads_labels:
        check_pointer(Path(params.data.labels))
    if rank > 0:
        return _assist(stage, rank, out_dir, inputs, params, pending)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with locked(out_dir):
        if not stage.sealed and (out_dir.is_file() or any(out_dir.glob("*"))):
            raise InputError(f"{out_dir}: holds something; remove it, or name another folder")
        if _is_done(stage, out_dir, pending):
            return verify(out_dir)
        partial = partial_folder(out_dir, pending.key, stage.resumable)
        try:
            summary = _call(stage, partial, inputs, params)
        except BaseException:
            if not stage.resumable:
                shutil.rmtree(partial)
            raise
        summary = json.loads(json.dumps(summary, allow_nan=False))
        manifest = dataclasses.replace(pending, summary=summary)
        if stage.sealed:
            manifest = seal(partial, manifest)
        if out_dir.exists():
            shutil.rmtree(out_dir)
        partial.rename(out_dir)
    return manifest


def cached_folder(work: Path, name: str, inputs: Mapping[str, Path], params: Params) -> Path:
    """Where the flow keeps the result of this stage for these inputs: ``work/<stage>/<key>``."""
    return work / name / stage_key(STAGES[name], inputs, params).key[:16]


def _is_done(stage: Stage, out_dir: Path, pending: Manifest) -> bool:
    """Whether a finished folder is there whose key is the one that is wanted."""
    there = stage.cached and (out_dir / MANIFEST).exists()
    return there and read_manifest(out_dir).key == pending.key


def _call(
    stage: Stage, out_dir: Path, inputs: Mapping[str, Path], params: Params
) -> Mapping[str, Any]:
    module, function = stage.run.split(":")
    summary: Mapping[str, Any] = getattr(import_module(module), function)(
        **{f"{input_name}_dir": inputs[input_name] for input_name in stage.inputs},
        **{section: params.section(section) for section in stage.sections},
        **({"signing_key": read_signing_key(params.trust.signing_key)} if stage.signs else {}),
        **({"trusted": read_trusted(params.trust.public_keys)} if stage.trusts else {}),
        out_dir=out_dir,
    )
    return summary


def _assist(
    stage: Stage,
    rank: int,
    out_dir: Path,
    inputs: Mapping[str, Path],
    params: Params,
    pending: Manifest,
) -> Manifest:
    """Take part in a stage as a process that writes nothing; process 0 does."""
    if not stage.shared:
        raise InputError(
            f"stage {stage.name} runs in one process; this one is number {rank} (RANK)."
            f" Only {', '.join(row.name for row in _ROWS if row.shared)} may run in several"
        )
    if not _is_done(stage, out_dir, pending):
        _call(stage, out_dir, inputs, params)
    return pending


_STORY = (
    Stage(
        "validate",
        "fpenet.data.validation.validate:validate_labels",
        (),
        ("data", "validate"),
        ("numpy", "pillow", "pyarrow", "great-expectations"),
        reads_labels=True,
    ),
    Stage("split", "fpenet.data.split:split_subjects", ("validate",), ("split",)),
    Stage(
        "crop",
        "fpenet.data.crops.crop_faces:crop_faces",
        ("validate", "split"),
        ("crop",),
        ("numpy", "pillow", "pyarrow"),
        resumable=True,
    ),
    Stage(
        "train",
        "fpenet.model.train:train_net",
        ("crop",),
        ("train",),
        ("numpy", "torch"),
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
    ),
    Stage(
        "export",
        "fpenet.deploy.onnx.export:export_onnx",
        ("train",),
        ("export",),
        ("torch", "onnx", "onnxscript"),
    ),
    Stage(
        "calibrate",
        "fpenet.deploy.int8.calibrate:calibrate_ranges",
        ("crop", "export"),
        ("calibrate",),
        ("numpy", "onnx", "onnxruntime", "polygraphy"),
    ),
    Stage(
        "build",
        "fpenet.deploy.engines.build:build_engines",
        ("crop", "evaluate", "export", "calibrate"),
        ("build", "evaluate"),
        ("numpy", "onnxruntime", "polygraphy", "tensorrt", "tensorrt-rtx-cu13"),
    ),
    Stage(
        "benchmark",
        "fpenet.deploy.benchmark.benchmark:benchmark_engines",
        ("crop", "train", "evaluate", "build"),
        ("benchmark",),
        ("numpy", "onnxruntime"),
    ),
    Stage(
        "gate",
        "fpenet.deploy.judge.judge_release:judge_release",
        ("crop", "evaluate", "build"),
        ("gate", "evaluate"),
        ("numpy", "onnxruntime"),
        reads_folders=("champion",),
        trusts=True,
    ),
    Stage(
        "bundle",
        "fpenet.deploy.bundle.bundle:bundle_targets",
        ("export", "calibrate", "build", "benchmark", "gate"),
        ("bundle", "build"),
        signs=True,
    ),
)
"""What one release is made of, from the labels to the bundles."""

_PARTS = tuple(row.name for row in _STORY)
_ROWS = (
    Stage("synth", "fpenet.data.synth:render", (), ("synth",), ("numpy", "scipy"), sealed=False),
    *_STORY,
    Stage(
        "report",
        "fpenet.release.report.report:report_release",
        _PARTS,
        ("register",),
        ("numpy", "matplotlib", "jinja2"),
    ),
    Stage(
        "register",
        "fpenet.release.registry.register:register_release",
        (*_PARTS, "report"),
        ("register",),
        ("mlflow",),
        signs=True,
        cached=False,
    ),
)

STAGES: dict[str, Stage] = {row.name: row for row in _ROWS}
