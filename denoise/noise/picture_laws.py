"""What noise does to a picture: laws with a parameter and a seed. Pictures are (…, C, H, W), black 0, white 1."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from denoise import seeds


class Law(Protocol):
    def sample(self, clean: Tensor, seed: int) -> Tensor:
        """The picture with this noise; not clipped, not rounded."""
        ...

    def describe(self) -> str: ...


@dataclass(frozen=True)
class Gaussian:
    sigma: float  # of 255

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        return clean + self.sigma / 255 * seeds.normal_like(clean, seed)

    def describe(self) -> str:
        return f"Gaussian, sigma {self.sigma:g} of 255"


@dataclass(frozen=True)
class Poisson:
    peak: float  # photons at white

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        return poisson_counts(clean.clamp(min=0) * self.peak, seed) / self.peak

    def describe(self) -> str:
        return f"Poisson, {self.peak:g} photons at white"


@dataclass(frozen=True)
class Speckle:
    variance: float  # of the multiplicative factor around 1

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        return clean * (1 + math.sqrt(self.variance) * seeds.normal_like(clean, seed))

    def describe(self) -> str:
        return f"speckle, variance {self.variance:g}"


@dataclass(frozen=True)
class SaltAndPepper:
    density: float  # share of samples replaced by black or white

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        draw = seeds.uniform_like(clean, seed)
        salted = torch.where(draw < self.density / 2, 0.0, clean)
        return torch.where(draw > 1 - self.density / 2, 1.0, salted)

    def describe(self) -> str:
        return f"salt and pepper, {100 * self.density:g} % of the samples"


@dataclass(frozen=True)
class Correlated:
    """Grain as developed photographs have it: fine in brightness, coarse in colour."""

    sigma: float  # of 255, of every colour
    luma_blur: float = 0.7  # px
    chroma_blur: float = 1.5  # px
    chroma: float = 1.0  # colour grain against brightness grain
    coarse: float = 0.5  # relative weight of a layer twice as coarse
    read: float = 1.0  # share of the noise that does not grow with brightness

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        luma = self.grain(clean[..., :1, :, :], seed, 0, self.luma_blur)
        layers = [luma.expand_as(clean)]
        if clean.shape[-3] == 3 and self.chroma > 0:
            colour = self.grain(clean, seed, 4, self.chroma_blur)
            layers.append(self.chroma * (colour - colour.mean(-3, keepdim=True)))
        noise = torch.stack(layers).sum(0)
        level = (self.read + (1 - self.read) * 2 * clean.clamp(0, 1)).sqrt()
        return clean + self.sigma / 255 * level * noise / noise.std().clamp(min=1e-6)

    def grain(self, like: Tensor, seed: int, stream: int, blur: float) -> Tensor:
        fine = blurred(seeds.normal_like(like, seed, stream), blur)
        rough = blurred(seeds.normal_like(like, seed, stream + 1), 2 * blur)
        return fine / fine.std() + self.coarse * rough / rough.std()

    def describe(self) -> str:
        return f"correlated grain, sigma {self.sigma:g} of 255, {self.luma_blur:g} px in brightness"


@dataclass(frozen=True)
class Jpeg:
    quality: int  # 1 to 100, as libjpeg counts
    halved: bool = True  # colour at half the resolution (4:2:0)

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        """One picture (C, H, W), grey or RGB; nothing here is left to chance."""
        from PIL import Image

        pixels = (clean.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1).numpy()
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=self.quality, subsampling=2 if self.halved else 0)
        with Image.open(stream) as decoded:
            back = torch.from_numpy(np.array(decoded)).reshape(*clean.shape[1:], clean.shape[0])
        return back.permute(2, 0, 1).to(clean.dtype) / 255

    def describe(self) -> str:
        return f"JPEG of quality {self.quality}"


@dataclass(frozen=True)
class Mixed:
    laws: tuple[Law, ...]

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        for index, law in enumerate(self.laws):
            clean = law.sample(clean, seed + 7919 * index)
        return clean

    def describe(self) -> str:
        return " then ".join(law.describe() for law in self.laws)


def poisson_counts(mean: Tensor, seed: int) -> Tensor:
    """Poisson numbers from a counter: by inversion below 30 photons, by the rounded normal law with its
    third-moment correction above."""
    chance = seeds.uniform_like(mean, seed, 2)
    few = inverted_poisson(chance, mean.clamp(max=30.0))
    z = seeds.normal_like(mean, seed, 2)
    many = mean + mean.sqrt() * z + (z.square() - 1) / 6
    return torch.where(mean < 30.0, few, many.round().clamp(min=0))


def inverted_poisson(chance: Tensor, mean: Tensor) -> Tensor:
    term = torch.exp(-mean)
    total, count = term.clone(), torch.zeros_like(mean)
    for number in range(1, 72):
        above = chance > total
        if not bool(above.any()):
            break
        count = count + above
        term = term * mean / number
        total = total + term
    return count


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, separable, reflecting at the border."""
    if sigma < 0.1:  # the neighbours would weigh less than 1e-20
        return picture
    height, width = picture.shape[-2:]
    radius = min(math.ceil(3 * sigma), height - 1, width - 1)
    at = torch.arange(-radius, radius + 1, dtype=picture.dtype)
    bell = torch.exp(-at.square() / (2 * sigma**2))
    bell = bell / bell.sum()
    planes = picture.reshape(-1, 1, height, width)
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="reflect"), bell[None, None, None])
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="reflect"), bell[None, None, :, None])
    return planes.reshape(picture.shape)


def eight_bit(picture: Tensor) -> Tensor:
    """Clipped and rounded as an 8-bit file would hold it."""
    return (picture.clamp(0, 1) * 255).round() / 255
