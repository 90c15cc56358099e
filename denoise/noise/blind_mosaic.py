"""The noise of one raw mosaic without a second frame: gain, read noise and how far its black level is wrong.

Variance grows with light like gain × (level - offset) + read², which alone cannot tell a wrong black level from
read noise. The skewness can: that of photons is gain² × (level - offset), that of read noise is none. It is only
seen in the dark, so the offset is often left untold, and where nothing is flat everything is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from denoise.noise.photon_transfer import Points, Transfer, cut, fitted
from denoise.signals import whole

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

SMALLEST = 64  # px
LARGE = 400_000  # sites of one colour; smaller mosaics are cut into smaller blocks
LARGE_SIDE, SMALL_SIDE = 16, 8  # sites of one colour, side of a block
PASSING = 2.5  # standard deviations that a flat block may be coarser
BINS = 12  # of brightness
FLATTEST = 0.3  # share of the blocks of one brightness that is looked at
FEWEST = 16  # blocks of one brightness of which something can be said
FEWEST_FLAT = 48  # of all
TEXTURE = 1.2  # differences along rows over those along diagonals; of white noise they are alike
STRAYING = 1.8  # of the blocks' variances around the line, chance being 1
VAGUE = 0.2  # relative standard error of the gain from which it is not told
NOMINAL_DN = 16383.0  # white, where nobody says how a file counts
TALLEST = 6.0  # standard deviations at which a value is cut before it is cubed


@dataclass(frozen=True)
class Measured:
    value: float
    error: float  # standard error

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.1g}"


@dataclass(frozen=True)
class MosaicNoise:
    """What could be measured, None what could not; `reason` says why."""

    gain_dn_per_e: Measured | None = None
    read_dn: Measured | None = None  # standard deviation; with the stated black level where the offset is None
    offset_dn: Measured | None = None  # what no light measures, above the stated black level
    confidence: float = 0.0  # 0 to 1, of the gain
    reason: str = ""
    blocks: int = 0  # flat ones that were measured

    def describe(self) -> str:
        if self.gain_dn_per_e is None:
            return f"noise unknown: {self.reason}"
        words = [f"gain {self.gain_dn_per_e} DN per electron"]
        words += [f"read noise {self.read_dn} DN"] if self.read_dn else []
        words += [f"black level off by {self.offset_dn} DN"] if self.offset_dn else []
        words += [self.reason] if self.reason else []
        return ", ".join(words) + f"; confidence {self.confidence:.2f}"


@dataclass(frozen=True)
class Blocks:
    """N blocks of one colour each, in DN above the stated black."""

    values: Array  # (N, 5): see the names below
    cells: int  # of 2×2 sites in each block

    @property
    def level(self) -> Array:
        return self.values[:, 0]

    @property
    def variance(self) -> Array:
        """By diagonal differences, which edges, gradients and the offsets of rows enter least."""
        return self.values[:, 1]

    @property
    def beside(self) -> Array:
        """Variance by differences of neighbouring columns; of white noise the same, of texture larger."""
        return self.values[:, 2]

    @property
    def coarse(self) -> Array:
        """Variance by 2×2 means, as white noise would have it; independent of the other two and of the skewness."""
        return self.values[:, 3]

    @property
    def skew(self) -> Array:
        """Third cumulant."""
        return self.values[:, 4]

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Blocks:
        return Blocks(self.values[chosen], self.cells)

    def __len__(self) -> int:
        return len(self.values)


def estimate(
    mosaic: NDArray[Any],
    black_dn: Sequence[float] | float = 0.0,  # one for all, or one per site of the 2×2 tile, row by row
    white_dn: float = math.inf,  # as the file counts, black included
    step_dn: float = 1.0,
) -> MosaicNoise:
    """From the flat parts of a mosaic (H, W) with a 2×2 colour filter of any order."""
    if min(mosaic.shape) < SMALLEST:
        return MosaicNoise(reason=f"the mosaic has less than {SMALLEST} × {SMALLEST} photosites")
    blocks = blocks_of(mosaic, black_dn, white_dn)
    flat = flattest(blocks)
    if len(flat) < FEWEST_FLAT:
        return MosaicNoise(reason="nothing in it is both flat and free of clipping", blocks=len(flat))
    flat = as_noisy_as(through(flat, step_dn), blocks, step_dn)
    line = doubted(through(flat, step_dn), through(flat, step_dn, "beside"))
    trouble = doubt(line)
    return MosaicNoise(reason=trouble, blocks=len(flat)) if trouble else told(line, flat)


def black_error(planes: Floats) -> float:
    """How far off black is in (4, h, w), where it should be 0 and white 1; the less of it the less sure it is."""
    found = estimate(whole(planes) * NOMINAL_DN, white_dn=NOMINAL_DN).offset_dn
    if found is None:
        return 0.0
    sure = found.value**2 / (found.value**2 + found.error**2)
    return sure * found.value / NOMINAL_DN


def through(flat: Blocks, step_dn: float, measure: Literal["variance", "beside"] = "variance") -> Transfer:
    variance: Array = getattr(flat, measure)
    return fitted(Points(flat.level, variance - step_dn**2 / 12, np.full(len(flat), float(flat.cells))))


def doubted(line: Transfer, other: Transfer) -> Transfer:
    """With what structure is left as part of the errors: it enters the other measure two or three times as much."""
    gain = math.hypot(line.gain_error, (line.gain_dn_per_e - other.gain_dn_per_e) / 2)
    dark = math.hypot(line.dark_error, (line.dark_dn2 - other.dark_dn2) / 2)
    return replace(line, gain_error=gain, dark_error=dark)


def doubt(line: Transfer) -> str:
    """Why the line is not to be trusted; empty where it is."""
    if line.spread > STRAYING:
        return "nothing in it is flat: what seems so differs from place to place"
    if line.gain_error > VAGUE * abs(line.gain_dn_per_e):
        return "its flat parts are too much alike in brightness to tell the gain from read noise"
    return "" if line.gain_dn_per_e > 0 else "its noise does not grow with light, so it is not raw"


def told(line: Transfer, flat: Blocks) -> MosaicNoise:
    gain = Measured(line.gain_dn_per_e, line.gain_error)
    offset = offset_of(line, flat)
    known = offset.error <= max(gain.value / 3, 1.0)  # a third of an electron, or one step
    dark = line.dark_dn2 + (gain.value * offset.value if known else 0.0)
    error = math.hypot(line.dark_error, gain.value * offset.error if known else 0.0)
    read = Measured(math.sqrt(dark), error / (2 * math.sqrt(dark))) if dark > error else None
    confidence = max(0.0, 1 - gain.error / gain.value / VAGUE)
    reason = "" if known else "too bright for the black level to be checked"
    return MosaicNoise(gain, read, offset if known else None, confidence, reason, len(flat))


def offset_of(line: Transfer, flat: Blocks) -> Measured:
    """From third cumulants, which are gain² × (level - offset); the darker a block, the surer.

    What little structure is left in the blocks adds gain × its differences, squared, since the brighter side of
    each is the noisier one. What that changes counts as error.
    """
    gain = line.gain_dn_per_e
    noise = np.maximum(line.at(flat.level), 0.02 * np.median(flat.variance))
    weight = gain**4 * flat.cells / (4 * noise**3)  # var(k3) of four values is 4 sigma⁶
    structure = 2 * gain * (flat.beside - flat.variance)  # 2: along rows, and the same again along columns
    level, skew, changed = (
        float(np.average(part, weights=weight)) for part in (flat.level, flat.skew - structure, structure)
    )
    above = skew / gain**2
    chance = float(
        np.average((flat.skew - structure - gain * gain * (flat.level - level + above)) ** 2, weights=weight**2)
    )
    chance *= float(np.square(weight).sum() / weight.sum() ** 2)
    errors = (math.sqrt(chance) / gain**2, 2 * above * line.gain_error / gain, changed / gain**2)
    return Measured(level - above, math.hypot(*errors))


# Blocks


def blocks_of(mosaic: NDArray[Any], black_dn: Sequence[float] | float, white_dn: float) -> Blocks:
    """All blocks of all colours that are free of clipping, at white and at the lowest value of all."""
    black = np.broadcast_to(np.asarray(black_dn, np.float64), (4,))
    side = LARGE_SIDE if mosaic.size > 4 * LARGE else SMALL_SIDE
    lowest = float(mosaic.min())
    planes = (mosaic[site // 2 :: 2, site % 2 :: 2] for site in range(4))
    clear = (unclipped(cut(plane.astype(np.float64), side), lowest, white_dn) for plane in planes)
    values = np.concatenate([measured(blocks, black[site]) for site, blocks in enumerate(clear)])
    return Blocks(values, side**2 // 4)


def unclipped(blocks: Array, lowest: float, white: float) -> Array:
    low, high = blocks.min((1, 2)), blocks.max((1, 2))
    return blocks[(low > lowest) & (high < white) & np.isfinite(low) & np.isfinite(high)]


def measured(blocks: Array, black: float) -> Array:
    """(N, 5) of (N, side, side)."""
    a, b, c, d = (blocks[:, r::2, c::2] for r in (0, 1) for c in (0, 1))
    diagonal, beside, below = a - b - c + d, a - b + c - d, a + b - c - d  # each of variance 4 sigma²
    variance = np.square(diagonal).mean((1, 2)) / 4
    next_to = beside.var((1, 2), ddof=1) / 4  # a slope through the whole block is no structure
    level = blocks.mean((1, 2)) - black
    return np.stack([level, variance, next_to, coarseness(a + b + c + d), skewness(diagonal, beside, below)], -1)


def coarseness(sums: Array) -> Array:
    """Variance of 2×2 means times 4, without the mean of each row and the slope along them."""
    side = sums.shape[2]
    rest = sums - sums.mean(2, keepdims=True)
    slope = np.arange(side) - (side - 1) / 2
    slope /= np.sqrt(side * np.square(slope).sum())
    rest -= (rest * slope).sum((1, 2), keepdims=True) * slope
    return np.asarray(np.square(rest).sum((1, 2)) / (4 * freedom(side)))


def freedom(side: int) -> int:
    return side * (side - 1) - 1


def skewness(diagonal: Array, beside: Array, below: Array) -> Array:
    """Third cumulant by k-statistics of four values: 2/3 of their cubes' sum, here as the product of differences."""
    tallest = TALLEST * np.sqrt(np.square(diagonal).mean((1, 2), keepdims=True))
    one, two, three = (np.clip(part, -tallest, tallest) for part in (diagonal, beside, below))
    return np.asarray((one * two * three).mean((1, 2)) / 4)


def flattest(blocks: Blocks) -> Blocks:
    """Of each brightness the blocks with the least coarse structure, where the fine one looks like noise."""
    chosen = [part for part in by_level(blocks) if looks_white(blocks[part])]
    return blocks[np.concatenate([np.zeros(0, np.intp), *chosen])]


def looks_white(part: Blocks) -> bool:
    return bool(np.median(part.beside) < TEXTURE * np.median(part.variance))


def by_level(blocks: Blocks, share: float = FLATTEST, fewest: int = FEWEST) -> Iterator[NDArray[np.intp]]:
    order = np.argsort(blocks.level, kind="stable")
    bins = min(BINS, int(share * len(blocks)) // fewest)
    for part in np.array_split(order, bins) if bins else []:
        count = max(fewest, int(share * len(part)))
        yield part[np.argsort(blocks.coarse[part], kind="stable")[:count]]


def as_noisy_as(line: Transfer, blocks: Blocks, step_dn: float) -> Blocks:
    """All blocks with no more coarse structure than such noise has, which leaves what is measured alone."""
    usual = np.maximum(line.at(blocks.level), 0) + step_dn**2 / 12
    chance = math.sqrt(2 / freedom(math.isqrt(blocks.cells)))
    return blocks[blocks.coarse < usual * (1 + PASSING * chance)]
