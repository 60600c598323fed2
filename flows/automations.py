"""The automations of the Prefect server: release notifications, and runs that lost their process.

Input: ``promote.notify`` of params.yaml. Does: creates the automations, and updates those of the
same name that differ. Output: automations, which the server evaluates.
"""

import sys
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.notify import EVENT, ReleaseEvent

MISSED_HEARTBEATS = 3
HEARTBEAT_SECONDS = 30
"""``PREFECT_FLOWS_HEARTBEAT_FREQUENCY`` of the processes of flow runs; Prefect's minimum."""
SUBJECTS: dict[ReleaseEvent, str] = {
    ReleaseEvent.PROMOTED: "is deployable",
    ReleaseEvent.REFUSED: "was refused",
    ReleaseEvent.PENDING: "waits for a target",
}
"""Event -> the end of the subject line of its notification."""
_FINAL_STATES = (
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
    """The automation that sets a run without heartbeat to Crashed, which frees its slot.

    Args:
        within: longest time between two heartbeats.
    """
    heartbeat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name="fpenet: lost heartbeat",
        description="The worker of a run, or its machine, stopped without reporting it.",
        trigger=EventTrigger(
            after={heartbeat},
            expect={heartbeat, *(f"prefect.flow-run.{state}" for state in _FINAL_STATES)},
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
                message="Lost heartbeat: the process of this run stopped. Start the run again; it"
                " reuses the finished stages in work/.",
            )
        ],
    )


def notifications(block_id: UUID) -> list[AutomationCore]:
    """One automation for each release event: it sends a notification with the block."""
    return [
        AutomationCore(
            name=_automation_name(event),
            trigger=EventTrigger(expect={EVENT + event}),
            actions=[
                SendNotification(
                    block_document_id=block_id,
                    subject="fpenet: {{ event.resource.name }} " + words,
                    body="{{ event.payload.text }}\n{{ event.payload.mlflow }}\n"
                    "{{ event.payload.prefect }}",
                )
            ],
        )
        for event, words in SUBJECTS.items()
    ]


def register_automations(block: str | None) -> None:
    """Create, update and delete the automations at the Prefect server.

    Args:
        block: the notification block, ``TYPE/NAME``; None: no notification is sent.
    """
    automations = [crashed_runs(timedelta(seconds=MISSED_HEARTBEATS * HEARTBEAT_SECONDS))]
    with get_client(sync_client=True) as client:
        block_id = _block_id(client, block) if block else None
        if block_id:
            automations += notifications(block_id)
        for event in () if block_id else SUBJECTS:
            for registered in client.read_automations_by_name(_automation_name(event)):
                client.delete_automation(registered.id)
        for automation in automations:
            _register(client, automation)


def _register(client: SyncPrefectClient, expected: AutomationCore) -> None:
    """Create an automation, or update it if it differs.

    An equal automation is not updated: an update resets its state, and it forgets the runs that it
    watches.
    """
    registered = client.read_automations_by_name(expected.name)
    if not registered:
        client.create_automation(expected)
        return
    present = AutomationCore.model_validate(registered[0].model_dump())  # without the server's id
    if present != expected:  # not as JSON: the order of a set's values in JSON is not fixed
        client.update_automation(registered[0].id, _with_defaults(expected))


def _with_defaults(automation: AutomationCore) -> AutomationCore:
    """The automation with all fields set, because an update sends only the fields that are set.

    ``owner_resource`` is left out: the server refuses it.
    """
    return AutomationCore.model_validate(automation.model_dump(exclude={"owner_resource"}))


def _automation_name(event: ReleaseEvent) -> str:
    return f"fpenet: {event}"


def _block_id(client: SyncPrefectClient, block: str) -> UUID | None:
    """The id of a notification block; None, and a line on stderr, if it does not exist."""
    kind, _, name = block.partition("/")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        print(
            f"promote.notify is {block}, but Prefect has no such block: no notification is sent."
            " Create the block (Prefect's UI, Blocks), then run python -m flows.deploy",
            file=sys.stderr,
        )
        return None
