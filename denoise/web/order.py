"""One file that a visitor wants cleaned: how it is done, how it is stopped, and what is said of it."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from denoise.batch.file import Say, Tick, clean_file, sentence
from denoise.batch.plan import Job, beside
from denoise.batch.recipe import Recipe, ready
from denoise.errors import Cancelled, UserError
from denoise.measure.effect import Effect
from denoise.media.find import NAMES
from denoise.media.recording import in_words
from denoise.report import Outcome, Work
from denoise.signals import Kind
from denoise.web.limits import refuse
from denoise.web.shelf import folder_on
from denoise.web.turns import awaited, turn

STOPPED = "Stopped; nothing was kept of it."


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
        """The same tick, that ends the work once it was asked for, or nobody waits for it."""
        asked, tick = self.asked.get(key), awaited(tick)

        def watching(share: float) -> None:
            if asked is None or asked.is_set():
                raise Cancelled
            tick(share)

        return watching


def unheard(text: str) -> None:
    pass


@dataclass(frozen=True)
class Order:
    source: Path
    kind: Kind
    recipe: Recipe
    shelf: Path  # below it, each result has a folder of its own
    develop: str | None = None  # what a raw file becomes; None: a raw DNG

    def fill(self, tick: Tick, say: Say = unheard) -> Filled:
        """The cleaned file, through the same steps as on the command line, once it is its turn."""
        with turn(tick):
            return self.filled(tick, say)

    def filled(self, tick: Tick, say: Say) -> Filled:
        refuse(self.source, self.kind)
        if self.recipe.only not in (None, self.kind):
            raise UserError(f"{self.recipe.model} is not for {NAMES[self.kind]}s; choose another model, or auto.")
        begun, told = time.perf_counter(), list[str]()

        def saying(text: str) -> None:
            told.append(text)
            say(text)

        tick(0)
        restoring = ready(self.recipe, [self.kind])[self.kind]
        with folder_on(self.shelf) as folder:
            target = folder / beside(self.source, self.develop).name
            done = clean_file(Job(self.source, target, self.kind), restoring, tick, saying)
        seconds = time.perf_counter() - begun
        notes = (*told, *done.notes)
        return Filled(self.source, target, self.kind, self.recipe, done.work, seconds, notes, done.effect)


@dataclass(frozen=True)
class Filled:
    source: Path
    target: Path
    kind: Kind
    recipe: Recipe
    work: Work
    seconds: float
    notes: tuple[str, ...] = ()
    effect: Effect = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """For programs; files are told by their names alone."""
        names = Path(self.source.name), Path(self.target.name)
        return Outcome(names[0], "cleaned", names[1], self.kind, self.work, self.seconds, self.notes, self.effect)

    @property
    def lines(self) -> list[str]:
        return [f"Cleaned by {self.work.model} in {in_words(self.seconds)} on {self.work.device}.", *self.notes]


def complaint(trouble: Exception, source: Path, shelf: Path) -> str:
    """What went wrong with a file, for the visitor: no traceback, and no path of this machine."""
    text = excuse(trouble, shelf).replace(str(source), source.name)
    return text if text.startswith(source.name) else f"{source.name}: {text}"


def excuse(trouble: Exception, shelf: Path) -> str:
    if isinstance(trouble, Cancelled):
        return STOPPED
    if not isinstance(trouble, UserError):
        logging.getLogger(__name__).exception("the page met a surprise", exc_info=trouble)
    return without_paths(sentence(trouble), shelf)


def without_paths(text: str, shelf: Path) -> str:
    return re.sub(rf"{re.escape(str(shelf))}/[^/\s]+/", "", text)
