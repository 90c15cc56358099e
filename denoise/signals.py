"""What flows: a sound, a picture, a sensor mosaic. Samples stay in the type of their file until a piece is restored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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

    def region(self, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
        """That part as a C×H×W tensor where white is 1."""
        import torch

        part = np.ascontiguousarray(self.pixels[rows, columns].transpose(2, 0, 1), dtype=np.float32)
        return torch.from_numpy(part / np.float32(self.white))

    def quantise(self, restored: Tensor) -> Samples:
        """C×H×W values, white is 1, back in this picture's own type and layout."""
        values = restored.permute(1, 2, 0).numpy() * np.float32(self.white)
        if np.issubdtype(self.pixels.dtype, np.integer):
            return np.clip(np.rint(values), 0, self.white).astype(self.pixels.dtype)
        return values.astype(self.pixels.dtype)


@dataclass(frozen=True)
class Mosaic:
    """Raw sensor data: one value per photosite, with what is needed to make light of it."""

    photosites: Samples  # H×W, uint16
    pattern: tuple[int, ...]  # colour index of each site of the repeating cell, row by row
    black: tuple[float, ...]  # per colour index, DN
    white: float  # DN
    iso: int | None = None


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
