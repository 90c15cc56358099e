"""Poisson counts in 32-bit lanes: exact by a table where they are few, by their quantiles where they are many."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from denoise.noise.lanes import (
    BELL,
    Doubles,
    bits_of,
    both,
    float_of,
    floor,
    fused,
    left_by,
    plus,
    polynomial,
    quantile,
    real,
    right_by,
    whole,
)

FEW = 10.0  # electrons; below, they are counted exactly
CELLS_PER_E = 16  # means with a table of their own
OUTCOMES = 32  # P(count >= 32) at a mean of 10 is 5e-8
CHANCE_BITS = 27  # of a table's entry; the other five name the other outcome

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


@njit(cache=True, inline="always")
def counted(mean: Any, bits: Any, fine: Any, table: Any) -> Any:
    """The count for one mean; loops over many means take the parts one after another."""
    if mean < np.float32(FEW):
        return few(mean, bits, table[place(mean, bits)], fine)
    return many(mean, quantile(bits, BELL))
