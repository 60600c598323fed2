"""The flow that builds and judges one engine on its device, run by a worker of the target's pool.

Input: the input folders of the build stage, in a ``work/`` that the worker shares with the machine
of the release, and the params of the run. Does: runs the build stage for one engine on the device.
Output: a build folder, which ``train_and_release`` merges with the build of the other engines.

Without a worker the run stays scheduled and the release is partial. A worker that starts later runs
it, and the next release of the same net uses the finished engine.
"""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import State, StateType, WorkerStatus, WorkPoolStatus
from prefect.exceptions import ObjectNotFound
from prefect.futures import PrefectFuture

from flows.request import PENDING_BUILD
from flows.tasks import WORK, progress_artifact
from fpenet.core.errors import InputError
from fpenet.deploy.engines.engine_table import ENGINES, EngineTable
from fpenet.deploy.engines.targets import TARGETS, Precision, how_to_build
from fpenet.device_engines import engine_folder, engines_of_devices, only_engine
from fpenet.execution import run_stage
from fpenet.params import SIGNING_KEY_VARIABLE, Params, TargetName
from fpenet.provenance.manifest import MANIFEST, verify
from fpenet.provenance.signing import read_signing_key, read_trusted, sign_file, signature_of
from fpenet.stages import STAGES

FLOW = "fpenet-engine"
LONGEST_JUDGEMENT_SECONDS = 1800.0
"""Longest wait of a release for an engine, in addition to ``build.longest_seconds``."""


@flow(
    name=FLOW,
    persist_result=True,
    result_serializer="json",
    flow_run_name="engine-{target}-{precision}",
)
def build_engine(
    target: str, precision: str, folders: dict[str, str], params: dict[str, Any], out_dir: str
) -> None:
    """Build and judge one engine on this machine, and sign the build folder with its key.

    Args:
        folders: stage -> its finished folder.
        params: the params as JSON values.
        out_dir: the build folder.

    Raises:
        RuntimeError: this machine cannot build the engine now; the message gives the reason.
    """
    inputs = {stage: Path(folders[stage]) for stage in STAGES["build"].inputs}
    folder, checked = Path(out_dir), Params.model_validate(params)
    key = read_signing_key(Path(os.environ.get(SIGNING_KEY_VARIABLE) or checked.trust.signing_key))
    with progress_artifact("build"):
        run_stage("build", folder, inputs, checked)
    unbuilt = [row.reason for row in EngineTable.read(folder / ENGINES).engines if row.file is None]
    if unbuilt:
        shutil.rmtree(folder)  # a later try may succeed, e.g. after the runtime is installed
        raise RuntimeError(f"{target}/{precision}: {unbuilt[0]}")
    sign_file(folder / MANIFEST, key)


def waiting_engines(folders: Mapping[str, str], params: Params) -> set[str]:
    """The engines, ``target/precision``, whose run is scheduled in a pool without a worker.

    Two requests to the server for all engines: in a repeated release most engines of devices wait,
    and a request for each would take longer than the other stages together.
    """
    keys = {
        f"{target}/{precision}": engine_folder(WORK, target, precision, folders, params).name
        for target, precision in engines_of_devices(params)
    }
    pools = {TARGETS[target].pool for target, _ in engines_of_devices(params)}
    with get_client(sync_client=True) as client:
        ready = {
            pool.name
            for pool in client.read_work_pools(
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=sorted(pools)))
            )
            if pool.status == WorkPoolStatus.READY
        }
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                idempotency_key=FlowRunFilterIdempotencyKey(any_=sorted(keys.values())),
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])
                ),
            )
        )
    scheduled = {run.idempotency_key for run in runs}
    return {
        f"{target}/{precision}"
        for target, precision in engines_of_devices(params)
        if TARGETS[target].pool not in ready and keys[f"{target}/{precision}"] in scheduled
    }


def has_worker(pool: str) -> bool:
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
    target: TargetName,
    precision: Precision,
    folders: Mapping[str, str],
    params: Params,
    waits: bool = False,
) -> str | State[Any]:
    """The build folder of one engine from a worker of its pool, or the state PENDING_BUILD.

    Several releases that need the same engine share one run, until that run has finished.

    Args:
        waits: the engine is one of ``waiting_engines``.
    """
    params_of_engine = only_engine(params, target, precision)
    inputs = {stage: folders[stage] for stage in STAGES["build"].inputs}
    out_dir = engine_folder(WORK, target, precision, folders, params)
    pool = TARGETS[target].pool
    no_worker = f"no worker of pool {pool} is online; {how_to_build(target)}"
    if signature_of(out_dir / MANIFEST).exists():
        return _verified(out_dir, params)
    if waits:
        return pending_build(no_worker)
    parameters = {
        "target": target,
        "precision": precision,
        "folders": inputs,
        "params": params_of_engine.model_dump(mode="json", by_alias=True),
        "out_dir": out_dir.as_posix(),
    }

    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(f"{FLOW}/{target}")
        except ObjectNotFound:
            no_deployment = f"no deployment {FLOW}/{target} at this server: `make up`"
            return pending_build(f"{no_deployment}; then {how_to_build(target)}")
        key, run = out_dir.name, None
        while run is None or (run.state and run.state.is_final()):
            key = f"after-{run.id}" if run else key  # it failed in an earlier release
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters=parameters, idempotency_key=key
            )
        if not has_worker(pool):
            return pending_build(no_worker)
        end = time.monotonic() + params.build.longest_seconds + LONGEST_JUDGEMENT_SECONDS
        while not (run.state and run.state.is_final()) and time.monotonic() < end:
            time.sleep(1.0)
            run = client.read_flow_run(run.id)
    if run.state is None or not run.state.is_completed():
        message = (run.state and run.state.message) or "no message"
        return pending_build(f"the worker of pool {pool} did not build it: {message}")
    return _verified(out_dir, params)


def pending_build(message: str) -> State[Any]:
    """The final state of the task of an engine that was not built; the message is logged too."""
    get_run_logger().warning(message)
    return State(type=StateType.CANCELLED, name=PENDING_BUILD, message=message)


def built_folder(future: PrefectFuture[str | State[Any]]) -> str | None:
    """The build folder of an engine; None if its build is pending."""
    future.wait()
    return None if future.state.name == PENDING_BUILD else str(future.result())


def _verified(folder: Path, params: Params) -> str | State[Any]:
    """The folder if a trusted key signed it; otherwise the engine stays pending."""
    try:
        verify(folder, read_trusted(params.trust.public_keys))
    except InputError as error:
        return pending_build(f"the engine of the worker was refused: {error}")
    return folder.as_posix()
