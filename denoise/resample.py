"""Sound at another rate: torchaudio where it imports, soxr where it does not, whole or as a stream.

A sound of T samples becomes one of ceil(T · to / from) samples, and nothing is shifted in time. The stream equals the
whole: each piece is resampled together with as much of its neighbours as the filter looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import version
from itertools import chain, pairwise
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from denoise.signals import Audio, Block, regrouped

if TYPE_CHECKING:
    from torch import Tensor

REACH = 512  # samples of the lower rate, to each side; the filters look at fewer
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
    shared = gcd(from_rate, to_rate)
    down, up = from_rate // shared, to_rate // shared
    step = _divided(PIECE, down) * down  # whole periods of the ratio, so that all pieces meet the filter alike
    reach = _divided(REACH * max(down, up), up * down) * down
    for core, surrounded in _pieces(regrouped(blocks, step), reach):
        first = reach // down * up
        yield _convert(surrounded, down, up)[:, first : first + _divided(core * up, down)]


def active_resampler() -> str:
    """For people: who resamples here."""
    if _torchaudio_works():
        return f"torchaudio {version('torchaudio')}"
    return f"soxr {version('soxr')}, as torchaudio does not import"


def _pieces(cores: Iterable[Block], reach: int) -> Iterator[tuple[int, Block]]:
    """The length of each core, and it with so many samples on each side; around the whole there is silence."""
    before: Block | None = None
    for core, following in pairwise(chain(cores, [None])):
        assert core is not None
        silence = np.zeros((core.shape[0], reach), np.float32)
        after = silence if following is None else np.concatenate([following[:, :reach], silence], axis=1)
        piece = np.concatenate([silence if before is None else before, core, after[:, :reach]], axis=1)
        yield core.shape[1], piece
        before = piece[:, core.shape[1] : core.shape[1] + reach]


def _divided(number: int, by: int) -> int:
    """Rounded up."""
    return -(-number // by)


def _convert(samples: Block, down: int, up: int) -> Block:
    if _torchaudio_works() and up <= MOST_PHASES and down <= MOST_PHASES:
        return _by_torchaudio(samples, down, up)
    return _by_soxr(samples, down, up)


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
