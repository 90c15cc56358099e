"""From a mosaic to a picture: white balance, three colours at every photosite, sRGB. Exposure is left as it was."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from denoise.errors import UserError
from denoise.media.demosaic import REACH, Colours, demosaiced
from denoise.signals import Cells, Mosaic, Samples, mirrored, whole

Balance = tuple[float, float, float]
Matrix = NDArray[np.float64]

WHITE = 65535
ROWS = 128  # of cells, in one go
PROFILE_DATE = slice(24, 36)
PREVIEW_PX = 1024
PREVIEW_QUALITY = 88


@njit(cache=True, parallel=True)
def bent(values: Any) -> None:
    """sRGB's curve, in place. It goes on in a straight line below black, and demosaicing along it is better."""
    flat = values.reshape(-1)
    for at in prange(flat.size):
        x = flat[at]
        flat[at] = np.float32(12.92) * x if x <= 0.0031308 else np.float32(1.055 * x ** (1 / 2.4) - 0.055)


@njit(cache=True, parallel=True)
def straight(values: Any) -> None:
    """The way back."""
    flat = values.reshape(-1)
    for at in prange(flat.size):
        x = flat[at]
        flat[at] = x / np.float32(12.92) if x <= 0.04045 else np.float32(((x + 0.055) / 1.055) ** 2.4)


def bands(mosaic: Mosaic, balance: Balance) -> Iterator[Colours]:
    """Rows of linear, balanced colours of the camera, in order: green of white is 1, nothing is cut off."""
    if not mosaic.is_bayer:
        raise UserError("An X-Trans mosaic can be written as DNG and not be developed here; choose a name with .dng.")
    cells, margin = Cells(mosaic), REACH // 2
    above, left = cells.before
    for top in range(0, cells.height, ROWS):
        bottom = min(top + ROWS, cells.height)
        planes = cells.region(slice(top - margin, bottom + margin), slice(-margin, cells.width + margin)).numpy()
        sites = whole(planes * factors(balance))
        bent(sites)
        colours = np.ascontiguousarray(demosaiced(sites)[:, REACH:-REACH, REACH + left :][:, :, : mosaic.width])
        straight(colours)
        yield colours[:, max(0, above - 2 * top) : mosaic.height + above - 2 * top]


def factors(balance: Balance) -> NDArray[np.float32]:
    red, green, blue = balance
    return np.array([red, green, green, blue], np.float32).reshape(4, 1, 1)


def developed(mosaic: Mosaic, balance: Balance | None, to_srgb: Matrix | None) -> Samples:
    """H×W×3 in sRGB, 16 bits; without a matrix in the camera's own colours."""
    out = np.empty((mosaic.height, mosaic.width, 3), np.uint16)
    top = 0
    for colours in bands(mosaic, balance or (1.0, 1.0, 1.0)):
        rows = in_srgb(colours, to_srgb)
        out[top : top + rows.shape[1]] = np.rint(rows.transpose(1, 2, 0) * WHITE)
        top += rows.shape[1]
    return out


def in_srgb(balanced: Colours, to_srgb: Matrix | None) -> Colours:
    """What is brighter than white is white, of whatever colour."""
    light = balanced.clip(0, 1)
    if to_srgb is not None:
        light = np.tensordot(to_srgb.astype(np.float32), light, 1).clip(0, 1)
    bent(light)
    return light.clip(0, 1)


def linear(mosaic: Mosaic, balance: Balance | None, black: int) -> Samples:
    """H×W×3 in the camera's own colours, not balanced, 16 bits with room below black."""
    balance = balance or (1.0, 1.0, 1.0)
    back = 1 / np.array(balance, np.float32)
    out = np.empty((mosaic.height, mosaic.width, 3), np.uint16)
    top = 0
    for colours in bands(mosaic, balance):
        values = colours.transpose(1, 2, 0) * back * (WHITE - black) + black
        out[top : top + len(values)] = np.clip(np.rint(values), 0, WHITE)
        top += len(values)
    return out


def preview(mosaic: Mosaic, balance: Balance | None, to_srgb: Matrix | None) -> tuple[bytes, int, int]:
    """A small JPEG, as the mosaic lies; its width and height."""
    from PIL import Image

    light = small(mosaic) * np.array(balance or (1.0, 1.0, 1.0), np.float32).reshape(3, 1, 1)
    picture = Image.fromarray(np.rint(in_srgb(light, to_srgb).transpose(1, 2, 0) * 255).astype(np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=PREVIEW_QUALITY, subsampling=0)
    return buffer.getvalue(), picture.width, picture.height


def small(mosaic: Mosaic) -> Colours:
    """Means of each colour over blocks that hold all three, at most PREVIEW_PX of them a side."""
    block = 2 if mosaic.is_bayer else 3
    block *= max(1, -(-max(mosaic.height, mosaic.width) // (block * PREVIEW_PX)))
    rows = range(0, max(mosaic.height, block), block)
    return np.stack([strip(mosaic, top, block) for top in rows], 1)


def strip(mosaic: Mosaic, top: int, block: int) -> NDArray[np.float32]:
    """(3, blocks): one row of them; what is missing at the border is mirrored."""
    count = -(-mosaic.width // block)
    down, across = mirrored(top, top + block, mosaic.height), mirrored(0, count * block, mosaic.width)
    side = 2 if mosaic.is_bayer else 6
    tile = np.array(list(mosaic.cfa)).reshape(side, side)
    letters = tile[np.ix_(down % side, across % side)]
    sites = mosaic.photosites[down][:, across]
    return np.stack([mean_of(mosaic, sites, letters == letter, letter, count) for letter in "RGB"])


def mean_of(mosaic: Mosaic, sites: Samples, here: NDArray[np.bool_], letter: str, count: int) -> NDArray[np.float32]:
    black = {"R": mosaic.black[0], "G": (mosaic.black[1] + mosaic.black[2]) / 2, "B": mosaic.black[3]}[letter]
    light = np.where(here, (sites - np.float32(black)) / np.float32(mosaic.white - black), 0)
    total, number = (values.reshape(len(sites), count, -1).sum((0, 2)) for values in (light, here))
    return (total / np.maximum(number, 1)).astype(np.float32)


@cache
def srgb_profile() -> bytes:
    from PIL import ImageCms

    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[: PROFILE_DATE.start] + bytes(12) + made[PROFILE_DATE.stop :]  # the same from day to day
