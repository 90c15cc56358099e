"""Camera noise in one pass over a mosaic: every photosite's light is read once and its noisy value written once.

A row is walked in blocks that stay in the nearest cache, each in short loops without a branch or a call, so that the
compiler puts eight or sixteen photosites into one register. Nothing is left to its taste in floats: what is fused is
written as fused, so a photosite gets the same bits in a block, at its edge, in any tile and on any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import extending
from numpy.typing import NDArray

from denoise.noise.counted import begun

SHOT, READ, FINE, ROW = range(4)  # streams of numbers; FINE is for what is left of a mean, and for the steps
BLOCK = 256  # photosites, an even number: a block begins with the colour that its row begins with

FEW = 10.0  # electrons; below, they are counted exactly
CELLS_PER_E = 16  # means with a table of their own
OUTCOMES = 32  # P(count >= 32) at a mean of 10 is 5e-8
CHANCE_BITS = 27  # of a table's entry; the other five name the other outcome

DEPTH = -math.log(2.0**-32 * (2 - 2.0**-32))  # -ln(1 - x²) of the outermost x that a word can give

operation: Any = extending.intrinsic
Terms = tuple[np.float32, ...]
Doubles = NDArray[np.float64]


# Single operations that numba would widen to 64 bits, halving what a register holds


@operation
def stirred(context: Any, word: Any) -> Any:
    """`counted.mixed` in 32 bits."""

    def build(_: Any, ir: Any, signature: Any, given: Any) -> Any:
        bits, kind = given[0], given[0].type
        for shift, factor in ((16, 0x7FEB352D), (15, 0x2C1B3C6D), (16, None)):
            bits = ir.xor(bits, ir.lshr(bits, kind(shift)))
            bits = ir.mul(bits, kind(factor)) if factor else bits
        return bits

    return types.uint32(types.uint32), build


@operation
def plus(context: Any, one: Any, other: Any) -> Any:
    return types.uint32(types.uint32, types.uint32), lambda _, ir, signature, given: ir.add(*given)


@operation
def either(context: Any, one: Any, other: Any) -> Any:
    return types.uint32(types.uint32, types.uint32), lambda _, ir, signature, given: ir.xor(*given)


@operation
def both(context: Any, one: Any, other: Any) -> Any:
    return types.uint32(types.uint32, types.uint32), lambda _, ir, signature, given: ir.and_(*given)


@operation
def left_by(context: Any, word: Any, places: Any) -> Any:
    return types.uint32(types.uint32, types.uint32), lambda _, ir, signature, given: ir.shl(*given)


@operation
def right_by(context: Any, word: Any, places: Any) -> Any:
    return types.uint32(types.uint32, types.uint32), lambda _, ir, signature, given: ir.lshr(*given)


@operation
def real(context: Any, word: Any) -> Any:
    """A word below 2^31 as a float."""
    return types.float32(types.uint32), lambda c, ir, s, given: ir.sitofp(given[0], c.get_value_type(types.float32))


@operation
def whole(context: Any, value: Any) -> Any:
    """A float from 0 to 2^31, without what is behind its point."""
    return types.uint32(types.float32), lambda c, ir, s, given: ir.fptosi(given[0], c.get_value_type(types.uint32))


@operation
def bits_of(context: Any, value: Any) -> Any:
    return types.uint32(types.float32), lambda c, ir, s, given: ir.bitcast(given[0], c.get_value_type(types.uint32))


@operation
def float_of(context: Any, word: Any) -> Any:
    return types.float32(types.uint32), lambda c, ir, s, given: ir.bitcast(given[0], c.get_value_type(types.float32))


def doublings(ir: Any, bits: Any) -> Any:
    """The power of two in a float's bits, such that what remains lies between the roots of 1/2 and of 2."""
    return ir.ashr(ir.sub(bits, bits.type(0x3F3504F3)), bits.type(23))


@operation
def exponent(context: Any, value: Any) -> Any:
    def build(c: Any, ir: Any, signature: Any, given: Any) -> Any:
        bits = ir.bitcast(given[0], c.get_value_type(types.uint32))
        return ir.sitofp(doublings(ir, bits), given[0].type)

    return types.float32(types.float32), build


@operation
def mantissa(context: Any, value: Any) -> Any:
    def build(c: Any, ir: Any, signature: Any, given: Any) -> Any:
        bits = ir.bitcast(given[0], c.get_value_type(types.uint32))
        rest = ir.sub(bits, ir.shl(doublings(ir, bits), bits.type(23)))
        return ir.bitcast(rest, given[0].type)

    return types.float32(types.float32), build


@operation
def floor(context: Any, value: Any) -> Any:
    def build(_: Any, ir: Any, signature: Any, given: Any) -> Any:
        return ir.call(ir.module.declare_intrinsic("llvm.floor", [given[0].type]), given)

    return types.float32(types.float32), build


@operation
def fused(context: Any, factor: Any, other: Any, added: Any) -> Any:
    """factor * other + added, rounded once."""
    kind = types.float32
    return kind(kind, kind, kind), lambda _, ir, signature, given: ir.fma(*given)


@operation
def polynomial(context: Any, value: Any, coefficients: Any) -> Any:
    """Of a tuple of coefficients, the constant first (Horner)."""

    def build(_: Any, ir: Any, signature: Any, given: Any) -> Any:
        at, packed = given
        terms = [ir.extract_value(packed, index) for index in range(coefficients.count)]
        total = terms.pop()
        while terms:
            total = ir.fma(total, at, terms.pop())
        return total

    return types.float32(types.float32, coefficients), build


# Numbers of a photosite: `seeds.words` at the counter (column << 32) + row, whose first round a row has in common


@njit(cache=True, inline="always")
def stream(seed: Any, name: Any) -> Any:
    """What all its numbers have in common: the first word stirred in, and the last."""
    start = begun(seed, name)
    return start, np.uint32(start * np.uint32(3) + np.uint32(name))


@njit(cache=True, inline="always")
def drawn(start: Any, last: Any, column: Any) -> Any:
    """A word; `start` has been stirred with the row."""
    return stirred(either(stirred(plus(start, column)), last))


@njit(cache=True)
def draw(stream: Any, row: Any, column: Any, size: int, bits: Any) -> None:
    start, last = stirred(either(stream[0], np.uint32(row))), stream[1]
    for i in range(size):
        bits[i] = drawn(start, last, plus(np.uint32(column), np.uint32(i)))


# A quantile function of (0, 1) is x P(-ln(1 - x²)) with x = 2u - 1, where P is smooth: one polynomial will do


def shaped(quantile: Callable[[Doubles], Doubles], degree: int = 11) -> Terms:
    """P of a symmetric law, the same relative error everywhere; eleven degrees leave 1e-5.

    `quantile` gives that of 1 - q in float64, for q from 2^-33 to 1/2.
    """
    z = np.cos(np.pi * (np.arange(256) + 0.5) / 256)
    share = np.exp(-(z + 1) * DEPTH / 2)
    distance = share / (1 + np.sqrt(1 - share))
    wanted = quantile(distance / 2) / (1 - distance)
    fit = np.polynomial.chebyshev.chebfit(z, wanted, degree, w=1 / np.abs(wanted))
    return tuple(np.float32(c) for c in np.polynomial.chebyshev.cheb2poly(fit))


def log_terms() -> Terms:
    """ln(1 + y) / y between the roots of 1/2 and of 2; so many that ln is right to 2e-5."""
    low, high = 0.5**0.5 - 1, 2**0.5 - 1
    y = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    return tuple(np.float32(c) for c in np.polynomial.polynomial.polyfit(y, np.log1p(y) / y, 4))


def normal_tail(chance: Doubles) -> Doubles:
    """The standard normal quantile of 1 - chance."""
    normal = NormalDist()
    return np.array([-normal.inv_cdf(each) for each in chance])


LOG, BELL = log_terms(), shaped(normal_tail, 8)  # of BELL whole numbers are made: 2e-4 will do


@njit(cache=True, inline="always")
def depth(distance: Any) -> Any:
    """-ln(1 - x²), scaled from 0..DEPTH to -1..1; `distance` is 1 - |x|, known better than x itself."""
    share = distance * (np.float32(2) - distance)
    y = mantissa(share) - np.float32(1)
    log = fused(exponent(share), np.float32(math.log(2)), y * polynomial(y, LOG))
    return fused(log, np.float32(-2 / DEPTH), np.float32(-1))


@njit(cache=True, inline="always")
def quantile(bits: Any, shape: Any) -> Any:
    """Of the chance that 32 bits stand for; the first bit is the sign."""
    distance = fused(real(both(bits, np.uint32(0x7FFFFFFF))), np.float32(2.0**-31), np.float32(2.0**-32))
    size = (np.float32(1) - distance) * polynomial(depth(distance), shape)
    return float_of(either(bits_of(size), both(bits, np.uint32(0x80000000))))


# Photons


ONE_MORE = (np.float32(1), np.float32(-1 / 2), np.float32(1 / 6), np.float32(-1 / 24))
TWO_MORE = (np.float32(1 / 2), np.float32(-1 / 3), np.float32(1 / 8))
THREE_MORE = (np.float32(1 / 6), np.float32(-1 / 8))
THIRD, FOURTH = (np.float32(1 / 3), np.float32(1 / 6)), (np.float32(-1 / 36), np.float32(-1 / 72))
FIFTH = (np.float32(-8 / 405), np.float32(7 / 810), np.float32(1 / 270))


@lru_cache(maxsize=1)
def few_table() -> NDArray[np.uint32]:
    """For a mean of cell/16 electrons and a first outcome: how likely it stays (27 bits), and what it is else.

    Walker's alias method: exact, and one look without a search.
    """
    rows = [aliased(poisson_chances(cell / CELLS_PER_E)) for cell in range(int(FEW) * CELLS_PER_E)]
    return np.concatenate(rows)


def poisson_chances(mean: float) -> Doubles:
    steps = mean / np.maximum(np.arange(OUTCOMES), 1)
    steps[0] = np.exp(-mean)
    chances = np.cumprod(steps)
    return chances / chances.sum()


def aliased(chances: Doubles) -> NDArray[np.uint32]:
    stay, other = chances * OUTCOMES, np.arange(OUTCOMES)
    poor = [n for n in range(OUTCOMES) if stay[n] < 1]
    rich = [n for n in range(OUTCOMES) if stay[n] >= 1]
    while poor and rich:
        needy, giver = poor.pop(), rich[-1]
        other[needy] = giver
        stay[giver] -= 1 - stay[needy]
        if stay[giver] < 1:
            poor.append(rich.pop())
    full = (1 << CHANCE_BITS) - 1
    return (np.rint(np.minimum(stay, 1) * full).astype(np.uint32) << np.uint32(5)) | other.astype(np.uint32)


@njit(cache=True, inline="always")
def place(mean: Any, bits: Any) -> Any:
    """Where the table answers for this mean: its cell, and the first outcome by the first five bits."""
    cell = whole(min(mean, np.float32(FEW - 1e-3)) * np.float32(CELLS_PER_E))
    return plus(left_by(cell, np.uint32(5)), right_by(bits, np.uint32(CHANCE_BITS)))


@njit(cache=True, inline="always")
def few(mean: Any, bits: Any, entry: Any, fine: Any) -> Any:
    """A count by the table for the mean's cell, and one for the rest of the mean, below 1/16: Poisson counts add."""
    chance = both(bits, np.uint32((1 << CHANCE_BITS) - 1))
    stays = real(chance) < real(right_by(entry, np.uint32(5)))
    cell = whole(min(mean, np.float32(FEW - 1e-3)) * np.float32(CELLS_PER_E))
    rest = fused(real(cell), np.float32(-1 / CELLS_PER_E), mean)
    first = right_by(bits, np.uint32(CHANCE_BITS))
    main = real(first) if stays else real(both(entry, np.uint32(OUTCOMES - 1)))
    return main + rest_count(rest, fine)


@njit(cache=True, inline="always")
def rest_count(rest: Any, fine: Any) -> Any:
    """0 to 3; more has a chance of 6e-7. The chances of at least 1, 2, 3 are exp(-rest) written out."""
    chance = fused(real(right_by(fine, np.uint32(12))), np.float32(2.0**-20), np.float32(2.0**-21))
    one = rest * polynomial(rest, ONE_MORE)
    two = rest * rest * polynomial(rest, TWO_MORE)
    three = rest * rest * rest * polynomial(rest, THREE_MORE)
    return holds(chance < one) + holds(chance < two) + holds(chance < three)


@njit(cache=True, inline="always")
def holds(truth: Any) -> Any:
    return np.float32(1) if truth else np.float32(0)


@njit(cache=True, inline="always")
def many(mean: Any, z: Any) -> Any:
    """The count at a standard normal quantile z (Cornish and Fisher, to the order 1/mean)."""
    root = one_over_root(mean)
    square = z * z
    bend = fused(root, polynomial(square, FIFTH), z * polynomial(square, FOURTH))
    count = fused(mean * root, z, mean) + fused(root, bend, polynomial(square, THIRD))
    return max(floor(count), np.float32(0))


@njit(cache=True, inline="always")
def one_over_root(value: Any) -> Any:
    """By Newton's steps from a guess in the exponent; five digits."""
    guess = float_of(np.uint32(0x5F3759DF) - (bits_of(value) >> np.uint32(1)))
    half = np.float32(-0.5) * value
    for _ in range(2):
        guess = guess * fused(half * guess, guess, np.float32(1.5))
    return guess


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
