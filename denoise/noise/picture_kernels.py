"""White noise on pictures, one pass each, in compiled code.

A number depends on the seed and on the place in the whole picture (plane, row, column) alone: threads and tiles may
cut as they like. Pictures are float32 (planes, rows, columns)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from denoise.noise import photon_kernels
from denoise.noise.counted import begun, normal, unit, word

AXIS_BITS = 24  # of a counter, for each of row and column
FEW_PHOTONS = photon_kernels.few_table()
ATTEMPTS = 40  # at a gamma number; each fails at most once in twenty


@njit(cache=True, inline="always")
def place(plane: Any, row: Any, column: Any) -> Any:
    return (np.int64(plane) << (2 * AXIS_BITS)) | (np.int64(row) << AXIS_BITS) | np.int64(column)


@njit(cache=True)
def gamma(shape: Any, seed: Any, at: Any) -> Any:
    """A gamma number of that shape and scale 1 (Marsaglia and Tsang 2000); each attempt has its own streams."""
    raised = shape if shape >= 1 else shape + 1
    d = raised - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    found = d
    for attempt in range(ATTEMPTS):
        stream = 3 * attempt
        z = normal(word(begun(seed, stream), stream, at), word(begun(seed, stream + 1), stream + 1, at))
        chance = unit(word(begun(seed, stream + 2), stream + 2, at))
        v = (1 + c * z) ** 3
        if v > 0 and math.log(chance) < 0.5 * z * z + d - d * v + d * math.log(v):
            found = d * v
            break
    if shape < 1:
        last = 3 * ATTEMPTS
        found *= float(unit(word(begun(seed, last), last, at))) ** (1.0 / shape)
    return np.float32(found)


@njit(cache=True, parallel=True)
def heteroscedastic(clean: Any, constant: float, linear: float, square: float, seed: Any, top: int, left: int) -> Any:
    """Gaussian noise of variance constant + linear·x + square·x²."""
    planes, rows, columns = clean.shape
    out = np.empty_like(clean)
    first, second = begun(seed, 0), begun(seed, 1)
    for index in prange(planes * rows):
        plane, row = index // rows, index % rows
        for column in range(columns):
            at = place(plane, top + row, left + column)
            x = clean[plane, row, column]
            variance = constant + max(x, np.float32(0)) * linear + x * x * square
            z = normal(word(first, 0, at), word(second, 1, at))
            out[plane, row, column] = x + np.float32(math.sqrt(variance)) * z
    return out


@njit(cache=True, parallel=True)
def counted(clean: Any, gain: float, read: float, seed: Any, top: int, left: int) -> Any:
    """Photons of `gain` each, and Gaussian noise of standard deviation `read` behind them."""
    planes, rows, columns = clean.shape
    out = np.empty_like(clean)
    streams = (begun(seed, 0), begun(seed, 1), begun(seed, 2), begun(seed, 3))
    for index in prange(planes * rows):
        plane, row = index // rows, index % rows
        for column in range(columns):
            at = place(plane, top + row, left + column)
            mean = np.float32(max(clean[plane, row, column], np.float32(0)) / gain)
            value = gain * photon_kernels.counted(mean, word(streams[0], 0, at), word(streams[1], 1, at), FEW_PHOTONS)
            if read > 0:
                value += read * normal(word(streams[2], 2, at), word(streams[3], 3, at))
            out[plane, row, column] = value
    return out


@njit(cache=True, parallel=True)
def multiplied(clean: Any, looks: float, seed: Any, top: int, left: int) -> Any:
    """By gamma numbers of mean 1 and variance 1 / looks."""
    planes, rows, columns = clean.shape
    out = np.empty_like(clean)
    for index in prange(planes * rows):
        plane, row = index // rows, index % rows
        for column in range(columns):
            factor = gamma(looks, seed, place(plane, top + row, left + column)) / looks
            out[plane, row, column] = clean[plane, row, column] * factor
    return out


@njit(cache=True, parallel=True)
def replaced(clean: Any, density: float, seed: Any, top: int, left: int) -> Any:
    """That share of the samples by black or white."""
    planes, rows, columns = clean.shape
    out = np.empty_like(clean)
    start = begun(seed, 0)
    for index in prange(planes * rows):
        plane, row = index // rows, index % rows
        for column in range(columns):
            draw = unit(word(start, 0, place(plane, top + row, left + column)))
            value = clean[plane, row, column]
            if draw < density / 2:
                value = np.float32(0)
            elif draw > 1 - density / 2:
                value = np.float32(1)
            out[plane, row, column] = value
    return out


@njit(cache=True, parallel=True)
def banded(clean: Any, row_sigma: float, column_sigma: float, seed: Any, top: int, left: int) -> Any:
    """One draw for every row and one for every column, the same in all colours."""
    planes, rows, columns = clean.shape
    out = np.empty_like(clean)
    across = np.empty(columns, np.float32)
    for column in range(columns):
        across[column] = column_sigma * line(seed, 2, left + column)
    for row in prange(rows):
        offset = np.float32(row_sigma) * line(seed, 0, top + row)
        for plane in range(planes):
            for column in range(columns):
                out[plane, row, column] = clean[plane, row, column] + offset + across[column]
    return out


@njit(cache=True)
def line(seed: Any, stream: Any, at: Any) -> Any:
    first, second = word(begun(seed, stream), stream, at), word(begun(seed, stream + 1), stream + 1, at)
    return normal(first, second)


@njit(cache=True, parallel=True)
def white(planes: int, rows: int, columns: int, seed: Any, stream: int, top: int, left: int) -> Any:
    """Standard normal numbers."""
    out = np.empty((planes, rows, columns), np.float32)
    first, second = begun(seed, 2 * stream), begun(seed, 2 * stream + 1)
    for index in prange(planes * rows):
        plane, row = index // rows, index % rows
        for column in range(columns):
            at = place(plane, top + row, left + column)
            out[plane, row, column] = normal(word(first, 2 * stream, at), word(second, 2 * stream + 1, at))
    return out
