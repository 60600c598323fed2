"""What one run was asked for: the parameters of the flow, laid over params.yaml and checked."""

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


def requested_params(
    labels: str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    targets: Sequence[str] | None = None,
) -> Params:
    """The typed tree of one run; what is None stays as params.yaml has it.

    Raises:
        InputError: naming key, value and what is allowed.
    """
    named: dict[str, Any] = {
        "data.labels": labels,
        "train.epochs": epochs,
        "build.targets": targets,
    }
    given = {key: value for key, value in named.items() if value is not None}
    twice = sorted(given.keys() & (overrides or {}).keys())
    if twice:
        raise InputError(f"{twice[0]} was given twice: by its own name and among the overrides")
    params = project_params({**(overrides or {}), **given}, preset)
    if on_s3(params.data.labels):
        parse_url(params.data.labels)
    elif not Path(params.data.labels).exists() and not may_render(params):
        raise InputError(f"data.labels: {params.data.labels} does not exist; give a folder or file")
    return params


def project_params(overrides: Mapping[str, Any] | None = None, preset: str | None = None) -> Params:
    """params.yaml with ``overrides``, and with the signing key that the environment names.

    Raises:
        InputError: naming key, value and what is allowed.
    """
    given = dict(overrides or {})
    if key := os.environ.get(SIGNING_KEY_VARIABLE):
        given["trust.signing_key"] = key
    return load_params(PARAMS, preset, given)


def may_render(params: Params) -> bool:
    """Whether the run uses the embedded set, which is rendered where it is absent."""
    return not on_s3(params.data.labels) and params.data.labels == load_params(PARAMS).data.labels


def rendered_to(params: Params, work: Path) -> Path:
    """Where the embedded set of the run lies: at ``data.labels``, or below ``work`` by its key.

    The latter where the run asks for another set than params.yaml, which stays what it is.
    """
    if params.synth == load_params(PARAMS).synth:
        return Path(params.data.labels)
    key = stage_key(STAGES["synth"], {}, params).key
    if params.synth.scheme is not None:
        key = digest_json([key, digest_file(params.synth.scheme)])
    return work / "synth" / key[:16]
