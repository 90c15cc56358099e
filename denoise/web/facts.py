"""What the rooms are made from: the facts of the models, and the laws of noise.

To find them out takes torch and every method, half of the time until the page is there. They follow from the cards and
the code alone, so they are kept beside the graphs that are made once, until a card or the code changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from denoise import zoo
from denoise.atomic import atomic
from denoise.errors import BadFile
from denoise.onnx.label import facts_in, label, model_digest
from denoise.restorer import Facts
from denoise.zoo import HERE, Card


def facts_of(card: Card) -> Facts:
    """As the model tells them once it is loaded."""
    return facts_in(remembered(named(card), lambda: label(card, zoo.load(card, device="cpu").facts)), card)


def any_live() -> bool:
    """Whether there is a model that works as a sound comes in."""
    return any(live(card) for card in zoo.cards().values() if card.kind == "audio")


def live(card: Card) -> bool:
    def found() -> bool:
        from denoise.web.live_sound import works_live

        return works_live(card)

    return bool(remembered(f"{named(card)}-live", found))


def kinds_of_laws() -> dict[str, str]:
    """What each law of noise is for, by its name."""

    def found() -> dict[str, str]:
        from denoise.noise.laws import laws

        return {name: entry.kind for name, entry in laws().items()}

    return dict(remembered("laws", found))


def remembered(name: str, find: Callable[[], Any]) -> Any:
    """What it finds, as JSON tells it; what the same code has found before is not looked for again."""
    kept = zoo.own_cache() / "page" / f"{name}-{code_digest()[:12]}.json"
    with suppress(OSError, ValueError):
        return json.loads(kept.read_bytes())
    found = find()
    with suppress(OSError, BadFile), atomic(kept) as draft:  # where nothing can be kept, it is found anew each time
        draft.write_text(json.dumps(found))
    return found


def named(card: Card) -> str:
    return f"{card.name}-{model_digest(card)[:12]}"


@cache
def code_digest() -> str:
    """Of all code, since facts and laws may come from anywhere in it."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        digest.update(path.relative_to(HERE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
