"""The flow that decides a promotion request.

Input: the alias ``deployable`` in MLflow and the release pointer. Does: decides the request
(``fpenet.release.promotion.promotion``). Output: the decision, as the run's result and artifact.
A refusal is a result, not a failure. After a failed run the request is still pending, and the next
run decides it.
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.notify import ReleaseEvent, emit_release_event, version_page
from flows.request import project_params
from flows.tasks import model_key
from fpenet.core.records import encode
from fpenet.provenance.encryption import model_key_context
from fpenet.release.promotion.decision import PromotionDecision, PromotionOutcome
from fpenet.release.promotion.promotion import decide_request

FLOW = "fpenet-promotion"
NO_REQUEST = "no_request"


@flow(name=FLOW, persist_result=True, result_serializer="json")
def promotion(overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Decide the pending promotion request.

    Args:
        overrides: dotted keys of params.yaml, e.g. ``{"promote.approvals": 1}``.

    Returns:
        the fields of the PromotionDecision, or only ``outcome: no_request``.
    """
    with model_key_context(model_key()):
        decision = decide_request(project_params(overrides))
    if decision is None:
        return {"outcome": NO_REQUEST}
    get_run_logger().info("%s", decision)
    create_markdown_artifact(markdown_of(decision), key="promotion", description=str(decision))
    if decision.outcome is not PromotionOutcome.SUPERSEDED and decision.requested:
        name = decision.name or f"{decision.model} version {decision.requested}"
        event = ReleaseEvent(decision.outcome.value)
        emit_release_event(event, decision.model, decision.requested, name, str(decision))
    result: dict[str, Any] = encode(decision)
    return result


def markdown_of(decision: PromotionDecision) -> str:
    """The decision as a Markdown page."""
    deployable = f"Version {decision.deployable} is deployable." if decision.deployable else ""
    title = f"# {decision.name or decision.model}: {decision.outcome}"
    lines = [title, "", f"{decision}", "", deployable]
    lines += [f"- {reason}" for reason in decision.reasons]
    page = version_page(decision.model, decision.requested) if decision.requested else None
    return "\n".join([*lines, *([f"\n[In MLflow]({page})"] if page else [])]) + "\n"
