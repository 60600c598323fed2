"""What is answered when the alias ``deployable`` moves: a promotion request, whoever made it.

Input: the alias in MLflow and the release pointer; where they differ, the alias is a request.
Does: inspects the version and moves the pointer to it by compare-and-swap, or puts the alias back.
Output: one signed link more in the pointer's chain, and on the version's page what became of it.

Only a refusal puts an alias back: whatever goes wrong on the way (MLflow away, a full disk, a key
of ours missing) is raised, leaves the alias, and is asked again later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.provenance.signing import PublicKey, read_signing_key, read_trusted
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.promotion.approvals import Approval, count_approvals
from fpenet.release.promotion.decision import PromotionDecision, PromotionOutcome, write_on_page
from fpenet.release.promotion.inspection import fetch_release, inspect_release
from fpenet.release.registry import versions
from fpenet.release.registry.tracking import mlflow_errors
from fpenet.release.registry.versions import RegisteredVersion
from fpenet.release.release_manifest import Release
from fpenet.release.store.artifacts import RECORD_DIGEST, publish
from fpenet.release.store.interface import Store, Superseded
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import (
    POINTER,
    Head,
    LedgerAction,
    LedgerEntry,
    move,
    read_head,
    take_token,
)

ASKED_IN_MLFLOW = f"asked for by the alias {DEPLOYABLE} in MLflow"
UNKNOWN = "unknown"
"""Who asked: MLflow's events and aliases carry no name."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found of a request.

    Attributes:
        folder: with the files of the version.
        version: whose page tells the answer: what was asked for, or else what stays.
    """

    folder: Path
    version: RegisteredVersion
    release: Release | None
    reasons: tuple[str, ...]
    approvals: tuple[Approval, ...] = ()


def deployable_version(params: Params) -> str | None:
    """The version of the deployable model that the release pointer names, whatever the alias says.

    Raises:
        InputError: the pointer is not one that was signed by a trusted key.
    """
    store = release_store(params)
    if store.read(POINTER) is None:
        return None
    link = read_head(store, read_trusted(params.trust.public_keys)).link
    return link.version if link and link.model == params.register_.deployable_model else None


def pending_request(params: Params) -> bool:
    """Whether the alias ``deployable`` is not where the release pointer is.

    Raises:
        ConnectionError: MLflow or the store could not be asked.
        InputError: the pointer is not one that was signed by a trusted key.
    """
    trusted = read_trusted(params.trust.public_keys)
    with mlflow_errors():
        asked = versions.find_alias(params.register_.deployable_model, DEPLOYABLE)
    return asked != read_head(release_store(params), trusted).version


def decide_request(params: Params) -> PromotionDecision | None:
    """Answer what the alias asks for now; None where it asks for nothing.

    Raises:
        ConnectionError: MLflow or the store is away; the alias stays, the answer is still to come.
        InputError: a key of ours, or the pointer, is not readable; the alias stays as well.
    """
    key = read_signing_key(params.trust.signing_key)
    trusted = read_trusted(params.trust.public_keys)
    store, model = release_store(params), params.register_.deployable_model
    if not pending_request(params):
        return None
    head = take_token(store, trusted)
    if head.link and head.link.model != model:
        raise InputError(
            f"{params.promote.store}: the pointer is of {head.link.model}, not {model}"
        )
    with mlflow_errors(), TemporaryDirectory(prefix="fpenet-promotion-") as folder:
        asked = versions.find_alias(model, DEPLOYABLE)
        if asked == head.version:
            return None
        judged = _judge(params, store, asked, head, Path(folder), trusted)
        try:
            record = None
            if not judged.reasons:
                assert judged.release is not None
                record = publish(store, judged.release, judged.folder)
            if versions.find_alias(model, DEPLOYABLE) != asked:
                raise Superseded(f"the alias {DEPLOYABLE} moved on meanwhile")
            link = move(store, head, _link(model, asked, judged, head, record), key, trusted)
        except Superseded as error:
            name = judged.release.name if judged.release else None
            return PromotionDecision(
                PromotionOutcome.SUPERSEDED,
                model,
                asked,
                name,
                head.version,
                (str(error),),
                None,
            )
        answer = _answer(link, asked, judged)
        write_on_page(answer, judged.version, link)
        if answer.action is PromotionOutcome.REFUSED:
            _put_back(answer)
    return answer


def _judge(
    params: Params,
    store: Store,
    requested: str | None,
    head: Head,
    folder: Path,
    trusted: Sequence[PublicKey],
) -> Inspection:
    """The version that was asked for, and every reason that there is against it."""
    model = params.register_.deployable_model
    if requested is None:
        assert head.version is not None  # else the two agree
        said = f"the alias {DEPLOYABLE} was removed; ask for another version, or roll back"
        return Inspection(folder, versions.read_version(model, head.version), None, (said,))
    version = versions.read_version(model, requested)
    fetch_release(version, folder)
    release, reasons = inspect_release(version, folder, trusted, params.register_.required_targets)
    if release is None:
        return Inspection(folder, version, release, tuple(reasons))
    now = datetime.now(timezone.utc)
    approvals, missing = count_approvals(store, release, params.promote, now)
    return Inspection(folder, version, release, (*reasons, *missing), tuple(approvals))


def _link(
    model: str, requested: str | None, judged: Inspection, head: Head, record: str | None
) -> LedgerEntry:
    """The link to be signed; a refusal leaves what was deployable before.

    Args:
        record: digest of the record that was published.
    """
    refused, release, before = bool(judged.reasons), judged.release, head.link
    now: Release | LedgerEntry | None = before if refused or release is None else release
    approved = [f"{one.by.name}: {one.reason}" for one in judged.approvals]
    digest = now.digest if isinstance(now, Release) else now.release if now else None
    return LedgerEntry(
        sequence=0,
        token=0,
        action=LedgerAction.REFUSED if refused else LedgerAction.PROMOTED,
        asked=requested or "none",
        model=model,
        version=now.version if now else None,
        name=now.name if now else None,
        release=digest,
        digests={**(now.digests if now else {}), **({RECORD_DIGEST: record} if record else {})},
        who=UNKNOWN,
        why="; ".join(judged.reasons) or "; ".join([ASKED_IN_MLFLOW, *approved]),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        approvals=tuple(str(one.by) for one in judged.approvals),
    )


def _answer(link: LedgerEntry, requested: str | None, judged: Inspection) -> PromotionDecision:
    return PromotionDecision(
        PromotionOutcome.REFUSED if judged.reasons else PromotionOutcome.PROMOTED,
        link.model,
        requested,
        judged.release.name if judged.release else None,
        link.version,
        judged.reasons,
        link.sequence,
    )


def _put_back(answer: PromotionDecision) -> None:
    """Let the alias point to what is deployable, unless somebody has moved it on."""
    if versions.find_alias(answer.model, DEPLOYABLE) != answer.asked:
        return  # a request of its own
    if answer.deployable is None or not versions.has_version(answer.model, answer.deployable):
        versions.delete_alias(answer.model, DEPLOYABLE)
    else:
        versions.set_alias(answer.model, DEPLOYABLE, answer.deployable)
