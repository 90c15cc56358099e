"""Who is live: what each says, what is made of it, and how it ends."""

from __future__ import annotations

import binascii
import secrets
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any

import numpy as np

from denoise.batch.plan import beside
from denoise.errors import UserError
from denoise.signals import Block
from denoise.web import limits
from denoise.web.shelf import fresh

if TYPE_CHECKING:
    from denoise.web.live_sound import LiveModel

RATES = range(8_000, 192_001)  # Hz
FORMAT: dict[str, Any] = {"channels": 1, "subtype": "PCM_24", "format": "WAV"}
OVER = "This take has ended; press Live again."
FULL = "{} visitors are live already, and more would be too slow for all; try again later, or record the sound."


@dataclass
class Take:
    """One visitor's sound, written as it comes in."""

    model: LiveModel
    rate: int
    place: Path  # of what came in; what is made of it lies beside it
    lock: Lock = field(default_factory=Lock)
    heard: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        from soundfile import SoundFile

        from denoise.web.live_sound import LiveSound

        self.sound = LiveSound(self.model, self.rate)
        self.noisy, self.cleaned = (SoundFile(path, "w", self.rate, **FORMAT) for path in (self.place, self.result))

    @property
    def result(self) -> Path:
        return beside(self.place)

    def hear(self, samples: Block, strength: float) -> Block:
        with self.lock:
            self.heard = time.monotonic()
            self.refuse(samples)
            self.noisy.write(samples[0])
            return self.kept(self.sound.push(samples, strength))

    def refuse(self, samples: Block) -> None:
        if self.cleaned.closed:
            raise UserError(OVER)
        if self.noisy.tell() + samples.shape[1] > limits.LONGEST_LIVE_MINUTES * 60 * self.rate:
            raise UserError(f"{limits.LONGEST_LIVE_MINUTES:g} minutes are the most of one take; press Live again.")

    def kept(self, cleaned: Block) -> Block:
        self.cleaned.write(cleaned[0])
        return cleaned

    def end(self, strength: float = 1.0) -> None:
        with self.lock:
            if not self.cleaned.closed:
                self.kept(self.sound.last(strength))
            self.close()

    def close(self) -> None:
        self.noisy.close()
        self.cleaned.close()


class Takes:
    """All of them, each under a word that only its visitor was told."""

    def __init__(self) -> None:
        self.going: dict[str, Take] = {}
        self.places: set[str] = set()  # of these, and of those that are about to begin
        self.lock = Lock()

    def begin(self, model: str, rate: int) -> tuple[str, Take]:
        word = self.reserved()
        try:
            take = self.going[word] = ready(model, rate)
        except BaseException:
            self.places.discard(word)
            raise
        self.watch(word)
        return word, take

    def reserved(self) -> str:
        """The word of one of the few places, taken before what then takes a while."""
        word = secrets.token_urlsafe(16)
        with self.lock:
            if len(self.places) >= limits.MOST_LIVE:
                raise UserError(FULL.format(limits.MOST_LIVE))
            self.places.add(word)
        return word

    def take(self, word: str) -> Take:
        if word not in self.going:
            raise UserError(OVER)
        return self.going[word]

    def watch(self, word: str) -> None:
        """Forgets it once nothing came in for long."""
        take = self.going.get(word)
        if take is None:
            return
        left = take.heard + limits.LONGEST_SILENCE_S - time.monotonic()
        if left <= 0:
            self.forget(word)
            return
        waiting = Timer(left, self.watch, [word])
        waiting.daemon = True
        waiting.start()

    def forget(self, word: str) -> Path | None:
        """What came in stays on the shelf for its time."""
        take = self.going.pop(word, None)
        self.places.discard(word)
        if take is None:
            return None
        with take.lock:
            take.close()
        return take.place


def ready(model: str, rate: int) -> Take:
    """To be heard at once."""
    from denoise.web.live_sound import chosen

    if rate not in RATES:
        raise UserError(f"The microphone has {rate} Hz, and {RATES[0]} to {RATES[-1]} are wanted; choose another.")
    found = chosen(model)
    warm(found, rate)
    return Take(found, rate, fresh() / f"live-{time.strftime('%Y%m%d-%H%M%S')}.wav")


def warm(model: LiveModel, rate: int) -> None:
    """What the first frames of a process take longer for is done before anybody waits for it."""
    from denoise.web.live_sound import LiveSound

    LiveSound(model, rate).push(np.zeros((1, rate // 5), np.float32))


# As the page sends and gets it


def coded(samples: Block) -> str:
    return b64encode(samples.astype("<f4").tobytes()).decode()


def decoded(text: str, rate: int) -> Block:
    """(1, n) samples; a page sends a few hundredths of a second at a time."""
    if len(text) > limits.LARGEST_LIVE_PART_S * rate * 4 * 4 / 3 + 4:
        raise UserError(f"{limits.LARGEST_LIVE_PART_S:g} s of sound are the most at a time.")
    try:
        return np.frombuffer(b64decode(text, validate=True), "<f4")[None].astype(np.float32)
    except (binascii.Error, ValueError):
        raise UserError("That is no sound: samples of four bytes are wanted, as base64.") from None
