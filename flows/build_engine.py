"""One GPU target's engines, built and judged by the worker that owns the target's pool.

Input: the finished folders that the build stage reads, in a ``work/`` that the worker shares with
the machine that asks, and the params of the run. Does: the same build stage, for one target, on the
device. Output: its folder, which ``train_and_release`` joins with the build of the other targets.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from components.params import Params
from components.stages import STAGES, cached_folder, run_stage
from flows.tasks import WORK, progress_artifact

FLOW = "fpenet-engine"
LONGEST_BUILD_SECONDS = 3600.0


@flow(name=FLOW, persist_result=True, result_serializer="json", flow_run_name="engine-{target}")
def build_engine(
    target: str, folders: dict[str, str], params: dict[str, Any], out_dir: str
) -> None:
    """Build and judge the engines of ``target`` here, into ``out_dir``.

    Raises:
        RuntimeError: this machine cannot build for the target; the message says why.
    """
    inputs = {stage: Path(folders[stage]) for stage in STAGES["build"].inputs}
    folder = Path(out_dir)
    with progress_artifact("build"):
        run_stage("build", folder, inputs, Params.model_validate(params))
    rows = json.loads((folder / "engines.json").read_text(encoding="utf-8"))
    absent = [row["reason"] for row in rows if row["status"] == "pending"]
    if absent:
        shutil.rmtree(folder)  # this worker may have its runtime tomorrow
        raise RuntimeError(f"{target}: {absent[0]}")


def only_target(params: Params, target: str) -> Params:
    """The params of a build of one target."""
    build = params.build.model_copy(update={"targets": (target,)})
    return params.model_copy(update={"build": build})


def served(pool: str) -> bool:
    """Whether a worker of the pool is online."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            return False
        workers = client.read_workers_for_work_pool(pool)
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


@task(task_run_name="engine {target}", cache_policy=NO_CACHE, persist_result=False)
def engine_from_worker(
    target: str, pool: str, folders: Mapping[str, str], params: Params
) -> str | None:
    """Have the worker of ``pool`` build the engines of ``target``; None where it could not.

    The run of the worker is asked for once, however often this task is repeated.
    """
    wanted = only_target(params, target)
    inputs = {stage: folders[stage] for stage in STAGES["build"].inputs}
    paths = {stage: Path(folder) for stage, folder in inputs.items()}
    out_dir = cached_folder(WORK / "engines" / target, "build", paths, wanted)
    asked = run_deployment(
        f"{FLOW}/{target}",
        parameters={
            "target": target,
            "folders": inputs,
            "params": wanted.model_dump(mode="json", by_alias=True),
            "out_dir": out_dir.as_posix(),
        },
        idempotency_key=f"{runtime.flow_run.id}-{target}",
        timeout=LONGEST_BUILD_SECONDS,
        poll_interval=1,
    )
    run = cast(FlowRun, asked)  # a coroutine only where an event loop runs
    if run.state is None or not run.state.is_completed():
        said = run.state.message if run.state else "no state"
        get_run_logger().warning("the worker of pool %s built no engine: %s", pool, said)
        return None
    return out_dir.as_posix()
