"""How strong white noise is, also where nothing is flat: texture lies in few directions of small patches, noise in all
alike, so that in most directions there is noise alone (Chen, Zhu and Heng, ICCV 2015)."""

from __future__ import annotations

import math
from statistics import median

import torch
from torch import Tensor

SIDE = 5  # px of a patch
BRIGHTNESSES = 8  # at most
FEWEST = 30  # patches of one brightness, per direction
ENOUGH = 150_000  # patches of all; larger pictures are looked at in steps
UNEVEN = 3.0  # times the least spread is the largest that is left; more, and the noise is in grains
CLIPPED = 0.02  # share of samples at black or white above which a patch says nothing
BLACK, WHITE = 0.5 / 255, 254.5 / 255

Curve = tuple[Tensor, Tensor]
"""(K,) brightnesses, rising, and the variance of the noise there; white is 1 for both."""


def curve_of(pictures: Tensor) -> Curve | None:
    """Of noise in (T, C, H, W) that is independent from pixel to pixel and from colour to colour; None of any other, or
    where nearly everything is clipped."""
    patches = patches_of(without_copies(pictures))
    order = patches.mean(1).argsort(stable=True)
    count = min(BRIGHTNESSES, len(order) // (FEWEST * patches.shape[1]))
    parts = [patches[part].double() for part in order.tensor_split(count)] if count else []
    levels = [(part.mean(), of_noise(part)) for part in parts]
    if not levels or median(float(spreads[-1] / spreads[0].clamp(min=1e-12)) for _, spreads in levels) > UNEVEN:
        return None
    return torch.stack([level for level, _ in levels]).float(), torch.stack([one.mean() for _, one in levels]).float()


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
