"""The gate: a registry event in, a run of ``fpenet-promotion`` out. ``python -m flows.webhook``.

Input: MLflow's webhook, whose signature and time are checked; and, should an event be lost, a look
at alias and pointer every ``promote.reconcile_seconds``. Does: runs the flow in this process, one
run at a time. Output: answered requests, and a log of the events that were ignored.

FPENET_WEBHOOK_SECRET is what MLflow signs with: the gate gives it to MLflow itself, with the
address in FPENET_GATE_URL (default: this host and port).
"""

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from flows.promotion import promotion
from flows.request import project_params
from fpenet.cli.command import parse_overrides
from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.promotion.promotion import pending_request
from fpenet.release.promotion.webhook_event import Deliveries
from fpenet.release.registry import versions
from fpenet.release.registry.tracking import mlflow_errors

SECRET, URL = "FPENET_WEBHOOK_SECRET", "FPENET_GATE_URL"
PATH = "/webhook"
LOGGER = logging.getLogger("fpenet.gate")
_LARGEST_EVENT_BYTES = 64 * 1024
_SHORTEST_SECRET = 16
_JOIN_SECONDS = 5.0
_RETRY_SECONDS = 5.0


class Gate:
    """A thread that looks when an event wakes it, and every so often when none does.

    Args:
        url: where MLflow shall post its events.
        overrides: of params.yaml, for the runs of the flow.
    """

    def __init__(self, params: Params, url: str, secret: str, overrides: Mapping[str, Any]) -> None:
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._params, self._url, self._secret = params, url, secret
        self._overrides = dict(overrides)
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._registered = False
        self._deliveries = Deliveries(secret.encode(), params.promote.event_seconds)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            patience: float = self._params.promote.reconcile_seconds
            try:
                self._look()
            except Exception as error:  # whatever it was, the next look may find it mended
                LOGGER.warning("no answer yet: %s", " ".join(str(error).split()))
                patience = min(patience, _RETRY_SECONDS)
            self._wake.wait(patience)

    def stop(self) -> None:
        """End after the answer that is being given."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(_JOIN_SECONDS)

    def _look(self) -> None:
        with mlflow_errors():
            model = self._params.register_.deployable_model
            versions.ensure_webhook(
                f"fpenet-{model}", self._url, self._secret, refresh=not self._registered
            )
        self._registered = True
        if pending_request(self._params):
            state = promotion(self._overrides, return_state=True)
            LOGGER.info("%s", state.result() if state.is_completed() else state.message)

    async def receive(self, request: Request) -> Response:
        """Take one event; 202 where it is believed, 401 where not, and 413 where it is no event."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_EVENT_BYTES:
                return PlainTextResponse("too large for an event\n", 413)
        try:
            moved = self._deliveries.accept(request.headers, body, time.time())
        except InputError as error:
            LOGGER.warning("an event was ignored: %s", error)
            return PlainTextResponse(f"{error}\n", 401)
        if moved and (moved.model, moved.alias) == (
            self._params.register_.deployable_model,
            DEPLOYABLE,
        ):
            LOGGER.info("MLflow says that the alias %s of %s moved", moved.alias, moved.model)
            self._wake.set()
        return PlainTextResponse("", 202)

    async def health(self, _request: Request) -> Response:
        """200 while somebody looks."""
        if not self._thread.is_alive():
            return PlainTextResponse("nobody looks\n", 503)
        return PlainTextResponse("OK\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flows.webhook", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    LOGGER.setLevel(logging.INFO)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the gate itself looks again
    try:
        overrides = parse_overrides(options.set)
        secret = os.environ.get(SECRET, "")
        if len(secret) < _SHORTEST_SECRET:
            raise InputError(f"{SECRET} must have {_SHORTEST_SECRET} characters or more")
        url = os.environ.get(URL) or f"http://{options.host}:{options.port}{PATH}"
        gate = Gate(project_params(overrides), url, secret, overrides)
    except InputError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    gate.start()
    server_of(gate, options.host, options.port).run()
    gate.stop()
    return 0


def server_of(gate: Gate, host: str, port: int) -> uvicorn.Server:
    """What takes the events of one gate."""
    routes = [Route(PATH, gate.receive, methods=["POST"]), Route("/health", gate.health)]
    app = Starlette(routes=routes)
    return uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
    )


if __name__ == "__main__":
    raise SystemExit(main())
