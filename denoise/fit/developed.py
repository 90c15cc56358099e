"""Training pairs as developed photographs have them, fast enough to be made between two steps of training.

A pair is (noisy, clean); where a camera's chain changes the picture itself, the clean one has gone through it too, so
that no shift of colour or sharpness is learnt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise.noise.photograph import MOSAICS, Photograph, Response
from denoise.noise.picture_laws import Jpeg, PoissonGaussian, eight_bit

Pair = tuple[Tensor, Tensor]
Pairing = Callable[[Tensor, Random], Pair]
"""(clean crop (3, H, W), dice) -> (noisy, clean), both of 8 bits."""

GREY = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])  # of brightness, Cb and Cr
DARKEST = 0.08  # stored value below which the slope of the response grows no more
GAMMA = 2.2
RESIZED = 0.15  # share of the developed pairs that are resized after their noise


def log_uniform(dice: Random, low: float, high: float) -> float:
    return math.exp(dice.uniform(math.log(low), math.log(high)))


def numbers(dice: Random) -> torch.Generator:
    return torch.Generator().manual_seed(dice.getrandbits(62))


# White noise


def white(clean: Tensor, dice: Random) -> Pair:
    """Gaussian; in a fifth of the crops the same in all colours, in a fifth mixed from colour to colour."""
    noise = torch.randn(clean.shape, generator=numbers(dice))
    kind = dice.random()
    if kind < 0.2:
        noise = noise[:1].expand_as(noise)
    elif kind < 0.4:
        noise = torch.einsum("ij,jhw->ihw", colour_mix(dice), noise)
    return eight_bit(clean + dice.uniform(0, 55) / 255 * noise), clean


def colour_mix(dice: Random) -> Tensor:
    """A matrix after which the noise of the colours is correlated, of unit variance on average."""
    matrix = torch.tensor([[dice.gauss(0, 1) for _ in range(3)] for _ in range(3)])
    return matrix * math.sqrt(3) / matrix.norm()


def photons(clean: Tensor, dice: Random) -> Pair:
    """Few photons and some read noise; in half of the crops the same in all colours."""
    law = PoissonGaussian(10 ** dice.uniform(2, 4), log_uniform(dice, 0.3, 8))
    grey = (GREY * clean).sum(0, keepdim=True)
    seed = dice.getrandbits(31)
    if dice.random() < 0.5:
        return eight_bit(clean + law.sample(grey, seed) - grey), clean
    return eight_bit(law.sample(clean, seed)), clean


def nothing(clean: Tensor, dice: Random) -> Pair:
    """No noise; half of them as a good JPEG, which is no noise either, and some of a single colour."""
    if dice.random() < 0.25:
        clean = eight_bit(plain_colour(dice)).expand_as(clean)
    kept = Jpeg(dice.randint(85, 98), dice.random() < 0.5).sample(clean, 0) if dice.random() < 0.5 else clean
    return kept, kept


def plain_colour(dice: Random) -> Tensor:
    """(3, 1, 1); black and white as often as all others together."""
    if dice.random() < 0.5:
        return torch.full((3, 1, 1), float(dice.randrange(2)))
    return torch.tensor([dice.random() for _ in range(3)])[:, None, None]


# Grain


@dataclass(frozen=True)
class Grain:
    """Noise that grew coarse while it was developed: Gaussian blur of white, and a layer twice as coarse."""

    sigma: float  # of 255, of brightness
    colour: float  # of Cb and Cr, per that of brightness
    luma_blur: float  # px
    chroma_blur: float  # px
    luma_coarse: float  # relative weight of the coarser layer
    chroma_coarse: float
    read: float  # share of the variance that does not grow with light

    @classmethod
    def drawn(cls, dice: Random) -> Grain:
        return cls(
            sigma=dice.uniform(1.5, 14),
            colour=0.0 if dice.random() < 0.1 else log_uniform(dice, 0.25, 2),
            luma_blur=dice.uniform(0, 1.2),
            chroma_blur=log_uniform(dice, 0.5, 4),
            luma_coarse=dice.uniform(0, 1),
            chroma_coarse=dice.uniform(0, 1),
            read=dice.uniform(0, 1),
        )

    def noise(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """(3, H, W), of 0..1."""
        height, width = clean.shape[1:]
        luma = response(height, width, self.luma_blur, self.luma_coarse)
        chroma = self.colour * response(height, width, self.chroma_blur, self.chroma_coarse)
        shape = (3, height, width // 2 + 1)
        spectrum = torch.randn(shape, dtype=torch.cfloat, generator=generator) * torch.stack([luma, chroma, chroma])
        planes: Tensor = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
        return self.strength(clean) * torch.einsum("ij,jhw->ihw", RGB, planes)

    def strength(self, clean: Tensor) -> Tensor:
        """Standard deviation at every pixel: photons and read noise through the slope of a gamma curve."""
        stored = (GREY * clean).sum(0).clamp(min=DARKEST)
        light = stored**GAMMA
        seen = ((1 - self.read) * light + self.read * light.mean()).sqrt() * stored ** (1 - GAMMA)
        return self.sigma / 255 * seen / seen.square().mean().sqrt()


def response(height: int, width: int, blur: float, coarse: float) -> Tensor:
    """Of a filter that leaves the variance of white noise as it is: (H, W/2+1)."""
    square = frequencies(height, width)
    fine, wide = (torch.exp(-((2 * math.pi * px) ** 2) * square) for px in (blur, 2 * blur))
    power = fine / fine.mean() + coarse**2 * wide / wide.mean()
    return (power / (1 + coarse**2)).sqrt()


@cache
def frequencies(height: int, width: int) -> Tensor:
    """Squared, in cycles per pixel: (H, W/2+1)."""
    return torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()


def grainy(clean: Tensor, dice: Random) -> Pair:
    noise = Grain.drawn(dice).noise(clean, numbers(dice))
    return finished(clean + noise, clean, dice, compressed=0.75, qualities=(75, 98))


# The camera's chain


def photographed(clean: Tensor, dice: Random) -> Pair:
    """CBDNet's law with wider ranges, low noise as often as strong noise; then what cameras do to a picture."""
    law = Photograph(
        shot=log_uniform(dice, 0.005, 0.16),
        read=log_uniform(dice, 0.0005, 0.06),
        response=Response(dice.uniform(1.8, 2.6), dice.uniform(0, 0.6)),
        mosaic=dice.choice(MOSAICS),
    )
    table = law.response.inverse(torch.arange(256) / 255)
    light = table[(clean * 255).round().long()]
    sensed = light + (law.shot**2 * light + law.read**2).sqrt() * torch.randn(light.shape, generator=numbers(dice))
    pair = processed(law.developed(sensed), law.developed(light), dice)
    return finished(*pair, dice, compressed=0.5, qualities=(60, 100))


def processed(noisy: Tensor, clean: Tensor, dice: Random) -> Pair:
    """Colour made smoother, and brightness smoother or sharper, in both pictures alike."""
    both = torch.stack([noisy, clean])
    grey = (GREY * both).sum(1, keepdim=True)
    colour = smoothed(both - grey, dice.uniform(0, 3))
    kind = dice.random()
    if kind < 0.4:
        grey = smoothed(grey, dice.uniform(0.2, 0.6))
    elif kind < 0.7:
        grey = grey + dice.uniform(0.2, 1) * (grey - smoothed(grey, 1))
    noisy, clean = (grey + colour).clamp(0, 1)
    return noisy, clean


def smoothed(pictures: Tensor, px: float) -> Tensor:
    """Gaussian blur of (B, C, H, W), mirrored at the border; by Fourier transform, which is quicker here."""
    margin = min(math.ceil(3 * px), min(pictures.shape[-2:]) - 1)
    mirrored = F.pad(pictures, (margin,) * 4, mode="reflect")
    height, width = mirrored.shape[-2:]
    bell = torch.exp(-2 * (math.pi * px) ** 2 * frequencies(height, width))
    whole = torch.fft.irfft2(torch.fft.rfft2(mirrored) * bell, s=(height, width))
    return whole[..., margin : height - margin, margin : width - margin]


# What happens to all


def finished(noisy: Tensor, clean: Tensor, dice: Random, compressed: float, qualities: tuple[int, int]) -> Pair:
    """Clipped, some resized, some as a JPEG; 8 bits."""
    if dice.random() < RESIZED:
        noisy, clean = resized(torch.stack([noisy, clean]).clamp(0, 1), log_uniform(dice, 0.6, 1.5))
    if dice.random() < compressed:
        noisy = jpeg_of(noisy, Jpeg(dice.randint(*qualities), dice.random() < 0.5), dice)
    return eight_bit(noisy), eight_bit(clean)


def jpeg_of(picture: Tensor, law: Jpeg, dice: Random) -> Tensor:
    """Half of them as if cut out of a larger picture: its blocks begin anywhere."""
    if dice.random() < 0.5:
        return law.sample(picture, 0)
    top, left = dice.randrange(16), dice.randrange(16)
    larger = F.pad(picture[None], (left, 0, top, 0), mode="reflect")[0]
    return law.sample(larger, 0)[:, top:, left:]


def resized(pictures: Tensor, scale: float) -> Tensor:
    """As large as before: a larger picture's middle, a smaller one's mirrored surroundings."""
    height, width = pictures.shape[-2:]
    scaled = F.interpolate(pictures, scale_factor=scale, mode="bilinear", antialias=True)
    rows, columns = height - scaled.shape[-2], width - scaled.shape[-1]
    if scale > 1:
        top, left = -rows // 2, -columns // 2
        return scaled[..., top : top + height, left : left + width]
    return F.pad(scaled, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), mode="reflect")


def softened(clean: Tensor, dice: Random) -> Tensor:
    """As soft as photographs are that were never made smaller: blurred, or an enlarged part."""
    if dice.random() < 0.5:
        return eight_bit(smoothed(clean[None], dice.uniform(0.3, 1))[0])
    height, width = clean.shape[1:]
    share = 1 / dice.uniform(1, 2)
    part = clean[None, :, : max(2, round(share * height)), : max(2, round(share * width))]
    enlarged = F.interpolate(part, size=(height, width), mode="bicubic", align_corners=False)
    return eight_bit(enlarged[0])


def tinted(clean: Tensor, dice: Random) -> Tensor:
    """With slow waves of colour and light over it, as out of focus or under coloured lamps: they are no noise."""
    height, width = clean.shape[1:]
    down, across = torch.arange(height)[:, None], torch.arange(width)
    waves = []
    for _ in range(3):
        turns, angle = 1 / log_uniform(dice, 32, 256), dice.uniform(0, 2 * math.pi)  # per px
        phase = turns * (math.cos(angle) * across + math.sin(angle) * down) + dice.random()
        waves.append(dice.uniform(0, 0.2) * torch.sin(2 * math.pi * phase))
    return eight_bit(clean + torch.stack(waves))


PAIRINGS: dict[str, Pairing] = {
    "clean": nothing,
    "white": white,
    "photons": photons,
    "grainy": grainy,
    "photographed": photographed,
}
