"""What flows: a sound, a picture, a sensor mosaic. Samples stay in the type of their file until a piece is restored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["audio", "picture", "raw"]
Samples = NDArray[Any]
Block = NDArray[np.float32]  # of a sound: (channels, samples), full scale is 1


@dataclass(frozen=True)
class Audio:
    """A sound that is read as a stream, so that an hour needs no more memory than a minute."""

    rate: int  # Hz
    channels: int
    length: int  # samples per channel, exact
    blocks: Callable[[int], Iterator[NDArray[np.float32]]]
    """`blocks(frames)` starts at the beginning each time and yields (channels, <= frames) arrays, about -1..1."""

    @classmethod
    def from_array(cls, samples: NDArray[np.float32], rate: int) -> Audio:
        """A sound that is already in memory, channels first."""
        channels, length = samples.shape

        def blocks(frames: int) -> Iterator[NDArray[np.float32]]:
            for start in range(0, length, frames):
                yield samples[:, start : start + frames].astype(np.float32, copy=False)

        return cls(rate, channels, length, blocks)

    @property
    def seconds(self) -> float:
        return self.length / self.rate


@dataclass(frozen=True)
class Picture:
    """Pixels as the file has them, H×W×C, and the value that means white."""

    pixels: Samples  # uint8, uint16 or float32
    white: float  # 255, 65535, or the white of a float picture

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def is_float(self) -> bool:
        return not np.issubdtype(self.pixels.dtype, np.integer)

    def beside(self, other: Picture) -> Picture:
        """Of two float pictures that are compared, one says for both what white is; no file states it."""
        return replace(self, white=other.white) if self.is_float and other.is_float else self

    def region(self, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
        """That part as a C×H×W tensor where white is 1."""
        import torch

        part = np.ascontiguousarray(self.pixels[rows, columns].transpose(2, 0, 1), dtype=np.float32)
        return torch.from_numpy(part / np.float32(self.white))

    def quantise(self, restored: Tensor) -> Samples:
        """C×H×W values, white is 1, back in this picture's own type and layout."""
        values = restored.permute(1, 2, 0).numpy() * np.float32(self.white)
        if not self.is_float:
            return np.clip(np.rint(values), 0, self.white).astype(self.pixels.dtype)
        return values.astype(self.pixels.dtype)


class SiteNoise(NamedTuple):
    """Of one colour, where black is 0 and white 1: at x it has the variance shot·(x - bias) + read."""

    shot: float
    read: float
    bias: float = 0.0  # what no light measures


Noise = tuple[SiteNoise, SiteNoise, SiteNoise, SiteNoise]
"""Of R, G1, G2 and B."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Raw sensor data: one value per photosite, with what is needed to make light of it."""

    photosites: Samples  # H×W, as the file counts
    cfa: str  # colours of the repeating tile, row by row: RGGB, or the 36 of an X-Trans sensor
    black: tuple[float, float, float, float]  # DN, of R, G1, G2, B; G1 lies on R's rows, G2 on B's
    white: float  # DN
    noise: Noise | None = None  # where the file tells it

    @property
    def height(self) -> int:
        return int(self.photosites.shape[0])

    @property
    def width(self) -> int:
        return int(self.photosites.shape[1])

    @property
    def is_bayer(self) -> bool:
        return len(self.cfa) == 4

    @cached_property
    def highest(self) -> float:
        """White, or what lies above it."""
        return max(float(self.white), float(self.photosites.max()))

    def counted(self, sites: Samples) -> Samples:
        """As the file counts: where it has whole numbers, from 0 to the highest of them."""
        if not np.issubdtype(self.photosites.dtype, np.integer):
            return sites.astype(self.photosites.dtype)
        return np.clip(np.rint(sites), 0, self.highest).astype(self.photosites.dtype)


@dataclass(frozen=True, eq=False)
class Cells:
    """A Bayer mosaic as restorers see it: R G over G B, one plane for each of the four, wherever the sensor's own
    pattern begins. What a cell lacks at the border is mirrored."""

    mosaic: Mosaic
    channels: int = 4

    @property
    def before(self) -> tuple[int, int]:
        """Rows and columns of the first cell that lie outside."""
        row, column = divmod(self.mosaic.cfa.index("R"), 2)
        return row, column

    @property
    def height(self) -> int:
        return (self.mosaic.height + self.before[0] + 1) // 2

    @property
    def width(self) -> int:
        return (self.mosaic.width + self.before[1] + 1) // 2

    @property
    def levels(self) -> tuple[Block, Block]:
        """Black in DN, and what lies between it and white, both (4, 1, 1)."""
        black = np.array(self.mosaic.black, np.float32).reshape(4, 1, 1)
        return black, np.float32(self.mosaic.white) - black

    def sites(self, rows: slice, columns: slice) -> Samples:
        """The photosites of those cells (2h, 2w), in the type of the file."""
        row, column = self.before
        down = mirrored(2 * rows.start - row, 2 * rows.stop - row, self.mosaic.height)
        across = mirrored(2 * columns.start - column, 2 * columns.stop - column, self.mosaic.width)
        top, left = down.min(), across.min()
        window = self.mosaic.photosites[top : down.max() + 1, left : across.max() + 1]
        return window[np.ix_(down - top, across - left)]

    def region(self, rows: slice, columns: slice) -> Tensor:
        """Those cells (R G1 G2 B, h, w), where black is 0 and white is 1; nothing is cut off."""
        import torch

        black, span = self.levels
        return torch.from_numpy((quartered(self.sites(rows, columns)).astype(np.float32) - black) / span)

    def put(self, restored: Tensor, top: int, out: Samples) -> None:
        """Whole rows of cells (4, h, w), the first of them number `top`, into `out` as the mosaic counts."""
        black, span = self.levels
        sites = whole(restored.numpy() * span + black)
        above, left = self.before
        first = 2 * top - above
        start, stop = max(first, 0), min(first + len(sites), self.mosaic.height)
        out[start:stop] = self.mosaic.counted(sites[start - first : stop - first, left : left + self.mosaic.width])


def quartered(sites: Samples) -> Samples:
    """(2h, 2w) -> (4, h, w)."""
    return np.stack([sites[0::2, 0::2], sites[0::2, 1::2], sites[1::2, 0::2], sites[1::2, 1::2]])


def whole(planes: Block) -> Block:
    """(4, h, w) -> (2h, 2w)."""
    sites = np.empty((2 * planes.shape[1], 2 * planes.shape[2]), np.float32)
    sites[0::2, 0::2], sites[0::2, 1::2], sites[1::2, 0::2], sites[1::2, 1::2] = planes
    return sites


def mirrored(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Indices that turn back at both ends without repeating them, so that colours stay in place."""
    period = max(2 * (length - 1), 1)
    turned = np.arange(start, stop) % period
    return np.minimum(turned, period - turned)


def regrouped(blocks: Iterable[Block], frames: int) -> Iterator[Block]:
    """The same samples in blocks of so many, the last one shorter."""
    held: list[Block] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += block.shape[1]
        if count < frames:
            continue
        joined = np.concatenate(held, axis=1)
        for at in range(0, count - frames + 1, frames):
            yield joined[:, at : at + frames]
        count %= frames
        held = [joined[:, joined.shape[1] - count :]]
    if count:
        yield np.concatenate(held, axis=1)
