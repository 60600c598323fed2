"""Run a stage: compute its key, reuse a finished result, or write a new folder.

A stage is content-addressed: its key is the digest of its inputs, its params, its code and its tool
versions. It writes into a temporary sibling folder that is renamed at the end; an existing folder
is therefore complete.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError, TooFewFaces
from fpenet.core.files import locked
from fpenet.core.stage_folder import lock_of, partial_folder
from fpenet.data.readers.image_folders import image_folders
from fpenet.data.sources.dvc_pointer import check_pointer
from fpenet.params import Params
from fpenet.provenance.digest import digest_code, digest_dataset, digest_json
from fpenet.provenance.manifest import (
    MANIFEST,
    Manifest,
    digest_folder,
    read_manifest,
    seal,
    tool_versions,
    verify,
)
from fpenet.provenance.signing import read_signing_key, read_trusted
from fpenet.stages import STAGES, Stage


def stage_key(stage: Stage, inputs: Mapping[str, Path], params: Params) -> Manifest:
    """The manifest of a stage that has not run yet: its key, and the values that make up the
    key."""
    digests = {name: read_manifest(inputs[name]).content for name in stage.inputs}
    if stage.reads_labels:
        labels = Path(params.data.labels)
        if not labels.exists():
            raise InputError(
                f"data.labels: {labels} does not exist{_seen_from(labels)}; run `make setup` for"
                " the embedded set, or set it to the folder or label file of a data set"
            )
        folders = image_folders(labels, params.data.images, params.data.follow_links)
        digests["labels"] = digest_dataset(labels, folders.images, folders.follow_links)
    sections = {name: params.section(name).model_dump(mode="json") for name in stage.sections}
    for key in stage.reads_folders:
        folder = sections[stage.name][key]
        if folder is not None:
            digests[key] = digest_folder(Path(folder), f"{stage.name}.{key}")
    if stage.signs:
        digests["signing_key"] = read_signing_key(params.trust.signing_key).public.id
    if stage.trusts:
        digests["trusted"] = " ".join(key.id for key in read_trusted(params.trust.public_keys))
    code = digest_code(stage.run.split(":")[0])
    tools = tool_versions(stage.tools)
    key = digest_json([stage.name, digests, sections, code, tools])
    return Manifest(stage.name, key, digests, sections, code, tools, {}, {})


def _seen_from(path: Path) -> str:
    """Where a relative path was looked for, in words."""
    return "" if path.is_absolute() else f" in the working folder {Path.cwd()}"


def run_stage(
    name: str, out_dir: Path, inputs: Mapping[str, Path], params: Params, rank: int = 0
) -> Manifest:
    """Run the stage ``name`` and write ``out_dir``; a finished result with the same key is reused.

    Args:
        inputs: a finished folder for each input stage; all are verified first, as are the labels
            if a DVC pointer file is next to them.
        rank: number of this process among those of ``torchrun``; only process 0 writes.

    Returns:
        The sealed manifest.

    Raises:
            InputError: bad input; ``out_dir`` is unchanged.
        OSError: names the file or ``out_dir``: a disk that is full or may not be written.
    """
    stage = STAGES[name]
    for folder in inputs.values():
        verify(folder)
    pending = stage_key(stage, inputs, params)
    if stage.reads_labels:
        labels, data = Path(params.data.labels), params.data
        check_pointer(labels)
        if images := image_folders(labels, data.images, data.follow_links).images:
            check_pointer(images)
    if rank > 0:
        return _assist(stage, rank, out_dir, inputs, params, pending)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock_of(out_dir)):
        if not stage.sealed and (out_dir.is_file() or any(out_dir.glob("*"))):
            raise InputError(f"{out_dir}: not empty; remove it, or choose another folder")
        if _is_done(stage, out_dir, pending):
            return verify(out_dir)
        partial = partial_folder(out_dir, pending.key, stage.resumable)
        try:
            summary = _call(stage, partial, inputs, params)
            summary = json.loads(json.dumps(summary, allow_nan=False))
            manifest = dataclasses.replace(pending, summary=summary)
            if stage.sealed:
                manifest = seal(partial, manifest)
        except BaseException as error:
            if not stage.resumable:
                shutil.rmtree(partial)
            if isinstance(error, OSError) and error.errno and error.filename is None:
                # A full disk while a file is written names no file.
                raise OSError(error.errno, os.strerror(error.errno), str(out_dir)) from error
            raise
        if out_dir.exists():
            shutil.rmtree(out_dir)
        partial.rename(out_dir)
    return manifest


def cached_folder(work: Path, name: str, inputs: Mapping[str, Path], params: Params) -> Path:
    """The folder of this stage's result for these inputs: ``work/<stage>/<key>``."""
    return work / name / stage_key(STAGES[name], inputs, params).key[:16]


def _is_done(stage: Stage, out_dir: Path, pending: Manifest) -> bool:
    """Whether ``out_dir`` is finished and has the same key as ``pending``."""
    finished = stage.cached and (out_dir / MANIFEST).exists()
    return finished and read_manifest(out_dir).key == pending.key


def _call(
    stage: Stage, out_dir: Path, inputs: Mapping[str, Path], params: Params
) -> Mapping[str, Any]:
    module, function = stage.run.split(":")
    folders = {name: inputs[name] for name in stage.inputs}
    try:
        summary: Mapping[str, Any] = getattr(import_module(module), function)(
            **({"inputs": folders} if stage.reads_all else _named(folders)),
            **{section: params.section(section) for section in stage.sections},
            **({"signing_key": read_signing_key(params.trust.signing_key)} if stage.signs else {}),
            **({"trusted": read_trusted(params.trust.public_keys)} if stage.trusts else {}),
            out_dir=out_dir,
        )
    except TooFewFaces as error:  # a stage function knows no key of another stage
        least = params.validate_.min_faces
        raise InputError(f"{error}; validate.min_faces {least} is of all parts together") from None
    return summary


def _named(folders: Mapping[str, Path]) -> dict[str, Path]:
    """The folders by the argument names of a stage function: ``crop`` becomes ``crop_dir``."""
    return {f"{name}_dir": folder for name, folder in folders.items()}


def _assist(
    stage: Stage,
    rank: int,
    out_dir: Path,
    inputs: Mapping[str, Path],
    params: Params,
    pending: Manifest,
) -> Manifest:
    """Run a shared stage in a process other than number 0; only process 0 writes files."""
    if not stage.shared:
        raise InputError(
            f"stage {stage.name} runs in one process; this process is number {rank} (RANK)."
            f" Only {', '.join(row.name for row in STAGES.values() if row.shared)} may run in"
            " several processes"
        )
    if not _is_done(stage, out_dir, pending):
        _call(stage, out_dir, inputs, params)
    return pending
