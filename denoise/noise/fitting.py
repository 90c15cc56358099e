"""From folders of dark and flat frames to a camera's file, with every assumption said aloud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from denoise.errors import UserError
from denoise.noise.calibration import Calibration, calibrated
from denoise.noise.camera_file import CameraFile, gathered
from denoise.noise.frames import Frame, has_frames, read_folder, refuse_unlike
from denoise.noise.laws import out_of_range
from denoise.noise.photon_transfer import paired

Say = Callable[[str], None]

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


def fit(darks: Path, flats: Path | None, wish: Wish, otherwise: str, say: Say) -> CameraFile:
    """One setting, or one for every folder in `darks`, with the flats in the folder of the same name."""
    places = places_of(darks, flats)
    found = [setting(dark, flat, wish, say) for dark, flat in places]
    name = wish.name or next((one.camera.name for one in found if one.camera.name), None) or otherwise
    return gathered(name, found)


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
