"""How noisy is a picture, without its clean original: measured where it is flat, in units of 1/255 of white."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.noise.impulses import struck
from denoise.signals import Picture

Array = NDArray[np.float64]
Values = NDArray[np.floating[Any]]  # float32

BLOCK = 16  # px, side of what is called flat or not
PATCH = 96  # px, side of a sampled part of a large picture
SAMPLED = 1_500_000  # px, of larger pictures about so many are looked at
SMALL = 400_000  # px: blocks of smaller pictures overlap by half, so that none is missed
BINS = 8  # of brightness, each measured on its own
TYPICAL = 0.4  # quantile over the brightnesses: texture errs upwards only
FLATTEST = 0.1  # share of the blocks of one brightness that counts as flat
FEWEST = 24  # blocks of one brightness, of which half are looked at; fewer say nothing
CLIPPED = 0.05  # share of samples at black or white above which a block says nothing
LOOSE = 0.25  # of log variance over half of the flat blocks; above, it is texture that is seen
LOOSER = 0.25  # more of it per coarseness, since coarse grains leave fewer independent samples to a block
TEXTURE = 2.8  # sigma of 4×4 means, times 4, over sigma: above, it is not noise
ENOUGH = 3 / 8  # of the brightnesses must be measurable
ALIKE = 1.25  # noise is about equally coarse at every brightness
WHITE = 1.3  # largest coarseness of noise that is independent from pixel to pixel
CLEAN = 1.0  # of 255
APART = 40  # of 255, between dark and bright, for a law to be seen
ROUNDING = 1 / 12  # variance that 8 bits bring by themselves
UNEVEN = 1.3  # sigma in shadows over that in lights, or the other way round, that is told
SURE = 0.8  # confidence from which a line is told


@dataclass(frozen=True)
class Line:
    """Variance over brightness: gain × value + read², values of 0 to 255."""

    gain: float  # 255ths per photon
    read: float  # of 255, what remains in the dark
    confidence: float  # 0 to 1: how much of the differences between the brightnesses it explains

    @property
    def photons_at_white(self) -> float:
        return 255 / self.gain


@dataclass(frozen=True)
class PictureNoise:
    """What could be measured; `sigma` is None where too little is flat."""

    sigma: float | None  # of 255, over all colours
    coarseness: float = 1.0  # 2 × sigma of 2×2 means over sigma: white 1, photographs about 1.6
    coarse_sigma: float = 0.0  # of 255: the white noise that has as much left in 4×4 means
    line: Line | None = None
    blocks: int = 0  # flat ones that were measured
    shadows: float = 1.0  # sigma at the darkest of the brightnesses over that at the brightest
    struck: float = 0.0  # share of the samples that are black or white out of nowhere

    @property
    def clean(self) -> bool:
        return self.sigma is not None and self.sigma < CLEAN and not self.struck

    @property
    def white(self) -> bool:
        return self.coarseness < WHITE

    def describe(self) -> str:
        if self.struck:
            return f"salt and pepper on {100 * self.struck:.2g} % of its samples; other noise cannot be told beside it"
        if self.sigma is None:
            return "noise unknown: too little of the picture is both flat and free of clipping"
        if self.clean:
            return f"clean: sigma {self.sigma:.1f} of 255 in its flat parts"
        parts = [f"noise of sigma {self.sigma:.1f} of 255", self.texture()]
        if self.line is not None:
            read = f", {self.line.read:.1f} of 255 of read noise" if self.line.read >= 0.1 else ""
            parts.append(f"growing with brightness like {self.line.photons_at_white:.0f} photons at white{read}")
        elif max(self.shadows, 1 / self.shadows) > UNEVEN:
            parts.append(f"stronger in the {'shadows' if self.shadows > 1 else 'lights'}")
        return ", ".join(parts)

    def texture(self) -> str:
        if self.white:
            return "independent from pixel to pixel"
        return f"in grains of several pixels (its coarse part is as strong as white noise of {self.coarse_sigma:.1f})"


@dataclass(frozen=True)
class Blocks:
    """N blocks of one colour each, values of 0 to 255."""

    mean: Array  # (N,)
    variance: Array  # (N, 3): of single pixels, of 2×2 and of 4×4 means, as white noise would have it
    around: Array  # (N,): variance of the neighbours, which says whether it is flat here and is not measured
    clipped: Array  # (N,): share of samples at black or white

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Blocks:
        return Blocks(*(part[chosen] for part in (self.mean, self.variance, self.around, self.clipped)))

    def __len__(self) -> int:
        return len(self.around)


def estimate(picture: Picture) -> PictureNoise:
    """The noise of a picture, from its flat blocks; of a large one only parts are looked at."""
    return replace(measured_where_flat(picture), struck=struck(picture))


def measured_where_flat(picture: Picture) -> PictureNoise:
    if min(picture.height, picture.width) < 2 * BLOCK:
        return PictureNoise(None)
    found = [level_of(part) for part in by_brightness(readable(gathered(picture)))]
    levels = alike([level for level in found if level is not None])
    if len(levels) < ENOUGH * len(found) or not levels:
        return PictureNoise(None)
    fine, paired, coarse = np.sqrt(np.quantile([level.variance for level in levels], TYPICAL, axis=0))
    ratio = float(paired / fine) if fine > 0 else 1.0
    blocks = sum(level.blocks for level in levels)
    return PictureNoise(float(fine), ratio, float(coarse), line_through(levels), blocks, in_shadows(levels))


@dataclass(frozen=True)
class Level:
    """The noise at one brightness."""

    value: float
    variance: Array  # (3,), as in Blocks
    blocks: int

    @property
    def coarseness(self) -> float:
        return float(np.sqrt(self.variance[1] / max(self.variance[0], ROUNDING)))


def readable(blocks: Blocks) -> Blocks:
    known = np.isfinite(blocks.around) & np.isfinite(blocks.variance).all(1)
    return blocks[known & (blocks.clipped < CLIPPED)]


def by_brightness(blocks: Blocks) -> Iterator[Blocks]:
    """Parts of equal number, from dark to bright."""
    order = np.argsort(blocks.mean, kind="stable")
    bins = min(BINS, len(blocks) // FEWEST)
    for part in np.array_split(order, bins) if bins else []:
        yield blocks[part]


def level_of(blocks: Blocks) -> Level | None:
    """The noise in the blocks with the flattest surroundings, if these agree on it."""
    count = max(FEWEST // 2, int(FLATTEST * len(blocks)))
    flat = blocks[np.argsort(blocks.around, kind="stable")[:count]]
    variance, spread = densest(flat.variance)
    level = Level(float(np.median(flat.mean)), variance, len(flat))
    if variance[0] < CLEAN**2:
        return level
    agree = spread < LOOSE + LOOSER * (min(level.coarseness, 1.8) - 1)
    return level if agree and variance[2] < TEXTURE**2 * variance[0] else None


def densest(variances: Array) -> tuple[Array, float]:
    """Medians of the half of the blocks that agree best, and how far apart (in log variance) these are."""
    order = np.argsort(variances[:, 0], kind="stable")
    ranked = np.log(np.maximum(variances[order, 0], ROUNDING))
    half = (len(order) + 1) // 2
    widths = ranked[half - 1 :] - ranked[: len(order) - half + 1]
    start = int(np.argmin(widths))
    return np.median(variances[order[start : start + half]], axis=0), float(widths[start])


def alike(levels: list[Level]) -> list[Level]:
    """Without those that are much coarser than the finest: what these show is texture."""
    finest = min((level.coarseness for level in levels if level.variance[0] > ROUNDING), default=1.0)
    return [level for level in levels if level.coarseness < ALIKE * finest]


def in_shadows(levels: list[Level]) -> float:
    """From dark to bright; 1 where they differ too little in brightness."""
    darkest, brightest = levels[0], levels[-1]
    if brightest.value - darkest.value < APART:
        return 1.0
    return math.sqrt(max(darkest.variance[0], ROUNDING) / max(brightest.variance[0], ROUNDING))


def line_through(levels: list[Level]) -> Line | None:
    """The line of variance over brightness, if brighter parts are clearly noisier."""
    value = np.array([level.value for level in levels])
    variance = np.array([level.variance[0] for level in levels])
    if len(levels) < 4 or np.ptp(value) < APART:
        return None
    weight = 1 / np.maximum(variance, CLEAN**2)
    gain, dark = np.polyfit(value, variance, 1, w=weight)
    unexplained = np.average((variance - gain * value - dark) ** 2, weights=weight**2)
    differing = np.average((variance - np.average(variance, weights=weight**2)) ** 2, weights=weight**2)
    confidence = float(1 - unexplained / max(differing, 1e-9))
    if confidence < SURE or gain * np.ptp(value) < 0.3 * np.median(variance):
        return None
    return Line(float(gain), float(np.sqrt(max(dark, 0))), confidence)


def gathered(picture: Picture) -> Blocks:
    """Every block of a small picture, or of parts evenly spread over a large one."""
    if picture.height * picture.width > SAMPLED:
        return measured(parts_of(picture), BLOCK)
    whole = picture.pixels[None] * np.float32(255 / picture.white)
    return measured(whole, BLOCK if whole.shape[1] * whole.shape[2] > SMALL else BLOCK // 2)


def parts_of(picture: Picture) -> Values:
    """(N, h, w, C), values of 0 to 255."""
    share = float(np.sqrt(SAMPLED / (picture.height * picture.width)))
    corners = [(top, left) for top in spread(picture.height, share) for left in spread(picture.width, share)]
    parts = np.stack([picture.pixels[top : top + PATCH, left : left + PATCH] for top, left in corners])
    return parts * np.float32(255 / picture.white)


def spread(length: int, share: float) -> list[int]:
    count = max(2, round(share * length / PATCH))
    return [int(start) for start in np.linspace(0, max(0, length - PATCH), count)]


def measured(parts: Values, stride: int) -> Blocks:
    """Every block of parts (N, h, w, C) of a picture."""
    windows = np.lib.stride_tricks.sliding_window_view(parts, (BLOCK, BLOCK), axis=(1, 2))
    chosen = windows[:, ::stride, ::stride].astype(np.float32)  # N, rows, columns, C, 16, 16
    *grid, colours = chosen.shape[:4]
    values = chosen.reshape(-1, BLOCK * BLOCK)
    variance = variances(values - (values @ SLOPES.T) @ SLOPES)
    around = neighbours(variance[:, 0].reshape(*grid, colours).mean(-1), BLOCK // stride)
    clipped = ((values <= 0.5) | (values >= 254.5)).mean(1)
    return Blocks(values.mean(1, dtype=np.float64), variance, np.repeat(around, colours), clipped)


def slopes() -> Values:
    """The three pictures of one block, orthonormal, whose sum any plane is."""
    at = np.arange(BLOCK, dtype=np.float32) - (BLOCK - 1) / 2
    flat = np.ones(BLOCK, np.float32)
    planes = np.stack([np.outer(flat, flat), np.outer(at, flat), np.outer(flat, at)]).reshape(3, -1)
    unit: Values = planes / np.linalg.norm(planes, axis=1, keepdims=True)
    return unit


SLOPES = slopes()


def variances(rest: Values) -> Array:
    """(N, 3) of (N, 256), means and slopes taken away: for white noise all three are its variance."""
    pixels = rest.reshape(-1, BLOCK, BLOCK)
    pairs = halved(pixels)
    return np.stack([power(pixels, 1), power(pairs, 2), power(halved(pairs), 4)], -1)


def halved(pixels: Values) -> Values:
    """Means of 2×2."""
    rows = pixels[..., ::2, :] + pixels[..., 1::2, :]
    means: Values = (rows[..., ::2] + rows[..., 1::2]) / np.float32(4)
    return means


def power(means: Values, side: int) -> Array:
    """Variance of means of side × side pixels, times their number."""
    flat = means.reshape(len(means), -1)
    squares = np.einsum("ni,ni->n", flat, flat).astype(np.float64)
    variance: Array = squares * side**2 / (flat.shape[1] - 3)
    return variance


def neighbours(variance: Array, step: int) -> Array:
    """Median over the blocks above, below, left and right, those that do not overlap with this one."""
    _, height, width = variance.shape
    padded = np.pad(variance, ((0, 0), (step, step), (step, step)), mode="reflect")
    places = ((0, step), (2 * step, step), (step, 0), (step, 2 * step))
    middle: Array = np.median([padded[:, top : top + height, left : left + width] for top, left in places], axis=0)
    return middle
