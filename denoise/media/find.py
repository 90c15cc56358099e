"""Which files are media, by their names, and where in a folder they lie."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from denoise.errors import UserError
from denoise.restorer import unknown
from denoise.signals import Kind

MEDIA: dict[Kind, str] = {
    "picture": "denoise.media.picture",
    "audio": "denoise.media.sound",
    "raw": "denoise.media.raw",
}
NOWHERE = 0  # no kind of file: a link that leads to none
NAMES: dict[Kind, str] = {"picture": "picture", "audio": "sound", "raw": "raw file"}


def suffixes(kind: Kind) -> frozenset[str]:
    """Of files that can be read."""
    found: frozenset[str] = import_module(MEDIA[kind]).SUFFIXES
    return found


def writable(kind: Kind) -> frozenset[str]:
    """Of files that can be written: all sounds, pictures without a palette, and what becomes of raw files."""
    found: frozenset[str] = getattr(import_module(MEDIA[kind]), "WRITABLE", suffixes(kind))
    return found


def kind_of(path: Path) -> Kind | None:
    """What its name says it is; None where it is no sound, picture or raw file."""
    return next((kind for kind in MEDIA if path.suffix.lower() in suffixes(kind)), None)


def known() -> str:
    """All suffixes, for a sentence."""
    return " ".join(suffix for kind in MEDIA for suffix in sorted(suffixes(kind)))


def result_name(path: Path, mark: str = "", develop: str | None = None) -> str:
    """What a result of that file is called: where its own format cannot be written, `logo.gif` gives `logo.gif.png`.

    A raw file becomes a DNG, or what `develop` names.
    """
    kind = kind_of(path)
    if kind == "raw":
        return f"{path.stem}{mark}{raw_ending(develop)}"
    if kind is None or path.suffix.lower() in writable(kind):
        return f"{path.stem}{mark}{path.suffix}"
    return f"{path.stem}{mark}{path.suffix}{import_module(MEDIA[kind]).FALLBACK_SUFFIX}"


def raw_ending(develop: str | None) -> str:
    from denoise.media.raw import RESULT_SUFFIX, RESULTS

    if develop is None:
        return RESULT_SUFFIX
    if develop not in RESULTS:
        raise UserError(unknown("result of developing", develop, list(RESULTS), "there are"))
    return RESULTS[develop]


def files_below(folder: Path, refused: Callable[[Path, OSError], None]) -> Iterator[Path]:
    """Every file at any depth, in order of name; hidden ones and pipes left out, linked folders entered once."""
    waiting, seen = [folder], set[tuple[int, int]]()
    while waiting:
        place = waiting.pop()
        try:
            status = place.stat()
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as trouble:
            refused(place, trouble)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        visible = [(Path(entry.path), mode_of(entry)) for entry in entries if not entry.name.startswith(".")]
        yield from (path for path, mode in visible if mode in (stat.S_IFREG, NOWHERE))
        waiting += [path for path, mode in reversed(visible) if mode == stat.S_IFDIR]


def mode_of(entry: os.DirEntry[str]) -> int:
    """What kind of file it is, links followed."""
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return NOWHERE
