"""A real, headless Chromium, controlled by its DevTools protocol."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.waiting import LONGEST_SECONDS, wait_for

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
"""Path of the program; None if it is not installed."""
SCREENSHOTS = os.environ.get("FPENET_TEST_SCREENSHOTS")
"""A folder for screenshots, to be checked by a person; None: no screenshots."""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1280,900",
    "--remote-debugging-port=0",
)


@dataclass
class Page:
    """One tab."""

    _socket: ClientConnection
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Events of the browser, of the enabled domains (``Log.enable``)."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:  # events may arrive before the result
            message = json.loads(self._socket.recv(timeout=LONGEST_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            if "method" in message:
                self.events.append(message)

    def open(self, url: str) -> None:
        """Open ``url`` in an empty tab."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """The value of a JavaScript expression; of a promise its result."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """``value`` as soon as it is true."""
        return wait_for(lambda: self.value(script), script)

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return str(self.value("document.body?.innerText ?? ''"))

    def see(self, text: str) -> None:
        """Wait until the page shows ``text``."""
        self.wait(f"document.body?.innerText.includes({json.dumps(text)})")

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element of ``selector`` that contains ``text``."""
        center = f"""(() => {{
            const element = [...document.querySelectorAll({json.dumps(selector)})].find(
                e => e.innerText.includes({json.dumps(text)}) && e.getClientRects().length);
            if (!element) return null;
            element.scrollIntoView({{block: "center"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        place: list[float] = []
        while place != (place := self.wait(center)):
            time.sleep(0.3)  # until the element no longer moves
        x, y = place
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Type ``text`` and Enter at the cursor."""
        self.call("Input.insertText", text=text)
        time.sleep(0.3)  # a list of choices opens
        for kind in ("rawKeyDown", "char", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key="Enter",
                code="Enter",
                text="\r",
                windowsVirtualKeyCode=13,
            )

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save a screenshot of the window, or of the whole page, as PNG."""
        result = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(result["data"]))


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Page]:
    """One tab of a browser, which is stopped at the end of the ``with`` block."""
    command = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    log = (profile.parent / "chromium.txt").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as browser:
        try:
            port_file = profile / "DevToolsActivePort"

            def has_port() -> bool:
                assert browser.poll() is None, (profile.parent / "chromium.txt").read_text()
                return port_file.exists() and "\n" in port_file.read_text()

            wait_for(has_port, "the port of the browser")
            port = port_file.read_text().split("\n")[0]
            tabs = f"http://127.0.0.1:{port}/json/list"
            with urllib.request.urlopen(tabs, timeout=60) as response:
                (tab, *_) = [each for each in json.load(response) if each["type"] == "page"]
            with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
                assert isinstance(socket, ClientConnection)
                yield Page(socket)
        finally:
            browser.kill()
