"""Steady noise in sound: of any colour, of wind, of the mains, and as a recording has it. Levels are in dBFS, where a
root mean square of 1 is 0.

Sounds are float32 (C, T) at the law's `rate`; `start` is the place of their first sample in the whole sound. White
noise is filtered in blocks that lie at the same places in every cut, so that each gives the same samples to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise import seeds
from denoise.errors import UserError
from denoise.noise.sound_kernels import BEFORE, white
from denoise.signals import Audio

Values = NDArray[np.float64]
Block = NDArray[np.float32]

COLOURS = {0.0: "white", 1.0: "pink", 2.0: "brown", -1.0: "blue", -2.0: "violet"}
LOWEST_HZ = 20.0  # below, noise rises no more
TAPS_S = 0.25  # of a filter, at least
OCTAVE = math.sqrt(2) - math.sqrt(0.5)  # width of an octave around 1
FITTING_ROUNDS = 8
WANDERING_HZ = (0.013, 0.031, 0.07, 0.15)  # how fast mains drift
FALL_PER_HARMONIC = 0.8  # exponent of the amplitude
UNEVEN_NEPERS = 0.4  # standard deviation between harmonics
PHASES, UNEVEN, GUSTS = 5, 6, 7  # streams


def amplitude(level_db: float) -> float:
    return 10.0 ** (level_db / 20)


def want(kept: bool, sentence: str) -> None:
    if not kept:
        raise UserError(sentence)


class Added:
    """A law whose noise does not depend on the sound."""

    @property
    def power(self) -> float:
        """Mean square of the noise."""
        raise NotImplementedError

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        raise NotImplementedError

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        channels, count = clean.shape
        return clean + torch.from_numpy(self.noise(channels, count, seed, start)) if count else clean.clone()

    def variance(self, clean: Tensor) -> Tensor:
        return torch.full_like(clean, self.power)


def frequencies(rate: float) -> Values:
    """Of a filter, in Hz."""
    taps = 1 << math.ceil(math.log2(TAPS_S * rate))
    return np.asarray(np.fft.rfftfreq(taps, 1 / rate), np.float64)


def filtered_white(density: Values, channels: int, count: int, seed: int, start: int) -> Block:
    """Noise of variance 1 whose power at `frequencies` is in proportion to `density`."""
    taps = 2 * (len(density) - 1)
    spectrum, first = transfer(density.tobytes()), start // taps
    blocks = [
        one_block(white(channels, 2 * taps, seed, 0, k * taps - taps // 2), spectrum)
        for k in range(first, (start + count - 1) // taps + 1)
    ]
    return np.concatenate(blocks, 1)[:, start - first * taps :][:, :count]


@lru_cache(maxsize=16)
def transfer(density: bytes) -> NDArray[np.complex64]:
    """Of a filter whose answer lies around its middle, for blocks of twice its length."""
    wanted = np.sqrt(np.frombuffer(density, np.float64))
    wanted[0] = 0
    answer = np.roll(np.fft.irfft(wanted), len(wanted) - 1)
    answer /= np.sqrt(np.sum(answer**2))
    return np.fft.rfft(answer, 2 * len(answer)).astype(np.complex64)


def one_block(noise: Block, spectrum: NDArray[np.complex64]) -> Block:
    """Overlap-save: the second half is not wrapped around."""
    both = np.fft.irfft(np.fft.rfft(noise) * spectrum)
    return np.asarray(both[:, noise.shape[1] // 2 :], np.float32)


@dataclass(frozen=True)
class Coloured(Added):
    """Power falls as 1/f^slope: 0 is white, 1 pink, 2 brown, -1 blue, -2 violet."""

    rate: float
    slope: float = 1.0
    level_dbfs: float = -50.0

    def __post_init__(self) -> None:
        want(abs(self.slope) <= 4, f"A slope of {self.slope:g} is no colour; between -4 and 4 is wanted.")

    @property
    def power(self) -> float:
        return amplitude(self.level_dbfs) ** 2

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        gain = np.float32(amplitude(self.level_dbfs))
        if self.slope == 0:
            return gain * white(channels, count, seed, 0, start)
        density = (frequencies(self.rate) ** 2 + LOWEST_HZ**2) ** (-self.slope / 2)
        return gain * filtered_white(density, channels, count, seed, start)

    def describe(self) -> str:
        name = COLOURS.get(float(self.slope), f"1/f^{self.slope:g}")
        return f"{name} noise of {self.level_dbfs:g} dBFS"


@dataclass(frozen=True)
class Wind(Added):
    """Low and unsteady: 12 dB less per octave above a corner, in gusts whose amplitude is lognormal."""

    rate: float
    level_dbfs: float = -35.0
    corner_hz: float = 80.0
    gust_s: float = 1.0  # from one gust to the next, about
    gustiness: float = 0.6  # standard deviation of the logarithm of the amplitude

    def __post_init__(self) -> None:
        want(self.gust_s > 0, f"Gusts of {self.gust_s:g} s cannot be; give a length above 0.")

    @property
    def power(self) -> float:
        return amplitude(self.level_dbfs) ** 2

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        density = (1 + (frequencies(self.rate) / self.corner_hz) ** 2) ** -2.0
        air = filtered_white(density, channels, count, seed, start)
        swell = np.exp(self.gustiness * self.gusts(count, seed, start) - self.gustiness**2)
        return np.asarray(amplitude(self.level_dbfs) * air * swell, np.float32)

    def gusts(self, count: int, seed: int, start: int) -> Values:
        """A smooth random walk of variance 1: cubic B-splines between normal numbers."""
        at = (np.arange(count) + start) / (self.gust_s * self.rate)
        knot, u = np.floor(at).astype(np.int64), at % 1
        weights = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3])
        near = range(knot[0] - 1, knot[-1] + 3)
        numbers = seeds.normal(seed, torch.tensor(near) + BEFORE, GUSTS).double().numpy()
        walk = sum(weight * numbers[knot - knot[0] + n] for n, weight in enumerate(weights))
        return np.asarray(walk / np.sqrt(np.sum(weights**2, 0)), np.float64)

    def describe(self) -> str:
        return f"wind of {self.level_dbfs:g} dBFS below {self.corner_hz:g} Hz, a gust every {self.gust_s:g} s"


@dataclass(frozen=True)
class Hum(Added):
    """The mains and their harmonics, which drift together; how strong each one is, the seed decides."""

    rate: float
    mains_hz: float = 50.0
    level_dbfs: float = -45.0  # all of them together
    harmonics: int = 8
    drift_hz: float = 0.02  # standard deviation of the mains frequency

    def __post_init__(self) -> None:
        given = f"Mains of {self.mains_hz:g} Hz in {self.harmonics} harmonics at a rate of {self.rate:g} Hz"
        fits = 0 < self.mains_hz < self.rate / 2 and self.harmonics > 0
        want(fits, f"{given} cannot be sounded; at least one harmonic below half the rate is wanted.")

    @property
    def power(self) -> float:
        return amplitude(self.level_dbfs) ** 2

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        sizes = self.amplitudes(seed)
        turn, phases = self.turn(count, seed, start), phases_of(len(sizes), seed)
        total = sum(size * np.sin(n * turn + phases[n - 1]) for n, size in enumerate(sizes, 1))
        return np.broadcast_to(np.asarray(total, np.float32), (channels, count)).copy()

    def amplitudes(self, seed: int) -> Values:
        number = np.arange(1, min(self.harmonics, math.ceil(self.rate / 2 / self.mains_hz) - 1) + 1)
        uneven = seeds.normal(seed, torch.from_numpy(number), UNEVEN).double().numpy()
        sizes = number**-FALL_PER_HARMONIC * np.exp(UNEVEN_NEPERS * uneven)
        return np.asarray(sizes * math.sqrt(2 * self.power / np.sum(sizes**2)), np.float64)

    def turn(self, count: int, seed: int, start: int) -> Values:
        """Phase of the first harmonic: the integral of a frequency that wanders in a few slow waves."""
        seconds = (np.arange(count) + start) / self.rate
        each = self.drift_hz * math.sqrt(2 / len(WANDERING_HZ))
        starts = phases_of(len(WANDERING_HZ), seed, self.harmonics)
        waves = zip(WANDERING_HZ, starts, strict=True)
        drifted = sum(each / hz * np.sin(2 * np.pi * hz * seconds + begin) for hz, begin in waves)
        return np.asarray(2 * np.pi * self.mains_hz * seconds + drifted, np.float64)

    def describe(self) -> str:
        drift = f", drifting by {self.drift_hz:g} Hz" if self.drift_hz else ""
        return f"hum of {self.mains_hz:g} Hz mains of {self.level_dbfs:g} dBFS in {self.harmonics} harmonics{drift}"


def phases_of(count: int, seed: int, skipped: int = 0) -> Values:
    drawn = seeds.uniform(seed, torch.arange(skipped, skipped + count), 2 * PHASES)
    return np.asarray(2 * np.pi * drawn.double().numpy(), np.float64)


@dataclass(frozen=True)
class Recorded(Added):
    """The floor of a recording, octave by octave, and its hum."""

    rate: float
    octaves_dbfs: tuple[tuple[float, float], ...]  # centre in Hz and level, from low to high
    hum_dbfs: tuple[tuple[float, float], ...] = ()  # Hz and level of each line

    @classmethod
    def fit(cls, evidence: Audio) -> Self:
        """To one recording, whatever else is heard in it."""
        from denoise.noise.sound_level import describe_noise

        found = describe_noise(evidence)
        if not found.octaves_dbfs and not found.hum_hz:
            raise UserError("There is no noise in this recording, only digital silence; give one with audible noise.")
        octaves = tuple((float(hz), level) for hz, level in found.octaves_dbfs.items())
        return cls(evidence.rate, octaves, tuple(zip(map(float, found.hum_hz), found.hum_lines_dbfs, strict=True)))

    @property
    def power(self) -> float:
        return self.floor_power + sum(amplitude(level) ** 2 for _, level in self.hum_dbfs)

    @property
    def floor_power(self) -> float:
        if not self.octaves_dbfs:
            return 0.0
        return float(self.density().sum() * frequencies(self.rate)[1])

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        total = np.zeros((channels, count), np.float32)
        if self.octaves_dbfs:
            floor = filtered_white(self.density(), channels, count, seed, start)
            total += np.float32(math.sqrt(self.floor_power)) * floor
        turn = 2 * np.pi * (np.arange(count) + start) / self.rate
        for (hz, level), phase in zip(self.hum_dbfs, phases_of(len(self.hum_dbfs), seed), strict=True):
            total += np.asarray(amplitude(level) * math.sqrt(2) * np.sin(hz * turn + phase), np.float32)
        return total

    def density(self) -> Values:
        """Power per Hz at `frequencies`: smooth between the octaves, which have their levels."""
        hertz = frequencies(self.rate)
        centres, levels = (np.array(column) for column in zip(*self.octaves_dbfs, strict=True))
        density = between(hertz, centres, 10 ** (levels / 10) / (centres * OCTAVE))
        inside = [(hertz >= c * math.sqrt(0.5)) & (hertz < c * math.sqrt(2)) for c in centres]
        for _ in range(FITTING_ROUNDS):
            found = np.array([density[octave].sum() for octave in inside]) * hertz[1]
            density = density * between(hertz, centres, 10 ** (levels / 10) / found)
        density[hertz < centres[0] * math.sqrt(0.5)] = 0.0
        return density

    def describe(self) -> str:
        octaves = ", ".join(f"{hz:g} Hz {level:.0f}" for hz, level in self.octaves_dbfs)
        lines = ", ".join(f"{hz:g} Hz {level:.0f}" for hz, level in self.hum_dbfs)
        parts = [f"floor by octave in dBFS: {octaves}" if octaves else "", f"hum in dBFS: {lines}" if lines else ""]
        return "; ".join(part for part in parts if part)


def between(hertz: Values, centres: Values, values: Values) -> Values:
    """Straight lines between logarithms; level beyond the ends."""
    return np.asarray(np.exp(np.interp(np.log(np.maximum(hertz, 1e-3)), np.log(centres), np.log(values))), np.float64)
