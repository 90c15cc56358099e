"""One file cleaned: opened, restored as a stream, and written whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from denoise.batch.plan import Job
from denoise.batch.recipe import Ready
from denoise.errors import UserError
from denoise.signals import Audio, Kind, Samples

if TYPE_CHECKING:
    from denoise.media.picture import PictureFile

Tick = Callable[[float], None]
Say = Callable[[str], None]

SILENT = "It is all silent: there was nothing to clean."
CANNOT_READ = {
    errno.EACCES: "no permission to read it; change its rights or ask its owner.",
    errno.EPERM: "no permission to read it; change its rights or ask its owner.",
    errno.ENAMETOOLONG: "its path is too long; move it nearer to the top.",
    errno.EIO: "its disk cannot be read there; copy it from another source.",
}


def clean_file(job: Job, ready: Ready, tick: Tick, say: Say) -> list[str]:
    """Writes the result and gives back what is to be known about it."""
    with no_empty_folders(job.target.parent):
        return CLEANERS[job.kind](job, ready, tick, say)


def clean_picture(job: Job, ready: Ready, tick: Tick, say: Say) -> list[str]:
    from denoise.media import picture

    with picture.open_picture(job.source) as source:
        notes = picture.save(job.target, source, restored_pages(source, ready, tick, say))
    return [*source.notes, *notes]


def restored_pages(source: PictureFile, ready: Ready, tick: Tick, say: Say) -> Iterator[Samples]:
    from denoise.run import restore_picture

    for number in range(source.pages):
        page = source.page(number).picture
        part = share(tick, number, source.pages)
        yield restore_picture(page, ready.restorer, ready.options, part, say)


def share(tick: Tick, number: int, of: int) -> Tick:
    return lambda done: tick((number + done) / of)


def clean_sound(job: Job, ready: Ready, tick: Tick, say: Say) -> list[str]:
    from denoise.media import sound
    from denoise.run import restore_sound

    source = sound.open_sound(job.source)
    audio, heard = listened(source.audio)
    notes = sound.save(job.target, source, restore_sound(audio, ready.restorer, ready.options, tick, say))
    silence = [] if heard() else [SILENT]
    return list(dict.fromkeys([*source.notes, *notes, *silence]))


def listened(audio: Audio) -> tuple[Audio, Callable[[], bool]]:
    """The same sound, and whether anything but silence was read of it."""
    heard = False

    def blocks(frames: int) -> Iterator[NDArray[np.float32]]:
        nonlocal heard
        for block in audio.blocks(frames):
            heard = heard or bool(block.any())
            yield block

    return replace(audio, blocks=blocks), lambda: heard


CLEANERS: dict[Kind, Callable[[Job, Ready, Tick, Say], list[str]]] = {
    "picture": clean_picture,
    "audio": clean_sound,
}


@contextmanager
def no_empty_folders(folder: Path) -> Iterator[None]:
    """Folders that were made for a result go again when there is none."""
    fresh = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty: another result lies there
            for place in fresh:
                place.rmdir()
        raise


def sentence(trouble: Exception) -> str:
    """Why this file could not be cleaned, for the person whose file it is."""
    if isinstance(trouble, UserError):
        return str(trouble)
    if isinstance(trouble, OSError) and trouble.errno in CANNOT_READ:
        return CANNOT_READ[trouble.errno]
    if isinstance(trouble, MemoryError):
        return "memory ran out; close other programs and try again."
    return f"it could not be cleaned ({type(trouble).__name__}: {trouble}); is it damaged?"
