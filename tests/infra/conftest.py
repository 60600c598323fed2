"""A project in a folder of its own whose services may start and end."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.provenance.sign import SigningKey
from infra.local import down
from infra.services import Ports
from tests.promoting import Promoting

ROOT = Path(__file__).resolve().parents[2]


def free_ports() -> Ports:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for each in (one, two, three):
            each.bind(("127.0.0.1", 0))
        return Ports(*(each.getsockname()[1] for each in (one, two, three)))


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Ports:
    """Free ports, also named in the environment of what the test starts."""
    found = free_ports()
    monkeypatch.setenv("FPENET_PREFECT_PORT", str(found.prefect))
    monkeypatch.setenv("FPENET_MLFLOW_PORT", str(found.mlflow))
    monkeypatch.setenv("FPENET_GATE_PORT", str(found.gate))
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def project(tmp_path: Path, development_key: SigningKey) -> Iterator[Path]:
    for name in ("params.yaml", "prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("presets", "flows", "components"):
        (tmp_path / name).symlink_to(ROOT / name)
    yield tmp_path
    down(tmp_path)


@pytest.fixture
def rendered(project: Path) -> Path:
    """The project with 140 rendered faces: 23 KPI people and 5 others, 5 faces each."""
    few = ["--set", "synth.subjects=5", "--set", "synth.faces_per_subject=5"]
    subprocess.run([sys.executable, "-m", "components.cli", "synth", *few], cwd=project, check=True)
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
    """Register version 1, which is good, and 2, which the gate refused, where MLflow serves."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["register"] |= {key.removeprefix("register."): name for key, name in names.items()}
    (project / "params.yaml").write_text(yaml.safe_dump(params))

    def release() -> Promoting:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", ports.mlflow_url)
        register(stage_folders("good"))
        register(stage_folders("bad", verdict={"passed": False, "reasons": ["too far off"]}))
        return promoting({"promote.store": (project / ".services/releases").as_posix()})

    return release
