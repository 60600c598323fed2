"""A project with running services, the command that makes a release, and queries to the servers."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.local import down
from infra.services import ports_in_use
from tests.conftest import DEVELOPMENT_KEY
from tests.infra.conftest import ROOT, fill_project, use_free_ports

SMALL = (
    "train.net=nano",
    "train.batch_size=8",
    "evaluate.interval.resamples=1000",
    "evaluate.robustness.faces=0",
    "evaluate.temporal.faces=0",
    "calibrate.draws=0",
    "benchmark.timed_runs=20",
)
"""Params for a fast run of all stages."""
TENSORRT = """
        tensorrt_engine.build,
        tensorrt_engine.load_engine,
        ".engine",
        needs_gpu=True,
        distributions=("tensorrt",),
"""
INSTEAD = """
        onnxruntime_engine.build,
        onnxruntime_engine.load_engine,
        ".engine",
        needs_gpu=True,
"""


def limits(px: str) -> list[str]:
    """The keys that make ``px`` every threshold of the embedded set."""
    regions = ("all", "eyes", "mouth")
    return [f"gate.thresholds.synthetic.image_px/{region}={px}" for region in regions]


def command(*words: str) -> list[str]:
    """The command line of ``fpenet release`` with the tested sources."""
    return [sys.executable, "-m", "fpenet", "release", *words]


def ended(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; the result contains its output."""
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def fill_served(folder: Path, faces: Path) -> None:
    """Make ``folder`` a project in which ``make`` finds its environment, key and faces."""
    fill_project(folder)
    (folder / "Makefile").symlink_to(ROOT / "Makefile")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".keys").mkdir()
    for suffix in (".pem", ".pub"):
        shutil.copy2(DEVELOPMENT_KEY.with_suffix(suffix), folder / ".keys")
    shutil.copytree(faces, folder / "data")


@contextmanager
def services_up(folder: Path) -> Iterator[Path]:
    """The project at ``folder`` while its services run, on free ports."""
    with pytest.MonkeyPatch.context() as patch:
        use_free_ports(patch)
        try:
            subprocess.run([sys.executable, "-m", "infra.local", "up"], cwd=folder, check=True)
            yield folder
        finally:
            down(folder)


def candidate(project: Path) -> str | None:
    """The version with the alias candidate, from MLflow's API; None if there is none."""
    server = f"{ports_in_use(project, {}).mlflow_url}/api/2.0/mlflow/registered-models"
    try:
        with urllib.request.urlopen(f"{server}/get?name=fpenet-deployable") as response:
            model = json.load(response)["registered_model"]
    except urllib.error.HTTPError as error:
        if error.code == 404:  # nothing was registered yet
            return None
        raise
    aliases = {each["alias"]: str(each["version"]) for each in model.get("aliases", [])}
    return aliases.get("candidate")


def engine_runs(project: Path) -> list[dict[str, Any]]:
    """All runs of the engine flow, from Prefect's API."""
    request = urllib.request.Request(
        f"{ports_in_use(project, {}).prefect_url}/api/flow_runs/filter",
        json.dumps({"flows": {"name": {"any_": ["fpenet-engine"]}}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        runs: list[dict[str, Any]] = json.load(response)
    return runs


def engine_rows(printed: str) -> dict[str, str]:
    """``target/precision`` -> status, parsed from the printed table of engines."""
    table = printed.partition("\nEngines, latency at batch 1\n")[2].splitlines()
    rows = [line.strip("│ ").split("│") for line in table if line.startswith("│")]
    return {f"{row[0].strip()}/{row[1].strip()}": row[5].strip() for row in rows}


def fill_device(folder: Path, project: Path) -> None:
    """Make ``folder`` the checkout of a device that shares ``work/`` with the project.

    In this checkout ONNX Runtime replaces TensorRT, whose engines are built on the device only.
    """
    folder.mkdir()
    for name in ("components", "flows"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("params.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(project / ".keys", folder / ".keys")
    (folder / "work").symlink_to(project / "work")
    runtimes = folder / "components/fpenet/deploy/engines/runtimes.py"
    text = runtimes.read_text()
    assert text.count(TENSORRT) == 1
    runtimes.write_text(text.replace(TENSORRT, INSTEAD))


@contextmanager
def worker_of(pool: str, folder: Path, project: Path) -> Iterator[None]:
    """A worker process of ``pool``, which runs in the checkout ``folder``."""
    settings = {
        "PREFECT_API_URL": f"{ports_in_use(project, {}).prefect_url}/api",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": f"{folder / 'components'}{os.pathsep}{folder}",
    }
    words = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
    worker = subprocess.Popen([sys.executable, "-m", *words], cwd=folder, env=os.environ | settings)
    try:
        yield
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
