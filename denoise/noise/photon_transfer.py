"""Photon transfer: what one electron is worth in a file, from pairs of equally bright pictures of something flat.

The variance of the difference of two such frames grows with their brightness like gain × level + read²; whatever
is the same in both (dust, vignetting, the fixed pattern) falls out, and so do the offsets of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import UserError

Array = NDArray[np.float64]

TILE = 32  # sites of one colour, side of what gives one point of the curve
FEWEST_TILES = 12  # over all pairs; fewer make no line
SATURATED = 0.002  # share of photosites at white above which a flat is refused
DARKEST_CLEAR = 4.0  # standard deviations that a tile has to stay below white
ALIKE = 0.03  # two frames of a pair differ in brightness by less
OUTLYING = 2.5  # standard errors from which a point counts less (Huber)
ROUNDS = 12
VAGUE = 0.15  # relative standard error of the gain from which it is not told


@dataclass(frozen=True)
class Points:
    """One per tile: how bright it is above black and how noisy, in DN and DN²."""

    level: Array
    variance: Array
    freedom: Array  # how many independent differences each variance comes from


@dataclass(frozen=True)
class Transfer:
    """The line through them, with standard errors."""

    gain_dn_per_e: float
    gain_error: float
    dark_dn2: float  # variance without light
    dark_error: float
    r2: float  # share of the differences between the tiles that the line explains
    spread: float  # how far they stray from it, chance being 1
    points: Points

    @property
    def read_dn(self) -> float | None:
        """None where the line meets black below zero: too little dark to tell."""
        return float(np.sqrt(self.dark_dn2)) if self.dark_dn2 > 0 else None

    @property
    def read_error(self) -> float:
        return self.dark_error / (2 * self.read_dn) if self.read_dn else float(np.sqrt(self.dark_error))

    def at(self, level: Array) -> Array:
        return self.gain_dn_per_e * level + self.dark_dn2

    def describe(self) -> str:
        read = "read noise not to be told" if self.read_dn is None else f"read noise {self.read_dn:.2f} DN"
        return f"gain {self.gain_dn_per_e:.4g} ± {self.gain_error:.1g} DN per electron, {read}"


def transfer(
    pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    black_dn: Sequence[float] | float = 0.0,  # one for all, or one per site of the 2×2 tile, row by row
    white_dn: float = np.inf,  # as the file counts, black included
    step_dn: float = 1.0,
) -> Transfer:
    """The gain from pairs of mosaics (H, W) of equal exposure; a pair of dark frames is a pair without light."""
    if not pairs:
        raise UserError("There is no pair of flat frames; take two of each exposure.")
    found = [points_of(first, second, black_dn, white_dn, step_dn) for first, second in pairs]
    points = Points(*(np.concatenate(parts) for parts in zip(*map(parts_of, found), strict=True)))
    if len(points.level) < FEWEST_TILES:
        raise UserError(
            f"The flat frames hold {len(points.level)} usable tiles of {2 * TILE} px; larger ones are needed."
        )
    return told(fitted(points))


def told(line: Transfer) -> Transfer:
    """Refused where the brightnesses are too much alike, or nothing grows with them."""
    low, high = line.points.level.min(), line.points.level.max()
    if line.gain_dn_per_e <= 0 or line.gain_error > VAGUE * line.gain_dn_per_e:
        raise UserError(
            f"The flat frames reach from {low:.0f} to {high:.0f} DN above black, too little for a gain; "
            "add pairs of other exposures, or dark frames."
        )
    return line


def parts_of(points: Points) -> tuple[Array, Array, Array]:
    return points.level, points.variance, points.freedom


def points_of(
    first: NDArray[Any],
    second: NDArray[Any],
    black_dn: Sequence[float] | float,
    white_dn: float,
    step_dn: float,
) -> Points:
    """Of every tile and colour of one pair, those near white left out."""
    if first.shape != second.shape:
        raise UserError(f"Flat frames of {said(first)} and {said(second)} make no pair; take both with one camera.")
    refuse_saturated(first, white_dn)
    refuse_saturated(second, white_dn)
    black = np.broadcast_to(np.asarray(black_dn, np.float64), (4,))
    parts = [tiled(first[r::2, c::2], second[r::2, c::2], black[2 * r + c]) for r in (0, 1) for c in (0, 1)]
    level, variance, freedom, top = (np.concatenate(part) for part in zip(*parts, strict=True))
    clear = top + DARKEST_CLEAR * np.sqrt(variance) < white_dn
    return Points(level[clear], variance[clear] - step_dn**2 / 12, freedom[clear])


def said(frame: NDArray[Any]) -> str:
    return f"{frame.shape[1]} × {frame.shape[0]}"


def tiled(first: NDArray[Any], second: NDArray[Any], black: float) -> tuple[Array, Array, Array, Array]:
    """Level, variance, degrees of freedom and mean as the file counts, of the tiles of one colour."""
    side = min(TILE, *first.shape)
    one, two = (cut(frame.astype(np.float64), side) for frame in (first, second))
    apart = one - two
    apart = apart - apart.mean(2, keepdims=True)  # the offset of each row
    freedom = side * (side - 1)
    variance = np.square(apart).sum((1, 2)) / (2 * freedom)
    mean = (one + two).mean((1, 2)) / 2
    return mean - black, variance, np.full(len(mean), float(freedom)), mean


def cut(plane: Array, side: int) -> Array:
    """(tiles, side, side)."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    whole = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return whole.swapaxes(1, 2).reshape(-1, side, side)


def refuse_saturated(frame: NDArray[Any], white_dn: float) -> None:
    if frame.min() == frame.max() < white_dn:
        raise UserError(f"A flat frame is {frame.max():g} DN everywhere, without noise; give one that a camera took.")
    share = saturated(frame, white_dn)
    if share > SATURATED:
        raise UserError(
            f"A flat frame is saturated: {100 * share:.1f} % of its photosites are at white; expose it shorter."
        )


def saturated(frame: NDArray[Any], white_dn: float) -> float:
    """The share at white, or heaped at the largest value where white is not known."""
    at_white = float((frame >= white_dn).mean())
    top = frame.max()
    heaped = int((frame == top).sum())
    below = frame[frame < top]
    beside = int((below == below.max()).sum()) if below.size else 0
    return max(at_white, heaped / frame.size if heaped > 2 * beside else 0.0)


def fitted(points: Points) -> Transfer:
    """Least squares where a tile weighs by what its variance should scatter, stray ones less (Huber)."""
    design: NDArray[Any] = np.stack([points.level, np.ones_like(points.level)], -1)
    variance = points.variance
    line: NDArray[Any] = np.linalg.lstsq(design, variance, rcond=None)[0]
    for _ in range(ROUNDS):
        scatter = np.maximum(design @ line, 0.02 * np.median(variance)) * np.sqrt(2 / points.freedom)
        away = np.abs(variance - design @ line) / scatter
        spread = max(1.0, float(np.median(away)) / 0.6745)
        weight: NDArray[Any] = np.minimum(1.0, OUTLYING * spread / np.maximum(away, 1e-12)) / scatter**2
        normal = design.T @ (weight[:, None] * design)
        line = np.linalg.solve(normal, design.T @ (weight * variance))
    gain_error, dark_error = (spread * float(root) for root in np.sqrt(np.diag(np.linalg.inv(normal))))
    r2 = explained(points, line, weight)
    return Transfer(float(line[0]), gain_error, float(line[1]), dark_error, r2, spread, points)


def explained(points: Points, line: NDArray[Any], weight: NDArray[Any]) -> float:
    mean = np.average(points.variance, weights=weight)
    rest = np.average((points.variance - line[0] * points.level - line[1]) ** 2, weights=weight)
    return float(1 - rest / max(np.average((points.variance - mean) ** 2, weights=weight), 1e-30))


def paired(frames: Sequence[NDArray[Any]], black_dn: float = 0.0) -> tuple[list[tuple[int, int]], list[int]]:
    """Which frames make pairs, by brightness, and which are left alone; each frame is used once."""
    level = [float(frame.mean()) - black_dn for frame in frames]
    waiting = sorted(range(len(frames)), key=lambda index: level[index])
    pairs, alone = [], []
    while waiting:
        first = waiting.pop(0)
        if waiting and abs(level[waiting[0]] - level[first]) <= ALIKE * max(abs(level[first]), 1.0):
            pairs.append((first, waiting.pop(0)))
        else:
            alone.append(first)
    return pairs, alone
