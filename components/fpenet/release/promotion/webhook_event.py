"""MLflow's registry events: which of them are believed.

MLflow signs ``delivery.timestamp.body`` with a shared secret (HMAC-SHA256, base64). An event says
only that somebody should look: what is asked for is read from MLflow itself, so that one which was
forged past all of this could at most ask for a look too many.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from fpenet.core.errors import InputError

_SIGNATURE, _TIMESTAMP, _DELIVERY = (
    "x-mlflow-signature",
    "x-mlflow-timestamp",
    "x-mlflow-delivery-id",
)
_LONGEST_ID = 128


@dataclass(frozen=True, slots=True)
class AliasEvent:
    """An alias of a model was set, or removed."""

    model: str
    alias: str


@dataclass(slots=True)
class Deliveries:
    """Events that came, each once.

    Attributes:
        secret: that MLflow was given with the webhook.
        window_seconds: an event is ignored when its time differs by more from the clock here.
    """

    secret: bytes = field(repr=False)
    window_seconds: float
    _seen: dict[str, float] = field(default_factory=dict, repr=False)

    def accept(self, headers: Mapping[str, str], body: bytes, now: float) -> AliasEvent | None:
        """What an event says; None where it is about something else than an alias.

        Args:
            headers: with names in lower case.
            now: seconds since the epoch.

        Raises:
            InputError: it is not to be believed, or was delivered before.
        """
        delivery, timestamp = headers.get(_DELIVERY, ""), headers.get(_TIMESTAMP, "")
        wanted = event_signature(self.secret, delivery, timestamp, body)
        if not hmac.compare_digest(headers.get(_SIGNATURE, "").encode(), wanted.encode()):
            raise InputError("not signed with the secret that MLflow was given")
        if not (timestamp.isdecimal() and 0 < len(delivery) <= _LONGEST_ID):
            raise InputError("no time, or no delivery id")
        age = now - int(timestamp)
        if abs(age) > self.window_seconds:
            when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s from now"
            raise InputError(
                f"sent {when} by MLflow's clock; believed is {self.window_seconds:g} s"
            )
        self._seen = {
            one: at for one, at in self._seen.items() if abs(now - at) <= self.window_seconds
        }
        if delivery in self._seen:
            raise InputError(f"delivery {delivery} came before")
        self._seen[delivery] = float(timestamp)
        return _parse(body)


def event_signature(secret: bytes, delivery: str, timestamp: str, body: bytes) -> str:
    """The signature that MLflow sends with an event."""
    content = f"{delivery}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()}"


def _parse(body: bytes) -> AliasEvent | None:
    try:
        said = json.loads(body)
        if said["entity"] != "model_version_alias":
            return None
        return AliasEvent(str(said["data"]["name"]), str(said["data"]["alias"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not an event of MLflow: {error}") from None
