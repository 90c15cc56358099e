"""Hum: lines that stay, exactly at multiples of a mains frequency, as narrow as the window shows them.

A voice or an instrument that meets such a frequency is told by its pauses: a line of the mains is there in the
quietest moments too.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from denoise.noise.sound_floor import Values, mean_powers

MAINS_HZ = (50, 60)
HARMONICS = 10
LEAST_LINES = 2
WINDOW_S = 1.6
BRIEF_S = 0.4  # of the windows that would find a pause; a whole number of turns of every harmonic
BRIEF_HZ = 5.0  # half width of a line in these
FAINT = 1e-5  # of the strongest: too weak to be told from what the window lets through
OFF_HZ = 0.3  # that far a line may lie from its place
NEAR_HZ = 2.5  # half width of a line with its window
AROUND_HZ = 12.0  # half width of what it is compared with
NEPERS = 2.0  # of power above that, at least, in the mean of very many windows
BESIDE_ANOTHER = 0.7  # of that is enough for a line in a series with a clear one
LASTING = 0.1  # quantile over time in which a line is still there,
WEAKER = 0.25  # with this share of its power at least
USUAL = 0.4  # quantile over time that is its power: content can only add to it


class Lines:
    """Gathered piece by piece; only what is needed of each spectrum is kept."""

    def __init__(self, rate: float) -> None:
        self.size, self.brief = round(WINDOW_S * rate), round(BRIEF_S * rate)
        self.hz_per_bin = rate / self.size
        highest = min(MAINS_HZ[-1] * HARMONICS, rate / 2 - 2 * AROUND_HZ)
        self.places = sorted({mains * n for mains in MAINS_HZ for n in range(1, HARMONICS + 1) if mains * n <= highest})
        self.bins = self.bin(highest + 2 * AROUND_HZ)
        self.logarithms = np.zeros(self.bins)
        self.windows = 0
        self.long: list[Values] = []  # (windows, places): power of each line
        self.short: list[Values] = []

    def bin(self, hz: float) -> int:
        return round(hz / self.hz_per_bin)

    def add(self, block: NDArray[np.float32]) -> None:
        if block.shape[1] < self.size or not self.places:
            return
        power = mean_powers(block, self.size, self.size // 2)[:, : self.bins].astype(np.float64)
        power = power[power.sum(1) > 0]
        self.logarithms += np.log(power + 1e-30).sum(0)
        self.windows += len(power)
        self.long.append(at_places(power, self.places, self.hz_per_bin, NEAR_HZ))
        brief = mean_powers(block, self.brief, self.brief // 2).astype(np.float64)
        self.short.append(at_places(brief[brief.sum(1) > 0], self.places, 1 / BRIEF_S, BRIEF_HZ))

    def found(self) -> dict[int, float]:
        """Power of each line of the mains frequency that has more of it; empty where there is none."""
        if not self.windows:
            return {}
        series = [self.series(mains) for mains in MAINS_HZ]
        return max(series, key=lambda lines: sum(lines.values()))

    def series(self, mains: int) -> dict[int, float]:
        """At least one line is clear and at least two are there, else none."""
        places = [(n, hz) for n, hz in enumerate(self.places) if hz % mains == 0]
        if not any(self.line(n, hz) for n, hz in places):
            return {}
        found = {hz: power for n, hz in places if (power := self.line(n, hz, BESIDE_ANOTHER)) > 0}
        audible = {hz: power for hz, power in found.items() if power > FAINT * max(found.values())}
        return audible if len(audible) >= LEAST_LINES else {}

    def line(self, place: int, hz: int, evidence: float = 1.0) -> float:
        """Its power if it is there, else 0."""
        mean = self.logarithms / self.windows
        centre, near, around = (self.bin(value) for value in (hz, NEAR_HZ, AROUND_HZ))
        there = mean[centre - near : centre + near + 1]
        beside = np.median(np.r_[mean[centre - around : centre - near], mean[centre + near + 1 : centre + around + 1]])
        least = evidence * (NEPERS + 3 * 1.3 / math.sqrt(self.windows))  # 1.3: how far one logarithm strays
        if (
            there.max() - beside < least
            or abs(peak(there) - (hz / self.hz_per_bin - centre)) > OFF_HZ / self.hz_per_bin
        ):
            return 0.0
        power = float(np.quantile(np.concatenate(self.long)[:, place], USUAL))
        quietest = float(np.quantile(np.concatenate(self.short)[:, place], LASTING))
        background = len(there) * math.exp(beside + np.euler_gamma)  # the mean logarithm of noise is so much too low
        return max(0.0, power - background) if quietest > WEAKER * power else 0.0


def at_places(power: Values, places: list[int], hz_per_bin: float, near_hz: float) -> Values:
    reach = round(near_hz / hz_per_bin)
    centres = [round(hz / hz_per_bin) for hz in places]
    return np.stack([power[:, at - reach : at + reach + 1].sum(1) for at in centres], 1)


def peak(level: Values) -> float:
    """Where the highest of a few logarithms is, in bins from the middle one, by the parabola through it."""
    top = int(np.argmax(level))
    if not 0 < top < len(level) - 1:
        return math.inf
    before, here, after = level[top - 1 : top + 2]
    return top - len(level) // 2 + float((before - after) / (2 * (before - 2 * here + after)))
