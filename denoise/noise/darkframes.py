"""Noise from the user's own dark frames: nothing is modelled but the photons, everything else is as the sensor made it
(Zhang et al. 2021; Li et al. 2025, who find it as good as any fitted law, with a gain that is merely assumed)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise import seeds
from denoise.errors import UserError
from denoise.noise import camera_kernels as kernels
from denoise.noise.calibration import ASSUMED_ISO
from denoise.noise.camera import photons, require, sites_of
from denoise.noise.frame import Frame, refuse_unlike

STREAM = 2000  # of the draws here; the kernels take the first ones
FRAME, DOWN, ACROSS = range(3)  # what is drawn

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DarkFrames:
    frames: tuple[NDArray[Any], ...]  # (H, W) each, as the files count, both sides even
    gain_dn_per_e: float
    black_dn: Floats  # (2, 2): black of the colours as they lie in the tile
    shading_dn: Floats | None = None  # (H, W), what all frames share, taken off; None: it is part of the noise
    iso: int | None = None
    assumed: bool = False  # the gain was not measured

    @classmethod
    def fit(cls, evidence: Sequence[Frame], gain_dn_per_e: float | None = None, shading: bool = True) -> Self:
        """Of dark frames of one ISO. What they all share is taken off, unless `shading` should stay in the noise.

        Without a gain it is taken to be ISO / 1000, which is within a factor of a few for most cameras.
        """
        require(len(evidence) > 0, "There is no dark frame; give at least one, better ten")
        refuse_unlike(evidence)
        for frame in evidence:
            refuse_unusable(frame)
        frames = tuple(even(frame.photosites) for frame in evidence)
        black = black_of(evidence[0], frames)
        common = shading_of(frames) if shading and len(frames) > 1 else None
        gain = assumed_gain(evidence[0]) if gain_dn_per_e is None else photons(gain_dn_per_e).gain_dn_per_e
        return cls(frames, gain, black, common, evidence[0].iso, gain_dn_per_e is None)

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0, threads: int | None = None) -> Tensor:
        """Of a mosaic (H, W) in DN above black, whose first photosite lies at (top, left) of the sensor."""
        height, width = self.frames[0].shape
        if clean.ndim == 2 and (clean.shape[0] > height or clean.shape[1] > width):
            size = f"{clean.shape[0]}×{clean.shape[1]}"
            raise UserError(f"The mosaic ({size}) is larger than the dark frames ({height}×{width}); give it in parts.")
        noisy = photons(self.gain_dn_per_e).sample(clean, seed, top, left, threads)
        number, down, across = self.placed(seed)
        place = (top + down) % height, (left + across) % width
        kernels.add_frame(noisy.numpy(), self.frames[number], self.common_dn, np.float32(self.widening), place)
        return noisy

    @property
    def common_dn(self) -> Floats:
        """What is no noise, repeated where it is smaller than a frame."""
        return self.black_dn if self.shading_dn is None else self.shading_dn

    @property
    def widening(self) -> float:
        """What is left of so many frames without their mean is a little too small."""
        count = len(self.frames)
        return 1.0 if self.shading_dn is None else (count / (count - 1)) ** 0.5

    def placed(self, seed: int) -> tuple[int, int, int]:
        """Which frame, and how far it is moved down and across, as on a ring, so that every place of it may come to
        lie anywhere: by even numbers, so that every colour stays itself."""
        share = seeds.uniform(seed, torch.arange(3), STREAM).tolist()
        height, width = self.frames[0].shape
        number = int(share[FRAME] * len(self.frames))
        return number, 2 * int(share[DOWN] * (height // 2)), 2 * int(share[ACROSS] * (width // 2))

    def variance(self, clean: Tensor) -> Tensor:
        """In DN²; that of the dark is one number for each of the four colours."""
        total = self.gain_dn_per_e * clean.clamp(min=0)
        for row in (0, 1):
            for column in (0, 1):
                total[..., row::2, column::2] += self.dark_variance(row, column)
        return total

    def dark_variance(self, row: int, column: int) -> float:
        """Of all frames together, around the mean of that colour or what they share there."""
        planes = [frame[row::2, column::2].astype(np.float32) for frame in self.frames]
        common = np.mean(planes) if self.shading_dn is None else self.shading_dn[row::2, column::2]
        left = [float(np.mean((plane - common) ** 2, dtype=np.float64)) for plane in planes]
        return sum(left) / len(left) * self.widening**2

    def describe(self) -> str:
        height, width = self.frames[0].shape
        count = f"{len(self.frames)} dark frames" if len(self.frames) > 1 else "1 dark frame"
        shading = "without" if self.shading_dn is not None else "with"
        spread = f"{self.dark_variance(0, 0) ** 0.5:.3g} DN {shading} what they share"
        gain = f"{self.gain_dn_per_e:.3g} DN per electron" + (" (assumed from the ISO)" if self.assumed else "")
        iso = f" at ISO {self.iso}" if self.iso else ""
        return f"{count} of {height}×{width}{iso}, {spread}, {gain}"


def shading_of(frames: Sequence[NDArray[Any]]) -> Floats:
    total = np.zeros(frames[0].shape)
    for frame in frames:
        total += frame
    return (total / len(frames)).astype(np.float32)


def black_of(frame: Frame, frames: Sequence[NDArray[Any]]) -> Floats:
    """As the file tells; otherwise what the frames themselves show."""
    tile = np.empty((2, 2), np.float32)
    for index, site in enumerate(sites_of(frame.cfa or "RGGB").values()):
        shown = np.mean([part[site[0] :: 2, site[1] :: 2].mean() for part in frames])
        tile[site] = shown if frame.black_dn is None else frame.black_dn[index]
    return tile


def assumed_gain(frame: Frame) -> float:
    if not frame.iso:
        raise UserError(f"{frame.path}: neither its ISO nor a gain is known; say the gain in DN per electron.")
    return frame.iso / ASSUMED_ISO


def even(photosites: NDArray[Any]) -> NDArray[Any]:
    """Without a last row or column that no tile is complete in."""
    height, width = photosites.shape
    return photosites[: height // 2 * 2, : width // 2 * 2]


def refuse_unusable(frame: Frame) -> None:
    values = frame.photosites
    if values.ndim != 2 or min(values.shape) < 2:
        raise UserError(f"{frame.path}: a dark frame of shape {values.shape}; one value per photosite is wanted, H×W.")
    if values.dtype == np.uint8:
        raise UserError(f"{frame.path}: 8-bit values, which no raw dark frame has; give the raw file of the camera.")
    if values.min() == values.max():
        raise UserError(f"{frame.path}: all values are {values.min()}, there is no noise in it; give a raw dark frame.")
