"""The promotion watcher: a service that runs ``fpenet-promotion`` when a request is pending.

Input: webhook events of MLflow, whose signature and time are checked. In case an event is lost, the
watcher also compares alias and pointer every ``promote.reconcile_seconds``. Does: runs the flow in
this process, one run at a time. Output: decided requests, and a log that also has the refused
events. Start it with ``python -m flows.webhook``.

The watcher registers the webhook at MLflow: with the secret FPENET_WEBHOOK_SECRET, which signs the
events, and the URL FPENET_WATCHER_URL (default: this host and port).
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

SECRET, URL = "FPENET_WEBHOOK_SECRET", "FPENET_WATCHER_URL"
PATH = "/webhook"
LOGGER = logging.getLogger("fpenet.watcher")
_LARGEST_EVENT_BYTES = 64 * 1024
_SHORTEST_SECRET = 16
_JOIN_SECONDS = 5.0
_RETRY_SECONDS = 5.0


class PromotionWatcher:
    """A thread that checks for a pending request: after each event, and at regular intervals.

    Args:
        url: MLflow posts its events to this URL.
        secret: MLflow signs the events with it.
        overrides: dotted keys of params.yaml, for the runs of the flow.
    """

    def __init__(self, params: Params, url: str, secret: str, overrides: Mapping[str, Any]) -> None:
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._params, self._url, self._secret = params, url, secret
        self._overrides = dict(overrides)
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._registered = False
        self._deliveries = Deliveries(secret.encode(), params.promote.event_seconds)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            patience: float = self._params.promote.reconcile_seconds
            try:
                self._check()
            except Exception as error:  # any error: the next check may succeed
                LOGGER.warning("no decision yet: %s", " ".join(str(error).split()))
                patience = min(patience, _RETRY_SECONDS)
            self._wake.wait(patience)

    def stop(self) -> None:
        """Stop the thread; a decision that is in progress is finished first."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(_JOIN_SECONDS)

    def _check(self) -> None:
        """Register the webhook, and run the flow if a request is pending."""
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
        """Receive one event; status 202 accepted, 401 refused, 413 larger than an event."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_EVENT_BYTES:
                return PlainTextResponse("too large for an event\n", 413)
        try:
            event = self._deliveries.accept(request.headers, body, time.time())
        except InputError as error:
            LOGGER.warning("an event was refused: %s", error)
            return PlainTextResponse(f"{error}\n", 401)
        if event and (event.model, event.alias) == (
            self._params.register_.deployable_model,
            DEPLOYABLE,
        ):
            LOGGER.info("event: the alias %s of %s changed", event.alias, event.model)
            self._wake.set()
        return PlainTextResponse("", 202)

    async def health(self, _request: Request) -> Response:
        """Status 200 while the thread runs, otherwise 503."""
        if not self._thread.is_alive():
            return PlainTextResponse("not healthy: the thread has stopped\n", 503)
        return PlainTextResponse("OK\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the watcher until a signal stops it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flows.webhook", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    LOGGER.setLevel(logging.INFO)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the watcher itself retries
    try:
        overrides = parse_overrides(options.set)
        secret = os.environ.get(SECRET, "")
        if len(secret) < _SHORTEST_SECRET:
            raise InputError(f"{SECRET} must have {_SHORTEST_SECRET} characters or more")
        url = os.environ.get(URL) or f"http://{options.host}:{options.port}{PATH}"
        watcher = PromotionWatcher(project_params(overrides), url, secret, overrides)
    except InputError as error:
        print(f"watcher: {error}", file=sys.stderr)
        return 2
    watcher.start()
    server_of(watcher, options.host, options.port).run()
    watcher.stop()
    return 0


def server_of(watcher: PromotionWatcher, host: str, port: int) -> uvicorn.Server:
    """The HTTP server that receives the events of a watcher."""
    routes = [Route(PATH, watcher.receive, methods=["POST"]), Route("/health", watcher.health)]
    app = Starlette(routes=routes)
    return uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
    )


if __name__ == "__main__":
    raise SystemExit(main())
