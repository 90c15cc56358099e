"""How long a slow cleaning is going to take, told before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from denoise.batch.recipe import Ready
from denoise.restorer import Facts
from denoise.run import NOMINAL_RATE, restore_sound
from denoise.signals import Audio, regrouped

PROBE_S = 0.5  # of sound that is restored to see how long it takes
SLOW_S = 60.0  # what is slower than this is told
SHORT_S = 5.0  # of sound that no model is so slow for: thousands of short files are not tried first


def tell_if_slow(audio: Audio, ready: Ready, say: Callable[[str], None]) -> None:
    seconds = foreseen_s(audio, ready)
    if seconds > SLOW_S:
        name = ready.restorer.facts.name
        say(f"About {duration(seconds)} for this one with {name}; Ctrl-C stops it and leaves nothing half-written.")


def foreseen_s(audio: Audio, ready: Ready) -> float:
    """0 for what is short. The first call also loads and compiles, so two may be needed."""
    if audio.seconds < SHORT_S:
        return 0.0
    share = audio.seconds / PROBE_S * overlap(ready.restorer.facts)
    frames = round(PROBE_S * audio.rate)
    first = next(regrouped(audio.blocks(frames), frames))
    seconds = 0.0
    for _ in range(2):
        seconds = share * timed(Audio.from_array(first, audio.rate), ready)
        if seconds <= SLOW_S:
            break
    return seconds


def timed(audio: Audio, ready: Ready) -> float:
    begin = time.perf_counter()
    for block in restore_sound(audio, ready.restorer, ready.options):
        np.asarray(block)
    return time.perf_counter() - begin


def overlap(facts: Facts) -> float:
    """How much longer pieces are with what is around them."""
    piece = facts.piece or NOMINAL_RATE
    return (piece + 2 * (facts.context or 0)) / piece


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"
