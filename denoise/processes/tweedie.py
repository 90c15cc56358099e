"""Tweedie's formula: the mean of all clean signals behind a noisy one, from the score S of the noisy ones alone.

Noise has a variance of dispersion × value**power. Powers: 0 Gaussian, 1 Poisson, 2 gamma noise. White is 1; the score
is in units of 1 / white. A dispersion is one number, or one per item with axes to be multiplied by a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

FAMILIES = ("gaussian", "poisson", "gamma")  # a family's place is its power
MOST_SHIFT = 3.0  # of the logarithm, for Poisson noise
LEAST_SHARE = 0.05  # of what a gamma value is divided by

Dispersion = float | Tensor
Estimate = Callable[[Tensor, Tensor, Dispersion], Tensor]


def gaussian(noisy: Tensor, score: Tensor, variance: Dispersion) -> Tensor:
    return noisy + variance * score


def poisson(noisy: Tensor, score: Tensor, gain: Dispersion) -> Tensor:
    """`gain` is the value of one photon (the paper's zeta)."""
    return (noisy + gain / 2) * (gain * score).clamp(max=MOST_SHIFT).exp()


def gamma(noisy: Tensor, score: Tensor, dispersion: Dispersion) -> Tensor:
    """`dispersion` is 1 / looks (the paper's 1 / k)."""
    return noisy / ((1 - dispersion) - dispersion * noisy * score).clamp(min=LEAST_SHARE)


ESTIMATES: tuple[Estimate, ...] = (gaussian, poisson, gamma)


class Unit(NamedTuple):
    """What a family's level is counted in."""

    to_dispersion: Callable[[Tensor], Tensor]
    to_level: Callable[[Tensor], Tensor]
    most: float  # dispersion; beyond it there is no picture


UNITS = (
    Unit(lambda sigma: (sigma / 255).square(), lambda variance: 255 * variance.sqrt(), (100 / 255) ** 2),
    Unit(lambda photons: 1 / photons, lambda gain: 1 / gain, 0.25),
    Unit(lambda looks: 1 / looks, lambda dispersion: 1 / dispersion, 0.25),
)


def chosen(family: Tensor, options: list[Tensor]) -> Tensor:
    """Each item's own of three (B, …), by its family (B,)."""
    power = family.reshape(-1, *[1] * (options[0].ndim - 1))
    return torch.where(power < 0.5, options[0], torch.where(power < 1.5, options[1], options[2]))


def estimate(noisy: Tensor, score: Tensor, family: Tensor, dispersion: Tensor) -> Tensor:
    """(B, C, H, W), every item by the formula of its own family (B,), with its own dispersion (B,)."""
    known = dispersion.reshape(-1, 1, 1, 1)
    return chosen(family, [formula(noisy, score, known) for formula in ESTIMATES])
