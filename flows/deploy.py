"""Register the deployments of prefect.yaml: ``python -m flows.deploy``.

Input: prefect.yaml. Does: creates the missing work pools, runs ``prefect deploy --all``, and
registers the automations. Output: deployments at the server of ``PREFECT_API_URL``.
"""

import subprocess
import sys
from pathlib import Path

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from flows.automations import register_automations
from flows.request import project_params

PREFECT_YAML = Path("prefect.yaml")


def pools_of(path: Path) -> list[str]:
    """The names of the work pools of the deployments in ``path``, each once, sorted."""
    deployments = yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]
    return sorted({deployment["work_pool"]["name"] for deployment in deployments})


def create_pools(names: list[str]) -> None:
    """Create the missing work pools, of type process."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        for name in names:
            pool = WorkPoolCreate(name=name, type="process", base_job_template=template)
            try:
                client.create_work_pool(pool)
            except ObjectAlreadyExists:
                continue


def main() -> int:
    """Create the pools, register deployments and automations; returns the exit status."""
    create_pools(pools_of(PREFECT_YAML))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    status = subprocess.run(command, check=False).returncode
    register_automations(project_params().promote.notify)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
