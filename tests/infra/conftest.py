"""A project in a temporary folder, whose services a test may start and stop."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fpenet.provenance.signing import SigningKey
from infra.local import down
from infra.services import Ports
from tests.promoting import Promoting

ROOT = Path(__file__).resolve().parents[2]


def free_ports() -> Ports:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for each in (one, two, three):
            each.bind(("127.0.0.1", 0))
        return Ports(*(each.getsockname()[1] for each in (one, two, three)))


def use_free_ports(monkeypatch: pytest.MonkeyPatch) -> Ports:
    """Free ports; the environment variables of the ports are set to them."""
    found = free_ports()
    monkeypatch.setenv("FPENET_PREFECT_PORT", str(found.prefect))
    monkeypatch.setenv("FPENET_MLFLOW_PORT", str(found.mlflow))
    monkeypatch.setenv("FPENET_WATCHER_PORT", str(found.watcher))
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Ports:
    """Free ports; the environment variables of the ports are set to them during the test."""
    return use_free_ports(monkeypatch)


def fill_project(folder: Path) -> None:
    """Make ``folder`` a project with the tested sources, without keys and without faces."""
    for name in ("params.yaml", "prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("presets", "flows", "infra", "components"):
        (folder / name).symlink_to(ROOT / name)


@pytest.fixture
def project(tmp_path: Path, development_key: SigningKey) -> Iterator[Path]:
    fill_project(tmp_path)
    yield tmp_path
    down(tmp_path)


@pytest.fixture(scope="session")
def rendered_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """140 rendered faces: 23 KPI subjects and 5 others, 5 faces each; tests must not change it."""
    folder = tmp_path_factory.mktemp("rendered")
    few = ["--set", "synth.subjects=5", "--set", "synth.faces_per_subject=5"]
    command = [sys.executable, "-m", "fpenet", "synth", *few]
    subprocess.run([*command, "--params", ROOT / "params.yaml"], cwd=folder, check=True)
    return folder / "data"


@pytest.fixture
def rendered(project: Path, rendered_faces: Path) -> Path:
    """The project with the 140 rendered faces."""
    shutil.copytree(rendered_faces, project / "data")
    return project


@pytest.fixture
def release_two(
    project: Path,
    ports: Ports,
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    promoting: Callable[..., Promoting],
    names: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], Promoting]:
    """Register version 1, which passed the gate, and 2, which it refused, at the MLflow server."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["register"] |= {key.removeprefix("register."): name for key, name in names.items()}
    (project / "params.yaml").write_text(yaml.safe_dump(params))

    def release() -> Promoting:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", ports.mlflow_url)
        register(stage_folders("good"))
        register(stage_folders("bad", verdict={"passed": False, "reasons": ["too far off"]}))
        return promoting({"promote.store": (project / ".services/releases").as_posix()})

    return release
