"""One noisy picture made into two of the same scene, whose noise has nothing in common (data thinning, Neufeld et al.,
JMLR 2024): `share` of what was measured, and the rest.

A dispersion d becomes d / share in the one and d / (1 - share) in the other; both keep brightness and family.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

Pair = tuple[Tensor, Tensor]


def gaussian(noisy: Tensor, variance: Tensor, share: float, generator: Generator) -> Pair:
    added = variance.sqrt() * torch.empty_like(noisy).normal_(generator=generator)
    odds = (1 - share) / share
    return noisy + odds**0.5 * added, noisy - odds**-0.5 * added


def poisson(noisy: Tensor, gain: Tensor, share: float, generator: Generator) -> Pair:
    """`gain` is the value of one photon: each of them falls to the one or the other."""
    photons = (noisy / gain).round()
    counted = torch.binomial(photons, torch.full_like(photons, share), generator=generator)
    return counted * gain / share, (photons - counted) * gain / (1 - share)


def gamma(noisy: Tensor, dispersion: Tensor, share: float, generator: Generator) -> Pair:
    """`dispersion` is 1 / looks: each of them falls to the one or the other."""
    one, other = (
        torch._standard_gamma((part / dispersion).expand_as(noisy).contiguous(), generator=generator)
        for part in (share, 1 - share)
    )
    kept = one / (one + other)
    return noisy * kept / share, noisy * (1 - kept) / (1 - share)


DIVIDED: tuple[Callable[[Tensor, Tensor, float, Generator], Pair], ...] = (gaussian, poisson, gamma)


def divided(noisy: Tensor, family: Tensor, dispersion: Tensor, share: float, seed: int) -> Pair:
    """(B, C, H, W) twice, every item by its own family (B,) and dispersion (B,)."""
    generator = torch.Generator().manual_seed(seed)
    known = zip(noisy.cpu(), family.tolist(), dispersion.cpu(), strict=True)
    pairs = [DIVIDED[int(power)](item, spread, share, generator) for item, power, spread in known]
    one, other = (torch.stack(side).to(noisy) for side in zip(*pairs, strict=True))
    return one, other
