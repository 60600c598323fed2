"""The section ``promote`` of params.yaml: requirements of a promotion, and its store."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from fpenet.params.section import Section


class PromoteParams(Section):
    """Not part of any stage's key: no stage reads it."""

    store: Annotated[str, Field(pattern=r"^(s3://[a-z0-9][a-z0-9.-]+(/[\w./-]*)?|[^:]+)$")]
    """A folder, or ``s3://bucket/prefix`` on the server of ``storage.endpoint``."""
    reconcile_seconds: Annotated[int, Field(ge=1, le=60)]
    event_seconds: PositiveInt
    approvals: NonNegativeInt
    approvers: tuple[Path, ...]
    """Files of public keys, and folders of such files."""
    approval_hours: PositiveFloat
    notify: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")] | None
    """A notification block of Prefect, ``type/name``, that gets a message for each release."""

    @model_validator(mode="after")
    def _approvals_need_approvers(self) -> "PromoteParams":
        if self.approvals and not self.approvers:
            raise ValueError(
                f"approvals is {self.approvals} but approvers is empty; name a public key"
            )
        return self
