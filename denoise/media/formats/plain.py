"""GIF and BMP: simple files, read through Pillow; BMP is written too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile

from denoise.media.formats import Header, Reader, Sheet, decoding, refuse
from denoise.media.tags import Tags
from denoise.signals import Samples

PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
MODES = {"1": "L", "L": "L", "RGB": "RGB", "RGBA": "RGBA"}


class PlainReader:
    pages = 1

    def __init__(self, path: Path, format: str) -> None:
        self.path, self.format = path, format
        with decoding(path, format), PLUGINS[format](path) as picture:
            frames = getattr(picture, "n_frames", 1)
            self._mode = MODES.get(picture.mode, "RGBA" if picture.has_transparency_data else "RGB")
            self._header = Header(*picture.size, 1 if self._mode == "L" else 3, 8, self._mode == "RGBA")
            dpi = picture.info.get("dpi")
            self.notes: tuple[str, ...] = ("palette expanded to 8-bit colour",) if picture.mode == "P" else ()
        self._tags = Tags(dpi=(float(dpi[0]), float(dpi[1])) if dpi else None)
        if frames > 1:
            raise refuse(path, f"an animated {format}; save its frames as single pictures or as a video.")

    def header(self, page: int) -> Header:
        return self._header

    def tags(self, page: int) -> Tags:
        return self._tags

    def pixels(self, page: int) -> Samples:
        with decoding(self.path, self.format), PLUGINS[self.format](self.path) as picture:
            pixels: Samples = np.asarray(picture.convert(self._mode))
            return pixels.reshape(self._header.height, self._header.width, self._header.samples)

    def close(self) -> None: ...


def open_gif(path: Path) -> Reader:
    return PlainReader(path, "GIF")


def open_bmp(path: Path) -> Reader:
    return PlainReader(path, "BMP")


def write_bmp(draft: Path, sheets: Iterable[Sheet], source: Reader) -> list[str]:
    (sheet,) = sheets
    pixels = sheet.interleaved()
    dpi = sheet.tags.resolution
    settings = {"dpi": dpi} if dpi else {}
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(draft, "BMP", **settings)
    return list(_untold(sheet.tags))


def _untold(tags: Tags) -> Iterator[str]:
    """What a BMP has no place for."""
    words = [word for word, there in {"EXIF": tags.exif, "colour profile": tags.icc, "XMP": tags.xmp}.items() if there]
    if words:
        yield f"BMP holds no {', '.join(words)}: left out"
    if tags.orientation != 1:
        yield "BMP holds no orientation: it is shown as stored and not as the original was turned; PNG and TIFF hold it"
