"""Pictures: dropped, cleaned, compared with a slider, and given back in their own format and depth."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import mkdtemp

import gradio as gr
import numpy as np
from PIL import Image

from denoise.media.picture import Page, PictureFile, open_picture
from denoise.noise.picture_level import estimate
from denoise.signals import Picture
from denoise.web.order import Filled, Stops
from denoise.web.room import Desk, Shown, download_of, nothing_to_download, said, sentence, shelf

SHOWN_MEGAPIXELS = 4.0
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # how a viewer turns the stored pixels, by EXIF orientation


def picture_room(stops: Stops) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            desk = Desk.drawn("picture", stops, "Noisy picture")
        with gr.Column(scale=3, min_width=320):
            slider = gr.ImageSlider(
                label="Before | after", type="filepath", format="png", interactive=False, elem_id="picture-slider"
            )
            download = nothing_to_download("picture")

    def look(path: Path) -> Shown:
        with open_picture(path) as opened:
            noisy = drawn(opened, Path(mkdtemp(dir=shelf())) / "noisy.png")
            return {desk.about: said(*words(opened)), slider: (noisy, noisy)}

    def show(filled: Filled) -> Shown:
        folder = filled.target.parent
        with open_picture(filled.source) as before, open_picture(filled.target) as after:
            pair = drawn(before, folder / "noisy.png"), drawn(after, folder / "cleaned.png")
        return {slider: pair, download: download_of(filled)}

    empty: Shown = {slider: None, download: gr.update(visible=False)}
    desk.watch(look, empty)
    desk.connect([slider, download], show)


def words(opened: PictureFile) -> list[str]:
    """What it is, how noisy it is, and what of it is shown."""
    page = opened.page(0).picture
    shrunk = shrinking(page)
    notes = [
        f"Of its {opened.pages} pages the first is shown; all are cleaned." if opened.pages > 1 else "",
        f"Shown at 1/{shrunk} of its size; the download is whole." if shrunk > 1 else "",
    ]
    return [f"{opened.describe()}.", sentence(estimate(page).describe()), *opened.notes, *notes]


def shrinking(picture: Picture) -> int:
    """How many times smaller it is shown, so that a browser can hold it."""
    return math.ceil(math.sqrt(picture.height * picture.width / (SHOWN_MEGAPIXELS * 1e6)))


def drawn(opened: PictureFile, target: Path) -> Path:
    """Its first page as an 8-bit PNG: upright, with its colour profile, and small enough to be looked at."""
    page = opened.page(0)
    image = eight_bit(page.picture).reduce(shrinking(page.picture))
    if page.tags.orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[page.tags.orientation])
    image.save(target, compress_level=1, icc_profile=fitting_profile(page))
    return target


def eight_bit(picture: Picture) -> Image.Image:
    values = picture.pixels
    if values.dtype != np.uint8:
        values = np.clip(np.rint(values * np.float32(255 / picture.white)), 0, 255).astype(np.uint8)
    return Image.fromarray(values[:, :, 0] if picture.channels == 1 else values).convert("RGB")


def fitting_profile(page: Page) -> bytes | None:
    """Of a grey picture none: its profile does not suit the colours that it is shown in."""
    return page.tags.icc if page.picture.channels == 3 else None
