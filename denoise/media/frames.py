"""Raw frames from files: camera files, 16-bit TIFF mosaics or NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import BadFile, UserError
from denoise.noise.calibration import centred
from denoise.noise.frame import Frame, refuse_unlike

TIFFS = frozenset({".tif", ".tiff"})
PLAIN = TIFFS | {".npy"}
COLOUR_FILTER = 32803  # what a TIFF of a mosaic calls its colours
CHECKERED = 1.3  # differences of neighbours over those of every second ones; of pictures and noise at most 1
ENDINGS = "3fr arw cr2 cr3 crw dcr dng erf fff iiq kdc mef mos mrw nef nrw orf pef ptx raf raw rw2 rwl sr2 srf srw x3f"
RAW = frozenset(f".{ending}" for ending in ENDINGS.split())
DEVELOPED = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".avif", ".bmp", ".gif"})
EXIF, ISO, MODEL = 34665, 34855, 272  # tags


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
    raw = [path for path in paths if path.suffix.lower() in PLAIN | RAW]
    stems = {path.stem for path in raw}
    for path in paths:  # a JPEG beside its raw file is what cameras write
        if path.suffix.lower() in DEVELOPED and path.stem not in stems:
            refuse_developed(path)
    if not raw:
        raise UserError(f"{folder}: no raw frames in there; camera files, 16-bit TIFF mosaics or .npy arrays are read.")
    return raw


def has_frames(folder: Path) -> bool:
    return folder.is_file() or any(path.suffix.lower() in PLAIN | RAW | DEVELOPED for path in folder.glob("[!.]*.*"))


def read_frame(path: Path) -> Frame:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise BadFile(f"{path}: there is no such file; check the name.")
    if suffix in DEVELOPED:
        refuse_developed(path)
    reader = {".npy": read_array, ".tif": read_tiff, ".tiff": read_tiff}.get(suffix, read_raw)
    if reader is read_raw and suffix not in RAW:
        raise BadFile(f"{path}: not a raw frame by its name; camera files, 16-bit TIFF mosaics or .npy are read.")
    return reader(path)


def is_mosaic(path: Path) -> bool:
    """By its name, or for a grey TIFF by what it says or shows: neighbours differ more than every second ones."""
    suffix = path.suffix.lower()
    if suffix not in PLAIN:
        return suffix in RAW
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
            photosites, iso, camera = file.pages.first.asarray(), iso_of(file), camera_of(file)
    except Exception as error:  # decoders raise what they like over foreign bytes
        raise BadFile(f"{path}: damaged or incomplete TIFF file; copy or export it again.") from error
    return replace(plain(path, photosites), iso=iso, camera=camera)


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


def iso_of(file: Any) -> int | None:
    """From the tags of a TIFF, or of a camera's file that is built like one."""
    tags = file.pages.first.tags
    exif = tags[EXIF].value if EXIF in tags else None
    value = exif.get("ISOSpeedRatings") if isinstance(exif, dict) else None
    value = tags[ISO].value if value is None and ISO in tags else value
    first = value[0] if isinstance(value, tuple) and value else value
    return int(first) if isinstance(first, int) and first > 0 else None


def camera_of(file: Any) -> str | None:
    tags = file.pages.first.tags
    return str(tags[MODEL].value).strip("\0 ") or None if MODEL in tags else None


def beside(path: Path) -> tuple[int | None, str | None]:
    """ISO and camera, where a camera's file is built like a TIFF; LibRaw does not know the one of every format."""
    import tifffile

    with suppress(Exception), tifffile.TiffFile(path) as file:  # most formats are, some are not
        return iso_of(file), camera_of(file)
    return None, None


def read_raw(path: Path) -> Frame:
    """A camera's own file, through LibRaw."""
    try:
        import rawpy
    except ImportError:
        raise UserError(
            f"{path}: reading camera files needs the package rawpy: pip install rawpy; or give .npy or 16-bit TIFF."
        ) from None
    try:
        with rawpy.imread(str(path)) as raw:
            return told(path, raw, *beside(path))
    except rawpy.LibRawError as error:
        raise BadFile(f"{path}: damaged, or no raw file that LibRaw knows; copy it from the camera again.") from error


def told(path: Path, raw: Any, iso: int | None, camera: str | None) -> Frame:
    """What LibRaw knows of an open file."""
    pattern = raw.raw_pattern
    if pattern is None or pattern.shape != (2, 2) or raw.raw_image_visible.ndim != 2:
        raise BadFile(f"{path}: its sensor has no 2 × 2 colour filter; only RGGB, BGGR, GRBG and GBRG are known.")
    colours = raw.raw_colors_visible[:2, :2]
    letters = raw.color_desc.decode()
    photosites = raw.raw_image_visible.copy()
    return Frame(
        path,
        photosites,
        (photosites.shape[1], photosites.shape[0]),
        "".join(letters[index] for index in colours.flat),
        blacks(colours, letters, raw.black_level_per_channel),
        float(raw.white_level),
        round(raw.other.iso_speed) or iso,
        camera,
    )


def blacks(colours: NDArray[Any], letters: str, level: Sequence[float]) -> tuple[float, float, float, float]:
    """In the order R, G1, G2, B: G1 is the green in the rows of red."""
    by_row = [[(letters[index], float(level[index])) for index in row] for row in colours]
    red_row = next(row for row in by_row if any(letter == "R" for letter, _ in row))
    blue_row = next(row for row in by_row if row is not red_row)
    red, first, second, blue = (
        next(value for letter, value in row if letter == wanted)
        for row, wanted in ((red_row, "R"), (red_row, "G"), (blue_row, "G"), (blue_row, "B"))
    )
    return red, first, second, blue
