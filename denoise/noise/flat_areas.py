"""Gain and read noise of a raw picture from its flat areas: coarsely from itself, finely beside its denoised twin
(YOND, arXiv 2506.03645).

Every pixel gives a point: the mean of a box around it and the variance in it. Where the picture is flat that is noise,
and the points lie on a line: variance = gain·mean + read².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.floating[Any]]

BOX = 29  # px of a plane
STEPS = 20  # of the threshold, as shares of all pixels
LEVELS = 1000  # of brightness, counted to see whether the flat areas span them
DARKEST, BRIGHTEST = 1e-4, 0.8  # means that are fitted, of full scale
FEWEST = 0.01  # share of the points below which those outside are taken as well
QUARTER = 25  # percent of the flattest pixels, where the threshold leaves none


@dataclass(frozen=True)
class Line:
    """Variance over mean, of full scale."""

    gain: float  # full scales per electron
    read_variance: float

    @property
    def read(self) -> float:
        return float(np.sqrt(max(self.read_variance, 0.0)))


def coarse(noisy: Planes, box: int = BOX) -> Line:
    """(H, W, 4), black is 0 and white 1: from the picture alone."""
    smooth = box // 3 * 2 + 1
    return line(box_mean(noisy, box), box_variance(noisy, box), np.sqrt(box_variance(box_mean(noisy, smooth), box)))


def fine(noisy: Planes, denoised: Planes, before: Line, box: int = BOX) -> Line:
    """Beside the picture denoised by the line `before`, which it falls back to where no line can be seen."""
    structure = box_variance(denoised, box)
    found = line(box_mean(denoised, box), box_variance(noisy, box) - structure, np.sqrt(structure))
    if found.gain < 0:
        return before
    return found if found.read_variance >= 0 else Line(found.gain, found.gain**2)


def line(mean: Planes, variance: Planes, structure: Planes) -> Line:
    flat = structure < flatness(mean, structure)[0]
    if not flat.any():
        flat = structure <= np.percentile(structure, QUARTER)
    x, y = mean[flat].astype(np.float64), variance[flat].astype(np.float64)
    inside = (x > DARKEST) & (x < BRIGHTEST)
    if inside.mean() > FEWEST:
        x, y = x[inside], y[inside]
    slope = float(np.mean((x - x.mean()) * (y - y.mean())) / max(x.var(), 1e-30))
    return Line(slope, float(y.mean() - slope * x.mean()))


def flatness(mean: Planes, structure: Planes) -> tuple[float, int]:
    """The largest structure that counts as flat, and its percentile: flat areas should still span many levels."""
    level = np.floor(np.clip(mean, 0, 1) * LEVELS).astype(np.int64).clip(max=LEVELS - 1)
    least_of_level = np.full(LEVELS, np.inf)
    np.minimum.at(least_of_level, level.ravel(), structure.ravel())
    percents = np.r_[5, np.arange(10, 101, 5)]
    thresholds = np.asarray(np.percentile(structure, percents))
    spanned = (least_of_level <= thresholds[:, None]).sum(1)
    scores = thresholds / (percents * np.maximum(spanned, 1))
    best = 1 + int(np.argmin(scores[1:]))
    return float(thresholds[best]), int(percents[best])


def box_mean(planes: Planes, box: int) -> Planes:
    """Of the box × box pixels around each, mirrored at the borders."""
    from scipy.ndimage import uniform_filter

    found: Planes = uniform_filter(planes.astype(np.float64), (box, box, 1), mode="mirror")
    return found


def box_variance(planes: Planes, box: int) -> Planes:
    return np.maximum(box_mean(np.square(planes, dtype=np.float64), box) - np.square(box_mean(planes, box)), 0)
