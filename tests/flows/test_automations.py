"""An automation stays as it is at a real Prefect server, unless one of its fields is another."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL

from flows.automations import crashed_runs, register_automations

pytestmark = pytest.mark.usefixtures("prefect_server")
ROOT = Path(__file__).parents[2]
NAME = "fpenet: lost heartbeat"
REGISTER = f"""
from datetime import timedelta
from prefect.client.orchestration import get_client
from flows.automations import crashed_runs, register_automations

with get_client(sync_client=True) as client:
    automations = [crashed_runs(timedelta(seconds=90)), *client.read_automations_by_name({NAME!r})]
first, second = (one.model_dump(mode="json")["trigger"]["expect"] for one in automations)
print(sorted(first) == sorted(second) and first != second)
register_automations(None)
"""
SEEDS = (6, 15, 35, 32, 4, 16, 25, 26, 28, 30)
"""Of the hash, by which events collide: their order in a set depends on how it was filled too."""
CHANGES: dict[str, Callable[[Any], Any]] = {
    "enabled": lambda one: setattr(one, "enabled", False),
    "tags": lambda one: setattr(one, "tags", ["another"]),
    "description": lambda one: setattr(one, "description", "another"),
    "within": lambda one: setattr(one.trigger, "within", timedelta(seconds=120)),
    "expect": lambda one: one.trigger.expect.remove("prefect.flow-run.Failed"),
    "after": lambda one: one.trigger.after.add("prefect.flow-run.Running"),
    "message": lambda one: setattr(one.actions[0], "message", "another"),
    "for_each": lambda one: one.trigger.for_each.clear(),
    "threshold": lambda one: setattr(one.trigger, "threshold", 2),
    "actions": lambda one: one.actions.append(one.actions[0]),
    "actions_on_trigger": lambda one: setattr(one, "actions_on_trigger", one.actions),
}


def test_another_process_with_another_hash_seed_changes_no_automation() -> None:
    register_automations(None)
    first = stored()
    for seed in SEEDS:
        in_another_order = register_in_a_process(seed)
        assert stored() == first
        if in_another_order:
            return
    pytest.fail("under no seed were the events of the server's automation in another order")


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_that_is_not_as_it_was_registered_is_put_back(field: str) -> None:
    register_automations(None)
    before = stored()
    changed = crashed_runs(timedelta(seconds=90))
    assert AutomationCore.model_validate(before) == changed
    CHANGES[field](changed)
    with get_client(sync_client=True) as client:
        client.update_automation(before["id"], changed)
    at_change = stored()
    assert AutomationCore.model_validate(at_change) == changed
    register_automations(None)
    after = stored()
    assert AutomationCore.model_validate(after) == AutomationCore.model_validate(before)
    assert after["id"] == before["id"]
    assert after["updated"] > at_change["updated"]


def register_in_a_process(seed: int) -> bool:
    """Register the automations; returns whether the JSON of those there had another order."""
    env = os.environ | {
        "PYTHONHASHSEED": str(seed),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
    }
    done = subprocess.run(
        [sys.executable, "-c", REGISTER],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {"True\n": True, "False\n": False}[done.stdout]


def stored() -> dict[str, Any]:
    """The automation as the server has it, with its id and the time of its last update."""
    request = urllib.request.Request(
        f"{PREFECT_API_URL.value()}/automations/filter",
        json.dumps({"automations": {"name": {"any_": [NAME]}}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        (automation,) = json.load(response)
    assert {"id", "updated"} <= automation.keys()
    found: dict[str, Any] = automation
    return found
