"""SBVE: the Schrödinger bridge between clean and noisy signal with exploding variance (Jukić et al. 2024).

No drift, g(t) = sqrt(c) k^t; every path ends at the noisy signal, so the way back begins there without noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from denoise.processes import Noise, over


class Update(NamedTuple):
    """x <- away (x - y) + estimate D + end y + noise z: near the end x is almost y, and both count for thousands."""

    away: Tensor
    estimate: Tensor
    end: Tensor
    noise: Tensor | None = None


def grown(x: Tensor) -> Tensor:
    """e^x - 1, to all digits near 0 in every engine: graphs know no expm1."""
    return 2 * (x / 2).exp() * (x / 2).sinh()


def plus(x: Tensor, eps: float) -> Tensor:
    """x + eps, in words that no optimiser of graphs takes for x + 0."""
    return eps * (x / eps + 1)


@dataclass(frozen=True)
class SBVE:
    k: float = 2.6
    c: float = 0.4
    eps: float = 1e-8

    def diffusion(self, t: Tensor) -> Tensor:
        """g"""
        return math.sqrt(self.c) * (math.log(self.k) * t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of what was added since time 0."""
        return (self.c * grown(2 * math.log(self.k) * t) / (2 * math.log(self.k))).sqrt()

    @property
    def sigma_end(self) -> float:
        return math.sqrt(self.c * math.expm1(2 * math.log(self.k)) / (2 * math.log(self.k)))

    def sigma_bar(self, t: Tensor) -> Tensor:
        """Of what is added from t to the end."""
        rate = 2 * math.log(self.k)
        left = math.exp(rate) * -grown(rate * (t - 1))
        return plus(self.c * left / rate, self.eps).sqrt()

    def mean(self, x0: Tensor, y: Tensor, t: Tensor) -> Tensor:
        ours = over(self.sigma_bar(t).square(), x0)
        theirs = over(self.sigma(t).square(), x0) / (1 + self.eps)
        return (ours * x0 + theirs * y) / (self.sigma_end**2 + self.eps)

    def std(self, t: Tensor) -> Tensor:
        return self.sigma_bar(t) * self.sigma(t) / (self.sigma_end + self.eps)

    def prior(self, y: Tensor, noise: Noise) -> Tensor:
        return y

    def ode(self, before: Tensor, now: Tensor) -> Update:
        """One step from the time `before` to the earlier time `now`, exact for a constant estimate."""
        sigma, past = self.sigma(now), self.sigma(before)
        bar, past_bar = self.sigma_bar(now), self.sigma_bar(before)
        whole, product, beyond = self.sigma_end**2 + self.eps, plus(past * past_bar, self.eps), plus(past_bar, self.eps)
        left = past_bar**3 + self.eps * (whole - past)  # what remains of both factors of y, multiplied out
        return Update(
            away=sigma * bar / product,
            estimate=(bar**2 - past_bar * sigma * bar / plus(past, self.eps)) / whole,
            end=sigma * bar * left / (product * beyond * whole) + sigma**2 / whole,
        )

    def flow(self, before: Tensor, now: Tensor) -> Update:
        """The same without what `eps` changes in it, which is little only where the first step is small and c is not:
        where estimate and end agree, so does what comes out."""
        sigma, past = self.sigma(now), self.sigma(before)
        bar, past_bar = self.sigma_bar(now), self.sigma_bar(before)
        estimate = (bar**2 - past_bar * sigma * bar / plus(past, self.eps)) / (self.sigma_end**2 + self.eps)
        return Update(sigma * bar / plus(past * past_bar, self.eps), estimate, 1 - estimate)

    def sde(self, before: Tensor, now: Tensor) -> Update:
        sigma = self.sigma(now)
        state = sigma**2 / plus(self.sigma(before) ** 2, self.eps)
        return Update(state, 1 - state, state, sigma * (1 - state).sqrt())
