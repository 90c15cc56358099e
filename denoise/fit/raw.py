"""Training pairs of raw mosaics: photographs as if they had never been developed, and white noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from denoise import seeds
from denoise.fit.developed import log_uniform, softened
from denoise.fit.loop import Scores, Validate
from denoise.fit.pictures import Photographs, busyness, centre, turned
from denoise.fit.unprocess import Developed, planes, shrunk
from denoise.methods.method import Method
from denoise.methods.yond import BRIGHTEST, Yond
from denoise.noise.flat_areas import light_of

LEVELS = {f"s{sigma}": sigma / 255 for sigma in (1, 5, 15, 50)}  # standard deviations that weights are chosen by
LEAST_LIGHT = 1e-3  # of white; a crop that is darker stays so


@dataclass(frozen=True)
class RawPairs:
    """Batches of (noisy, clean), (B, 4, patch, patch) in cells, a pure function of the seed and the step."""

    photographs: Photographs
    sigma: Sequence[float]  # least and most, of 255
    batch: int
    patch: int
    seed: int = 0
    soft: float = 0.0  # share of the crops as soft as large photographs are
    even: float = 0.0  # share of the crops as the transform shows them that makes photons even

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        dice = Random(f"{self.seed}/{step}")
        clean = torch.stack([self.shown(self.cells(dice), dice) for _ in range(self.batch)])
        sigmas = torch.tensor([log_uniform(dice, *self.sigma) / 255 for _ in range(self.batch)])
        noise = seeds.normal_like(clean, dice.randrange(1 << 31))
        return clean + sigmas[:, None, None, None] * noise, clean

    def cells(self, dice: Random) -> Tensor:
        """Half of them the busiest of a few, half of them shrunk first; turned as mosaics, so that phases vary."""
        tries = [self.cut(dice) for _ in range(dice.choice((1, 4)))]
        part = max(tries, key=busyness)
        part = softened(part, dice) if self.soft and dice.random() < self.soft else part
        return planes(turned(Developed.drawn(dice).undone(part), dice))

    def shown(self, cells: Tensor, dice: Random) -> Tensor:
        return rooted(cells) if self.even and dice.random() < self.even else cells

    def cut(self, dice: Random) -> Tensor:
        photo = dice.choice(self.photographs.training)
        shrink = dice.choice((1, 2)) if min(photo.shape[1:]) >= 4 * self.patch else 1
        side = 2 * self.patch * shrink
        top, left = (dice.randrange(size - side + 1) for size in photo.shape[1:])
        part = photo[:, top : top + side, left : left + side].float() / 255
        return shrunk(part) if shrink == 2 else part


def rooted(cells: Tensor) -> Tensor:
    """Roots of light, as many photons leave nothing else, in units of the light that all but a few places have."""
    light = max(light_of(cells[None]), LEAST_LIGHT)
    return (cells.clamp(min=0) / light).sqrt().clamp(max=BRIGHTEST)


def raw_validation(photographs: Photographs, count: int, side: int = 256) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(level, noisy, clean) batches: centres of the busiest photographs kept aside, every other softened; as roots."""
    centres = sorted((centre(photo, side) for photo in photographs.validation), key=busyness)[-count:]
    seen = [softened(part, Random(index)) if index % 2 else part for index, part in enumerate(centres)]
    clean = torch.stack([rooted(planes(Developed.drawn(Random(i)).undone(part))) for i, part in enumerate(seen)])
    for number, (name, sigma) in enumerate(LEVELS.items()):
        yield name, clean + sigma * seeds.normal_like(clean, 100 + number), clean


def judge(photographs: Photographs, count: int) -> Validate:
    """Mean PSNR for white noise of which the network is told the level."""
    sets = list(raw_validation(photographs, count))

    def measure(method: Method) -> Scores:
        assert isinstance(method, Yond)
        return {name: white_psnr(method, noisy, clean, LEVELS[name]) for name, noisy, clean in sets}

    return measure


def white_psnr(method: Yond, noisy: Tensor, clean: Tensor, sigma: float) -> float:
    restored = method.white(noisy, torch.full((len(noisy), 1, 1, 1), sigma))
    errors = (restored - clean).square().mean((1, 2, 3)).tolist()
    return -10 * sum(math.log10(error) for error in errors) / len(errors)
