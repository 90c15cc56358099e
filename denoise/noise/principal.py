"""How strong white noise is, also where nothing is flat: texture lies in few directions of small patches, noise in all
alike, so that in most directions there is noise alone (Chen, Zhu and Heng, ICCV 2015)."""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple, Self

import torch
from torch import Tensor

SIDE = 5  # px of a patch
BRIGHTNESSES = 8  # at most
FEWEST = 30  # patches of one brightness, per direction
ENOUGH = 150_000  # patches of all; larger pictures are looked at in steps
ROUNDS = 3
DARKEST = 1e-8  # variance
UNEVEN = 3.0  # times the least spread is the largest that is left; more, and the noise is in grains
CLIPPED = 0.02  # share of samples at black or white above which a patch says nothing
CLEAR = 2.5  # deviations of the noise, to black and to white
BLACK, WHITE = 0.5 / 255, 254.5 / 255

Curve = tuple[Tensor, Tensor]
"""(K,) brightnesses, rising, and the variance of the noise there; white is 1 for both."""


def curve_of(pictures: Tensor) -> Curve | None:
    """Of noise in (T, C, H, W) that is independent from pixel to pixel and from colour to colour; None of any other, or
    where nearly everything is clipped. What was found makes it equally strong in all colours, and it is found again."""
    patches = patches_of(without_copies(pictures))
    roughly = seen_in(patches)
    if roughly is None:
        return None
    found = seen_in(patches[roughly.line.is_clear(patches.mean(1))]) or roughly
    return None if found.uneven > UNEVEN else (found.levels.float(), found.variances.float())


def from_black_to_white(curve: Curve) -> Curve:
    """Where nothing was seen, by the line through what was."""
    levels, variances = (values.double() for values in curve)  # in which it comes out the same each time
    ends = torch.tensor([0.0, 1.0]).double()
    dark, bright = Line.through(levels, variances).at(ends).split(1)
    return torch.cat([ends[:1], levels, ends[1:]]).float(), torch.cat([dark, variances, bright]).float()


class Seen(NamedTuple):
    levels: Tensor  # (K,) brightnesses, rising
    variances: Tensor
    line: Line
    uneven: float  # largest spread of what is taken for noise, of the least


def seen_in(patches: Tensor) -> Seen | None:
    order = patches.mean(1).argsort(stable=True)
    count = min(BRIGHTNESSES, len(order) // (FEWEST * patches.shape[1]))
    if not count:
        return None
    parts = [patches[part].double() for part in order.tensor_split(count)]
    levels = torch.stack([part.mean() for part in parts])
    line = Line(0.0, 1.0)
    for _ in range(ROUNDS):
        spreads = [of_noise(line.evened(part)) for part in parts]
        variances = torch.stack([one.mean() for one in spreads]) * line.at(levels)
        line = Line.through(levels, variances)
    return Seen(levels, variances, line, median(float(one[-1] / one[0].clamp(min=1e-12)) for one in spreads))


class Line(NamedTuple):
    """Variance over brightness."""

    gain: float
    dark: float

    @classmethod
    def through(cls, levels: Tensor, variances: Tensor) -> Self:
        if len(levels) == 1:
            return cls(0.0, max(DARKEST, float(variances)))
        design = torch.stack([levels, torch.ones_like(levels)], 1) / variances[:, None]
        gain = max(0.0, float(torch.linalg.lstsq(design, torch.ones_like(levels)).solution[0]))
        return cls(gain, max(DARKEST, float((variances - gain * levels).mean())))

    def at(self, brightness: Tensor) -> Tensor:
        return self.gain * brightness + self.dark

    def is_clear(self, brightness: Tensor) -> Tensor:
        """Whether black and white are so far that hardly any of the noise is clipped; what is left of the rest is no
        fair sample of it."""
        reach = CLEAR * self.at(brightness).sqrt()
        return (brightness > reach) & (brightness < 1 - reach)

    def evened(self, values: Tensor) -> Tensor:
        """In units in which the noise is 1 everywhere (Anscombe, 1948)."""
        if self.gain < DARKEST:
            return values / math.sqrt(self.dark)
        return 2 / self.gain * self.at(values).clamp(min=DARKEST).sqrt()


def of_noise(patches: Tensor) -> Tensor:
    """Variances of (N, D) along its principal directions, rising, without the largest: as many are left as lie around
    their own mean."""
    spreads = torch.linalg.eigvalsh(patches.T.cov())
    counts = range(len(spreads), 0, -1)
    return next(spreads[:count] for count in counts if spreads[:count].median() >= spreads[:count].mean())


def patches_of(pictures: Tensor) -> Tensor:
    """(N, C × SIDE²), those that are not clipped."""
    step = max(1, math.ceil(math.sqrt(pictures[:, 0].numel() / ENOUGH)))
    cut = pictures.unfold(2, SIDE, step).unfold(3, SIDE, step).permute(0, 2, 3, 1, 4, 5)
    patches = cut.reshape(-1, pictures.shape[1] * SIDE**2)
    clipped = ((patches <= BLACK) | (patches >= WHITE)).float().mean(1) > CLIPPED
    return patches[~clipped]


def without_copies(pictures: Tensor) -> Tensor:
    return pictures if has_colours(pictures) else pictures[:, :1]


def has_colours(pictures: Tensor) -> bool:
    return not bool((pictures == pictures[:, :1]).all())
