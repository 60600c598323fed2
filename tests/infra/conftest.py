"""A project in a folder of its own whose services may start and end."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.provenance.sign import make_key
from infra.local import down
from infra.services import Ports

ROOT = Path(__file__).resolve().parents[2]


def free_ports() -> Ports:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return Ports(one.getsockname()[1], other.getsockname()[1])


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Ports:
    """Two free ports, also named in the environment of what the test starts."""
    found = free_ports()
    monkeypatch.setenv("FPENET_PREFECT_PORT", str(found.prefect))
    monkeypatch.setenv("FPENET_MLFLOW_PORT", str(found.mlflow))
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    for name in ("params.yaml", "prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("presets", "flows", "components"):
        (tmp_path / name).symlink_to(ROOT / name)
    make_key(tmp_path / ".keys/development.pem")
    yield tmp_path
    down(tmp_path)
