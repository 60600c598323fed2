"""The flow of a release: all stages from the labelled faces to the registered version.

The result of a stage is reused from ``work/`` if its inputs, params and code have not changed. If
the gate refuses, the flow still completes, and its result contains the reasons. Bad input ends the
flow in the state ``BadInput``; its message names the input and what is allowed.
"""

import time
from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Failed

from flows.build_engine import built_folder, engine_from_worker, waiting_engines
from flows.notify import emit_events_of
from flows.request import BAD_INPUT_STATE, SUMMARIES, may_render, rendered_to, requested_params
from flows.summary import RunResult, markdown_of
from flows.tasks import (
    STAGE_TASKS,
    WORK,
    fetch_labels,
    fetch_weights,
    link_with_mlflow,
    render_labels,
)
from fpenet.core.errors import BAD_INPUT
from fpenet.core.records import fields_of
from fpenet.data.sources.s3_labels import on_s3
from fpenet.deploy.engines.merge_builds import merge_builds
from fpenet.device_engines import engines_of_devices
from fpenet.params import Params
from fpenet.provenance.signing import read_trusted
from fpenet.release.registry.local_models import in_registry
from fpenet.release.release_manifest import RELEASE_MANIFEST, ReleaseManifest


@flow(name="fpenet", persist_result=True, result_serializer="json")
def train_and_release(
    labels: str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    overrides: dict[str, Any] | None = None,
    targets: list[str] | None = None,
) -> dict[str, Any] | State[Any]:
    """Run all stages; returns the content of release.json, the stage folders and the summary file.

    Args:
        labels: folder or label file of a data set, local or at ``s3://bucket/prefix``; replaces
            ``data.labels``.
        preset: name of a file in presets/.
        epochs: replaces ``train.epochs``.
        overrides: other dotted keys of params.yaml, e.g. ``{"train.net": "base"}``.
        targets: replaces ``build.targets``.
    """
    begin = time.time()
    try:
        params = requested_params(labels, preset, epochs, overrides, targets)
        if may_render(params):
            params = render_if_absent(params)
        if on_s3(params.data.labels):
            params = fetch_labels(params)
        if in_registry(params):
            params = fetch_weights(params)
        folders: dict[str, str] = {}
        for name, stage in STAGE_TASKS.items():
            if name == "build":
                engines = request_engines(folders, params)
            folders[name] = stage(folders, params)
            if name == "build":
                folders[name] = merge_engines(folders[name], engines, params)
    except BAD_INPUT as error:
        return Failed(message=str(error), name=BAD_INPUT_STATE)
    release = ReleaseManifest.read(Path(folders["register"]) / RELEASE_MANIFEST)
    summary = SUMMARIES / f"{runtime.flow_run.name}.md"
    summary.parent.mkdir(exist_ok=True)
    page = markdown_of(release)
    summary.write_text(page, encoding="utf-8")
    create_markdown_artifact(page, key="release", description="the release")
    registered = (Path(folders["register"]) / RELEASE_MANIFEST).stat().st_mtime
    link_with_mlflow(release, is_new=registered >= begin)
    emit_events_of(release)
    result = RunResult(**fields_of(release), folders=folders, summary=summary.as_posix())
    result.write(summary.with_suffix(".json"))
    return result.tree()


def render_if_absent(params: Params) -> Params:
    """Render the embedded set if it does not exist; returns the params with its folder."""
    labels = rendered_to(params, WORK)
    if not labels.exists():
        render_labels(params, labels)
    data = params.data.model_copy(update={"labels": labels.as_posix()})
    return params.model_copy(update={"data": data})


def request_engines(
    folders: dict[str, str], params: Params
) -> dict[str, PrefectFuture[str | State[Any]]]:
    """Request the engines that only their device can build, from all work pools in parallel."""
    waiting = waiting_engines(folders, params) if engines_of_devices(params) else set()
    return {
        (engine_id := f"{target}/{precision}"): engine_from_worker.submit(
            target, precision, folders, params, waits=engine_id in waiting
        )
        for target, precision in engines_of_devices(params)
    }


def merge_engines(
    build: str, engines: dict[str, PrefectFuture[str | State[Any]]], params: Params
) -> str:
    """Merge the engines of the workers into the build folder; missing engines stay pending."""
    folders = {engine_id: built_folder(future) for engine_id, future in engines.items()}
    built = {engine_id: Path(folder) for engine_id, folder in folders.items() if folder}
    if not built:
        return build
    trusted = read_trusted(params.trust.public_keys)
    return merge_builds(Path(build), built, trusted, WORK / "build").as_posix()
