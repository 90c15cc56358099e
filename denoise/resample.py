"""Sound at another rate: torchaudio where it imports, soxr where it does not, whole or as a stream.

A sound of T samples becomes one of ceil(T · to / from) samples, and nothing is shifted in time. The stream equals the
whole: each piece is resampled together with as much of its neighbours as the filter looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import version
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from denoise.signals import Audio, Block, regrouped

if TYPE_CHECKING:
    from torch import Tensor

BY_FILTERS, BY_SOXR = 72, 160  # samples of the lower rate to each side; beyond, no filter looks or hears anything
PIECE = 65_536  # samples that are resampled at once, about
MOST_PHASES = 2_000  # torchaudio holds one filter for each: at odd ratios that is gigabytes, and soxr takes over


def resample(samples: Block, from_rate: int, to_rate: int) -> Block:
    """(C, T) samples at another rate."""
    if from_rate == to_rate or not samples.size:
        return samples
    return np.concatenate(list(resampled([samples], from_rate, to_rate)), axis=1)


def at_rate(audio: Audio, rate: int) -> Audio:
    """The same sound at another rate, still a stream."""
    if rate == audio.rate:
        return audio

    def blocks(frames: int) -> Iterator[Block]:
        return regrouped(resampled(audio.blocks(PIECE), audio.rate, rate), frames)

    return Audio(rate, audio.channels, _divided(audio.length * rate, audio.rate), blocks)


def resampled(blocks: Iterable[Block], from_rate: int, to_rate: int) -> Iterator[Block]:
    """A stream of (C, n) blocks at another rate."""
    stream = Resampling(from_rate, to_rate)
    for block in regrouped(blocks, PIECE):
        yield stream.push(block)
    yield stream.last()


class Resampling:
    """Of a sound as it comes in: each `push` gives what is known by then, and `last` the rest of the whole."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        shared = gcd(from_rate, to_rate)
        self.down, self.up = from_rate // shared, to_rate // shared
        near = BY_FILTERS if _by_filters(self.down, self.up) else BY_SOXR
        periods = _divided(near * max(self.down, self.up), self.up * self.down)
        self.reach, self.first = periods * self.down, periods * self.up  # samples that came in, that go out
        self.held: Block | None = None

    def push(self, samples: Block) -> Block:
        """(C, n) as whole periods of the ratio, so that all of them meet the filter alike."""
        before = self.around(samples.shape[0]) if self.held is None else self.held
        held = np.concatenate([before, samples], axis=1)
        core = max(held.shape[1] - 2 * self.reach, 0) // self.down * self.down
        self.held = held[:, core:]
        return self.converted(held[:, : core + 2 * self.reach], core)

    def last(self) -> Block:
        """Around the whole there is silence."""
        if self.held is None:
            return np.zeros((1, 0), np.float32)
        core = self.held.shape[1] - self.reach
        return self.converted(np.concatenate([self.held, self.around(len(self.held))], axis=1), core)

    def around(self, channels: int) -> Block:
        return np.zeros((channels, self.reach), np.float32)

    def converted(self, surrounded: Block, core: int) -> Block:
        if core == 0:
            return surrounded[:, :0]
        stop = self.first + _divided(core * self.up, self.down)
        return _convert(surrounded, self.down, self.up)[:, self.first : stop]


def active_resampler() -> str:
    """For people: who resamples here."""
    if _torchaudio_works():
        return f"torchaudio {version('torchaudio')}"
    return f"soxr {version('soxr')}, as torchaudio does not import"


def _divided(number: int, by: int) -> int:
    """Rounded up."""
    return -(-number // by)


def _convert(samples: Block, down: int, up: int) -> Block:
    return _by_torchaudio(samples, down, up) if _by_filters(down, up) else _by_soxr(samples, down, up)


def _by_filters(down: int, up: int) -> bool:
    return _torchaudio_works() and up <= MOST_PHASES and down <= MOST_PHASES


def _by_soxr(samples: Block, down: int, up: int) -> Block:
    import soxr

    return np.ascontiguousarray(soxr.resample(np.ascontiguousarray(samples.T), down, up, quality="VHQ").T)


def _by_torchaudio(samples: Block, down: int, up: int) -> Block:
    import torch

    changed: Block = _torchaudio_filter(down, up)(torch.from_numpy(np.ascontiguousarray(samples))).numpy()
    return changed


@cache
def _torchaudio_filter(down: int, up: int) -> Callable[[Tensor], Tensor]:
    """With the long Kaiser window that torchaudio's documentation calls best."""
    from torchaudio.transforms import Resample

    transform: Callable[[Tensor], Tensor] = Resample(
        down,
        up,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )
    return transform


@cache
def _torchaudio_works() -> bool:
    """It may be installed for another build of torch than the one that is here."""
    try:
        import torchaudio.transforms  # noqa: F401
    except (ImportError, OSError):
        return False
    return True
