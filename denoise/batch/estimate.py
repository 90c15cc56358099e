"""How long a slow cleaning is going to take, told before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from denoise.batch.recipe import Ready
from denoise.restorer import Facts
from denoise.run import NOMINAL_RATE, restore_picture, restore_sound
from denoise.signals import Audio, Picture, regrouped

PROBE_S = 0.5  # of sound that is restored to see how long it takes
SLOW_S = 60.0  # what is slower than this is told
PROBE_PX = 192  # side of what is restored of a picture
LITTLE_MP = 0.5  # megapixels that no model is so slow for, or that are soon told by the bar
SHORT_S = 5.0  # of sound that no model is so slow for: thousands of short files are not tried first


def tell_if_slow(signal: Audio | Picture, ready: Ready, say: Callable[[str], None], pages: int = 1) -> None:
    seconds = foreseen_s(signal, ready) if isinstance(signal, Audio) else pages * foreseen_picture_s(signal, ready)
    if seconds > SLOW_S:
        name = ready.restorer.facts.name
        say(f"About {duration(seconds)} for this one with {name}; stopping it leaves nothing half-written.")


def foreseen_s(audio: Audio, ready: Ready) -> float:
    """0 for what is short. The first call also loads and compiles, so two may be needed."""
    if audio.seconds < SHORT_S:
        return 0.0
    share = audio.seconds / PROBE_S * overlap(ready.restorer.facts)
    frames = round(PROBE_S * audio.rate)
    first = next(regrouped(audio.blocks(frames), frames))
    return tried(Audio.from_array(first, audio.rate), ready, share)


def foreseen_picture_s(picture: Picture, ready: Ready) -> float:
    """0 for what is small; otherwise by its middle."""
    if picture.height * picture.width < LITTLE_MP * 1e6:
        return 0.0
    rows, columns = (slice((side - PROBE_PX) // 2, (side + PROBE_PX) // 2) for side in picture.pixels.shape[:2])
    middle = Picture(
        picture.pixels[max(rows.start, 0) : rows.stop, max(columns.start, 0) : columns.stop], picture.white
    )
    share = picture.height * picture.width / (middle.height * middle.width)
    return tried(middle, ready, share * overlap(ready.restorer.facts) ** 2)


def tried(probe: Audio | Picture, ready: Ready, share: float) -> float:
    """Seconds for so many probes."""
    seconds = 0.0
    for _ in range(2):
        seconds = share * timed(probe, ready)
        if seconds <= SLOW_S:
            break
    return seconds


def timed(probe: Audio | Picture, ready: Ready) -> float:
    begin = time.perf_counter()
    if isinstance(probe, Picture):
        restore_picture(probe, ready.restorer, ready.options)
    else:
        for block in restore_sound(probe, ready.restorer, ready.options):
            np.asarray(block)
    return time.perf_counter() - begin


def overlap(facts: Facts) -> float:
    """How much longer pieces are with what is around them."""
    piece = facts.piece or NOMINAL_RATE
    return (piece + 2 * (facts.context or 0)) / piece


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"
