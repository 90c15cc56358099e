"""One work at a time, and none that nobody waits for any longer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gradio.context import LocalContext

from denoise.batch.file import Tick
from denoise.errors import Cancelled

LOOK_S = 0.1  # how often who waits for his turn looks whether he is still waited for
WORKING = threading.Lock()  # gradio frees its place in the queue as soon as a client cancels, and the work goes on


@contextmanager
def turn(tick: Tick) -> Iterator[None]:
    """Begins once nothing else is worked on; the tick may end the waiting."""
    while not WORKING.acquire(timeout=LOOK_S):
        tick(0)
    try:
        yield
    finally:
        WORKING.release()


def awaited(tick: Tick) -> Tick:
    """The same tick, that ends the work once its client cancelled it or has gone."""
    waits = waited_for()

    def watching(share: float) -> None:
        if not waits():
            raise Cancelled
        tick(share)

    return watching


def untold(share: float) -> None:
    """The tick of who wants to know of no progress."""


def waited_for() -> Callable[[], bool]:
    """Whether somebody still waits for what this thread was asked for: gradio forgets what was cancelled."""
    page, number = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if page is None or number is None:  # nobody asked through the queue
        return lambda: True
    asked = page._queue.event_ids_to_events

    def waits() -> bool:
        event = asked.get(number)
        return event is not None and event.alive

    return waits
