"""Noise put into a file: a picture, a sound or a raw mosaic, by the name of a law."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from denoise.atomic import atomic
from denoise.batch.recipe import refuse_seed
from denoise.errors import UserError
from denoise.media.find import NAMES, kind_of, known
from denoise.media.frames import found_in, read_frame
from denoise.noise.calibration import Calibration
from denoise.noise.camera import Camera, in_tile, repeated
from denoise.noise.camera_file import CAMERA, read
from denoise.noise.cameras import find
from denoise.noise.darkframes import DarkFrames
from denoise.noise.law import Law
from denoise.noise.laws import Entry, laws, made, value_of
from denoise.noise.learned import LearnedCamera, opened
from denoise.noise.sound_laws import Babble, Recorded
from denoise.signals import Audio, Kind

MOSAICS = (".npy", ".tif", ".tiff")
DNG = ".dng"
LARGEST_SNR_DB = 200  # more than any sound file can hold, either way
LEVEL = "level_dbfs"  # the word by which laws are told how loud they are
Tile = NDArray[np.float32]  # (2, 2)
Answer = tuple[str, list[str]]  # the law in words, and what the format could not keep


@dataclass(frozen=True)
class Order:
    """What is to be added to which file, as it was typed."""

    entry: Entry
    path: Path
    out: Path
    words: Mapping[str, str]
    seed: int = 0
    camera: str | None = None  # a calibration's file, or the name of a published camera
    iso: int | None = None
    snr_db: float | None = None  # over active speech
    files: Path | None = None  # what the law is made of


def add(order: Order) -> Answer:
    """Writes `out`."""
    kind = refused(order)
    return {"picture": to_picture, "audio": to_sound, "raw": to_mosaic}[kind](order)


def refused(order: Order) -> Kind:
    """A law for sounds does nothing to a picture."""
    name, path, kind = order.entry.name, order.path, order.entry.kind
    if order.camera is not None and (kind != "raw" or order.entry.made_of):
        raise UserError(f"The law {name} knows nothing of cameras; leave out --camera, or take the law camera.")
    if order.files is not None and not order.entry.made_of:
        raise UserError(f"The law {name} is made of words alone; leave out --from.")
    if order.files is None and order.entry.made_of:
        raise UserError(f"The law {name} is made of {order.entry.made_of}; name it, as in --from PATH.")
    if order.snr_db is not None:
        refuse_ratio(order.snr_db, order)
    refuse_seed(order.seed)
    if order.iso is not None and not has_settings(order):
        raise UserError(
            f"--iso {order.iso} chooses from what was measured, as my-camera.toml; name that, or leave it out."
        )
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; check the name.")
    there = "raw" if kind == "raw" else kind_of(path)
    if there is None:
        raise UserError(f"{path}: neither a sound nor a picture by its name; known are {known()}.")
    if there != kind:
        fitting = ", ".join(one.name for one in laws().values() if one.kind == there)
        raise UserError(f"{path} is a {NAMES[there]} and {name} no law for it; choose from: {fitting}.")
    return kind


def has_settings(order: Order) -> bool:
    """Whether it is of the user's own measurements, which may be of several ISOs."""
    return order.entry.law is LearnedCamera or (order.camera is not None and is_calibration(order.camera))


def is_calibration(camera: str) -> bool:
    """A file, and not the name of a published camera."""
    return bool(Path(camera).suffix) or Path(camera).exists()


def refuse_ratio(snr_db: float, order: Order) -> None:
    if order.entry.kind != "audio":
        raise UserError(f"--snr is over active speech, and {order.entry.name} is no law for sounds; leave it out.")
    if LEVEL in order.words:
        raise UserError(f"--snr and --set {LEVEL} both say how loud the noise is; leave out one of them.")
    if not abs(snr_db) <= LARGEST_SNR_DB:
        raise UserError(f"--snr {snr_db:g} is out of range: choose from -{LARGEST_SNR_DB} to {LARGEST_SNR_DB} dB.")


def to_picture(order: Order) -> Answer:
    from denoise.media.picture import open_picture, save

    law = made(order.entry, order.words)
    with open_picture(order.path) as source:

        def pages() -> Iterator[NDArray[Any]]:
            for index in range(source.pages):
                picture = source.page(index).picture
                yield picture.quantise(law.sample(picture.region(), order.seed + index))

        return law.describe(), save(order.out, source, pages())


def to_sound(order: Order) -> Answer:
    from denoise.media.sound import open_sound, save

    source = open_sound(order.path)
    rate = source.audio.rate
    timed = {"rate": rate} if "rate" in order.entry.parameters else {}
    law = made(order.entry, order.words, timed | from_recordings(order, rate))
    clean = torch.from_numpy(whole(source.audio))
    if order.snr_db is not None:
        law = at_ratio(law, order.snr_db, clean, rate, order.path)
    noisy = law.sample(clean, order.seed).numpy()
    return law.describe(), save(order.out, source, [noisy.astype(np.float32, copy=False)])


def at_ratio(law: Law, snr_db: float, clean: torch.Tensor, rate: int, path: Path) -> Law:
    from denoise.noise.sound_active import AtSnr, active_power

    if not active_power(clean, rate):
        raise UserError(f"{path} is silent, and --snr is over active speech; leave it out.")
    return AtSnr(law, snr_db, rate)


def from_recordings(order: Order, rate: int) -> dict[str, Any]:
    """What a law is made of besides words, at the rate of the sound that it is for."""
    if order.files is None:
        return {}
    if order.entry.law is Babble:
        return {"voices": tuple(recordings_in(order.files, rate))}
    sound = recorded(order.files, rate)
    if order.entry.law is Recorded:
        return as_fields(Recorded.fit(sound))
    return {"impulse": torch.from_numpy(whole(sound).mean(0))}


def as_fields(law: Recorded) -> dict[str, Any]:
    return {one.name: getattr(law, one.name) for one in fields(law)}


def recordings_in(folder: Path, rate: int) -> Iterator[torch.Tensor]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; a folder of voices is wanted.")
    voices = [path for path in sorted(folder.rglob("*")) if kind_of(path) == "audio"]
    if not voices:
        raise UserError(f"{folder}: no sound in it; a folder of voices is wanted.")
    return (torch.from_numpy(whole(recorded(path, rate))) for path in voices)


def recorded(path: Path, rate: int) -> Audio:
    from denoise.media.sound import open_sound
    from denoise.resample import at_rate

    if not path.is_file():
        raise UserError(f"{path}: there is no such recording; check the name.")
    return at_rate(open_sound(path).audio, rate)


def whole(sound: Audio) -> NDArray[np.float32]:
    return np.concatenate(list(sound.blocks(sound.rate)), 1)


def to_mosaic(order: Order) -> Answer:
    ending = order.out.suffix.lower()
    if ending not in MOSAICS and not (ending == DNG and kind_of(order.path) == "raw"):
        raise UserError(
            f"{order.out}: a mosaic is written as .npy or .tif, a raw file as .dng too; choose one of these."
        )
    frame = read_frame(order.path)
    law, known_black = from_folder(order.files, order) if order.files else from_words(order)
    tile = known_black if frame.black_dn is None else in_tile(frame.black_dn, frame.cfa or "RGGB")
    black = repeated(tile, frame.photosites.shape)
    clean = torch.from_numpy(frame.photosites.astype(np.float32) - black)
    noisy = in_type(law.sample(clean, order.seed).numpy() + black, frame.photosites.dtype)
    if ending != DNG:
        put(order.out, noisy)
        return law.describe(), []
    from denoise.media.raw import open_raw, save

    return law.describe(), save(order.out, open_raw(order.path), noisy, strength=None)


def from_words(order: Order) -> tuple[Camera, Tile]:
    """The camera's law, and its black level."""
    setting = setting_of(order)
    names = (*CAMERA, "pattern_dn")
    law = made(order.entry, order.words, {name: getattr(setting.camera, name) for name in names} if setting else {})
    return law, in_tile(setting.black_dn if setting else (0.0,) * 4, law.cfa)


def from_folder(folder: Path, order: Order) -> tuple[DarkFrames | LearnedCamera, Tile]:
    """The law of what lies there, and the black level where the file does not tell it."""
    if order.entry.law is DarkFrames:
        words = {name: value_of(order.entry, name, text) for name, text in order.words.items()}
        law = DarkFrames.fit([read_frame(path) for path in found_in(folder)], words.get("gain_dn_per_e"))
        return law, law.black_dn
    dark = opened(folder)
    known = {"read": dark.at(order.iso) if order.iso else dark}
    return made(order.entry, order.words, known), np.full((2, 2), known["read"].level.black_dn, np.float32)


def setting_of(order: Order) -> Calibration | None:
    """From a file, or drawn by the seed from what others found of that camera, at the wanted gain."""
    if order.camera is None:
        return None
    if is_calibration(order.camera):
        return read(Path(order.camera)).at(order.iso)
    gain = order.words.get("gain_dn_per_e")
    wanted = None if gain is None else float(value_of(order.entry, "gain_dn_per_e", gain))
    return Calibration(find(order.camera).drawn(order.seed, wanted), (0.0, 0.0, 0.0, 0.0))


def in_type(values: NDArray[np.float32], kind: np.dtype[Any]) -> NDArray[Any]:
    """Rounded and cut where the file holds whole numbers."""
    if kind.kind not in "ui":
        return values.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.rint(values), limits.min, limits.max).astype(kind)


def put(out: Path, mosaic: NDArray[Any]) -> None:
    import tifffile

    with atomic(out) as draft:
        if out.suffix.lower() == ".npy":
            np.save(draft, mosaic)
        else:
            tifffile.imwrite(draft, mosaic, photometric="minisblack")
