"""What cleaning needs and the page does not, torch above all, is imported once the first visitor sees his room."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from threading import Event, Timer

from denoise import zoo
from denoise.errors import UserError
from denoise.web.limits import KINDS

SEEN_S = 1.0  # from when a room was drawn until it is on the visitor's screen


@cache
def warm() -> Event:
    """Set when all is there; the first call begins it, a moment later."""
    done = Event()

    def work() -> None:
        try:
            load()
        finally:
            done.set()

    timer = Timer(0 if "torch" in sys.modules else SEEN_S, work)
    timer.daemon = True
    timer.start()
    return done


def load() -> None:
    """The code of the models that `auto` means, and of what runs them."""
    import denoise.run  # noqa: F401
    from denoise.methods.method import find

    for kind in KINDS:
        with suppress(UserError):  # there may be none of that kind
            find(str(zoo.default_for(kind).entries["method"]))
