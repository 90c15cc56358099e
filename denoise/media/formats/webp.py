"""WebP: a lossless file stays lossless; its alpha always is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, WebPImagePlugin

from denoise.media.formats import Header, Reader, Sheet, decoding, first_loss, refuse
from denoise.media.tags import EXIF_PREFIX, Tags, bare, of_colours
from denoise.signals import Samples

QUALITY = 92  # of lossy files; WebP does not say what the original was written with


class Lossless:
    """Marks the tags of a file without loss."""


class WebpReader:
    format = "WebP"
    pages = 1
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        with decoding(path, self.format), WebPImagePlugin.WebPImageFile(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            self._header = Header(*picture.size, 3, 8, picture.mode == "RGBA")
            self._tags = Tags(
                bare(picture.info.get("exif")),
                picture.info.get("icc_profile"),
                picture.info.get("xmp"),
                native=Lossless() if _is_lossless(path) else None,
            )
        if frames > 1:
            raise refuse(path, "an animated WebP; save its frames as single pictures or as a video.")

    def header(self, page: int) -> Header:
        return self._header

    def tags(self, page: int) -> Tags:
        return self._tags

    def pixels(self, page: int) -> Samples:
        with decoding(self.path, self.format):
            pixels: Samples = imagecodecs.webp_decode(self.path.read_bytes(), hasalpha=self._header.alpha)
            return pixels.reshape(self._header.height, self._header.width, self._header.samples)

    def close(self) -> None: ...


def open_file(path: Path) -> Reader:
    return WebpReader(path)


def _is_lossless(path: Path) -> bool:
    """Whether the pixels are in a VP8L chunk."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8L", b"VP8 "):
                return head[:4] == b"VP8L"
            length = int.from_bytes(head[4:], "little")
            file.seek(length + length % 2, 1)
    return False


def write(draft: Path, sheets: Iterable[Sheet], source: Reader) -> list[str]:
    (sheet,) = sheets
    pixels = sheet.interleaved()
    tags, notes = sheet.tags, list[str]()
    if sheet.header.channels == 1:
        pixels = np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], axis=2)
        tags, dropped = of_colours(tags)
        notes += ["WebP has no grey pictures: written as colour with three equal channels", *dropped]
    lossless = isinstance(tags.native, Lossless)
    notes += [] if lossless else first_loss(source, "WebP", QUALITY)
    Image.fromarray(pixels).save(
        draft,
        "WEBP",
        lossless=lossless,
        quality=80 if lossless else QUALITY,  # without loss it is the effort
        alpha_quality=100,
        exact=True,
        exif=EXIF_PREFIX + tags.exif if tags.exif else b"",
        icc_profile=tags.icc or b"",
        xmp=tags.xmp or b"",
    )
    return notes
