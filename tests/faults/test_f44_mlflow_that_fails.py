"""MLflow that is down, refuses or loses answers, at any call: a retry goes on; no early alias."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.tasks import SERVICE_DELAYS, STAGE_TASKS
from tests.faulty_proxy import Fault, lost, proxied, refused

FAULTS = (refused(500, "down"), refused(401, "who?"), lost)


@pytest.mark.parametrize(
    ("faults", "step"),
    [(FAULTS, 7), *(pytest.param((one,), 1, marks=pytest.mark.slow) for one in FAULTS)],
)
def test_f44_a_registration_that_fails_at_one_call_after_the_other_ends_as_one_release(
    faults: tuple[Fault, ...],
    step: int,
    mlflow_server: str,
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    names: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folders, release, tries = stage_folders(), None, 0
    said: list[str] = []
    with proxied(mlflow_server) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.endpoint)
        while release is None:
            proxy.nth = (step * tries, faults[tries % len(faults)])
            try:
                release = register(folders)
            except ConnectionError as error:
                said.append(str(error).partition(": ")[0])
                tries += 1
                proxy.nth = None
                found = MlflowClient().search_registered_models()
                mine = [one for one in found if one.name == names["register.deployable_model"]]
                early = [alias for one in mine for alias in one.aliases]
                assert early == [] or early == ["candidate"]
    assert set(said) == {f"MLflow at {proxy.endpoint}"}
    assert tries * step > 20
    client = MlflowClient()
    for model in (release["model"], release["trainable_model"]):
        (version,) = client.search_model_versions(f"name = '{model}'")
        assert str(version.version) == "1"
        assert list(client.get_registered_model(model).aliases) == ["candidate"]
    runs = client.search_runs([release["experiment_id"]], "attributes.status = 'FINISHED'")
    assert [one.info.run_id for one in runs] == [release["run_id"]]


def test_f44_the_flow_waits_longer_each_time_before_it_asks_mlflow_again() -> None:
    task = STAGE_TASKS["register"]
    assert (task.retries, task.retry_delay_seconds) == (3, [*SERVICE_DELAYS])
    assert list(SERVICE_DELAYS) == sorted(SERVICE_DELAYS)
