"""The folder of a page that is served: it goes with the page, or with the next one where that was killed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from stat import S_ISDIR
from tempfile import TemporaryDirectory, gettempdir
from typing import IO

PREFIX = "denoise-page-"
LOCK = ".served"  # in the folder, and locked for as long as its page is there
YOUNG_S = 60  # a younger folder may be about to be locked


@contextmanager
def page_folder() -> Iterator[Path]:
    """A fresh one, after those that nobody serves any longer were deleted."""
    sweep_left(Path(gettempdir()))
    with TemporaryDirectory(prefix=PREFIX) as folder, (Path(folder) / LOCK).open("w") as lock:
        locked(lock)
        yield Path(folder)


def sweep_left(place: Path) -> None:
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another page sweeps there too, or it has no lock
            if is_left(folder):
                rmtree(folder)


def is_left(folder: Path) -> bool:
    """Whether it is this user's, and its page has gone."""
    told = folder.lstat()
    if sys.platform == "win32" or not S_ISDIR(told.st_mode) or told.st_uid != os.getuid():
        return False
    if time.time() - told.st_mtime < YOUNG_S:
        return False
    with (folder / LOCK).open("r+") as lock:
        return locked(lock)


def locked(lock: IO[str]) -> bool:
    """Whether it could be, for as long as it is open: nobody else has it locked then."""
    if sys.platform == "win32":
        return False
    from fcntl import LOCK_EX, LOCK_NB, flock

    try:
        flock(lock, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    return True
