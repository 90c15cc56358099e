"""How a score is learnt of noisy signals alone (AR-DAE: Lim et al. 2020): what small noise was added, is asked."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from denoise import seeds

FALL = 22_000  # images after which the annealed noise is at its smallest (Noise2Score)


def objective(score: Tensor, probe: Tensor, sigma_a: Tensor) -> Tensor:
    """Mean of (sigma_a S(y + sigma_a u) + u)²: 1 for a score of nothing, never less than 1 - sigma_a² / variance."""
    return (sigma_a * score + probe).square().mean()


def annealed(images: float, largest: float, smallest: float) -> float:
    """sigma_a when so many images of an epoch were seen."""
    share = min((images + 1) / FALL, 1.0)
    return largest * (1 - share) + smallest * share


def log_uniform(seed: int, count: int, largest: float, smallest: float) -> Tensor:
    """(count,) of sigma_a, as many small ones as large ones."""
    share = seeds.uniform(seed, torch.arange(count), stream=7)
    return smallest * (share * math.log(largest / smallest)).exp()
