"""The model load key in a flow run: out of a Secret block or the environment, and into nothing."""

import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from pydantic import SecretStr

from flows.tasks import MODEL_KEY_BLOCK, model_key
from flows.train_and_release import train_and_release
from fpenet.provenance.digest import files_of
from fpenet.provenance.encryption import ModelKey

pytestmark = pytest.mark.usefixtures("prefect_server", "project")
CANARY = f"canary{secrets.token_hex(20)}"


def run(**parameters: Any) -> State[Any]:
    parameters |= {"labels": "faces", "targets": ["cpu"]}
    state: State[Any] = train_and_release(**parameters, return_state=True)
    return state


def test_the_key_reaches_the_stage_register_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FPENET_MODEL_KEY", raising=False)
    Secret.delete(MODEL_KEY_BLOCK) if model_key() else None
    assert model_key() is None
    Secret(value=SecretStr(CANARY)).save(MODEL_KEY_BLOCK, overwrite=True)
    wanted = {"register.encrypt": True}
    state = run(overrides=wanted)
    release = state.result()
    assert release["encryption"] == ModelKey(CANARY).id(b"salt")
    plain = run().result()
    assert plain["encryption"] == "none"
    crashed = run(overrides={**wanted, "register.experiment": "crash"})
    assert crashed.is_failed()
    assert "no space left, ModelKey()" in str(crashed.message)
    monkeypatch.setenv("FPENET_MODEL_KEY", "the environment comes first")
    assert model_key() == ModelKey("the environment comes first")

    database = Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    runs = [each.state_details.flow_run_id for each in (state, crashed)]
    filtered = LogFilterFlowRunId(any_=[run_id for run_id in runs if run_id])
    with get_client(sync_client=True) as client:
        for _ in range(1200):  # logs arrive later
            logs = client.read_logs(LogFilter(flow_run_id=filtered))
            if "no space left" in "".join(log.message for log in logs):
                break
            time.sleep(0.1)
    assert "no space left" in "".join(log.message for log in logs)
    Secret.delete(MODEL_KEY_BLOCK)
    out, err = capfd.readouterr()
    assert CANARY not in out + err
    written = [*files_of(project), *database.parent.glob(f"{database.name}*")]
    assert os.path.getsize(database) > 0
    assert not [path for path in written if CANARY.encode() in path.read_bytes()]
