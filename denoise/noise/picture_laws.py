"""What noise does to a picture: laws with a parameter and a seed. Pictures are (…, C, H, W), black 0, white 1.

`top` and `left` say where a tile lies in its picture: the noise of a tile is that part of the whole picture's."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from denoise.errors import UserError
from denoise.noise import picture_kernels as kernels
from denoise.noise.law import PictureLaw

if TYPE_CHECKING:
    from denoise.noise.picture_level import Line, PictureNoise
    from denoise.signals import Picture

SEED_MASK = 0xFFFFFFFF


def through(kernel: Callable[..., Any], clean: Tensor, *numbers: float, seed: int, top: int, left: int) -> Tensor:
    """A kernel over all planes of a picture."""
    planes = clean.reshape(-1, *clean.shape[-2:]).float().numpy()
    noisy: NDArray[np.float32] = kernel(
        np.ascontiguousarray(planes), *(float(number) for number in numbers), np.uint32(seed & SEED_MASK), top, left
    )
    return torch.from_numpy(noisy).reshape(clean.shape)


@dataclass(frozen=True)
class Gaussian:
    sigma: float  # of 255

    @classmethod
    def fit(cls, evidence: Picture) -> Self:
        """Of one noisy picture."""
        return cls(measured(evidence).sigma or 0.0)

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        variance = (self.sigma / 255) ** 2
        return through(kernels.heteroscedastic, clean, variance, 0, 0, seed=seed, top=top, left=left)

    def variance(self, clean: Tensor) -> Tensor:
        return torch.full_like(clean, (self.sigma / 255) ** 2)

    def describe(self) -> str:
        return f"Gaussian, sigma {self.sigma:g} of 255"


@dataclass(frozen=True)
class Poisson:
    peak: float  # photons at white

    @classmethod
    def fit(cls, evidence: Picture) -> Self:
        """Of one noisy picture with flat parts of several brightnesses."""
        return cls(line_of(evidence).photons_at_white)

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        return through(kernels.counted, clean, 1 / self.peak, 0, seed=seed, top=top, left=left)

    def variance(self, clean: Tensor) -> Tensor:
        return clean.clamp(min=0) / self.peak

    def describe(self) -> str:
        return f"Poisson, {self.peak:g} photons at white"


@dataclass(frozen=True)
class PoissonGaussian:
    """Photons, and what reading them out adds: the noise of a linear sensor."""

    peak: float  # photons at white
    read: float  # sigma, of 255

    @classmethod
    def fit(cls, evidence: Picture) -> Self:
        """Of one noisy picture with flat parts of several brightnesses."""
        line = line_of(evidence)
        return cls(line.photons_at_white, line.read)

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        return through(kernels.counted, clean, 1 / self.peak, self.read / 255, seed=seed, top=top, left=left)

    def variance(self, clean: Tensor) -> Tensor:
        return clean.clamp(min=0) / self.peak + (self.read / 255) ** 2

    def describe(self) -> str:
        return f"Poisson-Gaussian, {self.peak:g} photons at white and read noise of sigma {self.read:g} of 255"


@dataclass(frozen=True)
class Gamma:
    """What multiplies coherent light: radar, ultrasound, lasers."""

    looks: float  # 1 / variance of the factor, whose mean is 1

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        return through(kernels.multiplied, clean, self.looks, seed=seed, top=top, left=left)

    def variance(self, clean: Tensor) -> Tensor:
        return clean.square() / self.looks

    def describe(self) -> str:
        return f"gamma speckle of {self.looks:g} looks"


@dataclass(frozen=True)
class Speckle:
    factor_variance: float  # of the Gaussian factor around 1

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        return through(kernels.heteroscedastic, clean, 0, 0, self.factor_variance, seed=seed, top=top, left=left)

    def variance(self, clean: Tensor) -> Tensor:
        return self.factor_variance * clean.square()

    def describe(self) -> str:
        return f"speckle, variance {self.factor_variance:g}"


@dataclass(frozen=True)
class SaltAndPepper:
    density: float  # share of samples replaced by black or white

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        return through(kernels.replaced, clean, self.density, seed=seed, top=top, left=left)

    def variance(self, clean: Tensor) -> Tensor:
        """Around its mean: this noise pulls towards grey."""
        square = self.density / 2 * (clean.square() + (1 - clean).square())
        return square - (self.density * (0.5 - clean)).square()

    def describe(self) -> str:
        return f"salt and pepper, {100 * self.density:g} % of the samples"


@dataclass(frozen=True)
class Banding:
    """Rows and columns that were read out a little too bright or too dark."""

    rows: float  # sigma, of 255
    columns: float = 0.0  # sigma, of 255

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        return through(kernels.banded, clean, self.rows / 255, self.columns / 255, seed=seed, top=top, left=left)

    def variance(self, clean: Tensor) -> Tensor:
        return torch.full_like(clean, (self.rows**2 + self.columns**2) / 255**2)

    def describe(self) -> str:
        return f"banding, sigma {self.rows:g} of 255 from row to row, {self.columns:g} from column to column"


@dataclass(frozen=True)
class Correlated:
    """Grain as developed photographs have it: fine in brightness, coarse in colour."""

    sigma: float  # of 255, of every colour
    luma_blur: float = 0.7  # px
    chroma_blur: float = 1.5  # px
    chroma: float = 1.0  # colour grain against brightness grain
    coarse: float = 0.5  # relative weight of a layer twice as coarse
    read: float = 1.0  # share of the noise that does not grow with brightness

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        layers = self.grain(1, clean, seed, 0, self.luma_blur, top, left)
        total = 1 + self.coarse**2
        if clean.shape[-3] == 3 and self.chroma > 0:
            colour = self.grain(3, clean, seed, 4, self.chroma_blur, top, left)
            layers = layers + self.chroma * (colour - colour.mean(0, keepdim=True))
            total *= 1 + self.chroma**2 * 2 / 3  # two thirds of independent colours are left without their mean
        return clean + self.variance(clean).sqrt() * layers / math.sqrt(total)

    def grain(self, planes: int, like: Tensor, seed: int, stream: int, blur: float, top: int, left: int) -> Tensor:
        size = (planes, *like.shape[-2:])
        fine = blurred_noise(size, blur, seed, stream, top, left)
        return fine + self.coarse * blurred_noise(size, 2 * blur, seed, stream + 1, top, left)

    def variance(self, clean: Tensor) -> Tensor:
        return (self.sigma / 255) ** 2 * (self.read + (1 - self.read) * 2 * clean.clamp(0, 1))

    def describe(self) -> str:
        return f"correlated grain, sigma {self.sigma:g} of 255, {self.luma_blur:g} px in brightness"


@dataclass(frozen=True)
class Jpeg:
    quality: int  # 1 to 100, as libjpeg counts
    halved: bool = True  # colour at half the resolution (4:2:0)

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        """One picture (C, H, W), grey or RGB; nothing here is left to chance."""
        from PIL import Image

        pixels = (clean.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1).numpy()
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=self.quality, subsampling=2 if self.halved else 0)
        with Image.open(stream) as decoded:
            back = torch.from_numpy(np.array(decoded)).reshape(*clean.shape[1:], clean.shape[0])
        return back.permute(2, 0, 1).to(clean.dtype) / 255

    def variance(self, clean: Tensor) -> Tensor:
        """Its squared error, mean over blocks of 8×8: a JPEG's noise is what it did to this picture."""
        error = (self.sample(clean, 0) - clean).square()
        height, width = clean.shape[-2:]
        blocks = F.avg_pool2d(error, 8, ceil_mode=True)
        return blocks.repeat_interleave(8, -2).repeat_interleave(8, -1)[..., :height, :width]

    def describe(self) -> str:
        return f"JPEG of quality {self.quality}"


@dataclass(frozen=True)
class Mixed:
    laws: tuple[PictureLaw, ...]

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor:
        for index, law in enumerate(self.laws):
            clean = law.sample(clean, seed + 7919 * index, top, left)
        return clean

    def variance(self, clean: Tensor) -> Tensor:
        """As if each law met the clean picture: true to first order."""
        return torch.stack([law.variance(clean) for law in self.laws]).sum(0)

    def describe(self) -> str:
        return " then ".join(law.describe() for law in self.laws)


def measured(evidence: Picture) -> PictureNoise:
    from denoise.noise.picture_level import estimate

    found = estimate(evidence)
    if found.sigma is None:
        raise UserError("Too little of this picture is both flat and free of clipping; fit noise to another one.")
    return found


def line_of(evidence: Picture) -> Line:
    line = measured(evidence).line
    if line is None:
        raise UserError("The noise of this picture does not grow with its brightness; fit Gaussian noise to it.")
    return line


def blurred_noise(size: tuple[int, int, int], blur: float, seed: int, stream: int, top: int, left: int) -> Tensor:
    """White noise through a Gaussian of that many pixels, of variance one again."""
    bell = gaussian_bell(blur)
    margin = len(bell) // 2
    planes, height, width = size
    origin = 1 << (kernels.AXIS_BITS - 1)  # the margin of the first tile lies before the picture
    shape = (planes, height + 2 * margin, width + 2 * margin)
    place = (origin + top - margin, origin + left - margin)
    noise = torch.from_numpy(kernels.white(*shape, np.uint32(seed & SEED_MASK), stream, *place))
    return filtered(noise, bell) / bell.square().sum()


def gaussian_bell(sigma: float, most: int | None = None) -> Tensor:
    """Sums to one; a single one where the neighbours would weigh less than 1e-20."""
    radius = 0 if sigma < 0.1 else math.ceil(3 * sigma)
    radius = radius if most is None else min(radius, most)
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    bell = torch.exp(-at.square() / (2 * max(sigma, 0.1) ** 2))
    return bell / bell.sum()


def filtered(picture: Tensor, bell: Tensor) -> Tensor:
    """Through a separable filter; what it cannot reach at the border is cut off."""
    planes = picture.reshape(-1, 1, *picture.shape[-2:])
    planes = F.conv2d(F.conv2d(planes, bell[None, None, None]), bell[None, None, :, None])
    return planes.reshape(*picture.shape[:-2], *planes.shape[-2:])


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, reflecting at the border."""
    bell = gaussian_bell(sigma, min(picture.shape[-2:]) - 1)
    margin = len(bell) // 2
    planes = picture.reshape(-1, 1, *picture.shape[-2:])
    return filtered(F.pad(planes, (margin,) * 4, mode="reflect"), bell).reshape(picture.shape)


def eight_bit(picture: Tensor) -> Tensor:
    """Clipped and rounded as an 8-bit file would hold it."""
    return (picture.clamp(0, 1) * 255).round() / 255
