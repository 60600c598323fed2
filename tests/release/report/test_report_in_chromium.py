"""The report in a real browser: no error, nothing fetched, no sideways scrolling, all images."""

import io
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import CHROMIUM, SCREENSHOTS, Page, chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="not run: no Chromium on this machine")
PHONE_PX, DESK_PX = 360, 1280
EDITIONS = ("report.html", "published/report.html")
DECODED = """Promise.all([...document.querySelectorAll("img, image")].map(async one => {
    const image = new Image();
    image.src = ["src", "href", "xlink:href"].map(name => one.getAttribute(name)).find(Boolean);
    try { await image.decode(); } catch { return 0; }
    return image.naturalWidth;
}))"""
"""The width of each image of the page, in its pixels; 0 of one that cannot be shown."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One tab, which tells what the console says and what is fetched."""
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path_factory.mktemp("browser") / "profile") as page:
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        yield page


def show(page: Page, path: Path, width: int) -> None:
    """Load a file in a window of ``width`` pixels; ``page.events`` are what came of it."""
    page.open("about:blank")
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=False,
    )
    page.events.clear()
    page.call("Page.navigate", url=path.as_uri())
    page.wait(f"location.href === {json.dumps(path.as_uri())}")
    page.wait("document.readyState === 'complete'")


def complaints(page: Page) -> list[str]:
    """What the console has: errors, warnings, and whatever the browser itself reports."""
    found = []
    for event in page.events:
        said: Any = event["params"]
        if event["method"] == "Runtime.exceptionThrown":
            found.append(str(said["exceptionDetails"]["text"]))
        elif event["method"] == "Runtime.consoleAPICalled":
            found.append(str(said["args"][0].get("value")))
        elif event["method"] == "Log.entryAdded":
            found.append(str(said["entry"]["text"]))
    return found


def fetched(page: Page) -> list[str]:
    """The addresses that were asked for, without what lies in the page itself."""
    urls = [
        str(event["params"]["request"]["url"])
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith("data:")]


def scrolls_sideways(page: Page, width: int) -> bool:
    """Whether the page is wider than the window."""
    assert page.value("innerWidth") == width
    return int(page.value("document.documentElement.scrollWidth")) > width


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
@pytest.mark.parametrize("edition", EDITIONS)
def test_the_report_is_whole_by_itself_at_each_width(
    edition: str, width: int, browser: Page, report_dir: Path
) -> None:
    path = report_dir / edition
    show(browser, path, width)
    assert complaints(browser) == []
    assert fetched(browser) == [path.as_uri()]
    assert not scrolls_sideways(browser, width)
    pictures = re.findall(r'"data:image/png;base64,([^"]+)"', path.read_text())
    for picture in pictures:
        with Image.open(io.BytesIO(b64decode(picture))) as whole:
            whole.load()  # a browser shows half an image without a word
    widths = browser.value(DECODED)
    assert len(widths) == len(pictures) > 0
    assert min(widths) > 0
    assert complaints(browser) == []
    if SCREENSHOTS:
        name = f"{edition.replace('/', '-').removesuffix('.html')}-{width}.png"
        browser.screenshot(Path(SCREENSHOTS) / name, whole=True)


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
def test_a_face_of_the_report_is_seen_with_its_points(
    width: int, browser: Page, report_dir: Path
) -> None:
    show(browser, report_dir / "report.html", width)
    box = browser.value(
        """(() => {
            const face = document.querySelector(".faces svg").getBoundingClientRect();
            return {x: face.x + scrollX, y: face.y + scrollY,
                    width: face.width, height: face.height};
        })()"""
    )
    shot = browser.call(
        "Page.captureScreenshot",
        format="png",
        captureBeyondViewport=True,
        clip={**box, "scale": 1},
    )
    with Image.open(io.BytesIO(b64decode(shot["data"]))) as picture:
        levels = np.asarray(picture.convert("RGB")).astype(int)
        href = browser.value("document.querySelector('.faces image').getAttribute('href')")
        with Image.open(io.BytesIO(b64decode(href.partition(",")[2]))) as face:
            expected = np.asarray(face.resize(picture.size)).astype(int)
    red, green, blue = np.moveaxis(levels, 2, 0)
    plain = (abs(red - green) < 4) & (abs(green - blue) < 4)
    assert plain.mean() > 0.5
    assert np.abs(red - expected)[plain].mean() < 4  # grey levels
    assert ((red > 200) & (green < 120)).sum() > 10  # the predicted points
    assert ((green > 150) & (red < 120)).sum() > 10  # the labels
    fills = {
        browser.value(f"getComputedStyle(document.querySelector('.faces .{kind}')).fill")
        for kind in ("ours", "theirs")
    }
    assert len(fills) == 2
    assert "none" not in fills


def test_a_page_that_fetches_overflows_and_fails_would_be_noticed(
    browser: Page, tmp_path: Path
) -> None:
    """What the tests above look for is seen where it is there."""
    broken = b64encode(b"no image").decode()
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><div style='width: 500px'>wide</div>"
        f"<img src='data:image/png;base64,{broken}'><img src='http://127.0.0.1:9/face.png'>"
        "<script>console.error('it failed')</script>"
    )
    show(browser, path, DESK_PX)
    assert not scrolls_sideways(browser, DESK_PX)
    show(browser, path, PHONE_PX)
    assert scrolls_sideways(browser, PHONE_PX)
    assert fetched(browser) == [path.as_uri(), "http://127.0.0.1:9/face.png"]
    found = complaints(browser)
    assert "it failed" in found
    assert any("net::ERR_" in line for line in found)
    assert browser.value(DECODED) == [0, 0]
