"""A project in a folder of its own whose services may start and end."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.provenance.sign import SigningKey
from infra.local import down
from infra.services import Ports

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
