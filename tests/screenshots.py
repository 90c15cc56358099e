"""Takes the README's pictures of the page, with the models that are here: `python tests/screenshots.py [NAME …]`."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from browser import opened
from PIL import Image

if TYPE_CHECKING:
    from browser import Page

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH_PX, HEIGHT_PX = 1080, 720
LARGEST_BYTES = 150_000
PATIENCE_MS = 300_000
SPEAKING_MS = 7000


def picture(sheet: Page) -> None:
    one_file(sheet, "Picture", "picture", "photo.png")


def sound(sheet: Page) -> None:
    one_file(sheet, "Sound", "audio", "voice.wav")


def one_file(sheet: Page, tab: str, room: str, sample: str) -> None:
    sheet.get_by_role("tab", name=tab).click()
    sheet.wait_for_selector(f"#{room}-clean")
    press(sheet, f"Try {sample}")
    sheet.wait_for_selector(f"#{room}-about p")
    sheet.click(f"#{room}-clean")
    sheet.wait_for_selector(f"#{room}-download")


def live(sheet: Page) -> None:
    """While somebody speaks; beside it is what he said before."""
    sheet.get_by_role("tab", name="Sound").click()
    sheet.click("#live-accordion button")
    for presses in range(3):
        sheet.click("#live [data-is=start]")
        sheet.wait_for_selector("#audio-player audio" if presses == 1 else "#live [data-live]")
        sheet.wait_for_timeout(SPEAKING_MS)


def folder(sheet: Page) -> None:
    sheet.get_by_role("tab", name="Folder").click()
    press(sheet, "Try the")
    sheet.wait_for_selector("#folder-upload table")
    sheet.click("#folder-clean")
    sheet.wait_for_selector("#folder-download")


def lab(sheet: Page) -> None:
    sheet.get_by_role("tab", name="Noise lab").click()
    press(sheet, "Try photo.png")
    sheet.wait_for_selector("#lab-upload table")
    sheet.click("#lab-add")
    sheet.wait_for_selector("#lab-charts svg")
    sheet.click("#lab-clean")
    sheet.wait_for_selector("#lab-download")


ROOMS: dict[str, Callable[[Page], None]] = {
    "picture": picture,
    "sound": sound,
    "folder": folder,
    "lab": lab,
    "live": live,
}


def press(sheet: Page, words: str) -> None:
    sheet.locator("button", has_text=words).locator("visible=true").first.click()


def main() -> None:
    said = f"--use-file-for-fake-audio-capture={DOCS.parent / 'samples' / 'voice.wav'}"
    with tempfile.TemporaryDirectory() as place, opened(said) as chrome:
        os.environ["GRADIO_TEMP_DIR"] = place
        from denoise.web import app

        page = app.build()
        address = app.serve(page, server_name="127.0.0.1", quiet=True, prevent_thread_lock=True)
        sheet = chrome.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        sheet.set_default_timeout(PATIENCE_MS)
        sheet.goto(address)
        for name in sys.argv[1:] or ROOMS:
            ROOMS[name](sheet)
            sheet.mouse.move(0, 0)
            sheet.wait_for_timeout(3000)  # until all is drawn
            save(sheet.screenshot(full_page=True), DOCS / f"page-{name}.png")
        page.close(verbose=False)


def save(png: bytes, target: Path) -> None:
    """In as many colours as the size allows, and if need be smaller."""
    target.parent.mkdir(exist_ok=True)
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    sizes = [(whole.width * part // 4, whole.height * part // 4) for part in (4, 3, 2)]
    for size, colours in ((size, colours) for size in sizes for colours in (256, 128, 64)):
        smaller = whole.resize(size, Image.Resampling.LANCZOS)
        smaller.quantize(colours, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= LARGEST_BYTES:
            break
    sys.stderr.write(f"{target}: {target.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
