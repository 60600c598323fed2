"""MLflow that is down, refuses or loses answers, at any call: a retry goes on; no early alias."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.tasks import SERVICE_DELAYS, STAGE_TASKS
from fpenet.provenance.signing import SigningKey
from fpenet.release.release_manifest import read_release
from tests.faulty_proxy import Fault, FaultyProxy, lost, passed, proxied, refused

DOWN = refused(500, "down")
FAULTS = (DOWN, refused(401, "who?"), lost)
ALIAS = "POST registered-models/alias"
SIGNATURE = "/release.json.sig"
CALLS: tuple[tuple[list[tuple[str, Fault]], tuple[bool, bool]], ...] = (
    # What fails, how, and whether (trainable, deployable) have the alias afterwards.
    ([("POST experiments/create", DOWN)], (False, False)),
    ([("PUT /release.json", DOWN)], (False, False)),
    ([("PUT /release.json", lost)], (False, False)),
    ([("PUT " + SIGNATURE, DOWN)], (False, False)),
    ([("PUT " + SIGNATURE, lost)], (False, False)),
    ([(ALIAS, DOWN)], (False, False)),
    ([(ALIAS, lost)], (True, False)),
    ([(ALIAS, passed), (ALIAS, DOWN)], (True, False)),
    ([(ALIAS, passed), (ALIAS, lost)], (True, True)),
)
Register = Callable[..., dict[str, Any]]


@pytest.fixture
def proxy(mlflow_store: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Before MLflow, for this process; a call that fails is not tried again by MLflow itself.

    The store comes first: its fixture names itself in the environment, which the proxy replaces.
    """
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with proxied(mlflow_server) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.endpoint)
        yield proxy


def aliases_of(names: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The aliases of the trainable and of the deployable model; none where there is no model."""
    from mlflow import MlflowClient

    made = {one.name: list(one.aliases) for one in MlflowClient().search_registered_models()}
    trainable, deployable = names["register.trainable_model"], names["register.deployable_model"]
    return made.get(trainable, []), made.get(deployable, [])


@pytest.mark.slow
def test_f44_the_alias_is_set_only_once_the_signed_record_is_stored(
    proxy: FaultyProxy,
    register: Register,
    stage_folders: Callable[..., dict[str, Path]],
    names: dict[str, Any],
    signing_key: SigningKey,
    tmp_path: Path,
) -> None:
    from mlflow import MlflowClient

    folders, client = stage_folders(), MlflowClient()
    for number, (faults, expected) in enumerate(CALLS):
        proxy.faults = list(faults)
        with pytest.raises(ConnectionError, match=f"^MLflow at {proxy.endpoint}: "):
            register(folders)
        assert proxy.faults == []
        assert aliases_of(names) == tuple(["candidate"] * there for there in expected), number
        if any(expected):
            model = names["register.trainable_model"]
            run_id = str(client.get_model_version_by_alias(model, "candidate").run_id)
            stored = tmp_path / f"stored{number}"
            stored.mkdir()
            for name in ("release.json", "release.json.sig"):
                client.download_artifacts(run_id, name, str(stored))
            assert read_release(stored, [signing_key.public]).manifest.run_id == run_id
    release = register(folders)
    assert aliases_of(names) == (["candidate"], ["candidate"])
    assert (release["version"], release["trainable_version"]) == ("1", "1")


def finished_runs(names: dict[str, Any]) -> list[str]:
    """The ids of the finished runs in the experiment of the release."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name(names["register.experiment"])
    if experiment is None:
        return []
    runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
    return [one.info.run_id for one in runs]


@pytest.mark.parametrize(
    ("faults", "step"),
    [(FAULTS, 7), *(pytest.param((one,), 1, marks=pytest.mark.slow) for one in FAULTS)],
)
def test_f44_a_registration_that_fails_at_one_call_after_the_other_ends_as_one_release(
    faults: tuple[Fault, ...],
    step: int,
    proxy: FaultyProxy,
    register: Register,
    stage_folders: Callable[..., dict[str, Path]],
    names: dict[str, Any],
) -> None:
    """Every ``step``-th call fails: of those that log the run, then of those that come after it."""
    from mlflow import MlflowClient

    from fpenet.release.registry.tracking import find_experiment

    proxy.faults = [("POST experiments/create", lost)]
    find_experiment(names["register.experiment"])  # the one that was made is found
    assert proxy.faults == []
    folders, release = stage_folders(), None
    failed: dict[bool, list[int]] = {False: [], True: []}  # by whether the run was finished before
    said: set[str] = set()
    aliases_set = 0
    while release is None:
        places = failed[bool(finished_runs(names))]
        place, tries = step * len(places), sum(map(len, failed.values()))
        fault, first = faults[tries % len(faults)], len(proxy.requests)
        places.append(place)
        proxy.nth = (place, fault)
        try:
            release = register(folders)
        except ConnectionError as error:
            said.add(str(error).partition(": ")[0])
        proxy.nth = None
        calls = [path for _, path, _ in proxy.requests[first:]]
        if release is None and fault is not lost:
            del calls[place]  # the server never had it
        set_now = [n for n, call in enumerate(calls) if call.endswith("registered-models/alias")]
        if set_now:
            assert any(call.endswith(SIGNATURE) for call in calls[: set_now[0]])
        aliases_set = max(aliases_set, len(set_now))
        expected = (["candidate"] * (aliases_set > 0), ["candidate"] * (aliases_set > 1))
        assert aliases_of(names) == expected, calls[-1]
    assert said == {f"MLflow at {proxy.endpoint}"}
    assert failed[False][-1] + step > 40  # calls, until the run is finished
    assert failed[True][-1] + step > 20
    client = MlflowClient()
    for model in (release["model"], release["trainable_model"]):
        (version,) = client.search_model_versions(f"name = '{model}'")
        assert str(version.version) == "1"
    assert finished_runs(names) == [release["run_id"]]


def test_f44_the_flow_waits_longer_each_time_before_it_asks_mlflow_again() -> None:
    task = STAGE_TASKS["register"]
    assert (task.retries, task.retry_delay_seconds) == (3, [*SERVICE_DELAYS])
    assert list(SERVICE_DELAYS) == sorted(SERVICE_DELAYS)
