"""Events with a wrong signature, replayed or late: ignored, and said why."""

import json

import pytest

from fpenet.release.promotion.webhook_event import AliasEvent, Deliveries, event_signature

SECRET = b"what MLflow and the gate know"
NOW = 1_795_000_000.0
BODY = json.dumps(
    {
        "entity": "model_version_alias",
        "action": "created",
        "data": {"name": "faces", "alias": "deployable", "version": "3"},
    }
).encode()


def headers(
    body: bytes = BODY, delivery: str = "one", sent: str = "1795000000", secret: bytes = SECRET
) -> dict[str, str]:
    """As MLflow sends them."""
    return {
        "x-mlflow-signature": event_signature(secret, delivery, sent, body),
        "x-mlflow-timestamp": sent,
        "x-mlflow-delivery-id": delivery,
    }


@pytest.fixture
def deliveries() -> Deliveries:
    return Deliveries(SECRET, 300)


def test_f42_what_mlflow_signs_is_believed(deliveries: Deliveries) -> None:
    from mlflow.webhooks.delivery import _generate_hmac_signature

    theirs = _generate_hmac_signature(SECRET.decode(), "one", "1795000000", BODY.decode())
    assert headers()["x-mlflow-signature"] == theirs
    assert deliveries.accept(headers(), BODY, NOW) == AliasEvent("faces", "deployable")
    other = json.dumps({"entity": "model_version", "action": "created", "data": {}}).encode()
    assert deliveries.accept(headers(other, "two"), other, NOW) is None


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        (headers(secret=b"another secret of the like"), BODY),
        (headers(), BODY.replace(b'"3"', b'"4"')),
        (headers() | {"x-mlflow-delivery-id": "two"}, BODY),
        (headers() | {"x-mlflow-timestamp": "1795000001"}, BODY),
        (headers() | {"x-mlflow-signature": "v1,é"}, BODY),
        ({}, BODY),
    ],
    ids=["secret", "body", "delivery", "time", "garbage", "unsigned"],
)
def test_f42_a_wrong_signature_is_ignored(
    deliveries: Deliveries, changed: dict[str, str], body: bytes
) -> None:
    with pytest.raises(ValueError, match="not signed with the secret of the webhook"):
        deliveries.accept(changed, body, NOW)


def test_f42_a_replay_is_ignored_and_what_is_too_old_to_replay_is_forgotten(
    deliveries: Deliveries,
) -> None:
    deliveries.accept(headers(), BODY, NOW)
    for later in (0, 299):
        with pytest.raises(ValueError, match="delivery one was already received"):
            deliveries.accept(headers(), BODY, NOW + later)
    with pytest.raises(ValueError, match="sent 301 s ago"):
        deliveries.accept(headers(), BODY, NOW + 301)
    deliveries.accept(headers(delivery="two", sent="1795000301"), BODY, NOW + 301)
    assert list(deliveries._seen) == ["two"]


@pytest.mark.parametrize(
    ("sent", "said"), [("1794996400", "3600 s ago"), ("1795003600", "3600 s from now")]
)
def test_f42_an_event_an_hour_off_is_ignored(deliveries: Deliveries, sent: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"sent {said} by MLflow's clock; at most 300 s"):
        deliveries.accept(headers(sent=sent), BODY, NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"entity": "model_version_alias"}', b"\xff"])
def test_f42_a_signed_body_that_is_no_event_is_ignored(deliveries: Deliveries, body: bytes) -> None:
    with pytest.raises(ValueError, match="not an MLflow event"):
        deliveries.accept(headers(body), body, NOW)
