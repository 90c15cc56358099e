"""Takes the README's pictures of the page, with the models that are here: `python tests/screenshots.py`."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

from browser import opened
from PIL import Image

DOCS = Path(__file__).resolve().parent.parent / "docs"
ROOMS = {"Picture": ("picture", "photo.png"), "Sound": ("audio", "voice.wav")}
WIDTH_PX, HEIGHT_PX = 1080, 760
LARGEST_BYTES = 200_000
PATIENCE_MS = 300_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, opened() as chrome:
        os.environ["GRADIO_TEMP_DIR"] = folder
        from denoise.web import app

        page = app.build()
        address = app.serve(page, server_name="127.0.0.1", quiet=True, prevent_thread_lock=True)
        sheet = chrome.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        sheet.set_default_timeout(PATIENCE_MS)
        sheet.goto(address)
        for name, (kind, sample) in ROOMS.items():
            sheet.get_by_role("tab", name=name).click()
            sheet.wait_for_selector(f"#{kind}-clean")
            sheet.get_by_role("button", name=f"Try {sample}").click()
            sheet.wait_for_selector(f"#{kind}-about p")
            sheet.click(f"#{kind}-clean")
            sheet.wait_for_selector(f"#{kind}-download")
            sheet.mouse.move(0, 0)
            sheet.wait_for_timeout(3000)  # until the players have drawn their waves
            save(sheet.screenshot(full_page=True), DOCS / f"page-{name.lower()}.png")
        page.close(verbose=False)


def save(png: bytes, target: Path) -> None:
    """In as many colours as the size allows."""
    target.parent.mkdir(exist_ok=True)
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        whole.quantize(colours, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= LARGEST_BYTES:
            break
    sys.stderr.write(f"{target}: {target.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
