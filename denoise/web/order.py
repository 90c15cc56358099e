"""One file that a visitor wants cleaned: what is refused, how it is done, how it is stopped, and where it lies."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from denoise.batch.file import Tick, clean_file, sentence
from denoise.batch.plan import Job, beside
from denoise.batch.recipe import Recipe, ready
from denoise.errors import BadFile, Cancelled, UserError
from denoise.media.find import kind_of
from denoise.media.recording import in_words
from denoise.report import Work
from denoise.signals import Kind

LARGEST_UPLOAD_MB = 500
LARGEST_MEGAPIXELS = 120.0  # all pages together
LONGEST_MINUTES = 60.0
STOPPED = "Stopped; nothing was kept of it."
WANTED = {"picture": "a picture", "audio": "a sound", "raw": "a raw file"}


class Stops:
    """Who wants what is running to stop; `key` is a visitor's session."""

    def __init__(self) -> None:
        self.asked: dict[str, threading.Event] = {}

    def begin(self, key: str) -> None:
        self.asked[key] = threading.Event()

    def stop(self, key: str) -> None:
        if key in self.asked:
            self.asked[key].set()

    def leave(self, session: str) -> None:
        """The visitor has gone: all that is done for him stops, and what waits does not begin."""
        for key in [key for key in self.asked if key.startswith(session)]:
            self.asked.pop(key).set()

    def watched(self, key: str, tick: Tick) -> Tick:
        """The same tick, that ends the work once it was asked for."""
        asked = self.asked.get(key)

        def watching(share: float) -> None:
            if asked is None or asked.is_set():
                raise Cancelled
            tick(share)

        return watching


@dataclass(frozen=True)
class Order:
    source: Path
    kind: Kind
    recipe: Recipe
    shelf: Path  # below it, each result has a folder of its own

    def fill(self, tick: Tick) -> Filled:
        """The cleaned file, through the same steps as on the command line."""
        refuse(self.source, self.kind)
        begun, said = time.perf_counter(), list[str]()
        tick(0)
        restoring = ready(self.recipe, [self.kind])[self.kind]
        with folder_on(self.shelf) as folder:
            target = folder / beside(self.source).name
            done = clean_file(Job(self.source, target, self.kind), restoring, tick, said.append)
        return Filled(self.source, target, restoring.work, time.perf_counter() - begun, (*said, *done.notes))


@dataclass(frozen=True)
class Filled:
    source: Path
    target: Path
    work: Work
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        return [f"Cleaned by {self.work.model} in {in_words(self.seconds)} on {self.work.device}.", *self.notes]


@contextmanager
def folder_on(shelf: Path) -> Iterator[Path]:
    """A folder for one result, that goes again where there is none."""
    folder = Path(mkdtemp(dir=shelf))
    try:
        yield folder
    except BaseException:
        rmtree(folder)
        raise


def refuse(path: Path, kind: Kind) -> None:
    """Says no to what is not of this kind, or too large for a page that several people may share."""
    if kind_of(path) != kind:
        raise BadFile(f"{path}: {WANTED[kind]} is wanted in this room, by its content and by its name.")
    size, most, unit = MEASURES[kind](path)
    if size > most:
        raise BadFile(f"{path}: {size:.4g} {unit}, and {most:g} are the most on this page; use the command line.")


def megapixels(path: Path) -> tuple[float, float, str]:
    """Of all pages together."""
    from denoise.media.picture import open_picture

    with open_picture(path) as source:
        headers = [source.header(page) for page in range(source.pages)]
    return sum(one.width * one.height for one in headers) / 1e6, LARGEST_MEGAPIXELS, "megapixels"


def minutes(path: Path) -> tuple[float, float, str]:
    from denoise.media.sound import open_sound

    return open_sound(path).audio.seconds / 60, LONGEST_MINUTES, "minutes"


MEASURES: dict[Kind, Callable[[Path], tuple[float, float, str]]] = {"picture": megapixels, "audio": minutes}


def complaint(trouble: Exception, source: Path, shelf: Path) -> str:
    """What went wrong, for the visitor: no traceback, and no path of this machine."""
    if not isinstance(trouble, UserError):
        logging.getLogger(__name__).exception("%s could not be cleaned", source.name, exc_info=trouble)
    text = sentence(trouble).replace(str(source), source.name)
    text = re.sub(rf"{re.escape(str(shelf))}/[^/\s]+/", "", text)
    return text if text.startswith(source.name) else f"{source.name}: {text}"
