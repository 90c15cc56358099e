"""Raw frames from files: camera files, 16-bit TIFF mosaics or NumPy arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import BadFile, UserError
from denoise.media.raw import SUFFIXES, RawFile, open_raw
from denoise.media.raw_tags import COLOUR_FILTER, ISO, said_by
from denoise.noise.calibration import centred
from denoise.noise.frame import Frame, refuse_unlike

TIFFS = frozenset({".tif", ".tiff"})
PLAIN = TIFFS | {".npy"}
CHECKERED = 1.3  # differences of neighbours over those of every second ones; of pictures and noise at most 1
DEVELOPED = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".avif", ".bmp", ".gif"})


def read_folder(place: Path) -> list[Frame]:
    """The middles of all frames in a folder, in order of name; of a single file, of that one."""
    paths = [place] if place.is_file() else found_in(place)
    frames = [read_frame(path).middle() for path in paths]
    refuse_unlike(frames)
    return frames


def found_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of frames; check the name.")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    raw = [path for path in paths if path.suffix.lower() in PLAIN | SUFFIXES]
    stems = {path.stem for path in raw}
    for path in paths:  # a JPEG beside its raw file is what cameras write
        if path.suffix.lower() in DEVELOPED and path.stem not in stems:
            refuse_developed(path)
    if not raw:
        raise UserError(f"{folder}: no raw frames in there; camera files, 16-bit TIFF mosaics or .npy arrays are read.")
    return raw


def has_frames(folder: Path) -> bool:
    known = PLAIN | SUFFIXES | DEVELOPED
    return folder.is_file() or any(path.suffix.lower() in known for path in folder.glob("[!.]*.*"))


def read_frame(path: Path) -> Frame:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise BadFile(f"{path}: there is no such file; check the name.")
    if suffix in DEVELOPED:
        refuse_developed(path)
    reader = {".npy": read_array, ".tif": read_tiff, ".tiff": read_tiff}.get(suffix, read_raw)
    if reader is read_raw and suffix not in SUFFIXES:
        raise BadFile(f"{path}: not a raw frame by its name; camera files, 16-bit TIFF mosaics or .npy are read.")
    return reader(path)


def is_mosaic(path: Path) -> bool:
    """By its name, or for a grey TIFF by what it says or shows: neighbours differ more than every second ones."""
    suffix = path.suffix.lower()
    if suffix not in PLAIN:
        return suffix in SUFFIXES
    return suffix == ".npy" or (suffix in TIFFS and tiff_is_mosaic(path))


def tiff_is_mosaic(path: Path) -> bool:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if (
                len(file.pages) > 1
                or len(page.shape) != 2
                or min(page.shape) < 4
                or page.dtype is None
                or page.dtype.itemsize < 2
            ):
                return False
            return page.photometric == COLOUR_FILTER or checkered(centred(page.asarray()).astype(np.float32))
    except Exception:  # what is wrong with it is said by those who read it
        return False


def checkered(values: NDArray[np.float32]) -> bool:
    beside = min(float(np.abs(np.diff(values, axis=axis)).mean()) for axis in (0, 1))
    second = max(float(np.abs(values[2:] - values[:-2]).mean()), float(np.abs(values[:, 2:] - values[:, :-2]).mean()))
    return beside > CHECKERED * second


def refuse_developed(path: Path) -> None:
    raise BadFile(
        f"{path}: a developed picture ({path.suffix[1:].upper()}, as a rule of 8 bits), in which the sensor's noise is "
        "processed away; give the raw file of the camera."
    )


def read_array(path: Path) -> Frame:
    try:
        photosites = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadFile(f"{path}: damaged, or not a NumPy array of numbers; write it again with numpy.save.") from error
    return plain(path, photosites)


def read_tiff(path: Path) -> Frame:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            photosites = file.pages.first.asarray()
    except Exception as error:  # decoders raise what they like over foreign bytes
        raise BadFile(f"{path}: damaged or incomplete TIFF file; copy or export it again.") from error
    said = said_by(path)
    return replace(plain(path, photosites), iso=said.whole(ISO), camera=said.camera)


def plain(path: Path, photosites: NDArray[Any]) -> Frame:
    """One value per photosite, of at least 9 bits or float."""
    mosaic = np.squeeze(photosites)
    if mosaic.ndim != 2 or min(mosaic.shape) < 2:
        shape = " × ".join(str(side) for side in photosites.shape)
        raise BadFile(f"{path}: values of shape {shape}; a mosaic with one value per photosite is wanted, H × W.")
    if mosaic.dtype == np.uint8:
        raise BadFile(f"{path}: 8-bit values, which raw frames never have; give the raw file of the camera.")
    if mosaic.dtype.kind not in "uif":
        raise BadFile(f"{path}: values of the type {mosaic.dtype}; whole numbers or float are wanted.")
    if mosaic.dtype.kind == "f" and not np.isfinite(mosaic).all():
        raise BadFile(f"{path}: some of its values are not numbers (NaN or infinite); replace them first.")
    return Frame(path, mosaic, (mosaic.shape[1], mosaic.shape[0]))


def read_raw(path: Path) -> Frame:
    """A camera's own file."""
    return frame_of(open_raw(path))


def frame_of(raw: RawFile) -> Frame:
    if len(raw.cfa) != 4:
        raise BadFile(f"{raw.path}: its sensor has no 2 × 2 colour filter; only RGGB, BGGR, GRBG and GBRG are known.")
    size = raw.photosites.shape[1], raw.photosites.shape[0]
    return Frame(raw.path, raw.photosites, size, raw.cfa, raw.black, raw.white, raw.iso, raw.camera)
