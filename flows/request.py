"""The params of one run: params.yaml with the flow's parameters as overrides, checked."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.data.sources.s3_labels import on_s3, parse_url
from fpenet.execution import stage_key
from fpenet.params import SIGNING_KEY_VARIABLE, Params, load_params
from fpenet.provenance.digest import digest_file, digest_json
from fpenet.stages import STAGES

PARAMS = Path("params.yaml")
BAD_INPUT_STATE = "BadInput"
"""Name of the state of a run that bad input ended."""
PENDING_BUILD = "Pending build"
"""Name of the final state of the task of an engine that was not built; its message says what to do.
Its type is CANCELLED, which Prefect shows in another colour than a completed task."""
SUMMARIES = Path("work/summaries")
"""The results of runs, by the name of the run: ``.json``, and ``.md`` for people."""


def requested_params(
    labels: str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    targets: Sequence[str] | None = None,
) -> Params:
    """The params of one run; an argument that is None does not change params.yaml.

    Raises:
        InputError: a key or value is wrong; the message names both and what is allowed.
    """
    arguments: dict[str, Any] = {
        "data.labels": labels,
        "train.epochs": epochs,
        "build.targets": targets,
    }
    changes = {key: value for key, value in arguments.items() if value is not None}
    duplicates = sorted(changes.keys() & (overrides or {}).keys())
    if duplicates:
        raise InputError(f"{duplicates[0]} is set twice: by its own parameter and in the overrides")
    params = project_params({**(overrides or {}), **changes}, preset)
    if on_s3(params.data.labels):
        parse_url(params.data.labels)
    elif not Path(params.data.labels).exists() and not may_render(params):
        raise InputError(f"data.labels: {params.data.labels}: no such folder or file")
    return params


def project_params(overrides: Mapping[str, Any] | None = None, preset: str | None = None) -> Params:
    """params.yaml with the preset, ``overrides``, and the signing key of the environment.

    Raises:
        InputError: a key or value is wrong; the message names both and what is allowed.
    """
    changes = dict(overrides or {})
    if key := os.environ.get(SIGNING_KEY_VARIABLE):
        changes["trust.signing_key"] = key
    return load_params(PARAMS, preset, changes)


def may_render(params: Params) -> bool:
    """Whether the run uses the embedded set, which is rendered if it does not exist."""
    return not on_s3(params.data.labels) and params.data.labels == load_params(PARAMS).data.labels


def rendered_to(params: Params, work: Path) -> Path:
    """The folder of the embedded set of the run.

    It is ``data.labels``, or, if the run has other ``synth`` params than params.yaml, a folder
    below ``work`` named after its key: ``data.labels`` is then not changed.
    """
    if params.synth == load_params(PARAMS).synth:
        return Path(params.data.labels)
    key = stage_key(STAGES["synth"], {}, params).key
    if params.synth.scheme is not None:
        key = digest_json([key, digest_file(params.synth.scheme)])
    return work / "synth" / key[:16]
