"""The noise of a developed photograph (Guo et al., CBDNet, CVPR 2019): it is born on the sensor, in linear light and
one colour per pixel, and has gone through demosaicing, the camera's response and a JPEG before anybody sees it.

The measured response curves of the paper are not freely licensed; a family of two parameters stands in for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise.noise.picture_kernels import heteroscedastic
from denoise.noise.picture_laws import Jpeg, through

MOST_SHOT, MOST_READ = 0.16, 0.06  # standard deviations in linear light, as the paper draws them
CURVE_POINTS = 1024
MOSAICS = ("RGGB", "GRBG", "GBRG", "BGGR")


@dataclass(frozen=True)
class Response:
    """From linear light to what is stored, both 0..1: a power, and an S-curve over it. Rises everywhere."""

    gamma: float = 2.2
    contrast: float = 0.3  # weight of the S-curve, 0..1

    def __call__(self, light: Tensor) -> Tensor:
        bent = light.clamp(0, 1).pow(1 / self.gamma)
        return (1 - self.contrast) * bent + self.contrast * bent * bent * (3 - 2 * bent)

    def inverse(self, stored: Tensor) -> Tensor:
        """By a table over the root of light, in which the curve is nowhere steep."""
        roots = torch.linspace(0, 1, CURVE_POINTS)
        curve, wanted = self(roots.pow(self.gamma)), stored.clamp(0, 1)
        right = torch.searchsorted(curve, wanted.contiguous()).clamp(1, CURVE_POINTS - 1)
        low, high = curve[right - 1], curve[right]
        return (roots[right - 1] + (wanted - low) / (high - low) / (CURVE_POINTS - 1)).clamp(0, 1).pow(self.gamma)

    def slope(self, light: Tensor) -> Tensor:
        step = 1e-4
        return (self(light + step) - self(light - step)) / ((light + step).clamp(max=1) - (light - step).clamp(min=0))


@dataclass(frozen=True)
class Photograph:
    shot: float  # standard deviation of the noise of white that grows with light, of linear white
    read: float  # standard deviation of the noise that does not
    response: Response = Response()
    mosaic: str = "RGGB"  # "": three full sensors
    quality: int | None = None  # of the JPEG

    @classmethod
    def drawn(cls, seed: int, jpeg: bool = True) -> Photograph:
        """Parameters of some camera: the paper's ranges, its response from our family."""
        dice = Random(seed)
        response = Response(dice.uniform(1.8, 2.6), dice.uniform(0, 0.6))
        quality = dice.randint(60, 100) if jpeg else None
        return cls(dice.uniform(0, MOST_SHOT), dice.uniform(0, MOST_READ), response, dice.choice(MOSAICS), quality)

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        """(3, H, W), or (1, H, W) of a camera without colours; a tile begins at an even row and column."""
        light = self.response.inverse(clean)
        noisy = through(heteroscedastic, light, self.read**2, self.shot**2, 0, seed=seed, top=top, left=left)
        return self.developed(noisy)

    def noiseless(self, clean: Tensor) -> Tensor:
        """What the same camera makes of it without noise and JPEG: the target to train towards."""
        return replace(self, quality=None).developed(self.response.inverse(clean))

    def developed(self, light: Tensor) -> Tensor:
        several = self.mosaic and light.shape[-3] == 3
        stored = self.response(demosaiced(light, self.mosaic) if several else light)
        return stored if self.quality is None else Jpeg(self.quality).sample(stored, 0)

    def variance(self, clean: Tensor) -> Tensor:
        """On the sensor, as the response shows it: demosaicing and JPEG then spread and lower it."""
        light = self.response.inverse(clean)
        return self.response.slope(light).square() * (self.shot**2 * light + self.read**2)

    def describe(self) -> str:
        """With the noise that a developed mid-grey shows before demosaicing."""
        grey = 255 * math.sqrt(float(self.variance(torch.tensor([0.5]))[0]))
        jpeg = "" if self.quality is None else f", JPEG of quality {self.quality}"
        sensor = f"{self.mosaic} sensor" if self.mosaic else "three sensors"
        return f"photograph, {sensor}, sigma {grey:.1f} of 255 at mid-grey{jpeg}"


def demosaiced(light: Tensor, mosaic: str) -> Tensor:
    """(3, H, W) that only has each pixel's own colour left, filled up from its neighbours, bilinearly."""
    known = colour_masks(mosaic, light.shape[-2], light.shape[-1])
    padded = F.pad(torch.stack([light * known, known]), (1, 1, 1, 1), mode="replicate")
    values, weights = around(around(padded, -1), -2)
    return torch.where(known > 0, light, values / weights.clamp(min=1e-6))


def around(planes: Tensor, axis: int) -> Tensor:
    """Every value twice and its neighbours once; shorter by two. Slices are faster here than a convolution."""
    length = planes.shape[axis] - 2
    before, at, after = (planes.narrow(axis, start, length) for start in range(3))
    return before + 2 * at + after


def colour_masks(mosaic: str, height: int, width: int) -> Tensor:
    """(3, H, W): one where a pixel of the mosaic has that colour."""
    phases = torch.tensor(["RGB".index(letter) for letter in mosaic]).reshape(2, 2)
    colours = phases.repeat(-(-height // 2), -(-width // 2))[:height, :width]
    return torch.stack([(colours == colour).float() for colour in range(3)])
