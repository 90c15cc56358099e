"""What a slider shows of a picture: before and after, what was removed, and where the noise is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from denoise.measure.comparison import amplification, times
from denoise.media.find import kind_of
from denoise.media.picture import open_picture
from denoise.media.raw import LINEAR, as_picture, upright
from denoise.restorer import Restorer
from denoise.signals import Picture
from denoise.web.order import Filled

SHOWN_MEGAPIXELS = 4.0
PART_PX = 1400
GREY = 0.5

Floats = NDArray[np.float32]  # (H, W, C), white is 1
Pair = tuple[Path, Path]
Views = dict[str, Pair]
BEFORE_AFTER = "Before | after"


@dataclass(frozen=True)
class Place:
    """Which part is shown at its full size, in percent of an upright picture; None: the whole, made smaller."""

    across: float
    down: float

    def as_stored(self, orientation: int) -> Place:
        across = 100 - self.across if orientation in (2, 3, 6, 7) else self.across
        down = 100 - self.down if orientation in (3, 4, 7, 8) else self.down
        return Place(down, across) if orientation in (5, 6, 7, 8) else Place(across, down)


@dataclass(frozen=True)
class Seen:
    """The first page, as it is shown."""

    values: Floats
    profile: bytes | None = None


def seen(path: Path, place: Place | None) -> Seen:
    if kind_of(path) == "raw":
        return Seen(values_of(as_picture(path), place))
    with open_picture(path) as opened:
        page = opened.page(0)
        turn = page.tags.orientation if 1 <= page.tags.orientation <= 8 else 1
        stored = place.as_stored(turn) if place else None
        profile = page.tags.icc if page.picture.channels == 3 else None  # that of a grey picture suits no colours
        return Seen(upright(values_of(page.picture, stored), turn), profile)


def shrinking(height: int, width: int) -> int:
    """How many times smaller it is shown, so that a browser can hold it."""
    return math.ceil(math.sqrt(height * width / (SHOWN_MEGAPIXELS * 1e6)))


def values_of(picture: Picture, place: Place | None) -> Floats:
    if place is not None:
        part = window(picture.height, place.down), window(picture.width, place.across)
        return scaled(picture.pixels[part], picture.white)
    size = shrinking(picture.height, picture.width)
    if size == 1:
        return scaled(picture.pixels, picture.white)
    rows, columns = picture.height // size, picture.width // size
    strips = (picture.pixels[row * size : (row + 1) * size, : columns * size] for row in range(rows))
    return scaled(np.stack([strip.reshape(size, columns, size, -1).mean((0, 2)) for strip in strips]), picture.white)


def window(length: int, percent: float) -> slice:
    start = round(max(length - PART_PX, 0) * percent / 100)
    return slice(start, start + PART_PX)


def scaled(pixels: NDArray[np.generic], white: float) -> Floats:
    return pixels.astype(np.float32) / np.float32(white)


def looked_at(path: Path, folder: Path, place: Place | None = None) -> Views:
    """Before anything is cleaned."""
    noisy = put(seen(path, place), folder / "noisy.png")
    return {BEFORE_AFTER: (noisy, noisy)}


def compared(filled: Filled, folder: Path, place: Place | None = None) -> Views:
    """What a result is looked at by first; a linear DNG is not shown, since only a raw converter can open it."""
    if filled.target.name.endswith(LINEAR):
        return looked_at(filled.source, folder, place)
    before, after = seen(filled.source, place), seen(filled.target, place)
    return {BEFORE_AFTER: (put(before, folder / "noisy.png"), put(after, folder / "cleaned.png"))}


def more_views(filled: Filled, found: Views, restorer: Restorer, place: Place | None = None) -> Views:
    """Those that take another moment: what was removed and, if the model measures noise, where it did."""
    if filled.target.name.endswith(LINEAR):
        return found
    (noisy, cleaned), before, after = found[BEFORE_AFTER], seen(filled.source, place), seen(filled.target, place)
    taken = before.values - after.values
    gain = amplification(float(np.sqrt(np.mean(np.square(taken, dtype=np.float64)))))
    removed = put(Seen(GREY + gain * taken), cleaned.with_name("removed.png"))
    return found | {f"After | removed{times(gain)}": (cleaned, removed)} | mapped(before, noisy, restorer)


def mapped(before: Seen, noisy: Path, restorer: Restorer) -> Views:
    from denoise.measure.noise_map import NoiseMap

    mapping = NoiseMap.by(restorer)
    if mapping is None:
        return {}
    picture, highest = mapping.of_picture(before.values)
    drawn = put(Seen(picture), noisy.with_name("map.png"))
    return {f"Before | noise map, white is sigma {highest:.0f} of 255": (noisy, drawn)}


def put(shown: Seen, target: Path) -> Path:
    """As an 8-bit PNG, without loss, with its colour profile."""
    bytes_ = np.clip(np.rint(shown.values * np.float32(255)), 0, 255).astype(np.uint8)
    image = Image.fromarray(bytes_[:, :, 0] if bytes_.shape[2] == 1 else bytes_).convert("RGB")
    image.save(target, compress_level=1, icc_profile=shown.profile)
    return target
