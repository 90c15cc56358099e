"""What noise in sound needs for every sample, in compiled code.

A number depends on the seed and on the place in the whole sound (channel, sample) alone: threads and cuts may lie
where they like. Places may be a little before the beginning, as filters look back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from denoise.noise.counted import begun, normal, unit, word

CHANNEL_BITS = 48  # of a counter, below those of the channel
BEFORE = 1 << 24  # samples before the beginning that have numbers, too
HANGOVER_THRESHOLDS = 15


@njit(cache=True, parallel=True)
def white(channels: int, count: int, seed: Any, stream: int, first: int) -> Any:
    """Standard normal numbers (channels, count) from that sample on; those of `seeds.normal`."""
    out = np.empty((channels, count), np.float32)
    radius, angle = begun(seed, 2 * stream), begun(seed, 2 * stream + 1)
    for t in prange(count):
        for c in range(channels):
            at = (np.int64(c) << CHANNEL_BITS) + first + t + BEFORE
            out[c, t] = normal(word(radius, 2 * stream, at), word(angle, 2 * stream + 1, at))
    return out


@njit(cache=True)
def struck(count: int, chance: float, decades: float, answer: Any, seed: Any, first: int) -> Any:
    """Every sample is hit with that chance, by an amplitude of 10^(-decades·u) and either sign, and answers."""
    out = np.zeros(count, np.float32)
    hits, sizes = begun(seed, 0), begun(seed, 1)
    for t in range(1 - len(answer), count):
        at = np.int64(first + t + BEFORE)
        if unit(word(hits, 0, at)) < chance:
            bits = word(sizes, 1, at)
            size = np.float32(10 ** (-decades * unit(bits))) * (1 - 2 * np.float32(bits & np.uint32(1)))
            for n in range(max(0, -t), min(len(answer), count - t)):
                out[t + n] += size * answer[n]
    return out


@njit(cache=True)
def lost(packets: int, enters: float, leaves: float, share: float, seed: Any) -> Any:
    """Of each packet from the first one on, whether it is lost: Gilbert's chain of two states."""
    out = np.empty(packets, np.bool_)
    start, state = begun(seed, 0), False
    for k in range(packets):
        chance = share if k == 0 else (1 - leaves if state else enters)
        state = unit(word(start, 0, np.int64(k))) < chance
        out[k] = state
    return out


@njit(cache=True)
def activity(magnitude: Any, keep: float, hangover: int, peak: float) -> Any:
    """Samples at which the twice smoothed magnitude is, or was not long ago, above peak·2^-j (ITU-T P.56, method B)."""
    active = np.zeros(HANGOVER_THRESHOLDS, np.int64)
    since = np.full(HANGOVER_THRESHOLDS, hangover)
    once, twice = 0.0, 0.0
    for value in magnitude:
        once = keep * once + (1 - keep) * value
        twice = keep * twice + (1 - keep) * once
        threshold = peak
        for j in range(HANGOVER_THRESHOLDS):
            threshold /= 2
            since[j] = 0 if twice >= threshold else since[j] + 1
            if since[j] < hangover:
                active[j] += 1
    return active
