"""OUVE: an Ornstein-Uhlenbeck drift towards the noisy signal with exploding variance (Richter et al. 2023).

dx = theta (y - x) dt + g(t) dw, g(t) = sigma_min (sigma_max / sigma_min)^t sqrt(2 L), L = ln(sigma_max / sigma_min).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from denoise.processes import Noise, over


@dataclass(frozen=True)
class OUVE:
    theta: float = 1.5
    sigma_min: float = 0.05
    sigma_max: float = 0.5

    @property
    def growth(self) -> float:
        """L"""
        return math.log(self.sigma_max / self.sigma_min)

    def drift(self, x: Tensor, y: Tensor) -> Tensor:
        return self.theta * (y - x)

    def diffusion(self, t: Tensor) -> Tensor:
        """g"""
        return self.sigma_min * math.sqrt(2 * self.growth) * (self.growth * t).exp()

    def stays(self, t: Tensor) -> Tensor:
        """Share of the clean signal in the mean."""
        return (-self.theta * t).exp()

    def mean(self, x0: Tensor, y: Tensor, t: Tensor) -> Tensor:
        share = over(self.stays(t), x0)
        return share * x0 + (1 - share) * y

    def std(self, t: Tensor) -> Tensor:
        rate = self.theta + self.growth
        return (
            self.sigma_min
            * math.sqrt(self.growth / rate)
            * ((-2 * self.theta * t).exp() * (2 * rate * t).expm1()).sqrt()
        )

    def prior(self, y: Tensor, noise: Noise) -> Tensor:
        """Where the way back begins."""
        return y + self.std(torch.ones(())) * noise(0)

    def reverse_drift(self, x: Tensor, y: Tensor, t: Tensor, score: Tensor) -> Tensor:
        return self.drift(x, y) - over(self.diffusion(t).square(), x) * score

    def flow(self, x: Tensor, y: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """dx/dt of the ordinary differential equation with the same marginals."""
        return self.drift(x, y) - 0.5 * over(self.diffusion(t).square(), x) * score
