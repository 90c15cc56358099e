"""What people see while it works: lines and a progress bar on stderr. stdout is for data."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, TypeVar

from denoise.batch.folder import Watch
from denoise.errors import Cancelled
from denoise.report import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Item = TypeVar("Item")


class Bar(Watch):
    """One bar for the whole run, measured in bytes of input, so that the time left can be told."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.progress = made_progress()
        self.task: TaskID | None = None
        self.done = self.size = 0
        self.path: Path | None = None  # of the file it is at
        self.said: set[str] = set()  # of that file

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def begin(self, total_bytes: int) -> None:
        if total_bytes:
            self.task = self.progress.add_task("", total=total_bytes)

    def start(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        if self.task is not None:
            self.progress.update(self.task, description=path.name)

    def tick(self, share: float) -> None:
        if self.stop.is_set():
            raise Cancelled
        if self.task is not None:
            self.progress.update(self.task, completed=self.done + share * self.size)

    def say(self, text: str) -> None:
        self.said.add(text)
        self.line(said_of(self.path, text) if self.path else text)

    def finish(self, outcome: Outcome) -> None:
        self.done, self.size = self.done + self.size, 0
        if self.task is not None:
            self.progress.update(self.task, completed=self.done)
        for text in lines_of(replace(outcome, notes=tuple(note for note in outcome.notes if note not in self.said))):
            self.line(text)
        self.path = None
        self.said.clear()

    def line(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def made_progress() -> Progress:
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=600,
    )


def lines_of(outcome: Outcome) -> Iterator[str]:
    """What is said of one file; of one that was there already only what is odd about it."""
    if outcome.error:
        yield said_of(outcome.input, outcome.error)
    elif outcome.work:
        yield f"{outcome.input} -> {outcome.output} ({outcome.work.model}, {outcome.seconds:.1f} s)"
    for note in outcome.notes:
        yield f"  {note}" if outcome.work else said_of(outcome.input, note)


def said_of(path: Path, text: str) -> str:
    """The sentence with its file before it, unless it names the file itself."""
    return text if str(path) in text or text.startswith(path.name) else f"{path}: {text}"


def tracked(items: Sequence[Item]) -> Iterator[Item]:
    """The same items, with a bar of how many are done."""
    with made_progress() as progress:
        yield from progress.track(items)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C, a polite kill and a closed terminal stop the run once and cleanly; again, they disturb no tidying up.

    The event is set as well: an interrupt that falls into a decoder's callback is lost, the next tick sees it.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt

    kept = {number: signal.signal(number, stop) for number in endings()}
    try:
        yield asked
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def endings() -> list[int]:
    """The signals that ask for an end; who runs it under nohup wants it to outlive the terminal."""
    hung_up = getattr(signal, "SIGHUP", None)
    asking: list[int] = [signal.SIGINT, signal.SIGTERM]
    return asking if hung_up is None or signal.getsignal(hung_up) is signal.SIG_IGN else [*asking, hung_up]
