"""Salt and pepper: samples that are black or white out of nowhere, and how many of all they are.

Looked for where the surroundings are neither dark nor bright, for there both can be told. Print, stars and the edges of
clipped lights are of one kind only; strong noise leaves more samples on the way to black and white than there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from denoise.signals import Picture

LOOKED_AT = 200_000  # samples, drawn from all of them
ENDS = 0.002  # of white, from black and white
MIDDLE = 0.25, 0.75  # of white; surroundings from which both ends are far
FAR = 0.2  # of white; from the surroundings
FEWEST = 2000  # samples in the middle; fewer tell nothing
LEAST = 0.001  # share of them
STRUCK = 0.4  # share of the far ones that must be at the ends; the others are texture, or strong noise
NEAR = 0.05  # of white, from black and white
STEEP = 2  # times as many at the ends as near them
QUIET = 0.1  # of white, the most that half of the samples are off; beyond, there is too much other noise to tell
BOTH = 0.3  # of salt to pepper, or of pepper to salt


def struck(picture: Picture) -> float:
    """The share of its samples, 0 where it is not plain."""
    if min(picture.height, picture.width) < 3:
        return 0.0
    samples, surroundings = drawn(picture)
    middle = (surroundings > MIDDLE[0]) & (surroundings < MIDDLE[1])
    samples, surroundings = samples[middle], surroundings[middle]
    if len(samples) < FEWEST:
        return 0.0
    pepper, salt = int((samples <= ENDS).sum()), int((samples >= 1 - ENDS).sum())
    off = np.abs(samples - surroundings)
    ends, far = pepper + salt, int((off > FAR).sum())
    near = int(((samples < NEAR) | (samples > 1 - NEAR)).sum()) - ends
    of_both = min(pepper, salt) > BOTH * max(pepper, salt)
    plain = ends > max(LEAST * len(samples), STRUCK * far, STEEP * near) and np.median(off) < QUIET
    return ends / len(samples) if plain and of_both else 0.0


def drawn(picture: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Some samples, of which white is 1, and the median of the eight around each."""
    dice, count = np.random.default_rng(0), LOOKED_AT
    rows, columns = (dice.integers(1, side - 1, count) for side in (picture.height, picture.width))
    colours = dice.integers(0, min(picture.channels, 3), count)
    window = [picture.pixels[rows + down, columns + across, colours] for down in (-1, 0, 1) for across in (-1, 0, 1)]
    values = np.stack(window).astype(np.float32) / np.float32(picture.white)
    return values[4], np.median(np.delete(values, 4, axis=0), axis=0)
