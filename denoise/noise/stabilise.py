"""Photon noise made even: the generalised Anscombe transform, and how far its mean is off (YOND, arXiv 2506.03645).

A site holds y = gain·Poisson(x / gain) + N(0, read²), above black. In electrons, u = x / gain and s = read / gain, its
transform f = 2 sqrt(u + 3/8 + s²) has noise of about one, but its mean over the noise is not f of the mean: b(u, s) is
the difference, and the same for every camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHIFT = 3 / 8
MANY_E = 1000.0  # electrons beyond which the series is exact to nine digits
NODES = 129  # over the amplitudes that read noise reaches
REACH = 9.0  # standard deviations
DENSE = 2001  # numbers of electrons at which the inverse is tabulated
FEW = 1e-9  # read noise, in electrons, that is none


def stabilised(x_e: Floats, read_e: float) -> Floats:
    """f: electrons to values with a noise of about one."""
    return 2 * np.sqrt(np.maximum(x_e + SHIFT + read_e**2, 0))


def electrons(z: Floats, read_e: float) -> Floats:
    """The algebraic inverse of f."""
    return np.maximum(np.square(z) / 4 - SHIFT - read_e**2, 0)


def unbiased_electrons(z: Floats, read_e: float) -> Floats:
    """The mean number of electrons whose transforms have the mean z, in closed form (Mäkitalo and Foi 2013)."""
    positive = np.where(z > 0, z, 1)
    half = np.sqrt(1.5)
    series = positive**2 / 4 + half / (4 * positive) - 11 / (8 * positive**2) + 5 * half / (8 * positive**3)
    return np.where(z > 0, np.maximum(series - 1 / 8 - read_e**2, 0), 0)


def bias(mean_e: Floats, read_e: float) -> Floats:
    """b = E[f(y)] - f(E[y]), for each mean number of electrons."""
    mean_e = np.maximum(np.asarray(mean_e, np.float64), 0)
    found = bias_of_many(mean_e, read_e)
    few = mean_e < MANY_E
    if few.any():
        found[few] = expected(mean_e[few], read_e) - stabilised(mean_e[few], read_e)
    return found


Some = TypeVar("Some", bound=Any)  # an array or a tensor


def bias_of_many(mean_e: Some, read_e: Some | float) -> Some:
    """Taylor series to the fourth order around a large mean."""
    variance = mean_e + read_e**2
    v = variance + SHIFT
    second, third = variance / v**2, mean_e / v**3
    fourth = (mean_e + 3 * variance**2) / v**4
    bias: Some = 2 * v**0.5 * (-second / 8 + third / 16 - 5 * fourth / 128)
    return bias


def expected(mean_e: Floats, read_e: float) -> Floats:
    """E[f(y)]: the sum over all numbers of electrons, each with its read noise."""
    return np.asarray(chances(mean_e.ravel()) @ of_counts(len_of(mean_e), read_e)).reshape(mean_e.shape)


def short_by(algebraic_e: Floats, reads_e: Sequence[float]) -> Floats:
    """By how much the algebraic inverse of a mean of transforms falls short of the mean number of electrons: a column
    for every read noise."""
    mean_e = MANY_E * np.square(np.linspace(0, 1, DENSE))
    chance, count = chances(mean_e), len_of(mean_e)

    def column(read_e: float) -> Floats:
        found_e = np.square(chance @ of_counts(count, read_e)) / 4 - SHIFT - read_e**2
        return np.interp(algebraic_e, found_e, mean_e - found_e)

    return np.stack([column(read_e) for read_e in reads_e], -1)


def chances(mean_e: Floats) -> Floats:
    """Of every number of electrons (columns) for every mean (rows): Poisson's."""
    from scipy.special import gammaln, xlogy

    counts, mean_e = np.arange(len_of(mean_e)), mean_e[:, None]
    return np.asarray(np.exp(xlogy(counts, mean_e) - gammaln(counts + 1) - mean_e))


def len_of(mean_e: Floats) -> int:
    """So many counts have any chance."""
    most = float(mean_e.max())
    return int(most + 12 * np.sqrt(most + 1) + 25) + 1


def of_counts(count: int, read_e: float) -> Floats:
    return amplitudes(np.arange(count, dtype=np.float64) + SHIFT + read_e**2, read_e)


def amplitudes(centre: Floats, spread: float) -> Floats:
    """E[2 sqrt(max(centre + spread·Z, 0))] for a standard normal Z.

    Over q, the root itself, the integrand is smooth, even where the root is cut off at zero: equal steps are exact.
    """
    if spread < FEW:
        return 2 * np.sqrt(np.maximum(centre, 0))
    low = np.sqrt(np.maximum(centre - REACH * spread, 0))[:, None]
    high = np.sqrt(np.maximum(centre + REACH * spread, 0))[:, None]
    share = np.linspace(0, 1, NODES)
    q = low + (high - low) * share
    density = np.exp(-0.5 * np.square((q**2 - centre[:, None]) / spread)) / (spread * np.sqrt(2 * np.pi))
    weight = np.where((share == 0) | (share == 1), 0.5, 1) * (high - low) / (NODES - 1)
    return np.asarray((4 * q**2 * density * weight).sum(1))
