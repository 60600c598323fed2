"""The whole story as one flow: labelled faces in, judged engines and a registered version out.

A stage whose inputs, params and code have not changed is taken from ``work/``. A failed gate is a
result: the flow completes and its result says what was refused. Bad input ends it in the state
``BadInput`` with one line that says what, and what is allowed.
"""

from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Failed

from flows.build_engine import engine_from_worker, engines_elsewhere
from flows.notify import tell_of_release
from flows.request import may_render, rendered_to, requested_params
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
from fpenet.params import Params
from fpenet.provenance.signing import read_trusted
from fpenet.release.registry.local_models import in_registry
from fpenet.release.release_manifest import RECORD, ReleaseManifest

BAD_INPUT_STATE = "BadInput"


@flow(name="fpenet", persist_result=True, result_serializer="json")
def train_and_release(
    labels: str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    overrides: dict[str, Any] | None = None,
    targets: list[str] | None = None,
) -> dict[str, Any] | State[Any]:
    """Run all stages; returns release.json of the register stage, and where the rest lies.

    Args:
        labels: folder or label file of a data set, here or at ``s3://bucket/prefix``, instead of
            ``data.labels`` in params.yaml.
        preset: a file of presets/, by name.
        epochs: instead of ``train.epochs``.
        overrides: any other key of params.yaml, dotted: ``{"train.net": "base"}``.
        targets: instead of ``build.targets``.
    """
    try:
        params = requested_params(labels, preset, epochs, overrides, targets)
        if may_render(params):
            params = rendered(params)
        if on_s3(params.data.labels):
            params = fetch_labels(params)
        if in_registry(params):
            params = fetch_weights(params)
        folders: dict[str, str] = {}
        for name, stage in STAGE_TASKS.items():
            if name == "build":
                engines = ask_workers(folders, params)
            folders[name] = stage(folders, params)
            if name == "build":
                folders[name] = joined(folders[name], engines, params)
    except BAD_INPUT as error:
        return Failed(message=str(error), name=BAD_INPUT_STATE)
    release = ReleaseManifest.read(Path(folders["register"]) / RECORD)
    summary = WORK / "summaries" / f"{runtime.flow_run.name}.md"
    summary.parent.mkdir(exist_ok=True)
    summary.write_text(markdown_of(release), encoding="utf-8")
    create_markdown_artifact(markdown_of(release), key="release", description="the release")
    link_with_mlflow(release)
    tell_of_release(release)
    return RunResult(**fields_of(release), folders=folders, summary=summary.as_posix()).tree()


def rendered(params: Params) -> Params:
    """``params`` with the folder of the embedded set that they ask for, rendered where absent."""
    labels = rendered_to(params, WORK)
    if not labels.exists():
        render_labels(params, labels)
    data = params.data.model_copy(update={"labels": labels.as_posix()})
    return params.model_copy(update={"data": data})


def ask_workers(folders: dict[str, str], params: Params) -> dict[str, PrefectFuture[str | None]]:
    """Ask the worker of each engine's own pool, all at once, for what only its device can build."""
    return {
        f"{target}/{precision}": engine_from_worker.submit(target, precision, folders, params)
        for target, precision in engines_elsewhere(params)
    }


def joined(build: str, engines: dict[str, PrefectFuture[str | None]], params: Params) -> str:
    """The build folder with the engines that workers built; one without stays pending."""
    folders = {engine: future.result() for engine, future in engines.items()}
    built = {engine: Path(folder) for engine, folder in folders.items() if folder}
    if not built:
        return build
    trusted = read_trusted(params.trust.public_keys)
    return merge_builds(Path(build), built, trusted, WORK / "build").as_posix()
