"""A real Chromium without a window, told by its DevTools protocol what to do."""

import base64
import itertools
import json
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

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:  # events come in between
            said = json.loads(self._socket.recv(timeout=LONGEST_SECONDS))
            if said.get("id") == number:
                assert "error" not in said, said["error"]
                result: dict[str, Any] = said["result"]
                return result

    def open(self, url: str) -> None:
        """Go to ``url``; what was there is forgotten."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What a JavaScript expression is worth."""
        said = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def wait(self, script: str) -> Any:
        """``value`` as soon as it is true."""
        return wait_for(lambda: self.value(script), script)

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.value("document.body?.innerText ?? ''"))

    def see(self, text: str) -> None:
        """Wait until a person reads ``text`` there."""
        self.wait(f"document.body?.innerText.includes({json.dumps(text)})")

    def click(self, selector: str, text: str = "") -> None:
        """Press the mouse on the first element of ``selector`` that shows ``text``."""
        center = f"""(() => {{
            const found = [...document.querySelectorAll({json.dumps(selector)})].find(
                one => one.innerText.includes({json.dumps(text)}) && one.getClientRects().length);
            if (!found) return null;
            found.scrollIntoView({{block: "center"}});
            const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        place: list[float] = []
        while place != (place := self.wait(center)):
            time.sleep(0.3)  # the page still moves
        x, y = place
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Type ``text`` and Enter where the cursor is."""
        self.call("Input.insertText", text=text)
        time.sleep(0.3)  # a list of what is there opens
        for kind in ("rawKeyDown", "char", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key="Enter",
                code="Enter",
                text="\r",
                windowsVirtualKeyCode=13,
            )

    def picture(self, path: Path) -> None:
        """Save what the window shows, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Page]:
    """One tab of a browser that ends with the block."""
    command = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    log = (profile.parent / "chromium.txt").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as browser:
        try:
            found = profile / "DevToolsActivePort"

            def named() -> bool:
                assert browser.poll() is None, (profile.parent / "chromium.txt").read_text()
                return found.exists() and "\n" in found.read_text()

            wait_for(named, "the port of the browser")
            port = found.read_text().split("\n")[0]
            tabs = f"http://127.0.0.1:{port}/json/list"
            with urllib.request.urlopen(tabs, timeout=60) as answer:
                (tab, *_) = [one for one in json.load(answer) if one["type"] == "page"]
            with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
                assert isinstance(socket, ClientConnection)
                yield Page(socket)
        finally:
            browser.kill()
