"""From folders of dark frames to noise that a network has learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from denoise.errors import UserError
from denoise.fit.camera import places_of
from denoise.media.frames import read_folder
from denoise.noise.learned import LearnedRead, fitted


def learned(
    darks: Path, which: str, minutes: float, seed: int, iso: int | None, tell: Callable[[str], None]
) -> LearnedRead:
    """Of one folder of dark frames, or of one for every ISO."""
    places = [dark for dark, _ in places_of(darks, None)]
    if len(places) == 1:
        frames, told = frames_of(places[0])
        known = iso or told
        return fitted({float(known): frames} if known else frames, which, minutes, seed, tell)
    if iso is not None:
        raise UserError(f"{darks} holds {len(places)} folders, each of an ISO of its own; leave out --iso {iso}.")
    by_iso: dict[float, list[Tensor]] = {}
    for place in places:
        frames, told = frames_of(place)
        at = float(told or named(place))
        if at in by_iso:
            raise UserError(f"{place}: another folder holds frames of ISO {at:g} too; put them all into one.")
        by_iso[at] = frames
    return fitted(by_iso, which, minutes, seed, tell)


def frames_of(place: Path) -> tuple[list[Tensor], int | None]:
    frames = read_folder(place)
    return [torch.from_numpy(frame.photosites.astype(np.float32)) for frame in frames], frames[0].iso


def named(place: Path) -> int:
    """`iso800` holds frames of ISO 800."""
    digits = "".join(letter for letter in place.name if letter.isdecimal())
    if not digits or int(digits) == 0:
        raise UserError(f"{place}: its files do not tell their ISO; name the folder after it, as in iso800.")
    return int(digits)
