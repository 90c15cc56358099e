"""Ways back from the noisy end of a process to the clean one.

A step is (x, its number, noise) -> (the mean without fresh noise, x); `walked` takes all of them. Steps are counted
by whole numbers or by tensors, so that one loop of a graph can take them as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denoise.processes import Count, Model, Noise
from denoise.processes.bridge import SBVE, Update
from denoise.processes.ouve import OUVE

Step = Callable[[Tensor, Count, Noise], tuple[Tensor, Tensor]]
Tick = Callable[[int], None]
BRIDGE_END = 1e-4  # the time at which bridges end


def ignore(_: int) -> None:
    pass


def walked(step: Step, x: Tensor, steps: int, noise: Noise, tick: Tick = ignore) -> Tensor:
    """The noise-free mean after the last step."""
    mean = x
    for number in range(steps):
        mean, x = step(x, number, noise)
        tick(number)  # may raise Cancelled
    return mean


# Schedules


@dataclass(frozen=True)
class Times:
    """Evenly spaced times from 1 down to `last`. A step leads to the next time, the last one of them to zero;
    `even` gives all steps 1/n instead, as the code of before June 2024 and StoRM's do."""

    count: Count
    last: float = 0.03
    even: bool = False

    def at(self, number: Count) -> Tensor:
        gaps, number = torch.as_tensor(self.count - 1).clamp(min=1), torch.as_tensor(number)
        return (gaps - number + number * self.last) / gaps  # the last one exactly: networks see its logarithm

    def size(self, number: Count) -> Tensor:
        if self.even:
            return 1 / torch.as_tensor(self.count)
        ends = torch.as_tensor(number) == torch.as_tensor(self.count) - 1
        return torch.where(ends, self.last, self.at(number) - self.at(number + 1))


# Predictor and corrector


def reverse_diffusion(
    process: OUVE, score: Tensor, x: Tensor, y: Tensor, t: Tensor, size: Tensor
) -> tuple[Tensor, Tensor]:
    """The mean of one step down in time, and the standard deviation around it.

    With this drift and diffusion it is the step of Euler and Maruyama as well.
    """
    mean = x - size * process.reverse_drift(x, y, t, score)
    return mean, process.diffusion(t) * size.sqrt()


def no_prediction(process: OUVE, score: Tensor, x: Tensor, y: Tensor, t: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    return x, torch.zeros_like(t)


def ald(process: OUVE, score: Tensor, noise: Tensor, t: Tensor, snr: float) -> Tensor:
    """Step of annealed Langevin dynamics."""
    return 2 * (snr * process.std(t)).square()


def langevin(process: OUVE, score: Tensor, noise: Tensor, t: Tensor, snr: float) -> Tensor:
    """Step by the norms of noise and score, of each item."""
    ratio = noise.square().sum((1, 2, 3), keepdim=True) / score.square().sum((1, 2, 3), keepdim=True)
    return 2 * snr**2 * ratio


PREDICTORS = {"reverse_diffusion": reverse_diffusion, "euler_maruyama": reverse_diffusion, "none": no_prediction}
CORRECTORS = {"ald": ald, "langevin": langevin}


@dataclass(frozen=True)
class PredictorCorrector:
    """`corrections` corrector steps and a predictor step at every time; one network call each."""

    predictor: str = "reverse_diffusion"
    corrector: str = "ald"
    corrections: int = 1
    snr: float = 0.5

    @property
    def draws(self) -> int:
        """Of a step; the prior takes draw 0."""
        return self.corrections + 1

    def step(self, process: OUVE, model: Model, y: Tensor, times: Times) -> Step:
        """`model` gives the score."""

        def advance(x: Tensor, number: Count, noise: Noise) -> tuple[Tensor, Tensor]:
            t = times.at(number)
            first = 1 + number * self.draws
            for correction in range(self.corrections):
                score, fresh = model(x, t), noise(first + correction)
                length = CORRECTORS[self.corrector](process, score, fresh, t, self.snr)
                x = x + length * score + (2 * length).sqrt() * fresh
            mean, spread = PREDICTORS[self.predictor](process, model(x, t), x, y, t, times.size(number))
            return mean, mean + spread * noise(first + self.corrections)

        return advance


# Ordinary differential equations


@dataclass(frozen=True)
class Flow:
    """Heun's method for the probability flow down to the last time, and from there one noise-free step to zero."""

    draws: int = 0

    def step(self, process: OUVE, model: Model, y: Tensor, times: Times) -> Step:
        def advance(x: Tensor, number: Count, noise: Noise) -> tuple[Tensor, Tensor]:
            t, size = times.at(number), times.size(number)
            score = model(x, t)
            slope = process.flow(x, y, t, score)
            later = (t - size).clamp(min=times.last)
            ahead = x - size * slope
            heun = x - size / 2 * (slope + process.flow(ahead, y, later, model(ahead, later)))
            ends = torch.as_tensor(number) == torch.as_tensor(times.count) - 1
            x = torch.where(ends, x - size * process.reverse_drift(x, y, t, score), heun)
            return x, x

        return advance


def adaptive_flow(
    process: OUVE, model: Model, y: Tensor, start: Tensor, last: float = 0.03, tolerance: float = 1e-5
) -> tuple[Tensor, int]:
    """The probability flow from 1 to `last` by Runge and Kutta with steps of their own choice, in double precision;
    and the number of network calls. For comparisons: no graph can hold it."""
    import numpy as np
    from scipy.integrate import solve_ivp

    def packed(x: Tensor) -> Any:
        real, imaginary = x.double().cpu().numpy().swapaxes(0, 1)
        return (real + 1j * imaginary).ravel()

    def unpacked(flat: Any) -> Tensor:
        plane = flat.reshape(start.shape[0], *start.shape[2:])
        return torch.from_numpy(np.stack([plane.real, plane.imag], 1)).to(start)

    def slope(time: float, flat: Any) -> Any:
        x, t = unpacked(flat), torch.tensor(time, dtype=start.dtype)
        return packed(process.flow(x, y, t, model(x, t)))

    found = solve_ivp(slope, (1.0, last), packed(start), method="RK45", rtol=tolerance, atol=tolerance)
    return unpacked(found.y[:, -1]), int(found.nfev)


# Bridges


@dataclass(frozen=True)
class BridgeOde:
    draws: int = 0

    def step(self, process: SBVE, model: Model, y: Tensor, times: Times) -> Step:
        return bridge_step(process.ode, model, y, times)


@dataclass(frozen=True)
class BridgeSde:
    draws: int = 1

    def step(self, process: SBVE, model: Model, y: Tensor, times: Times) -> Step:
        return bridge_step(process.sde, model, y, times)


@dataclass(frozen=True)
class BridgeFlow:
    """For few steps: exact ones, and the network is asked about each state at that state's time, as in training."""

    draws: int = 0

    def step(self, process: SBVE, model: Model, y: Tensor, times: Times) -> Step:
        return bridge_step(process.flow, model, y, times, ahead=False)


@dataclass(frozen=True)
class BridgeWalk:
    """The stochastic way with the network asked like that."""

    draws: int = 1

    def step(self, process: SBVE, model: Model, y: Tensor, times: Times) -> Step:
        return bridge_step(process.sde, model, y, times, ahead=False)


def bridge_step(
    update: Callable[[Tensor, Tensor], Update], model: Model, y: Tensor, times: Times, ahead: bool = True
) -> Step:
    """`model` gives the clean signal; in the papers' code it is asked at the new time about the old state (`ahead`)."""
    ends = Times(times.count + 1, BRIDGE_END)

    def advance(x: Tensor, number: Count, noise: Noise) -> tuple[Tensor, Tensor]:
        before, now = ends.at(number), ends.at(number + 1)
        weights = update(before, now)
        mean = weights.away * (x - y) + weights.estimate * model(x, now if ahead else before) + weights.end * y
        return mean, mean if weights.noise is None else mean + weights.noise * noise(number)

    return advance
