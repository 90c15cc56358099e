"""The page with two tiny models, served for tests, and a visitor's browser on it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
import numpy as np
import pytest
import raws
from browser import HERE, strangers
from PIL import Image
from shelf import denoise as command
from shelf import shelve

import denoise.web  # noqa: F401  before gradio, which it keeps at home

UPLOAD = "#{}-upload input[type=file]"
PATIENCE_MS = int(os.environ.get("PATIENCE_MS", "60000"))  # machines differ in speed
TABS = {"picture": "Picture", "audio": "Sound", "folder": "Folder", "lab": "Noise lab"}


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        time.sleep(0.05)
    return true()


def a_picture(folder: Path, height: int = 100, width: int = 150, name: str = "garden.png") -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path


def by_command(path: Path, folder: Path, *more: object) -> bytes:
    result = command("clean", path, "-o", f"{folder}/", *more)
    assert result.exit_code == 0, result.output
    return next(folder.glob(f"{path.stem}.*")).read_bytes()


@contextmanager
def files_of_the_page(folder: Path) -> Iterator[Path]:
    """Where the page keeps its files, with models that only halve."""
    with pytest.MonkeyPatch.context() as patch:
        models = shelve(folder / "models")
        shutil.copytree(raws.MODELS / "toy-raw", models / "toy-raw")
        card = models / "toy-raw" / "model.toml"
        card.write_text("default = true\n" + card.read_text())
        patch.setenv("DENOISE_MODELS", str(models))
        place = folder / "page"
        place.mkdir()
        patch.setenv("GRADIO_TEMP_DIR", str(place))
        yield place


@contextmanager
def no_look_ups() -> Iterator[list[str]]:
    """Names of other machines that this process asks for; it gets no answer."""
    found: list[str] = []
    ask = socket.getaddrinfo

    def asking(host: str | bytes | None, *rest: object, **more: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in HERE | {None, "", "0.0.0.0"}:
            found.append(str(name))
            raise socket.gaierror(f"{name} is not looked up in tests")
        return ask(host, *rest, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", asking)
        yield found


@contextmanager
def served(**more: object) -> Iterator[str]:
    """Its address. One of its models has gone since it was opened."""
    from denoise.web import app, limits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "LARGEST_UPLOAD_MB", 2)
        gone = Path(os.environ["DENOISE_MODELS"]) / "gone"
        gone.mkdir()
        (gone / "model.toml").write_text('name = "gone"\nkind = "picture"\nmethod = "gone"\n')
        page = app.build()
        shutil.rmtree(gone)
        yield app.serve(page, server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **more).rstrip("/")
        page.close(verbose=False)


# Without a browser


def answer(address: str, path: str, data: bytes | None = None, kind: str = "application/json") -> tuple[int, str]:
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode(errors="replace")


def upload(address: str, content: bytes, name: str = "a.png") -> tuple[int, str]:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return answer(address, "/gradio_api/upload", head + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")


def a_file(path: object) -> dict[str, object]:
    return {"path": str(path), "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}


def asked(address: str, value: object, room: str = "picture") -> str:
    """What the page tells a program that hands it this value in the place of an uploaded file."""
    config = json.loads(answer(address, "/config")[1])
    upload = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == f"{room}-upload")
    entry = next(each for each in config["dependencies"] if [upload, "change"] in [list(t) for t in each["targets"]])
    data = [value, *[None] * (len(entry["inputs"]) - 1)]
    order = {"data": data, "fn_index": entry["id"], "session_hash": "robot"}
    status, text = answer(address, "/gradio_api/queue/join?", json.dumps(order).encode())
    assert status == 200, text
    return answer(address, "/gradio_api/queue/data?session_hash=robot")[1]


# In the browser


class Slow:
    """Makes every piece take a while, and counts them."""

    def __init__(self) -> None:
        self.pieces = 0

    def __call__(self) -> None:
        self.pieces += 1
        time.sleep(0.1)

    def stands_still(self) -> bool:
        before = self.pieces
        time.sleep(0.5)
        return self.pieces == before


class Visit:
    """One visitor's page, in words of what he does there."""

    def __init__(self, sheet: browser.Page, address: str) -> None:
        self.sheet = sheet
        self.used: set[str] = set()
        self.left = strangers(sheet)
        sheet.set_default_timeout(PATIENCE_MS)
        sheet.goto(address)
        self.wait("#picture-clean")

    def wait(self, selector: str) -> None:
        self.sheet.wait_for_selector(selector)

    def enter(self, room: str) -> None:
        self.used.add(room)
        self.sheet.get_by_role("tab", name=TABS[room]).click()

    def reset(self) -> None:
        """As it was when it was opened."""
        for room in self.used & {"picture", "audio"}:
            self.enter(room)
            self.clear(room)
            for button in self.sheet.get_by_label("Reset to default value").locator("visible=true").all():
                button.click()
        self.used.clear()

    def clear(self, room: str) -> None:
        """Without its file."""
        for button in self.sheet.locator(f"#{room}-upload").get_by_label("Clear").all():
            button.click()
        self.sheet.wait_for_selector(f"#{room}-about p", state="detached")

    def give(self, room: str, path: Path) -> str:
        """What is said of the file."""
        self.sheet.set_input_files(UPLOAD.format(room), path)
        return self.said(f"#{room}-about")

    def said(self, selector: str) -> str:
        self.wait(f"{selector} p:not([data-old])")
        return self.sheet.inner_text(selector)

    def clean(self, room: str) -> str:
        """What is said when it is done; what was said before does not count."""
        self.forget(f"#{room}-outcome")
        self.sheet.click(f"#{room}-clean")
        return self.said(f"#{room}-outcome")

    def forget(self, selector: str) -> None:
        self.sheet.locator(f"{selector} p").evaluate_all("old => old.forEach(line => line.dataset.old = '')")

    def download(self, room: str, folder: Path) -> Path:
        with self.sheet.expect_download() as fetched:
            self.sheet.click(f"#{room}-download")
        target = folder / fetched.value.suggested_filename
        fetched.value.save_as(target)
        return target

    def choose(self, label: str, name: str) -> None:
        self.sheet.get_by_role("combobox", name=label).locator("visible=true").click()
        self.sheet.get_by_role("option", name=name, exact=True).click()

    def set(self, label: str, value: object) -> None:
        self.sheet.get_by_label(f"number input for {label}").locator("visible=true").fill(str(value))
        self.sheet.keyboard.press("Tab")
