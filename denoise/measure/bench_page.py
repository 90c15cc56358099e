"""The page as a visitor meets it: until it is there, and from a click to a cleaned picture and a cleaned sound.

It is started in a process of its own and looked at in Chromium without a window; `CHROMIUM` names another one. The
first paint is when the browser says that it drew the first text or picture; the page is there when its first button
is. What is measured first is what a visitor waits for who comes first; the same again has its model loaded.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from denoise.errors import UserError
from denoise.measure.bench import Row, Wish

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "`denoise bench page` looks at the page in Chromium: install it, and `pip install playwright`, which drives it."
)
START = ("-m", "denoise")
MEGAPIXELS, SECONDS, RATE = 2.0, 10.0, 16_000
PAINTED_S, PICTURE_S, SOUND_S = 3.0, 6.0, 3.0  # wanted
PATIENCE_S = 1800.0
PAINTED_MS = "performance.timeOrigin + performance.getEntriesByName('first-contentful-paint')[0].startTime"


def run(wish: Wish) -> Iterator[Row]:
    with TemporaryDirectory(prefix="denoise-bench-") as folder, browser() as chrome:
        picture, sound = Path(folder) / "picture.png", Path(folder) / "sound.wav"
        a_picture(picture)
        a_sound(sound)
        wish.tell("Starting the page")
        begun = time.time()
        with served() as address:
            sheet = chrome.new_page()
            sheet.set_default_timeout(PATIENCE_S * 1000)
            sheet.goto(address)
            sheet.wait_for_selector("#picture-clean")
            there = time.time() - begun
            painted = sheet.evaluate(PAINTED_MS) / 1000 - begun
            yield row("from the start of its process until the first paint", painted, PAINTED_S)
            yield row("until the page is there", there)
            yield from cleaned(sheet, "picture", picture, f"{MEGAPIXELS:g} megapixels", PICTURE_S)
            sheet.get_by_role("tab", name="Sound").click()
            yield from cleaned(sheet, "audio", sound, f"{SECONDS:g} s of sound", SOUND_S)


def cleaned(sheet: Page, room: str, path: Path, what: str, wanted_s: float) -> Iterator[Row]:
    """From the click until the result can be downloaded, twice."""
    sheet.set_input_files(f"#{room}-upload input[type=file]", path)
    sheet.wait_for_selector(f"#{room}-about p")
    for time_, outcome in ("first", f"#{room}-outcome p"), ("again", f"#{room}-outcome p:not([data-old])"):
        sheet.locator(f"#{room}-outcome p").evaluate_all("old => old.forEach(line => line.dataset.old = '')")
        begun = time.perf_counter()
        sheet.click(f"#{room}-clean")
        sheet.wait_for_selector(outcome)
        sheet.wait_for_selector(f"#{room}-download")
        yield row(f"{what}, {time_}", time.perf_counter() - begun, wanted_s)


def row(what: str, seconds: float, wanted_s: float | None = None) -> Row:
    within = None if wanted_s is None else "yes" if seconds <= wanted_s else "no"
    return {"what": what, "seconds": round(seconds, 1), "wanted_s": wanted_s, "within": within}


@contextmanager
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        raise UserError(MISSING)
    as_root = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
    with sync_playwright() as driver:
        chrome = driver.chromium.launch(executable_path=path, args=as_root)
        try:
            yield chrome
        finally:
            chrome.close()


@contextmanager
def served() -> Iterator[str]:
    """The address of the page, in a process that ends with it."""
    words = [sys.executable, *START, "app", "--port", "0"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        yield address_of(running)
    finally:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def address_of(running: subprocess.Popen[str]) -> str:
    said: list[str] = []
    for line in running.stderr or ():
        said.append(line)
        found = re.search(r"http://[^\s;]+", line)
        if found:
            return found[0]
    raise UserError(f"The page did not start: {(said or ['it ended without a word'])[-1].strip()}")


def a_picture(path: Path) -> None:
    """Three by four, of soft waves and noise."""
    from PIL import Image

    height = round((MEGAPIXELS * 1e6 * 3 / 4) ** 0.5)
    rows, columns = np.mgrid[:height, : height * 4 // 3].astype(np.float32)
    waves = 128 + 60 * np.sin(rows / 90)[..., None] * np.cos(columns / 110)[..., None] * np.array([1, 0.8, 0.6])
    noisy = waves + np.random.default_rng(0).normal(0, 20, waves.shape)
    Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)).save(path)


def a_sound(path: Path) -> None:
    """A voice of sorts: a gliding tone with its overtones, in syllables, and noise."""
    import soundfile

    at = np.arange(round(SECONDS * RATE)) / RATE
    turns = 2 * np.pi * (120 * at - 3 * np.cos(2 * at))
    voice = sum(np.sin(n * turns) / n for n in range(1, 12)) * np.clip(np.sin(6 * at), 0, 1)
    soundfile.write(path, 0.1 * voice + np.random.default_rng(0).normal(0, 0.02, at.shape), RATE)
