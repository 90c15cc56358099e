"""The noise under a sound, followed in every frequency without a stretch of noise alone.

It is learnt by the probability that something else is there (Gerkmann and Hendriks 2012), once forwards and once
backwards in time, and the two amplitudes are averaged: the one knows the past, the other the future, so that
neither a beginning nor a sudden step needs a pause.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Grid = NDArray[np.float32]  # power, frames × frequencies

TINY = 1e-16  # power that counts as digital silence; the squares of a window sum to some hundreds
START_S = 4.0  # stretch at either end from which the first guess is taken
START_QUANTILE = 0.2  # of the power there; of exponentially distributed power it is -ln(1 - q) of the mean
NOISE_S = 0.072  # time constant of the noise
PRESENCE_S = 0.152  # time constant of the presence, which must not stay for ever
MOST_PRESENT = 0.99
XI_PRESENT = 10**1.5  # SNR that is expected where there is something at all


def tracked(power: Grid, hop_s: float) -> Grid:
    """Power of the noise, for every frame and frequency of a sound."""
    keep_noise, keep_presence = math.exp(-hop_s / NOISE_S), math.exp(-hop_s / PRESENCE_S)
    stretch = math.ceil(START_S / hop_s)
    forwards = follow(power, first_guess(power[:stretch]), keep_noise, keep_presence)
    backwards = follow(power[::-1], first_guess(power[-stretch:]), keep_noise, keep_presence)[::-1]
    mean: Grid = np.square((np.sqrt(forwards) + np.sqrt(backwards)) / 2)
    return mean


def first_guess(power: Grid) -> NDArray[np.float64]:
    """The noise by its lower quantile, over the frames that are not digital silence."""
    sounding = power[power.max(1) > 2 * TINY]
    if not len(sounding):
        return np.full(power.shape[1], TINY)
    quantile = np.quantile(sounding, START_QUANTILE, axis=0)
    return np.asarray(quantile / -math.log(1 - START_QUANTILE), np.float64)


@njit(cache=True)
def follow(power: Any, first: Any, keep_noise: float, keep_presence: float) -> Any:
    """Forwards in time, with a fixed a-priori SNR; digital silence teaches nothing."""
    frames, bins = power.shape
    out = np.empty((frames, bins), np.float32)
    noise, presence = first.copy(), np.zeros(bins)
    for t in range(frames):
        for k in range(bins):
            now = power[t, k]
            if now > 2 * TINY:
                likely = min(now / noise[k] * (XI_PRESENT / (1 + XI_PRESENT)), 200.0)
                p = 1 / (1 + (1 + XI_PRESENT) * math.exp(-likely))
                presence[k] = keep_presence * presence[k] + (1 - keep_presence) * p
                if presence[k] > MOST_PRESENT:
                    p = min(p, MOST_PRESENT)
                noise[k] = max(keep_noise * noise[k] + (1 - keep_noise) * ((1 - p) * now + p * noise[k]), TINY)
            out[t, k] = noise[k]
    return out
