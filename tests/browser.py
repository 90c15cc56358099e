"""A real browser without a window, that notes every request it makes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HERE = {"127.0.0.1", "localhost", "[::1]"}
WITHOUT_NETWORK = {"data", "blob", "about"}
SWITCHES = [
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def chromium() -> str:
    """Where it is; the test is skipped where it is not."""
    wished = os.environ.get("CHROMIUM")
    found = wished or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


@contextmanager
def opened(*more: str) -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    as_root = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=[*SWITCHES, *as_root, *more])
        try:
            yield browser
        finally:
            browser.close()


def strangers(page: Page) -> list[str]:
    """Filled with the address of every request that leaves this machine."""
    found: list[str] = []

    def note(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in WITHOUT_NETWORK and parts.hostname not in HERE:
            found.append(address)

    page.on("request", lambda request: note(request.url))
    page.on("websocket", lambda socket: note(socket.url))
    return found
