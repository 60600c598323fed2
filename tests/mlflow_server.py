"""A real MLflow server for a test session: the application of ``mlflow server``, on loopback.

It runs in one process, because ``mlflow server`` starts a supervisor and takes three times as long.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVE = """
from werkzeug.serving import make_server
from mlflow.server import app

server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="session")
def mlflow_server(mlflow_folder: Path) -> Iterator[str]:
    """URL of the server; its database is that of ``mlflow_store``."""
    settings = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{mlflow_folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(mlflow_folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    with (mlflow_folder / "server.txt").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            cwd=mlflow_folder,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert server.stdout is not None
    with server, server.stdout:
        try:
            port = server.stdout.readline().strip()
            assert port, (mlflow_folder / "server.txt").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()
