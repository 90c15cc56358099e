"""How unlike two samples are distributed, with gradients: the losses by which PNNP learns noise (Feng et al., TPAMI
2026), and the divergences by which PNNP and LRD (Zhang et al., ICCV 2023) judge it."""

from __future__ import annotations

import torch
from torch import Tensor

from denoise import seeds

LEAST_SHARE = 1e-9  # of a cell in `kld`, so that its logarithm exists
LRD_EDGE, LRD_BINS = 0.1, 64  # of full scale, either side; bins between, one more beyond either end


def uniform_levels(count: int = 1000, decades: int = 4) -> Tensor:
    """Evenly from 10^-decades to 1 - 10^-decades."""
    least = 10.0**-decades
    return torch.linspace(least, 1 - least, count)


def normal_levels(count: int = 1000, decades: int = 4, jitter: int | None = None) -> Tensor:
    """Probabilities whose normal quantiles are evenly spaced: as many in the tails as in the middle.

    A seed as `jitter` moves each of them by about 10^-decades.
    """
    levels = torch.special.ndtr(uniform_levels(count, decades) * 2 * decades - decades)
    if jitter is not None:
        levels = levels + seeds.normal_like(levels, jitter) * 10.0**-decades
    return levels.clamp(0, 1).sort().values


def normal_points(count: int = 1000, decades: int = 4, jitter: int | None = None) -> Tensor:
    """Values that cut the standard normal law into equal shares; times sigma, where to compare two CDFs."""
    points = torch.special.ndtri(uniform_levels(count, decades))
    if jitter is not None:
        points = points + 0.5 * seeds.normal_like(points, jitter) * 10.0**-decades
    return points.sort().values


def quantiles(values: Tensor, levels: Tensor) -> Tensor:
    """Of all values together, interpolated linearly; differentiable in the values."""
    ordered = values.flatten().sort().values
    place = levels.double() * (ordered.numel() - 1)
    below = place.floor().long().clamp(max=max(ordered.numel() - 2, 0))
    share = (place - below).to(ordered.dtype)
    return ordered[below] + share * (ordered[(below + 1).clamp(max=ordered.numel() - 1)] - ordered[below])


def cdf(values: Tensor, points: Tensor) -> Tensor:
    """The share of the values below each point, interpolated linearly from 0 at the least to 1 at the greatest."""
    ordered = values.flatten().sort().values
    points = points.clamp(ordered[0], ordered[-1])
    above = torch.searchsorted(ordered.detach(), points.detach()).clamp(min=1)
    low, high = ordered[above - 1], ordered[above]
    return (above - 1 + (points - low) / (high - low)) / (ordered.numel() - 1)


def quantile_loss(made: Tensor, real: Tensor, levels: Tensor) -> Tensor:
    return (quantiles(made, levels) - quantiles(real, levels)).abs().mean()


def cdf_loss(made: Tensor, real: Tensor, points: Tensor) -> Tensor:
    return (cdf(made, points) - cdf(real, points)).abs().mean()


def kld(real: Tensor, made: Tensor, edges: Tensor) -> float:
    """Kullback–Leibler divergence of `made` from `real` in nats, between edges, as PNNP takes it."""
    p, q = (cdf(values, edges).double().diff().clamp(min=LEAST_SHARE) for values in (real, made))
    total = torch.maximum(p.sum(), q.sum())
    p, q = p / total, q / total
    return float((p * (p / q).log()).sum())


def histogram_kld(one: Tensor, other: Tensor) -> float:
    """Symmetric divergence in nats of noise in units of full scale, as LRD takes it: bins that are empty in either
    of the two count for nothing."""
    p, q = (shares(values) for values in (one, other))
    both = (p > 0) & (q > 0)
    ratio = (p[both] / q[both]).log()
    return float(((p[both] - q[both]) * ratio).sum() / 2)


def shares(values: Tensor) -> Tensor:
    edges = torch.linspace(-LRD_EDGE, LRD_EDGE, LRD_BINS + 1, dtype=torch.float64)
    cells = torch.bucketize(values.flatten().double(), edges, right=True)
    return torch.bincount(cells, minlength=LRD_BINS + 2).double() / values.numel()
