"""Noisy pictures alone, of several families of noise: every crop is made noisy once, and is never seen clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from denoise.fit.developed import log_uniform
from denoise.fit.loop import Scores, Validate
from denoise.fit.pictures import Pairs, Photographs, busyness, centre
from denoise.measure.scores import mean_psnr
from denoise.methods.method import Method
from denoise.noise.law import PictureLaw
from denoise.noise.picture_laws import Gamma, Gaussian, Poisson
from denoise.processes import tweedie

Levels = tuple[float, float]  # from, to; as many weak ones as strong ones

LAWS: dict[str, Callable[[float], PictureLaw]] = {"gaussian": Gaussian, "poisson": Poisson, "gamma": Gamma}
VALIDATION: dict[str, tuple[PictureLaw, dict[str, float]]] = {  # and the knobs that say so
    "g25": (Gaussian(25), {"family": 1, "level": 25}),
    "g50": (Gaussian(50), {"family": 1, "level": 50}),
    "p100": (Poisson(100), {"family": 2, "level": 100}),
    "k100": (Gamma(100), {"family": 3, "level": 100}),
}


@dataclass(frozen=True)
class Family:
    share: float
    levels: Levels  # in the unit of its law


@dataclass(frozen=True)
class NoisyCrops:
    """Batches of noisy crops, a pure function of the seed and the step. The noise is neither clipped nor rounded."""

    photographs: Photographs
    families: dict[str, Family]
    batch: int
    patch: int
    grey: float = 0.25  # share of crops without colours
    seed: int = 0

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Noisy pictures (B, C, H, W) and what their noise is, (B, 1, 2): family and dispersion."""
        dice = Random(f"{self.seed}/{step}")
        crops = Pairs(self.photographs, {}, self.batch, self.patch, self.seed)
        noisy, noise = zip(*(self.noisy(crops.crop(dice), dice) for _ in range(self.batch)), strict=True)
        return torch.stack(noisy), torch.stack(noise)

    def noisy(self, clean: Tensor, dice: Random) -> tuple[Tensor, Tensor]:
        shares = [family.share for family in self.families.values()]
        (name,) = dice.choices(list(self.families), weights=shares)
        level = log_uniform(dice, *self.families[name].levels)
        power = tweedie.FAMILIES.index(name)
        noise = torch.tensor([[power, tweedie.UNITS[power].to_dispersion(torch.tensor(level))]])
        law, grey = LAWS[name](level), dice.random() < self.grey
        noisy = law.sample(clean.mean(0, keepdim=True) if grey else clean, dice.randrange(1 << 31))
        return noisy.expand_as(clean), noise


def judge(photographs: Photographs, count: int, side: int = 192) -> Validate:
    """Mean PSNR of Tweedie's estimates, in colour and without (`grey_`), the noise being told (`_known`) or not."""
    sets = list(validation_set(photographs, count, side))

    def measure(method: Method) -> Scores:
        found: Scores = {}
        for name, noisy, clean, knobs in sets:
            found[f"{name}_known"] = mean_psnr(clean, method(noisy, **knobs))
            found[f"{name}_found"] = mean_psnr(clean, method(noisy))
        return found

    return measure


def validation_set(
    photographs: Photographs, count: int, side: int
) -> Iterator[tuple[str, Tensor, Tensor, dict[str, float]]]:
    """(name, noisy, clean, knobs) batches: the centres of the busiest photographs kept aside."""
    colour = torch.stack(sorted((centre(photo, side) for photo in photographs.validation), key=busyness)[-count:])
    for prefix, clean in (("", colour), ("grey_", colour.mean(1, keepdim=True))):
        for name, (law, knobs) in VALIDATION.items():
            noisy = torch.stack([law.sample(one, 100 + index) for index, one in enumerate(clean)])
            yield prefix + name, noisy.expand_as(colour), clean.expand_as(colour), knobs
