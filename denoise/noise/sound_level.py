"""How noisy is a sound, without its clean original: the level between and under what is heard, in dBFS.

0 dBFS is a root mean square of 1. Noise is what stays as it is and is no tone, together with the hum of the mains;
a tone that lasts is content. Pauses are welcome and not needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from denoise.noise.sound_floor import WINDOWS, Bands, Block, Grid, Values, floor_of, mean_powers, powers, ticks_of
from denoise.noise.sound_hum import MAINS_HZ, Lines
from denoise.signals import Audio, regrouped

PIECE_S = 20.0  # in each of them the noise is taken to be stationary
OCTAVES_HZ = (31.5, 63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)  # centres
SILENT_DBFS = -120.0  # below, it is digital silence
ACTIVE_DB = 30.0  # content this far below its loudest is still active
LOUD = 0.95  # quantile of the frames' levels that counts as the loudest
HEARD = 2.0  # times the noise, in the mean of all bands, is a frame with content, at least
NOTHING = 1e-17  # power per Hz: -120 dBFS or so in all
FAINT = 1e-3  # of the noise: content as weak as that is none
SELDOM = 0.01  # of the frames may be that loud by chance


@dataclass(frozen=True)
class SoundNoise:
    """What could be measured; None where there is nothing to measure."""

    floor_dbfs: float | None  # without the hum, all frequencies from 10 Hz together
    octaves_dbfs: dict[str, float] = field(default_factory=dict)  # of that, by centre in Hz
    snr_db: float | None = None  # content, while it is heard, over floor and hum
    heard: bool = False  # whether there is content
    hum_hz: tuple[int, ...] = ()  # lines at multiples of a mains frequency
    hum_dbfs: float | None = None  # all of them together
    hum_lines_dbfs: tuple[float, ...] = ()  # each of them

    @property
    def mains_hz(self) -> int | None:
        """Which mains hums; None where all lines are even, which a motor at that pitch has as well."""
        found = [mains for mains in MAINS_HZ if any(hz % mains == 0 and hz // mains % 2 for hz in self.hum_hz)]
        return next((mains for mains in found if all(hz % mains == 0 for hz in self.hum_hz)), None)

    def describe(self) -> str:
        if not self.heard and self.floor_dbfs is None and self.hum_dbfs is None:
            return "digital silence: nothing to measure"
        return ", ".join(part for part in (self._floor(), self._snr(), self._hum()) if part)

    def _floor(self) -> str:
        if self.floor_dbfs is None:
            return f"floor below {SILENT_DBFS:.0f} dBFS"
        return f"floor {self.floor_dbfs:.0f} dBFS{self._mostly()}"

    def _hum(self) -> str:
        if self.hum_dbfs is None:
            return ""
        lines = ", ".join(str(hz) for hz in self.hum_hz)
        whose = f"{self.mains_hz} Hz mains hum" if self.mains_hz else "steady hum (mains or motor)"
        return f"{whose} of {self.hum_dbfs:.0f} dBFS at {lines} Hz"

    def _snr(self) -> str:
        if self.snr_db is not None:
            return f"SNR {self.snr_db:.0f} dB"
        return "" if self.heard else "nothing is heard above it"

    def _mostly(self) -> str:
        if not self.octaves_dbfs:
            return ""
        centre = max(self.octaves_dbfs, key=lambda hz: self.octaves_dbfs[hz])
        return f" (most of it around {centre} Hz)"


def describe_noise(audio: Audio) -> SoundNoise:
    """One pass over the sound; of each piece only band levels are kept."""
    levels, lines = Levels(audio.rate, audio.seconds), Lines(audio.rate)
    for block in pieces(audio):
        levels.add(block)
        lines.add(block)
    hum = lines.found()
    snr_db, heard = levels.content(hum)
    return SoundNoise(
        decibel(levels.floor),
        levels.octaves(),
        snr_db,
        heard,
        tuple(hum),
        decibel(sum(hum.values())),
        tuple(10 * math.log10(power) for power in hum.values()),
    )


def pieces(audio: Audio) -> Iterator[Block]:
    """(C, n) of the same length each, whatever the blocks of the file; the last one is shorter."""
    size = round(PIECE_S * audio.rate)
    return regrouped(audio.blocks(size), size)


def decibel(power: float) -> float | None:
    level = 10 * math.log10(max(power, 1e-30))
    return level if level > SILENT_DBFS else None


class Levels:
    """The floor of every piece, and the bands of every frame, gathered piece by piece."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.bands = Bands(rate, min(seconds, PIECE_S))
        self.size = WINDOWS[0] * ticks_of(rate)
        self.floors: list[Values] = []  # power per Hz
        self.seconds: list[float] = []
        self.heard: list[Grid] = []  # (frames, bands): power of every frame that is not digital silence

    def add(self, block: Block) -> None:
        floor = floor_of(block, self.rate, self.bands)
        if np.isnan(floor).all():
            return
        self.floors.append(np.nan_to_num(floor))
        self.seconds.append(block.shape[1] / self.rate)
        power = in_bands(mean_powers(block, self.size, self.size // 2), self.bands, self.rate / self.size)
        self.heard.append(power[power.sum(1) > 10 ** (SILENT_DBFS / 10)].astype(np.float32))

    @property
    def density(self) -> Values:
        """Power per Hz in every band: the median over the pieces, each as heavy as it is long."""
        if not self.floors:
            return np.zeros(len(self.bands))
        return weighted_median(np.stack(self.floors), np.array(self.seconds))

    @property
    def floor(self) -> float:
        return float(np.sum(self.density * self.bands.widths_hz))

    def octaves(self) -> dict[str, float]:
        half = math.sqrt(2)
        whole = [centre for centre in OCTAVES_HZ if centre * half <= self.rate / 2]
        power = {hz: float(self.density @ self.bands.inside(hz / half, hz * half)) for hz in whole}
        levels = {f"{hz:g}": decibel(value) for hz, value in power.items()}
        return {hz: level for hz, level in levels.items() if level is not None}

    def content(self, hum: dict[int, float]) -> tuple[float | None, bool]:
        """SNR over the frames that are heard above the noise and not far below the loudest, and whether any is."""
        frames = np.concatenate([np.zeros((0, len(self.bands)), np.float32), *self.heard])
        if not len(frames):
            return None, False
        noise = self.density * self.bands.widths_hz + self.hum_in_bands(hum)
        level = frames.sum(1)
        above = (frames / np.maximum(noise, NOTHING * self.bands.widths_hz)) @ self.bands.widths_hz
        loud = np.quantile(level, LOUD) * 10 ** (-ACTIVE_DB / 10)
        active = (level > loud) & (above > HEARD * self.bands.widths_hz.sum())
        signal = float(np.mean(level[active])) - noise.sum() if active.mean() > SELDOM else 0.0
        if signal <= FAINT * noise.sum():
            return None, False
        return 10 * math.log10(signal / noise.sum()) if decibel(noise.sum()) is not None else None, True

    def hum_in_bands(self, hum: dict[int, float]) -> Values:
        """As the short windows smear it."""
        total = np.zeros(len(self.bands))
        turns = 2 * np.pi * np.arange(self.size) / self.rate
        for hz, power in hum.items():
            spectrum = powers(np.sin(turns * hz, dtype=np.float32), self.size, self.size)
            total += 2 * power * in_bands(spectrum, self.bands, self.rate / self.size)[0]
        return total


def in_bands(power: Grid, bands: Bands, hz_per_bin: float) -> Values:
    return np.stack([power[:, bins].sum(1, dtype=np.float64) for bins in bands.slices(hz_per_bin)], 1)


def weighted_median(rows: Values, weights: Values) -> Values:
    """Of every column, where half of the weight lies below."""
    order = np.argsort(rows, axis=0)
    share = np.cumsum(weights[order], axis=0) / weights.sum()
    first = np.argmax(share >= 0.5 - 1e-9, axis=0)
    return np.asarray(np.take_along_axis(np.take_along_axis(rows, order, 0), first[None], 0)[0], np.float64)
