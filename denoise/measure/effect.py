"""What a cleaning did to a signal, without knowing the clean one: how much it took, where, and whether it did harm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from denoise.signals import Audio, Block, Mosaic, Picture, Samples

FRAME_S = 0.02
LOUDEST = 0.95  # quantile of the frames' levels
HEARD_DB = 20.0  # what is left within so much of the loudest is content; less is a pause
NOTHING = 1e-12  # power, -120 dBFS
LEAST_FRAMES = 10  # of each sort; fewer tell nothing
LEFT_ALONE_DB = 45.0  # between content and pauses, before anything is done
MUCH_DB = 4.0  # of what is heard; noise as loud as a voice is 3
LEVEL_DB = 1.0  # change of the loudest that is worth a word
ROWS = 256  # of a picture, compared at once

Powers = NDArray[np.float64]
Effect = Mapping[str, float | None]


@dataclass(frozen=True)
class SoundEffect:
    """All in dB but the last; None where a sound has no such parts."""

    removed_heard_db: float | None  # power taken away where something is heard
    removed_pauses_db: float | None  # and where nothing is
    level_db: float | None  # change of the loudest tenth of what is heard
    contrast_db: float | None  # between what was heard and the pauses, in the noisy sound
    clipped: int  # samples beyond full scale that were not before

    def as_data(self) -> Effect:
        return asdict(self)

    @property
    def is_much(self) -> bool:
        return self.removed_heard_db is not None and self.removed_heard_db >= MUCH_DB

    def lines(self) -> Iterator[str]:
        if self.removed_heard_db is None:
            return
        where = "where something is heard" if self.removed_pauses_db is not None else "everywhere"
        pauses = "" if self.removed_pauses_db is None else f"{self.removed_pauses_db:.1f} dB in pauses, "
        yield f"Took away {pauses}{self.removed_heard_db:.1f} dB {where}."
        if self.is_much:
            yield "That is much: listen to it, and choose another model or less strength if what went was wanted."
        if self.level_db is not None and abs(self.level_db) >= LEVEL_DB:
            yield f"The level of its loudest parts changed by {self.level_db:+.1f} dB."
        if self.contrast_db is not None and self.contrast_db >= LEFT_ALONE_DB:
            yield f"Its pauses lay {self.contrast_db:.0f} dB below the rest before: it can be left alone."
        if self.clipped:
            yield f"{self.clipped} samples went beyond full scale."


@dataclass(frozen=True)
class PictureEffect:
    """Of 255."""

    removed: float  # root mean square of what was taken away
    colour_shift: float  # of the mean of the colour that moved most

    def as_data(self) -> Effect:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        yield f"Took away {self.removed:.1f} of 255 (RMS); mean colours moved by {self.colour_shift:.2f}."


@dataclass(frozen=True)
class MosaicEffect:
    """In DN."""

    removed_dn: float  # root mean square of what was taken away
    shift_dn: float  # of the mean of the colour that moved most
    range_dn: float  # from black to white

    def as_data(self) -> Effect:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        share = 100 * self.removed_dn / self.range_dn
        yield (
            f"Took away {self.removed_dn:.3g} DN (RMS), {share:.2g} % of white; "
            f"mean colours moved by {self.shift_dn:.2g} DN."
        )


# Sound


class Frames:
    """Mean power of every 20 ms, and how many samples are beyond full scale."""

    def __init__(self, rate: float) -> None:
        self.size = max(1, round(FRAME_S * rate))
        self.waiting = np.zeros(0, np.float32)
        self.powers: list[Powers] = []
        self.beyond = 0
        self.samples = 0

    def add(self, block: Block) -> None:
        self.beyond += int(np.count_nonzero(np.abs(block) > 1))
        self.samples += block.shape[1]
        squares = np.concatenate([self.waiting, np.square(block).mean(0)])
        whole = len(squares) // self.size * self.size
        self.powers.append(squares[:whole].reshape(-1, self.size).mean(1, dtype=np.float64))
        self.waiting = squares[whole:]

    @property
    def all(self) -> Powers:
        return np.concatenate([np.zeros(0), *self.powers])


class Listener:
    """Hears a sound as it is read and as it is written; either may be read more than once."""

    def __init__(self, audio: Audio) -> None:
        self.rate, self.before, self.after = audio.rate, Frames(audio.rate), Frames(audio.rate)
        self.audio = replace(audio, blocks=self.heard_from(audio.blocks))

    def heard_from(self, source: Callable[[int], Iterator[Block]]) -> Callable[[int], Iterator[Block]]:
        def blocks(size: int) -> Iterator[Block]:
            frames = Frames(self.rate)
            for block in source(size):
                frames.add(block)
                if frames.samples > self.before.samples:  # the longest reading counts
                    self.before = frames
                yield block

        return blocks

    def written(self, restored: Iterable[Block]) -> Iterator[Block]:
        for block in restored:
            self.after.add(block)
            yield block

    @property
    def silent(self) -> bool:
        """Whether nothing but zeros was heard."""
        return not (self.before.all.any() or self.before.waiting.any())

    @property
    def effect(self) -> SoundEffect:
        clipped = max(0, self.after.beyond - self.before.beyond)
        return sound_effect(self.before.all, self.after.all, clipped)


def sound_effect(before: Powers, after: Powers, clipped: int = 0) -> SoundEffect:
    """From the powers of frames. Pauses are told by what is left: the noise hides them in what was there."""
    count = min(len(before), len(after))  # what lies beyond the stated length of a file was not restored
    known = before[:count] > NOTHING
    before, after = before[:count][known], after[:count][known]
    if len(before) < LEAST_FRAMES:
        return SoundEffect(None, None, None, None, clipped)
    loud = np.quantile(after, LOUDEST)
    heard = after >= loud * 10 ** (-HEARD_DB / 10)
    loudest = after >= np.quantile(after[heard], 0.9)
    return SoundEffect(
        removed_heard_db=removed_db(before[heard], after[heard]),
        removed_pauses_db=removed_db(before[~heard], after[~heard]),
        level_db=negative(removed_db(before[loudest], after[loudest], least=1)),
        contrast_db=removed_db(before[heard], before[~heard]),
        clipped=clipped,
    )


def removed_db(before: Powers, after: Powers, least: int = LEAST_FRAMES) -> float | None:
    if min(len(before), len(after)) < least:
        return None
    ratio = (before.mean() + NOTHING) / (after.mean() + NOTHING)
    return 10 * math.log10(ratio) + 0.0


def negative(value: float | None) -> float | None:
    return None if value is None else -value


# Pictures


class Onlooker:
    """Sees every page before and after."""

    def __init__(self) -> None:
        self.squares, self.values, self.shift = 0.0, 0, 0.0

    def add(self, picture: Picture, restored: Samples) -> None:
        total = np.zeros(picture.channels)
        for top in range(0, picture.height, ROWS):
            rows = slice(top, top + ROWS)
            change = (restored[rows].astype(np.float64) - picture.pixels[rows]) * (255 / picture.white)
            self.squares += float(np.square(change).sum())
            total += change.sum((0, 1))
        self.values += restored.size
        self.shift = max(self.shift, float(np.abs(total).max()) / (picture.height * picture.width))

    @property
    def effect(self) -> PictureEffect:
        return PictureEffect(math.sqrt(self.squares / max(self.values, 1)), self.shift)


# Raw


def mosaic_effect(mosaic: Mosaic, restored: Samples) -> MosaicEffect:
    """Rows are compared a few at a time, and an even number of them: each of the four places has its own mean."""
    squares, totals = 0.0, np.zeros((2, 2))
    for top in range(0, mosaic.height, ROWS):
        rows = slice(top, top + ROWS)
        change = restored[rows].astype(np.float64) - mosaic.photosites[rows]
        squares += float(np.square(change).sum())
        totals += [[change[row::2, column::2].sum() for column in (0, 1)] for row in (0, 1)]
    size = mosaic.photosites.size
    shift = float(np.abs(totals).max()) / (size / 4)
    return MosaicEffect(math.sqrt(squares / size), shift, mosaic.white - max(mosaic.black))
