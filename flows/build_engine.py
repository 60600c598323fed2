"""One engine of a GPU target, built and judged by the worker that owns the target's pool.

Input: the finished folders that the build stage reads, in a ``work/`` that the worker shares with
the machine that asks, and the params of the run. Does: the same build stage, for one engine, on the
device. Output: its folder, which ``train_and_release`` joins with the build of the other engines.

A run that no worker takes stays scheduled. The release is partial then; the worker takes the run
when it comes, and the next release of the same net finds the engine finished.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from flows.tasks import WORK, progress_artifact
from fpenet.core.errors import InputError
from fpenet.deploy.engines.engine_table import ENGINES, EngineTable
from fpenet.deploy.engines.targets import TARGETS, Precision
from fpenet.execution import cached_folder, run_stage
from fpenet.params import SIGNING_KEY_VARIABLE, Params, TargetName
from fpenet.provenance.manifest import MANIFEST, verify
from fpenet.provenance.signing import read_signing_key, read_trusted, sign_file, signature_of
from fpenet.stages import STAGES

FLOW = "fpenet-engine"
LONGEST_JUDGEMENT_SECONDS = 1800.0
"""How long a release waits for an engine, beyond the time that its build may take."""


@flow(
    name=FLOW,
    persist_result=True,
    result_serializer="json",
    flow_run_name="engine-{target}-{precision}",
)
def build_engine(
    target: str, precision: str, folders: dict[str, str], params: dict[str, Any], out_dir: str
) -> None:
    """Build and judge one engine here, into ``out_dir``, and sign it with this machine's key.

    Raises:
        RuntimeError: this machine cannot build it now; the message says why.
    """
    inputs = {stage: Path(folders[stage]) for stage in STAGES["build"].inputs}
    folder, wanted = Path(out_dir), Params.model_validate(params)
    key = read_signing_key(Path(os.environ.get(SIGNING_KEY_VARIABLE) or wanted.trust.signing_key))
    with progress_artifact("build"):
        run_stage("build", folder, inputs, wanted)
    unbuilt = [row.reason for row in EngineTable.read(folder / ENGINES).engines if row.file is None]
    if unbuilt:
        shutil.rmtree(folder)  # this worker may have its runtime, or its memory, tomorrow
        raise RuntimeError(f"{target}/{precision}: {unbuilt[0]}")
    sign_file(folder / MANIFEST, key)


def only_engine(params: Params, target: TargetName, precision: Precision) -> Params:
    """The params of a build of one engine."""
    only = {"targets": (target,), "precisions": (precision,)}
    return params.model_copy(update={"build": params.build.model_copy(update=only)})


def engines_elsewhere(params: Params) -> list[tuple[TargetName, Precision]]:
    """The engines that only their own device can build."""
    return [
        (name, precision)
        for name in params.build.targets
        if TARGETS[name].built_on_device
        for precision in TARGETS[name].precisions
        if precision in params.build.precisions
    ]


def served(pool: str) -> bool:
    """Whether a worker of the pool is online."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            return False
        workers = client.read_workers_for_work_pool(pool)
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


@task(task_run_name="engine {target}/{precision}", cache_policy=NO_CACHE, persist_result=False)
def engine_from_worker(
    target: TargetName, precision: Precision, folders: Mapping[str, str], params: Params
) -> str | None:
    """Have the worker of the target's pool build one engine; None while it has not.

    The same engine is asked for once, by however many releases, until a worker has answered.
    """
    wanted = only_engine(params, target, precision)
    inputs = {stage: folders[stage] for stage in STAGES["build"].inputs}
    paths = {stage: Path(folder) for stage, folder in inputs.items()}
    out_dir = cached_folder(WORK / "engines" / target, "build", paths, wanted)
    pool, log = TARGETS[target].pool, get_run_logger()
    if signature_of(out_dir / MANIFEST).exists():
        return _trusted(out_dir, params, log)
    parameters = {
        "target": target,
        "precision": precision,
        "folders": inputs,
        "params": wanted.model_dump(mode="json", by_alias=True),
        "out_dir": out_dir.as_posix(),
    }

    def ask(key: str, wait: float) -> FlowRun | None:
        try:
            run = run_deployment(
                f"{FLOW}/{target}",
                parameters=parameters,
                idempotency_key=key,
                timeout=wait,
                poll_interval=1,
            )
        except ObjectNotFound:
            log.warning("no deployment %s/%s at this server: `make up` registers it", FLOW, target)
            return None
        return cast(FlowRun, run)  # a coroutine only where an event loop runs

    key = out_dir.name
    run = ask(key, 0)
    while run and run.state and run.state.is_final():  # it failed at an earlier release
        key = f"after-{run.id}"
        run = ask(key, 0)
    if run is None or not served(pool):
        log.warning("%s/%s waits for a worker of pool %s", target, precision, pool)
        return None
    run = ask(key, params.build.longest_seconds + LONGEST_JUDGEMENT_SECONDS)
    if run is None or run.state is None or not run.state.is_completed():
        said = run.state.message if run and run.state else "no state"
        log.warning("the worker of pool %s has not built %s: %s", pool, precision, said)
        return None
    return _trusted(out_dir, params, log)


def _trusted(folder: Path, params: Params, log: Any) -> str | None:
    """The folder, if somebody trusted here signed what is in it; without, the engine is pending."""
    try:
        verify(folder, read_trusted(params.trust.public_keys))
    except InputError as error:
        log.error("an engine is refused: %s", error)
        return None
    return folder.as_posix()
