"""From folders of dark and flat frames to a camera's file, with every assumption said aloud."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denoise.atomic import atomic
from denoise.errors import UserError
from denoise.media.frames import found_in, has_frames, read_folder, read_frame
from denoise.noise.calibration import Calibration, calibrated
from denoise.noise.camera import in_tile, repeated
from denoise.noise.camera_file import CameraFile, gathered, written
from denoise.noise.frame import Frame, refuse_unlike
from denoise.noise.laws import out_of_range
from denoise.noise.photon_transfer import paired

Say = Callable[[str], None]
Pattern = NDArray[np.float16]

STRAIGHT = 0.98  # R² of a probability plot below which the law does not fit
FEW_DARKS = 4


@dataclass(frozen=True)
class Wish:
    """What the user tells because the files do not, or tell wrongly."""

    gain_dn_per_e: float | None = None
    black_dn: float | None = None
    white_dn: float | None = None
    cfa: str | None = None
    iso: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("gain_dn_per_e", self.gain_dn_per_e), ("white_dn", self.white_dn)):
            wanted = None if value is None else out_of_range(name, value)
            if wanted:
                raise UserError(f"{name} = {value:g}; {wanted} is wanted.")
        if self.black_dn is not None and not math.isfinite(self.black_dn):
            raise UserError(f"black_dn = {self.black_dn:g}; a finite number is wanted.")


def fit(darks: Path, flats: Path | None, wish: Wish, out: Path, say: Say) -> None:
    """One setting, or one for every folder in `darks`, with the flats in the folder of the same name.

    Writes the camera's file, and beside it the map of each setting's fixed pattern.
    """
    places = places_of(darks, flats)
    measured = [setting(dark, flat, wish, say) for dark, flat in places]
    found = []
    for (dark, _), one in zip(places, measured, strict=True):
        end = f"-{dark.name}" if len(places) > 1 else ""
        found.append(with_pattern(one, dark, out.with_name(f"{out.stem}-pattern{end}.npy"), say))
    name = wish.name or next((one.camera.name for one in found if one.camera.name), None) or out.stem
    put(out, gathered(name, found))


def put(out: Path, file: CameraFile) -> None:
    with atomic(out) as draft:
        draft.write_text(written(file), "utf-8")


def with_pattern(found: Calibration, darks: Path, out: Path, say: Say) -> Calibration:
    """Writes the map where there is a fixed pattern to be seen."""
    if not found.dark or not found.dark.grain.fixed_dn:
        return found
    pattern = pattern_of(found, [darks] if darks.is_file() else found_in(darks))
    with atomic(out) as draft, draft.open("wb") as file:
        np.save(file, pattern)
    say(f"Fixed pattern: {out}")
    return replace(found, pattern=out)


def pattern_of(found: Calibration, darks: Sequence[Path]) -> Pattern:
    """The mean of the frames above black, less what is left of their noise in it (Wiener)."""
    total = read_frame(darks[0]).photosites.astype(np.float32)
    for path in darks[1:]:
        total += read_frame(path).photosites
    total /= len(darks)
    level = [black + bias for black, bias in zip(found.black_dn, found.camera.bias_dn, strict=True)]
    total -= repeated(in_tile(level, found.camera.cfa), total.shape)
    still = (found.dark.grain.fixed_dn or 0.0) ** 2 if found.dark else 0.0
    left = (found.camera.read_std_dn**2 + found.camera.step_dn**2 / 12) / len(darks)
    total *= np.float32(still / (still + left))
    return total.astype(np.float16)


def places_of(darks: Path, flats: Path | None) -> list[tuple[Path, Path | None]]:
    if not darks.exists():
        raise UserError(f"{darks}: there is no such folder of dark frames; check the name.")
    inside = [] if darks.is_file() else sorted(place for place in darks.glob("[!.]*") if place.is_dir())
    if has_frames(darks) or not inside:
        return [(darks, flats)]
    return [(place, same_in(flats, place.name)) for place in inside]


def same_in(flats: Path | None, name: str) -> Path | None:
    if flats is None:
        return None
    if not (flats / name).is_dir():
        raise UserError(f"{flats / name}: there is no such folder; flats want the same folders as dark frames.")
    return flats / name


def setting(darks: Path, flats: Path | None, wish: Wish, say: Say) -> Calibration:
    dark_frames = read_folder(darks)
    flat_frames = read_folder(flats) if flats else []
    if flat_frames:
        refuse_unlike([dark_frames[0], flat_frames[0]], f"{darks} and {flats}")
    first = dark_frames[0]
    assumed(darks, first, wish, say)
    refuse_black_above(first, wish.black_dn)
    found = calibrated(
        [frame.photosites for frame in dark_frames],
        [frame.photosites for frame in flat_frames],
        cfa=wish.cfa or first.cfa or "RGGB",
        black_dn=first.black_dn if wish.black_dn is None else [wish.black_dn] * 4,
        white_dn=wish.white_dn or first.white_dn,
        iso=wish.iso or first.iso,
        gain_dn_per_e=wish.gain_dn_per_e,
        name=wish.name or first.camera or "",
    )
    remarked(darks, found, flat_frames, say)
    return found


def assumed(darks: Path, frame: Frame, wish: Wish, say: Say) -> None:
    """What is taken because neither the file nor the user tells it."""
    taken = {
        "colour filter (RGGB is taken; or say --cfa)": wish.cfa or frame.cfa,
        "black level (the mean of the dark frames is taken; or say --black)": first_of(wish.black_dn, frame.black_dn),
        "white level (the largest of their type is taken; or say --white)": first_of(wish.white_dn, frame.white_dn),
    }
    untold = [what for what, told in taken.items() if told is None]
    if untold:
        say(f"{darks}: the files do not tell their {', '.join(untold)}.")


def refuse_black_above(dark: Frame, black_dn: float | None) -> None:
    """It may lie above them by as much as they differ among themselves; too low a black is light, and told so."""
    low, high = np.quantile(dark.photosites, (0.001, 0.999))
    if black_dn is not None and black_dn > high + max(high - low, 1):
        there = f"{low:.0f} to {high:.0f} DN"
        raise UserError(f"black_dn = {black_dn:g} lies above the dark frames ({there}); correct --black.")


def first_of(*values: object) -> object:
    return next((value for value in values if value is not None), None)


def remarked(darks: Path, found: Calibration, flats: Sequence[Frame], say: Say) -> None:
    """What makes the result less sure than it looks."""
    grain = found.dark.grain if found.dark else None
    if found.dark and found.dark.frames < FEW_DARKS:
        say(f"{darks}: {found.dark.frames} dark frame(s); {FEW_DARKS} or more tell a fixed pattern from noise.")
    if grain and grain.read_lambda is None:
        say(f"{darks}: the noise is smaller than the steps of the file, so that the shape of its tails is not seen.")
    if grain and grain.read_r2 < STRAIGHT:
        say(f"{darks}: the read noise follows no lambda law well (R² {grain.read_r2:.3f}); stray light or hot pixels?")
    if found.gain_from.startswith("assumed"):
        say(f"Without flat frames the gain is {found.gain_from}; give FLATS or --gain for a measured one.")
    alone = paired([frame.photosites for frame in flats], min(found.black_dn))[1] if flats else []
    if alone:
        names = ", ".join(flats[index].path.name for index in alone)
        say(f"Flat frames without a second one of their exposure are left out: {names}.")
