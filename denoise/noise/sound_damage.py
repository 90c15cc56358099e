"""What goes wrong on the way: clicks, clipping, lost packets, a narrow line, coarse steps.

Sounds are float32 (C, T) at the law's `rate`; `start` is the place of their first sample in the whole sound. Where
nothing is left to chance, the variance is 0: the same sound is harmed in the same way each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from denoise import seeds
from denoise.noise.sound_colour import Added, Block, Values, amplitude, want
from denoise.noise.sound_kernels import CHANNEL_BITS, lost, struck

CLICK_HZ, CLICK_S = 2500.0, 0.0004  # what a needle rings at, and how fast it comes to rest
CRACKLE_HZ, CRACKLE_S = 5000.0, 0.0001
RESTS = 8  # time constants until nothing is left
CLICK_DECADES, CRACKLE_DECADES = 1.0, 1.5  # between the strongest and the weakest
EDGE_HZ = 120.0  # from passing to stopping
HAMMING_TAPS = 3.3  # taps that a Hamming window needs for an edge of 1 in 1


@dataclass(frozen=True)
class Clicks(Added):
    """Scratches: single blows, the same in all channels, each a short ringing."""

    rate: float
    per_second: float = 4.0
    peak_dbfs: float = -12.0  # of the strongest; the weakest are 20 dB below

    def __post_init__(self) -> None:
        possible(self.per_second, self.rate)

    @property
    def power(self) -> float:
        return power_of_blows(self.per_second / self.rate, CLICK_DECADES, self.answer())

    def answer(self) -> Block:
        return np.float32(amplitude(self.peak_dbfs)) * ringing(CLICK_HZ, CLICK_S, self.rate)

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        blows = struck(count, self.per_second / self.rate, CLICK_DECADES, self.answer(), seed, start)
        return np.broadcast_to(blows, (channels, count)).copy()

    def describe(self) -> str:
        return f"{self.per_second:g} clicks a second, up to {self.peak_dbfs:g} dBFS"


@dataclass(frozen=True)
class Crackle(Added):
    """Dust in the groove: so many small blows that only their level is heard."""

    rate: float
    per_second: float = 400.0
    level_dbfs: float = -50.0

    def __post_init__(self) -> None:
        possible(self.per_second, self.rate)

    @property
    def power(self) -> float:
        return amplitude(self.level_dbfs) ** 2

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        chance, answer = self.per_second / self.rate, ringing(CRACKLE_HZ, CRACKLE_S, self.rate)
        answer *= math.sqrt(self.power / power_of_blows(chance, CRACKLE_DECADES, answer))
        blows = struck(count, chance, CRACKLE_DECADES, answer, seed, start)
        return np.broadcast_to(blows, (channels, count)).copy()

    def describe(self) -> str:
        return f"crackle of {self.level_dbfs:g} dBFS, {self.per_second:g} ticks a second"


def possible(per_second: float, rate: float) -> None:
    want(
        0 < per_second <= rate, f"{per_second:g} blows a second cannot be; more than 0 and at most {rate:g} are wanted."
    )


def ringing(hertz: float, rest_s: float, rate: float) -> Block:
    """A damped sine whose highest point is 1; at low rates it is no faster than these can hold."""
    seconds = np.arange(math.ceil(RESTS * rest_s * rate) + 1) / rate
    wave = np.exp(-seconds / rest_s) * np.cos(2 * np.pi * min(hertz, rate / 4) * seconds)
    return np.asarray(wave / np.abs(wave).max(), np.float32)


def power_of_blows(chance: float, decades: float, answer: Block) -> float:
    """Of blows of either sign and amplitude 10^(-decades·u): chance · E[a²] · Σh²."""
    square = (1 - 10 ** (-2 * decades)) / (2 * decades * math.log(10))
    return chance * square * float(np.sum(np.square(answer, dtype=np.float64)))


@dataclass(frozen=True)
class Clipped:
    """Cut off above a level, as by a microphone amplifier that is turned up too far."""

    limit_dbfs: float = -12.0  # the highest amplitude that passes

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        limit = amplitude(self.limit_dbfs)
        return clean.clamp(-limit, limit)

    def variance(self, clean: Tensor) -> Tensor:
        return torch.zeros_like(clean)

    def describe(self) -> str:
        return f"clipped at {self.limit_dbfs:g} dBFS"


@dataclass(frozen=True)
class PacketLoss:
    """Packets that do not arrive, often several in a row (Gilbert 1960); in their place is silence or the last one."""

    rate: float
    share: float = 0.05  # of the packets
    burst: float = 2.0  # packets that are lost in a row, in the mean
    packet_s: float = 0.02
    fill: Literal["silence", "repeat"] = "silence"

    def __post_init__(self) -> None:
        want(
            0 <= self.share < 1, f"A share of {self.share:g} lost packets cannot be; at least 0 and below 1 is wanted."
        )
        least = max(1.0, self.share / (1 - self.share))
        given = f"Bursts of {self.burst:g} packets with {100 * self.share:g} % lost"
        want(self.burst >= least, f"{given} cannot be; bursts of at least {least:.2f} are wanted.")
        want(self.packet_s * self.rate >= 1, f"Packets of {self.packet_s:g} s hold no sample; give longer ones.")

    @property
    def packet(self) -> int:
        return round(self.packet_s * self.rate)

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        """To repeat, the packet before has to be in this piece, else there is silence."""
        at = torch.arange(clean.shape[1]) + start
        missing = self.missing(-(-(start + clean.shape[1]) // self.packet), seed)
        if self.fill == "silence":
            return clean * ~torch.from_numpy(missing)[at // self.packet]
        good = np.maximum.accumulate(np.where(missing, -1, np.arange(len(missing))))
        source = torch.from_numpy(good)[at // self.packet] * self.packet + at % self.packet - start
        known = (torch.from_numpy(good)[at // self.packet] >= 0) & (source >= 0)
        return torch.where(known, clean[:, source.clamp(min=0)], 0.0)

    def missing(self, packets: int, seed: int) -> np.ndarray:
        leaves = 1 / self.burst
        found: np.ndarray = lost(packets, leaves * self.share / (1 - self.share), leaves, self.share, seed)
        return found

    def variance(self, clean: Tensor) -> Tensor:
        """Of silence in place of the sound; a repeated packet has about twice the square instead."""
        times = self.share * (1 - self.share) if self.fill == "silence" else 2 * self.share
        return times * clean.square()

    def describe(self) -> str:
        instead = "silence" if self.fill == "silence" else "the last one"
        lengths = f"packets of {1000 * self.packet_s:g} ms lost, {self.burst:g} in a row"
        return f"{100 * self.share:g} % of {lengths}, {instead} instead"


@dataclass(frozen=True)
class BandLimited:
    """What a line lets through, without delay; by default that of a telephone."""

    rate: float
    low_hz: float = 300.0
    high_hz: float = 3400.0

    def __post_init__(self) -> None:
        given = f"A band from {self.low_hz:g} to {self.high_hz:g} Hz at a rate of {self.rate:g} Hz"
        fits = 0 <= self.low_hz < self.high_hz < self.rate / 2
        want(fits, f"{given} cannot be; low below high below half the rate is wanted.")

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        from scipy.signal import oaconvolve

        if not clean.numel():
            return clean.clone()
        passed = oaconvolve(clean.numpy(), self.taps()[None], mode="full", axes=1)
        half = len(self.taps()) // 2
        return torch.from_numpy(np.asarray(passed[:, half : half + clean.shape[1]], np.float32))

    def taps(self) -> Values:
        from scipy.signal import firwin

        edge = min(EDGE_HZ, self.rate / 2 - self.high_hz, self.low_hz or EDGE_HZ)
        count = 2 * math.ceil(HAMMING_TAPS * self.rate / edge / 2) + 1
        band = [self.low_hz, self.high_hz] if self.low_hz else [self.high_hz]
        return np.asarray(firwin(count, band, fs=self.rate, pass_zero=not self.low_hz), np.float64)

    def variance(self, clean: Tensor) -> Tensor:
        return torch.zeros_like(clean)

    def describe(self) -> str:
        return f"a line that carries {self.low_hz:g} to {self.high_hz:g} Hz"


@dataclass(frozen=True)
class Quantised:
    """Rounded to steps of so many bits; with dither of two steps' triangle the error is noise, whatever the sound."""

    bits: int = 8
    dithered: bool = True

    def __post_init__(self) -> None:
        want(1 < self.bits <= 24, f"{self.bits} bits cannot be; 2 to 24 are wanted.")

    @property
    def step(self) -> float:
        return 2.0 ** (1 - self.bits)

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        levels = clean / self.step
        if self.dithered:
            counter = (torch.arange(clean.shape[0])[:, None] << CHANNEL_BITS) + torch.arange(clean.shape[1]) + start
            levels = levels + seeds.uniform(seed, counter, 0) - seeds.uniform(seed, counter, 1)
        return (levels.round() * self.step).clamp(-1, 1 - self.step)

    def variance(self, clean: Tensor) -> Tensor:
        """A twelfth of a step squared for the rounding, two more for the dither (Lipshitz, Wannamaker, Vanderkooy).

        Without dither nothing is left to chance, and the twelfth holds in the mean of a sound of many steps.
        """
        return torch.full_like(clean, self.step**2 / (4 if self.dithered else 12))

    def describe(self) -> str:
        return f"rounded to {self.bits} bits{' with dither' if self.dithered else ''}"
