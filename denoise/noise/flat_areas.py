"""Gain and read noise of a raw picture from its flat areas: coarsely from itself, finely beside its denoised twin
(YOND, arXiv 2506.03645).

Every pixel gives a point: the mean of a box around it and the variance in it. Where the picture is flat that is noise,
and the points lie on a line: variance = gain·mean + read².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise.noise.blind_mosaic import blocks_of, by_level
from denoise.signals import whole

Planes = NDArray[np.floating[Any]]

BOX = 29  # px of a plane
STEPS = 20  # of the threshold, as shares of all pixels
LEVELS = 1000  # of brightness, counted to see whether the flat areas span them
DARKEST, BRIGHTEST = 1e-4, 0.8  # means that are fitted, of full scale
FEWEST = 0.01  # share of the points below which those outside are taken as well
QUARTER = 25  # percent of the flattest pixels, where the threshold leaves none
FLATTEST, FEWEST_BLOCKS = 0.05, 4  # share of the blocks of one brightness in which the ceiling is measured
CHANCE = 1.15  # the lowest of a dozen measurements is about so much too low
LEAST_VARIANCE = 1e-9  # below one step of 14 bits
LIGHT_SIDE, LIT = 8, 0.95  # cells; share of the blocks
ABOVE = 1.3  # times the ceiling that a line may be: it has errors of its own


@dataclass(frozen=True)
class Line:
    """Variance over mean, of full scale."""

    gain: float  # full scales per electron
    read_variance: float

    def at(self, mean: float) -> float:
        """The variance."""
        return self.gain * mean + self.read_variance

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


def bounded(found: Line, noisy: Planes) -> Line:
    """Where nothing is flat, texture is taken for noise; where there is hardly any light, a line means nothing: then
    the ceiling in its place."""
    most, mean = ceiling(noisy), max(float(noisy.mean()), 0.0)  # black may lie below the stated level
    return found if most is None or found.at(mean) <= ABOVE * most.at(mean) else most


def ceiling(noisy: Planes) -> Line | None:
    """No more than that is noise: the highest line above none of the flattest blocks of every brightness, which are
    measured by their finest differences, since texture enters these least. None where there are too few blocks."""
    from scipy.optimize import linprog

    blocks = blocks_of(whole(np.moveaxis(noisy, -1, 0)), 0.0, 1.0)
    parts = [blocks[part] for part in by_level(blocks, FLATTEST, FEWEST_BLOCKS)]
    if not parts:
        return None
    mean, variance = np.array([(part.level.mean(), part.variance.mean()) for part in parts]).T
    usual = max(float(np.median(variance)), LEAST_VARIANCE)
    sides = np.stack([mean.clip(min=0), np.ones(len(mean))], 1)
    most = CHANCE * np.maximum(variance / usual, LEAST_VARIANCE)
    gain, read_variance = usual * linprog(-sides.mean(0), sides, most).x  # neither below zero
    return Line(float(gain), float(read_variance))


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


def light_of(cells: Tensor) -> float:
    """What all but a twentieth of the blocks of (1, 4, h, w) are not brighter than, white is 1: lamps do not count."""
    side = min(LIGHT_SIDE, *cells.shape[2:])
    blocks = torch.nn.functional.avg_pool2d(cells.float(), side).amax(1)
    return min(1.0, float(np.quantile(blocks.cpu().numpy(), LIT)))


def usual_variance(survey: Tensor) -> Tensor:
    """(B, 4, 4), of each colour shot, read, bias and light -> (B,): the mean variance at half of the light."""
    shot, read, _, light = survey.unbind(-1)
    return (shot * light / 2 + read).mean(1)


def box_mean(planes: Planes, box: int) -> Planes:
    """Of the box × box pixels around each, mirrored at the borders."""
    from scipy.ndimage import uniform_filter

    found: Planes = uniform_filter(planes.astype(np.float64), (box, box, 1), mode="mirror")
    return found


def box_variance(planes: Planes, box: int) -> Planes:
    return np.maximum(box_mean(np.square(planes, dtype=np.float64), box) - np.square(box_mean(planes, box)), 0)
