"""Camera noise in one pass over a mosaic: every photosite's light is read once and its noisy value written once.

A row is walked in blocks that stay in the nearest cache, each in short loops without a branch or a call, so that the
compiler puts eight or sixteen photosites into one register.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from denoise.noise.lanes import BELL, both, draw, fused, quantile, real, stream
from denoise.noise.photon_kernels import FEW, few, many, place

SHOT, READ, FINE, ROW = range(4)  # streams of numbers; FINE is for what is left of a mean, and for the steps
BLOCK = 256  # photosites, an even number: a block begins with the colour that its row begins with
WOVEN = 4  # rows of packed planes at a time


# The law


@njit(cache=True, inline="always")
def formed(count: Any, read_dn: Any, offset_dn: Any, fraction: Any, gain: Any, step_dn: Any) -> Any:
    """D = K n + N_read + (N_row + bias) + N_q, in DN; `fraction` is uniform in -1/2..1/2."""
    return fused(gain, count, fused(step_dn, fraction, read_dn + offset_dn))


# A block's loops, each of its own: what is alive in one fits into the registers


@njit(cache=True)
def to_electrons(light: Any, inverse: Any, size: int, mean: Any) -> int:
    """And how many photosites have few."""
    dark = 0
    for i in range(size):
        electrons = light[i] * inverse
        mean[i] = electrons if electrons > np.float32(0) else np.float32(0)  # NaN becomes 0
        dark += mean[i] < np.float32(FEW)
    return dark


@njit(cache=True)
def count_few(mean: Any, bits: Any, fine: Any, table: Any, size: int, entry: Any, count: Any) -> None:
    for i in range(size):
        entry[i] = place(mean[i], bits[i])
    for i in range(size):
        entry[i] = table[entry[i]]
    for i in range(size):
        count[i] = few(mean[i], bits[i], entry[i], fine[i])


@njit(cache=True)
def count_many(mean: Any, bits: Any, size: int, count: Any) -> None:
    """Where there are many; elsewhere the count stays as it is."""
    for i in range(size):
        lots = many(mean[i], quantile(bits[i], BELL))
        count[i] = count[i] if mean[i] < np.float32(FEW) else lots


@njit(cache=True, inline="always")
def fraction_of(fine: Any) -> Any:
    """-1/2..1/2 by the last twelve bits."""
    return fused(real(both(fine, np.uint32(4095))), np.float32(1 / 4096), np.float32(0.5 / 4096 - 0.5))


@njit(cache=True)
def finish(count: Any, bits: Any, read: Any, offset: Any, fine: Any, scales: Any, size: int, noisy: Any) -> None:
    for i in range(size):
        read_dn = quantile(bits[i], read)
        noisy[i] = formed(count[i], read_dn, offset[i], fraction_of(fine[i]), scales[0], scales[1])


@njit(cache=True)
def band(stream: Any, row: Any, left: int, row_dn: Any, black: Any, bits: Any, offset: Any) -> None:
    """What a row's photosites have in common with every second of their neighbours."""
    draw(stream, row, 0, 1, bits)
    shared = row_dn * quantile(bits[0], BELL)
    for i in range(BLOCK):
        offset[i] = shared + black[row & 1, (left + i) & 1]


@njit(cache=True, nogil=True)
def expose(clean: Any, noisy: Any, place: Any, seed: int, scales: Any, black: Any, read: Any, few: Any) -> None:
    """Rows of a mosaic in DN.

    place:  row and column of its first photosite on the sensor
    scales: gain (DN/e-), step, spread of the rows (DN)
    black:  2×2, DN, as it lies at even rows and columns of the sensor
    read:   the terms of its law, in DN
    few:    the table for few photons
    """
    (top, left), (height, width) = place, clean.shape
    shots, reads, fines, rows = stream(seed, SHOT), stream(seed, READ), stream(seed, FINE), stream(seed, ROW)
    inverse = np.float32(1) / scales[0]
    mean, count, offset = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    bits, fine, entry = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    for y in range(height):
        band(rows, top + y, left, scales[2], black, bits, offset)
        for x in range(0, width, BLOCK):
            size = min(BLOCK, width - x)
            dark = to_electrons(clean[y, x:], inverse, size, mean)
            draw(shots, top + y, left + x, size, bits)
            draw(fines, top + y, left + x, size, fine)
            if dark:
                count_few(mean, bits, fine, few, size, entry, count)
            if dark < size:
                count_many(mean, bits, size, count)
            draw(reads, top + y, left + x, size, bits)
            finish(count, bits, read, offset, fine, scales, size, noisy[y, x:])


@njit(cache=True, nogil=True)
def expose_planes(
    clean: Any, noisy: Any, sites: Any, part: Any, place: Any, seed: int, scales: Any, black: Any, read: Any, few: Any
) -> None:
    """The same of packed planes (4, H, W), woven into a few rows of the mosaic at a time.

    sites: 2×2, which plane lies there in the tile that begins at `place`
    part:  the planes' rows from and to which it is done
    """
    top, left = place
    shape = (2 * WOVEN, 2 * clean.shape[2])
    light, made = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for y in range(part[0], part[1], WOVEN):
        rows = 2 * min(WOVEN, part[1] - y)
        for row in range(rows):
            weave(clean[sites[row & 1, 0], y + row // 2], clean[sites[row & 1, 1], y + row // 2], light[row])
        expose(light[:rows], made[:rows], (top + 2 * y, left), seed, scales, black, read, few)
        for row in range(rows):
            unweave(made[row], noisy[sites[row & 1, 0], y + row // 2], noisy[sites[row & 1, 1], y + row // 2])


@njit(cache=True)
def weave(even: Any, odd: Any, row: Any) -> None:
    for i in range(even.size):
        row[2 * i], row[2 * i + 1] = even[i], odd[i]


@njit(cache=True)
def unweave(row: Any, even: Any, odd: Any) -> None:
    for i in range(even.size):
        even[i], odd[i] = row[2 * i], row[2 * i + 1]


@njit(cache=True)
def quantiles(bits: Any, shape: Any, size: int, values: Any) -> None:
    """Of words that were drawn elsewhere."""
    for i in range(size):
        values[i] = quantile(bits[i], shape)


@njit(cache=True, nogil=True)
def form(counts: Any, read_dn: Any, offset_dn: Any, fraction: Any, scales: Any, noisy: Any) -> None:
    """The same law with numbers that were drawn elsewhere, all (H, W)."""
    for y in range(counts.shape[0]):
        for x in range(counts.shape[1]):
            drawn = counts[y, x], read_dn[y, x], offset_dn[y, x], fraction[y, x]
            noisy[y, x] = formed(drawn[0], drawn[1], drawn[2], drawn[3], scales[0], scales[1])


@njit(cache=True, nogil=True)
def add_frame(noisy: Any, frame: Any, common: Any, factor: Any, place: Any) -> None:
    """factor * (frame - common), the frame as a ring that begins at `place`, `common` as a tile that repeats."""
    (top, left), (height, width), (tall, wide) = place, frame.shape, common.shape
    for y in range(noisy.shape[0]):
        row = (top + y) % height
        for x in range(noisy.shape[1]):
            column = (left + x) % width
            noisy[y, x] += factor * (np.float32(frame[row, column]) - common[row % tall, column % wide])
