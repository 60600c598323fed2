"""How long an unchanged release takes with services up, and where its seconds go.

A project is made with few rendered faces; its services start, and one release fills work/. The same
command then runs again: no stage has anything to do but register, which finds its version. The
parts are the times between the events that Prefect's server recorded, so they add up.

    python -m benchmarks.release [--rounds 3] [--targets cpu nano ...] [--save]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.result_file import NothingToMeasure, run_benchmark
from infra.local import down
from infra.runs import request_json
from infra.services import ports_in_use
from tests.infra.conftest import ROOT, free_ports
from tests.infra.releasing import SMALL, fill_served, limits

MEASURES = ("fpenet.execution", "fpenet.release.registry.register")
LIMIT_SECONDS = 15.0
FACES = ("synth.subjects=5", "synth.faces_per_subject=5")


def released(project: Path, words: Sequence[str]) -> tuple[float, float]:
    """The times at which ``fpenet release`` began and ended, in seconds since 1970.

    Raises:
        NothingToMeasure: it failed.
    """
    begin = time.time()
    command = [sys.executable, "-m", "fpenet", "release", *words]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NothingToMeasure(f"the release failed: {(done.stderr or done.stdout)[-500:]}")
    return begin, time.time()


def parts_of(project: Path, begin: float, end: float) -> dict[str, float]:
    """Part -> seconds of the latest run, in the order of time; the parts add up to the whole."""
    api = f"{ports_in_use(project, {}).prefect_url}/api"
    latest = {"sort": "START_TIME_DESC", "limit": 1, "flows": {"name": {"any_": ["fpenet"]}}}
    (run,) = request_json(f"{api}/flow_runs/filter", latest)
    query = {"flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 200}
    rows = request_json(f"{api}/task_runs/filter", query)
    tasks = sorted((row for row in rows if row["start_time"]), key=lambda row: row["start_time"])
    times = {"start of fpenet release": begin, "wait for the worker": _seconds(run["created"])}
    states = request_json(f"{api}/flow_run_states/?flow_run_id={run['id']}")
    pending = [row["timestamp"] for row in states if row["type"] == "PENDING"]
    times["start of the run's process"] = _seconds(min(pending))
    times["params"] = _seconds(run["start_time"])
    for task in tasks:
        engine = task["name"].startswith("engine ")
        times.setdefault(
            "engines of devices" if engine else task["name"], _seconds(task["start_time"])
        )
    times["result and links"] = max(_seconds(task["end_time"]) for task in tasks)
    times["tables"] = _seconds(run["end_time"])
    starts = [*times.values(), end]
    return {name: starts[index + 1] - start for index, (name, start) in enumerate(times.items())}


def _seconds(text: Any) -> float:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds by part, the whole, and its ratio to the limit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", nargs="+", help="default: build.targets of params.yaml")
    run_benchmark(parser, measure, arguments)


def measure(options: argparse.Namespace) -> None:
    """Release once, then again in each round; print the medians."""
    words = ["--epochs", "1", "--set", *SMALL, *limits("1000")]
    words += ["--targets", *options.targets] if options.targets else []
    with tempfile.TemporaryDirectory() as name:
        faces, project = Path(name, "faces"), Path(name, "project")
        faces.mkdir()
        project.mkdir()
        sets = [word for pair in FACES for word in ("--set", pair)]
        command = [sys.executable, "-m", "fpenet", "synth", "--params", str(ROOT / "params.yaml")]
        subprocess.run([*command, *sets], cwd=faces, check=True, stdout=subprocess.DEVNULL)
        fill_served(project, faces / "data")
        ports = free_ports()
        os.environ |= {
            "FPENET_PREFECT_PORT": str(ports.prefect),
            "FPENET_MLFLOW_PORT": str(ports.mlflow),
            "FPENET_WATCHER_PORT": str(ports.watcher),
        }
        up = [sys.executable, "-m", "infra.local", "up"]
        try:
            subprocess.run(up, cwd=project, check=True, stdout=subprocess.DEVNULL)
            released(project, words)
            rounds = [parts_of(project, *released(project, words)) for _ in range(options.rounds)]
        finally:
            down(project)
    print_parts(rounds)


def print_parts(rounds: Sequence[dict[str, float]]) -> None:
    """Print the median of each part, then that of the whole."""
    print(f"an unchanged release with services up, medians of {len(rounds)} rounds")
    for name in rounds[0]:
        print(f"{name:28}{statistics.median(each[name] for each in rounds):7.2f} s")
    whole = statistics.median(sum(each.values()) for each in rounds)
    ratio = whole / LIMIT_SECONDS
    print(f"{'whole':28}{whole:7.2f} s, {ratio:.2f} of the limit of {LIMIT_SECONDS:g} s")


if __name__ == "__main__":
    main()
