"""How noisy is a sound, without its clean original: the level between and under what is heard, in dBFS.

0 dBFS is a root mean square of 1. The noise is tracked through the whole sound, so a pause is welcome and not
needed; what never pauses and never changes is taken for noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from denoise.noise.tracking import TINY, Grid, tracked
from denoise.signals import Audio

Values = NDArray[np.float64]

HOP_S = 0.012
HOPS_PER_FRAME = 4
PIECE_S = 20.0  # tracked at once
UNDERESTIMATED = 1.2  # times higher than tracked is noise that is known, of all colours
OCTAVES_HZ = (31.5, 63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)  # centres
SILENT_DBFS = -120.0  # below, it is digital silence
ACTIVE_DB = 30.0  # content this far below its loudest is still active
LOUD = 0.95  # quantile of the frames' levels that counts as the loudest
HEARD = 1.5  # times the noise is the power of a frame with content, at least

MAINS_HZ = (50, 60)
HARMONICS = 8
LINE_WINDOW_S = 1.6
LINE_NEAR_HZ = 1.25  # half width of a line with its window, and how far mains drift
LINE_AROUND_HZ = 12.0  # half width of what it is compared with
LINE_NEPERS = 2.0  # of power above that, at least, in the mean of very many windows


@dataclass(frozen=True)
class SoundNoise:
    """What could be measured; None where there is nothing to measure."""

    floor_dbfs: float | None  # all frequencies together
    octaves_dbfs: dict[str, float] = field(default_factory=dict)  # of the noise, by centre in Hz
    snr_db: float | None = None  # content, while it is heard, over the noise
    hum_hz: tuple[int, ...] = ()  # mains lines
    hum_dbfs: float | None = None  # all of them together

    def describe(self) -> str:
        if self.floor_dbfs is None:
            return "digital silence: nothing to measure"
        parts = [f"floor {self.floor_dbfs:.0f} dBFS{self._mostly()}", self._snr()]
        if self.hum_dbfs is not None:
            lines = ", ".join(str(hz) for hz in self.hum_hz)
            parts.append(f"mains hum of {self.hum_dbfs:.0f} dBFS at {lines} Hz")
        return ", ".join(parts)

    def _snr(self) -> str:
        return "nothing is heard above it" if self.snr_db is None else f"SNR {self.snr_db:.0f} dB"

    def _mostly(self) -> str:
        if not self.octaves_dbfs:
            return ""
        centre = max(self.octaves_dbfs, key=lambda hz: self.octaves_dbfs[hz])
        return f" (most of it around {centre} Hz)"


def describe_noise(audio: Audio) -> SoundNoise:
    """One pass over the sound, in bounded memory."""
    levels, lines = Levels(audio.rate), Lines(audio.rate)
    for block in pieces(audio):
        levels.add(block)
        lines.add(block)
    hum_hz, hum_power = lines.found()
    floor = decibel(levels.floor)
    if floor is None:
        return SoundNoise(None)
    return SoundNoise(floor, levels.octaves(), levels.snr_db(), hum_hz, decibel(hum_power))


def pieces(audio: Audio) -> Iterator[NDArray[np.float32]]:
    """(C, n) of about the same length each, whatever the blocks of the file."""
    size = round(PIECE_S * audio.rate)
    held: list[NDArray[np.float32]] = []
    for block in audio.blocks(size):
        held.append(block)
        if sum(part.shape[1] for part in held) >= size:
            yield np.concatenate(held, 1)
            held = []
    if held:
        yield np.concatenate(held, 1)


def decibel(power: float) -> float | None:
    level = 10 * math.log10(max(power, 1e-30))
    return level if level > SILENT_DBFS else None


def powers(block: NDArray[np.float32], size: int, hop: int) -> Grid:
    """Power spectra (frames, bins), mean over the channels, whose sum over bins is the mean square."""
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    if block.shape[1] < size:
        block = np.pad(block, ((0, 0), (0, size - block.shape[1])))
    total = np.zeros((1, 1), np.float32)
    for channel in block:
        frames = sliding_window_view(channel, size)[::hop]
        total = total + np.abs(np.fft.rfft(frames * window)).astype(np.float32) ** 2
    both_sides = np.full(total.shape[1], 2.0)
    both_sides[[0, -1]] = 1.0
    scale = both_sides / (size * np.sum(np.square(window)) * len(block))
    return np.asarray(total * scale, np.float32)


class Levels:
    """The tracked noise and all that is heard, gathered piece by piece."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.hop = max(8, round(HOP_S * rate))
        self.size = HOPS_PER_FRAME * self.hop
        self.sum = np.zeros(self.size // 2 + 1)
        self.heard: list[Values] = []  # power of every frame that is not digital silence
        self.noise: list[Values] = []  # of which this is noise

    def add(self, block: NDArray[np.float32]) -> None:
        power = powers(block, self.size, self.hop)
        power = power[power.sum(1) > 10 ** (SILENT_DBFS / 10)]
        if not len(power):
            return
        noise = UNDERESTIMATED * tracked(power + np.float32(TINY), self.hop / self.rate)
        self.sum += noise.sum(0)
        self.heard.append(power.sum(1).astype(np.float64))
        self.noise.append(noise.sum(1).astype(np.float64))

    @property
    def spectrum(self) -> Values:
        return self.sum / max(1, sum(len(part) for part in self.noise))

    @property
    def floor(self) -> float:
        return float(self.spectrum.sum())

    def octaves(self) -> dict[str, float]:
        hz = np.arange(len(self.sum)) * self.rate / self.size
        edges = {centre: (centre / math.sqrt(2), centre * math.sqrt(2)) for centre in OCTAVES_HZ}
        inside = {centre: (hz >= low) & (hz < high) for centre, (low, high) in edges.items() if high <= self.rate / 2}
        levels = {f"{centre:g}": decibel(float(self.spectrum[bins].sum())) for centre, bins in inside.items()}
        return {centre: level for centre, level in levels.items() if level is not None}

    def snr_db(self) -> float | None:
        """Over the frames that are heard above the noise and not far below the loudest."""
        heard, noise = np.concatenate(self.heard), np.concatenate(self.noise)
        loud = np.quantile(heard, LOUD) * 10 ** (-ACTIVE_DB / 10)
        active = (heard > loud) & (heard > noise * HEARD)
        if not active.any():
            return None
        signal = float(np.mean(heard[active] - noise[active]))
        return 10 * math.log10(signal / float(np.mean(noise)))


class Lines:
    """Narrow lines of the mains, found in the mean of the logarithm, which voices and notes do not raise."""

    def __init__(self, rate: float) -> None:
        self.size = round(LINE_WINDOW_S * rate)
        self.hz_per_bin = rate / self.size
        self.bins = min(self.bin(MAINS_HZ[-1] * HARMONICS + 2 * LINE_AROUND_HZ), self.size // 2 + 1)
        self.sum = np.zeros(self.bins)
        self.windows = 0

    def bin(self, hz: float) -> int:
        return round(hz / self.hz_per_bin)

    def add(self, block: NDArray[np.float32]) -> None:
        if block.shape[1] < self.size:
            return
        power = powers(block, self.size, self.size // 2)[:, : self.bins].astype(np.float64)
        self.sum += np.log(power + TINY).sum(0)
        self.windows += len(power)

    def found(self) -> tuple[tuple[int, ...], float]:
        """The lines of the mains frequency that has more of them, and their power."""
        candidates = [self.series(mains) for mains in MAINS_HZ]
        best = max(candidates, key=lambda lines: sum(lines.values()))
        return tuple(best), sum(best.values())

    def series(self, mains: int) -> dict[int, float]:
        """Power of each harmonic that stands out, if the first or second does."""
        if not self.windows:
            return {}
        mean = self.sum / self.windows
        lines = {hz: self.line(mean, hz) for hz in range(mains, mains * HARMONICS + 1, mains)}
        clear = {hz: power for hz, power in lines.items() if power > 0}
        return clear if clear.keys() & {mains, 2 * mains} else {}

    def line(self, mean: Values, hz: int) -> float:
        centre, near, around = (self.bin(value) for value in (hz, LINE_NEAR_HZ, LINE_AROUND_HZ))
        if centre + around >= self.bins:
            return 0.0
        there = mean[centre - near : centre + near + 1]
        beside = np.median(np.r_[mean[centre - around : centre - near], mean[centre + near + 1 : centre + around + 1]])
        least = LINE_NEPERS + 3 * 1.3 / math.sqrt(self.windows)  # 1.3: how far one logarithm strays
        return float(np.exp(there).sum()) if there.max() - beside > least else 0.0
