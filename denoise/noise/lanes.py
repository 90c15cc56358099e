"""Arithmetic in 32-bit lanes for compiled loops, and the numbers of `denoise.seeds` and quantiles made of it.

Numba would widen these operations to 64 bits, which halves what a register holds. Nothing is left to the compiler's
taste in floats: what is fused is written as fused, so a loop gives the same bits in a block, at its edge and alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import extending
from numpy.typing import NDArray

from denoise.noise.counted import begun

DEPTH = -math.log(2.0**-32 * (2 - 2.0**-32))  # -ln(1 - x²) of the outermost x that a word can give

operation: Any = extending.intrinsic
Terms = tuple[np.float32, ...]
Doubles = NDArray[np.float64]


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


def of_two(name: str) -> Any:
    """An instruction on two words."""

    @operation
    def lane(context: Any, one: Any, other: Any) -> Any:
        return types.uint32(types.uint32, types.uint32), lambda _, ir, signature, given: getattr(ir, name)(*given)

    return lane


plus, either, both, left_by, right_by = (of_two(name) for name in ("add", "xor", "and_", "shl", "lshr"))


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
