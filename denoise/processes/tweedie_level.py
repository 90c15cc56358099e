"""Which noise, and how much of it, from the score of a noisy picture: no clean picture is needed.

*Smoothest* is our way to the level: the dispersion whose estimate has the least second differences left, where the
picture is flat; it makes up for a score that is too large or too small. *Searched* is Noise2Score's: the candidate of
least penalty on a grid. *Perturbed* is that of its noise-adaptive successor: what the score answers to a tiny change.
The family is the power with which a variance found in any of these ways grows with brightness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise.processes import tweedie

Score = Callable[[Tensor], Tensor]

ROUGHNESS = 6.0  # of white noise: the root of the sum of the squares of (1, -2, 1) both ways
ROUNDS = 3  # of re-weighting
MOVED = 1e-6  # second differences below it are those of a border, of black or of white
SOFT = 0.3  # of the mean roughness: where less than that is left, nothing weighs more
EVEN = 3.0  # the same where powers are compared, and so no few places may count for most
TINY = 1e-12  # a sum with it would be lost in a graph
EDGES = torch.tensor([0.03, 0.06, 0.1, 0.15, 0.22, 0.3, 0.4, 0.52, 0.66, 0.82])  # of brightness, for the power
BEND = torch.tensor([1.0, -2.0, 1.0])  # a tensor made within the branch of a graph is not exported
BETWEEN = 0.5, 1.25  # powers that part the families: fewest mistakes on 82 photographs, clipped noise being spared
RIDGE = 0.02  # variance of log brightness that is too little to tell a power by


def rough(picture: Tensor) -> Tensor:
    """Second differences both ways, (B, C, H - 2, W - 2): nothing is left of planes and of straight upright edges."""
    bend = BEND.to(picture)
    return filtered(picture, bend[:, None] * bend)


def filtered(picture: Tensor, weights: Tensor) -> Tensor:
    """Every plane on its own; what reaches beyond the border is left out."""
    planes = F.conv2d(picture.flatten(0, 1)[:, None], weights[None, None])
    return planes.unflatten(0, picture.shape[:2])[:, :, 0]


# The smoothest estimate


def smoothest(noisy: Tensor, score: Tensor, family: Tensor) -> Tensor:
    """(B,) dispersions of families (B,)."""
    touched = (rough(noisy).abs() > MOVED).to(noisy)
    most = tweedie.chosen(family, [torch.full_like(family, unit.most) for unit in tweedie.UNITS])
    found = torch.zeros_like(family)
    for _ in range(ROUNDS):
        restored, slope = with_slope(noisy, score, family, found)
        left, change = rough(restored), rough(slope)
        weight = magnitudes(left, touched)
        found = found - total(weight * left * change) / total(weight * change.square()).clamp(min=TINY)
        found = found.clamp(min=0).minimum(most)
    return found


def with_slope(noisy: Tensor, score: Tensor, family: Tensor, dispersion: Tensor) -> tuple[Tensor, Tensor]:
    """The estimate, and how it changes with the dispersion."""
    known = dispersion.reshape(-1, 1, 1, 1)
    normal, counted, multiplied = (formula(noisy, score, known) for formula in tweedie.ESTIMATES)
    by_count = counted * (0.5 / (noisy + known / 2).clamp(min=0.5 / 255) + score)
    by_factor = multiplied.square() * (1 / noisy.clamp(min=0.5 / 255) + score)
    restored = tweedie.chosen(family, [normal, counted, multiplied])
    return restored, tweedie.chosen(family, [score, by_count, by_factor])


def magnitudes(left: Tensor, touched: Tensor) -> Tensor:
    """Weights that make magnitudes of squares, but of the smallest."""
    usual = total(left.abs() * touched) / total(touched).clamp(min=1)
    return touched / (left.abs() + SOFT * usual.reshape(-1, 1, 1, 1)).clamp(min=TINY)


def total(values: Tensor) -> Tensor:
    return values.sum((1, 2, 3))


# The family


class Bins(NamedTuple):
    """What is known at each brightness, (B, bins)."""

    brightness: Tensor
    variance: Tensor
    weight: Tensor


def power(bins: Bins) -> Tensor:
    """(B,) p of variance ~ brightness**p; 0 for a picture of one brightness, where it makes no difference."""
    known = bins.weight * (bins.variance > TINY)
    share = known / known.sum(1, keepdim=True).clamp(min=TINY)
    x, y = (values.clamp(min=TINY).log() for values in (bins.brightness, bins.variance))
    x, y = (values - (share * values).sum(1, keepdim=True) for values in (x, y))
    return (share * x * y).sum(1) / ((share * x.square()).sum(1) + RIDGE)


def family(found: Tensor) -> Tensor:
    """The family (B,) to which a power belongs."""
    low, high = BETWEEN
    return (found >= low).to(found) + (found >= high).to(found)


def brightness_of(noisy: Tensor) -> Tensor:
    """Means of 5×5, (B, C, H - 4, W - 4)."""
    return filtered(noisy, torch.full((5, 5), 1 / 25).to(noisy))


def smoothest_by_brightness(noisy: Tensor, score: Tensor) -> Bins:
    """The power of what is taken from every brightness, as if the noise there were Gaussian."""
    brightness = brightness_of(noisy).flatten(1)
    place = torch.bucketize(brightness, EDGES.to(noisy))
    seen, change = (rough(values)[..., 1:-1, 1:-1].flatten(1) for values in (noisy, score))
    touched = (seen.abs() > MOVED).to(noisy)

    def summed(values: Tensor) -> Tensor:
        counted = values * touched
        return counted.new_zeros(len(counted), len(EDGES) + 1).scatter_add(1, place, counted)

    count = summed(torch.ones_like(seen))
    found = torch.zeros_like(count)
    for _ in range(ROUNDS):
        left = (seen + found.gather(1, place) * change).abs()
        usual = summed(left) / count.clamp(min=1)
        weight = 1 / (left + EVEN * usual.gather(1, place)).clamp(min=TINY)
        common = -summed(weight * seen * change)
        found = (common / summed(weight * change.square()).clamp(min=TINY)).clamp(min=0)
    variance = found * common / (ROUGHNESS**2 * summed(weight)).clamp(min=TINY)
    known = torch.cat([torch.zeros_like(count[:, :1]), count[:, 1:]], 1)  # in the dark there is too little to tell
    return Bins(summed(brightness) / count.clamp(min=1), variance, known)


# The least penalty (Noise2Score)

GRIDS = (  # candidates in the unit of their family, as the authors have them
    [6.0 + step for step in range(50)],
    [1 / (0.1 - 0.00095 * step) for step in range(1, 101)],
    [41.0 + step for step in range(80)],
)


def searched(noisy: Tensor, score: Tensor, family: int) -> tuple[float, list[float]]:
    """Of one picture: the dispersion of least penalty, and the penalties of all candidates."""
    candidates = [float(tweedie.UNITS[family].to_dispersion(torch.tensor(level))) for level in GRIDS[family]]
    penalties = [
        float(PENALTIES[family](tweedie.ESTIMATES[family](noisy, score, candidate), noisy)) for candidate in candidates
    ]
    return candidates[penalties.index(min(penalties))], penalties


def variation(picture: Tensor) -> Tensor:
    """Total variation (Charbonnier)."""
    across, down = picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]
    return (across.square() + 1e-12).sqrt().mean() + (down.square() + 1e-12).sqrt().mean()


def variation_alone(restored: Tensor, noisy: Tensor) -> Tensor:
    return variation(restored)


def poisson_penalty(restored: Tensor, noisy: Tensor) -> Tensor:
    known = restored > 0
    return 0.1 * variation(restored) + (restored - noisy * restored.log())[known].mean()


def gamma_penalty(restored: Tensor, noisy: Tensor) -> Tensor:
    known = restored > 0
    ratio = noisy[known] / restored[known]
    return variation(restored) + (restored[known].log() + ratio + ratio.square()).mean()


PENALTIES = (variation_alone, poisson_penalty, gamma_penalty)


# A tiny change (noise-adaptive Noise2Score)

CHANGE = 1e-5  # of white; far below what float32 would show in a score


class Answer(NamedTuple):
    """A noisy picture, what was added to it, and how the score answered; all in float64."""

    noisy: Tensor
    change: Tensor
    turned: Tensor


def answer(score: Score, noisy: Tensor, probe: Tensor) -> Answer:
    """`score` computes in float64; `probe` is normal noise."""
    noisy, change = noisy.double(), CHANGE * probe.double()
    return Answer(noisy, change, score(noisy + change) - score(noisy))


def perturbed(given: Answer, family: int) -> float:
    """The dispersion of one picture; speckle says nothing where it is black."""
    return float(PERTURBED[family](given).clamp(0, tweedie.UNITS[family].most).nanmedian())


def perturbed_variance(given: Answer) -> Tensor:
    return -given.change / given.turned


def perturbed_gain(given: Answer) -> Tensor:
    """Positive root of gain²/2 + gain y + change / turned = 0."""
    square = (given.noisy.square() + 2 * perturbed_variance(given)).clamp(min=0)
    return square.sqrt() - given.noisy


def perturbed_dispersion(given: Answer) -> Tensor:
    inverse = 1 / (given.noisy + given.change) - 1 / given.noisy
    return inverse / (given.turned + inverse)


PERTURBED = (perturbed_variance, perturbed_gain, perturbed_dispersion)


def perturbed_by_brightness(given: Answer) -> Bins:
    """Medians, one picture."""
    brightness, variance = brightness_of(given.noisy), perturbed_variance(given)[..., 2:-2, 2:-2]
    place = torch.bucketize(brightness, EDGES.to(brightness))
    members = [(brightness[place == bin], variance[place == bin]) for bin in range(1, len(EDGES) + 1)]
    rows = [(mean.mean(), each.median(), len(each)) for mean, each in members if len(each)]
    return Bins(*(torch.tensor([column]) for column in zip(*rows, strict=True)))
