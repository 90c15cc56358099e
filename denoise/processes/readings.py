"""How the output of a network is read, and what it is trained to say (Richter et al. 2025).

F = network(c_in x, c_in y, t), perhaps divided by sigma or t; then
score matching:   c_skip x + c_out F is the score,
denoiser:         F is the mean of the process,
data prediction:  c_skip x + c_out F is the clean signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from denoise.errors import UserError
from denoise.processes import over


class Process(Protocol):
    """What a network has to know of the process that it undoes."""

    def mean(self, x0: Tensor, y: Tensor, t: Tensor) -> Tensor: ...

    def std(self, t: Tensor) -> Tensor: ...


Factor = Callable[[Tensor, float], Tensor]
"""(sigma, sigma_data) -> a factor"""


def one(sigma: Tensor, data: float) -> Tensor:
    return torch.ones_like(sigma)


C_IN: dict[str, Factor] = {"1": one, "edm": lambda sigma, data: (sigma**2 + data**2).rsqrt()}
C_OUT: dict[str, Factor] = {
    "1": one,
    "-1": lambda sigma, data: -one(sigma, data),  # the first networks gave the noise and not the score
    "sigma": lambda sigma, data: sigma,
    "1/sigma": lambda sigma, data: 1 / sigma,
    "edm": lambda sigma, data: sigma * data * (sigma**2 + data**2).rsqrt(),
}
C_SKIP: dict[str, Factor] = {
    "0": lambda sigma, data: torch.zeros_like(sigma),
    "edm": lambda sigma, data: data**2 / (sigma**2 + data**2),
}
WEIGHTS: dict[str, Factor] = {
    "1": one,
    "sigma^2": lambda sigma, data: sigma**2,
    "edm": lambda sigma, data: (sigma**2 + data**2) / (sigma * data) ** 2,
}
DIVISORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "1": lambda sigma, t: torch.ones_like(t),
    "1/sigma": lambda sigma, t: sigma,
    "1/t": lambda sigma, t: t,
}
PREDICTIONS = ("score_matching", "denoiser", "data_prediction")
CHOICES: dict[str, Mapping[str, object] | tuple[str, ...]] = {
    "predicts": PREDICTIONS,
    "network_scaling": DIVISORS,
    "c_in": C_IN,
    "c_out": C_OUT,
    "c_skip": C_SKIP,
    "weighting": WEIGHTS,
    "error": ("mse", "mae"),
}


@dataclass(frozen=True)
class Reading:
    predicts: str = "score_matching"
    network_scaling: str = "1"
    c_in: str = "1"
    c_out: str = "-1"
    c_skip: str = "0"
    weighting: str = "1"  # of the denoiser's error
    error: str = "mse"
    sigma_data: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            known = CHOICES.get(field.name)
            if known is not None and getattr(self, field.name) not in known:
                raise UserError(f"{field.name} = {getattr(self, field.name)!r}: one of {', '.join(known)} is wanted.")

    def scaled(self, values: Tensor, sigma: Tensor) -> Tensor:
        """What the network is shown."""
        return values * over(C_IN[self.c_in](sigma, self.sigma_data), values)

    def read(self, raw: Tensor, x: Tensor, t: Tensor, sigma: Tensor) -> Tensor:
        """The score, or for data prediction the clean signal."""
        raw = raw / over(DIVISORS[self.network_scaling](sigma, t), raw)
        if self.predicts == "denoiser":
            return (raw - x) / over(sigma, x) ** 2
        skip, out = C_SKIP[self.c_skip](sigma, self.sigma_data), C_OUT[self.c_out](sigma, self.sigma_data)
        return over(skip, x) * x + over(out, raw) * raw

    def error_of(self, found: Tensor, x: Tensor, z: Tensor, clean: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
        """Half the error in every bin (B, F, T), at x = mean + sigma z."""
        spread = over(sigma, x)
        if self.predicts == "data_prediction":
            return distance(found - clean, self.error)
        if self.predicts == "score_matching":
            return distance(found * spread + z, self.error)
        weight = WEIGHTS[self.weighting](sigma, self.sigma_data)
        return weight[:, None, None] * distance(found * spread**2 + x - mean, self.error)


def distance(difference: Tensor, error: str = "mse") -> Tensor:
    """Half the square or the magnitude of complex numbers: (B, 2, F, T) -> (B, F, T)."""
    squares = difference.square().sum(1)
    return 0.5 * (squares if error == "mse" else squares.clamp(min=1e-24).sqrt())


def score_from_clean(process: Process, clean: Tensor, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    return (process.mean(clean, y, t) - x) / over(process.std(t).square(), x)
