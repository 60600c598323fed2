"""The answer to a promotion request, as one flow run.

Input: the alias ``deployable`` in MLflow and the release pointer. Does: decides the request
(``fpenet.release.promotion.promotion``). Output: the decision, as the run's result and artifact.
A refusal is a result. A run that fails has answered nothing: the alias stays, the next run answers.
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.notify import Happened, tell, version_page
from flows.request import project_params
from flows.tasks import model_key
from fpenet.core.records import encode
from fpenet.provenance.encryption import model_key_context
from fpenet.release.promotion.decision import PromotionDecision, PromotionOutcome
from fpenet.release.promotion.promotion import decide_request

FLOW = "fpenet-promotion"
NOTHING_ASKED = "nothing_asked"


@flow(name=FLOW, persist_result=True, result_serializer="json")
def promotion(overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Answer what the alias asks for now.

    Args:
        overrides: keys of params.yaml, dotted: ``{"promote.approvals": 1}``.
    """
    with model_key_context(model_key()):
        answer = decide_request(project_params(overrides))
    if answer is None:
        return {"action": NOTHING_ASKED}
    get_run_logger().info("%s", answer)
    create_markdown_artifact(markdown_of(answer), key="promotion", description=str(answer))
    if answer.action is not PromotionOutcome.SUPERSEDED and answer.asked:
        name = answer.name or f"{answer.model} version {answer.asked}"
        tell(Happened(answer.action.value), answer.model, answer.asked, name, str(answer))
    result: dict[str, Any] = encode(answer)
    return result


def markdown_of(answer: PromotionDecision) -> str:
    """The answer as a Markdown page."""
    stays = f"Deployable is version {answer.deployable}." if answer.deployable else ""
    lines = [f"# {answer.name or answer.model}: {answer.action}", "", f"{answer}", "", stays]
    lines += [f"- {reason}" for reason in answer.reasons]
    page = version_page(answer.model, answer.asked) if answer.asked else None
    return "\n".join([*lines, *([f"\n[In MLflow]({page})"] if page else [])]) + "\n"
