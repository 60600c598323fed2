"""Check the webhook events of MLflow's registry.

MLflow signs ``delivery.timestamp.body`` with a shared secret (HMAC-SHA256, base64). An event only
starts a check for a pending request: the request itself is read from MLflow. A forged event can
therefore cause no more than a needless check.
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
    """The event that an alias of a model was set or removed."""

    model: str
    alias: str


@dataclass(slots=True)
class Deliveries:
    """Accepts each webhook event once.

    Attributes:
        secret: the secret of the webhook, shared with MLflow.
        window_seconds: largest accepted difference between the time of an event and the local
            clock.
    """

    secret: bytes = field(repr=False)
    window_seconds: float
    _seen: dict[str, float] = field(default_factory=dict, repr=False)

    def accept(self, headers: Mapping[str, str], body: bytes, now: float) -> AliasEvent | None:
        """Check and parse an event; None where it is not about an alias.

        Args:
            headers: HTTP headers, names in lower case.
            now: seconds since the epoch.

        Raises:
            InputError: the signature or the time is wrong, or the event was delivered before.
        """
        delivery, timestamp = headers.get(_DELIVERY, ""), headers.get(_TIMESTAMP, "")
        expected = event_signature(self.secret, delivery, timestamp, body)
        if not hmac.compare_digest(headers.get(_SIGNATURE, "").encode(), expected.encode()):
            raise InputError("not signed with the secret of the webhook")
        if not (timestamp.isdecimal() and 0 < len(delivery) <= _LONGEST_ID):
            raise InputError("no timestamp, or no delivery id")
        age = now - int(timestamp)
        if abs(age) > self.window_seconds:
            when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s from now"
            raise InputError(
                f"sent {when} by MLflow's clock; at most {self.window_seconds:g} s are accepted"
            )
        self._seen = {
            one: at for one, at in self._seen.items() if abs(now - at) <= self.window_seconds
        }
        if delivery in self._seen:
            raise InputError(f"delivery {delivery} was already received")
        self._seen[delivery] = float(timestamp)
        return _parse(body)


def event_signature(secret: bytes, delivery: str, timestamp: str, body: bytes) -> str:
    """The signature that MLflow sends with an event."""
    content = f"{delivery}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()}"


def _parse(body: bytes) -> AliasEvent | None:
    try:
        event = json.loads(body)
        if event["entity"] != "model_version_alias":
            return None
        return AliasEvent(str(event["data"]["name"]), str(event["data"]["alias"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not an MLflow event: {error}") from None
