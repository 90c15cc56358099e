"""The random numbers of `denoise.seeds` for compiled loops: a function of (seed, stream, counter) and nothing else,
so that threads and tiles may cut a picture as they like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

GOLDEN = np.uint32(0x9E3779B9)
FIRST, SECOND = np.uint32(0x7FEB352D), np.uint32(0x2C1B3C6D)
TURN = np.float32(2 * math.pi)
HALF, STEP = np.float32(0.5), np.float32(1.0 / (1 << 23))


@njit(cache=True, inline="always")
def mixed(word: Any) -> Any:
    word = np.uint32(word)
    word ^= word >> np.uint32(16)
    word = np.uint32(word * FIRST)
    word ^= word >> np.uint32(15)
    word = np.uint32(word * SECOND)
    return np.uint32(word ^ (word >> np.uint32(16)))


@njit(cache=True, inline="always")
def begun(seed: Any, stream: Any) -> Any:
    """What all counters of a stream have in common; taken once, outside the loop."""
    return mixed(np.uint32(np.uint32(seed) + np.uint32(stream) * GOLDEN))


@njit(cache=True, inline="always")
def word(start: Any, stream: Any, counter: Any) -> Any:
    """32 random bits; `start` is `begun(seed, stream)`."""
    low, high = np.uint32(counter & 0xFFFFFFFF), np.uint32(counter >> 32)
    inner = np.uint32(mixed(np.uint32(low ^ start)) + high)
    return mixed(np.uint32(mixed(inner) ^ np.uint32(start * np.uint32(3) + np.uint32(stream))))


@njit(cache=True, inline="always")
def unit(bits: Any) -> Any:
    """Strictly between 0 and 1, float32."""
    return (np.float32(bits >> np.uint32(9)) + HALF) * STEP


@njit(cache=True, inline="always")
def normal(first: Any, second: Any) -> Any:
    """A standard normal number of two words (Box and Muller)."""
    return np.sqrt(np.float32(-2.0) * np.log(unit(first))) * np.cos(TURN * unit(second))
