"""What is too large for a page that several people may share, said in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from denoise.errors import BadFile
from denoise.media.find import kind_of
from denoise.signals import Kind

LARGEST_UPLOAD_MB = 500
LARGEST_MEGAPIXELS = 120.0  # all pages together
LONGEST_MINUTES = 60.0
MOST_FILES = 200  # of one folder
LARGEST_FOLDER_MB = 2000.0
LONGEST_LIVE_MINUTES = 10.0  # of one take
LONGEST_SILENCE_S = 15.0  # without a part of it, until a take is forgotten
LARGEST_LIVE_PART_S = 5.0
MOST_LIVE = 4  # visitors at once
WANTED: dict[Kind, str] = {"picture": "a picture", "audio": "a sound", "raw": "a raw file"}
KINDS: tuple[Kind, ...] = tuple(WANTED)


def refuse(path: Path, *kinds: Kind) -> None:
    """Says no to what is of another kind, or too large."""
    kind = kind_of(path)
    if kind not in kinds:
        wanted = " or ".join(WANTED[each] for each in kinds)
        raise BadFile(f"{path}: {wanted} is wanted here, by its content and by its name.")
    size, most, unit = MEASURES[kind](path)
    if size > most:
        raise BadFile(f"{path}: {size:.4g} {unit}, and {most:g} are the most on this page; use the command line.")


def refuse_many(paths: list[Path]) -> None:
    """A folder that nobody else could use the page beside."""
    if len(paths) > MOST_FILES:
        raise BadFile(f"{len(paths)} files, and {MOST_FILES} are the most on this page; use the command line.")
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    if megabytes > LARGEST_FOLDER_MB:
        raise BadFile(
            f"{megabytes:.0f} MB in all, and {LARGEST_FOLDER_MB:g} are the most on this page; use the command line."
        )


def megapixels(path: Path) -> tuple[float, float, str]:
    """Of all pages together."""
    from denoise.media.picture import open_picture

    with open_picture(path) as source:
        headers = [source.header(page) for page in range(source.pages)]
    return sum(one.width * one.height for one in headers) / 1e6, LARGEST_MEGAPIXELS, "megapixels"


def photosites(path: Path) -> tuple[float, float, str]:
    """By what the file promises; whoever opens it says what else is wrong with it."""
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            size = raw.sizes.raw_height * raw.sizes.raw_width / 1e6
    except rawpy.LibRawError:
        size = 0.0
    return size, LARGEST_MEGAPIXELS, "megapixels"


def minutes(path: Path) -> tuple[float, float, str]:
    from denoise.media.sound import open_sound

    return open_sound(path).audio.seconds / 60, LONGEST_MINUTES, "minutes"


MEASURES: dict[Kind, Callable[[Path], tuple[float, float, str]]] = {
    "picture": megapixels,
    "audio": minutes,
    "raw": photosites,
}
