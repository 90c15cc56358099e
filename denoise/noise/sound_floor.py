"""The floor under a sound: what is stationary and not tonal, band by band.

Two openings show it: pauses, through short windows, and the gaps between the partials of what never pauses, through
long ones. Of every frame and band a low quantile over frequency is taken, which the partials do not reach, and over
time the mean of the frames that lie where noise alone would, given the lowest of them. Both are biased by a factor
that depends on the number of bins only; it is found by doing the same with white noise of power 1. Content can only
add to the noise, so the lowest of the windows' answers is kept: where neither opening shows, it is an upper bound.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Values = NDArray[np.float64]
Grid = NDArray[np.float32]  # power, frames × frequencies
Block = NDArray[np.float32]  # channels × samples

SILENT = 1e-6  # an amplitude, -120 dBFS: below, it is digital silence
TICK_S = 0.01  # windows are counted in ticks; a tick without sound is digital silence
WINDOWS = (6, 20, 68, 136)  # ticks: from pauses to the gaps between partials
LASTING_TICKS = 68  # in windows from here on, tones that last are left out
LOWEST_HZ = 10.0
NARROWEST_HZ = 25.0  # width of a band, and
BAND_SHARE = 0.23  # of its lower edge: a third of an octave
LEAST_BINS = 5
ACROSS = 0.3  # quantile over frequency, that of the bins between peaks
LOW = 0.05  # quantile over time: so much of it has to be a pause where there is no gap
HIGH = 0.95  # quantile of white noise: above, a frame of it is not counted
TONE_NEPERS = 1.0  # of power above its surroundings in the mean logarithm, at least: a tone
TONE_HZ = 24.0  # half width of these surroundings
LOBE_BINS = 2  # beside those, what else the tone reaches
COSINES = (0.35875, -0.48829, 0.14128, -0.01168)  # Blackman-Harris: 92 dB down beside the lobe


def window(size: int) -> Values:
    turn = 2 * np.pi * np.arange(size) / size
    return np.asarray(sum(share * np.cos(n * turn) for n, share in enumerate(COSINES)), np.float64)


def powers(channel: Block, size: int, hop: int) -> Grid:
    """Power spectra (frames, bins) of one channel, whose sum over bins is the mean square."""
    shape = window(size).astype(np.float32)
    channel = np.pad(channel, (0, max(0, size - len(channel))))
    frames = sliding_window_view(channel, size)[::hop]
    both_sides = np.full(size // 2 + 1, 2.0)
    both_sides[[0, -1]] = 1.0
    scale = both_sides / (size * np.sum(np.square(shape)))
    return np.asarray(np.abs(np.fft.rfft(frames * shape)) ** 2 * scale, np.float32)


def mean_powers(block: Block, size: int, hop: int) -> Grid:
    """The mean over the channels."""
    return np.asarray(sum(powers(channel, size, hop) for channel in block) / len(block), np.float32)


def ticks_of(rate: float) -> int:
    """Samples in a tick."""
    return max(1, round(TICK_S * rate))


def sounding(block: Block, tick: int, ticks: int, hop: int) -> NDArray[np.bool_]:
    """Of every frame, whether no tick of it is digital silence."""
    loud = np.abs(block).max(0) > SILENT
    whole = loud[: len(loud) // tick * tick].reshape(-1, tick).any(1)
    return np.asarray(sliding_window_view(whole, ticks)[:: hop // tick].all(1))


class Bands:
    """Third octaves, wider where that is less than a spectrum can tell apart."""

    def __init__(self, rate: float, seconds: float) -> None:
        narrowest = max(NARROWEST_HZ, LEAST_BINS / max(TICK_S, min(seconds, WINDOWS[-1] * TICK_S)))
        edges = [min(LOWEST_HZ, rate / 8)]
        while edges[-1] < rate / 2:
            edges.append(edges[-1] + max(narrowest, BAND_SHARE * edges[-1]))
        if len(edges) > 2 and edges[-1] - rate / 2 > (edges[-1] - edges[-2]) / 2:
            edges.pop()
        edges[-1] = rate / 2
        self.edges_hz = np.array(edges)

    def __len__(self) -> int:
        return len(self.edges_hz) - 1

    @property
    def widths_hz(self) -> Values:
        return np.diff(self.edges_hz)

    def slices(self, hz_per_bin: float) -> list[slice]:
        at = np.ceil(self.edges_hz / hz_per_bin).astype(int)
        return [slice(a, b) for a, b in pairwise(at)]

    def inside(self, low_hz: float, high_hz: float) -> Values:
        """How many Hz of each band lie between."""
        overlap = np.minimum(self.edges_hz[1:], high_hz) - np.maximum(self.edges_hz[:-1], low_hz)
        return np.asarray(np.clip(overlap, 0, None), np.float64)


def floor_of(block: Block, rate: float, bands: Bands) -> Values:
    """Power per Hz of the noise in every band of a piece; nan where all of it is digital silence."""
    tick = ticks_of(rate)
    found = [np.full(len(bands), np.nan)]
    for ticks in WINDOWS:
        if block.shape[1] >= ticks * tick:
            found.append(seen_through(block, rate, bands, ticks))
    if np.isnan(found).all():
        found.append(seen_whole(block, rate, bands))
    return np.asarray(np.fmin.reduce(found), np.float64)


def seen_through(block: Block, rate: float, bands: Bands, ticks: int) -> Values:
    tick = ticks_of(rate)
    size, hop = ticks * tick, ticks // 2 * tick
    kept = sounding(block, tick, ticks, hop)
    power = np.stack([powers(channel, size, hop)[kept] for channel in block])
    hz_per_bin = rate / size
    tonal = tones(power, hz_per_bin) if ticks >= LASTING_TICKS else np.zeros(power.shape[2], np.bool_)
    found = np.full(len(bands), np.nan)
    if power.size:
        for n, bins in enumerate(bands.slices(hz_per_bin)):
            between = power[:, :, bins][:, :, ~tonal[bins]]
            if between.shape[2] >= LEAST_BINS:
                found[n] = stationary(between) / hz_per_bin
    return found


def seen_whole(block: Block, rate: float, bands: Bands) -> Values:
    """Of a sound too short, or too full of holes, for any of this: all of its power, evenly in every band."""
    power = float(np.mean(np.square(block, dtype=np.float64))) if block.size else 0.0
    return np.full(len(bands), 2 * power / rate if power > SILENT**2 else np.nan)


def tones(power: Grid, hz_per_bin: float) -> NDArray[np.bool_]:
    """Bins of tones that last: they stand out in the mean of the logarithm, of (channels, frames, bins)."""
    level = np.log(power + 1e-30).mean((0, 1), dtype=np.float64) if power.size else np.zeros(power.shape[2])
    reach = min(round(TONE_HZ / hz_per_bin), (len(level) - 1) // 2)
    beside = np.quantile(sliding_window_view(np.pad(level, reach, "reflect"), 2 * reach + 1), ACROSS, axis=1)
    least = TONE_NEPERS + 4 * 1.3 / math.sqrt(max(1, power.shape[1]))  # 1.3: how far one logarithm strays
    peaks = (level - beside > least).astype(int)
    return np.asarray(np.convolve(peaks, np.ones(2 * LOBE_BINS + 1), "same") > 0)


def stationary(power: Grid) -> float:
    """Mean power of a bin of the noise, of (channels, frames, bins) of a band."""
    across = np.quantile(power, ACROSS, axis=2).mean(0)
    low = np.quantile(across, LOW)
    limit, mean = among_white(min(power.shape[2], 64))
    return float(across[across <= limit * low].mean() / mean)


@lru_cache(maxsize=64)
def among_white(bins: int, frames: int = 1024) -> tuple[float, float]:
    """Of white noise of power 1 in a bin: how far above its low quantile its frames lie, and the mean of these."""
    import torch

    from denoise import seeds

    counters = torch.arange(2 * frames * (bins + 6)).reshape(2, frames, bins + 6)
    white = seeds.normal(bins, counters).double().numpy()
    taps = np.array([COSINES[abs(n)] / (2 if n else 1) for n in range(-3, 4)])  # the window in frequency
    near = sliding_window_view(white[0] + 1j * white[1], 7, axis=1) @ taps
    across = np.quantile(np.abs(near) ** 2 / (2 * np.sum(taps**2)), ACROSS, axis=1)
    limit = np.quantile(across, HIGH) / np.quantile(across, LOW)
    return float(limit), float(across[across <= limit * np.quantile(across, LOW)].mean())
