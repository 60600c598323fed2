"""The automations of the Prefect server: who is told of releases, and runs that died unseen.

Input: ``promote.notify`` of params.yaml. Does: makes the automations, and changes those of the same
names that are otherwise. Output: automations that the server itself evaluates.
"""

import sys
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.notify import EVENT, Happened

MISSED_HEARTBEATS = 3
HEARTBEAT_SECONDS = 30
"""As ``PREFECT_FLOWS_HEARTBEAT_FREQUENCY`` is set where flows run; Prefect allows no less."""
TOLD: dict[Happened, str] = {
    Happened.PROMOTED: "is deployable",
    Happened.REFUSED: "was refused",
    Happened.PENDING: "waits for a target",
}
_OVER = (
    "Completed",
    "Failed",
    "BadInput",
    "Crashed",
    "Cancelled",
    "TimedOut",
    "Paused",
    "Suspended",
)


def crashed_runs(within: timedelta) -> AutomationCore:
    """A run whose process sends no heartbeat any more becomes Crashed, which frees its slot."""
    beat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name="fpenet: runs that died",
        description="The worker, or its whole machine, went away without a word.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{state}" for state in _OVER)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                force=False,
                message="No heartbeat came any more: its process died. Run it again: finished"
                " stages are taken from work/.",
            )
        ],
    )


def notices(block_id: UUID) -> list[AutomationCore]:
    """One automation for each thing that people are told."""
    return [
        AutomationCore(
            name=_notice(happened),
            trigger=EventTrigger(expect={EVENT + happened}),
            actions=[
                SendNotification(
                    block_document_id=block_id,
                    subject="fpenet: {{ event.resource.name }} " + words,
                    body="{{ event.payload.text }}\n{{ event.payload.mlflow }}\n"
                    "{{ event.payload.prefect }}",
                )
            ],
        )
        for happened, words in TOLD.items()
    ]


def register_automations(block: str | None) -> None:
    """Make the server's automations these.

    Args:
        block: of a notification, ``TYPE/NAME``; None: nobody is told.
    """
    wanted = [crashed_runs(timedelta(seconds=MISSED_HEARTBEATS * HEARTBEAT_SECONDS))]
    with get_client(sync_client=True) as client:
        block_id = _block_id(client, block) if block else None
        if block_id:
            wanted += notices(block_id)
        for happened in () if block_id else TOLD:
            for found in client.read_automations_by_name(_notice(happened)):
                client.delete_automation(found.id)
        for one in wanted:
            _register(client, one)


def _register(client: SyncPrefectClient, expected: AutomationCore) -> None:
    """Create it; or change it, unless it is there already: what it watches would be forgotten."""
    found = client.read_automations_by_name(expected.name)
    if not found:
        client.create_automation(expected)
        return
    present = AutomationCore.model_validate(found[0].model_dump())  # without the server's id
    if present != expected:  # not their JSON, whose lists of a set's values have no fixed order
        client.update_automation(found[0].id, _with_defaults(expected))


def _with_defaults(automation: AutomationCore) -> AutomationCore:
    """The same with all fields set: an update sends no others, and the server keeps those.

    Without ``owner_resource``, which the server refuses.
    """
    return AutomationCore.model_validate(automation.model_dump(exclude={"owner_resource"}))


def _notice(happened: Happened) -> str:
    return f"fpenet: {happened}"


def _block_id(client: SyncPrefectClient, block: str) -> UUID | None:
    """The block's id; None, and a line, where it was not made yet: only a server can have one."""
    kind, _, name = block.partition("/")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        print(
            f"promote.notify is {block}, and Prefect has no such block yet: nobody is told of"
            " releases. Make it (Prefect's UI, Blocks), then: python -m flows.deploy",
            file=sys.stderr,
        )
        return None
