"""What happens to a sound above the band of a restorer that works at a lower rate: it cannot hear it, so as much is
taken away there as the restorer took just below, at the top of its own band."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 32  # samples to each side, of the filter that finds the top of a band
AROUND = 256  # samples to each side, over which its power is taken
INAUDIBLE = 1e-10  # power, of full scale: -100 dBFS
UNHEARD = 1e-5  # of the power of the whole band: what a filter of that length lets through


def lost_at_the_top(noisy: Tensor, restored: Tensor) -> Tensor:
    """(1, T), the same for all channels: 0 nothing was taken away there, 1 all of it."""
    unheard = INAUDIBLE + UNHEARD * power(noisy)
    kept = (power(top(restored)) + unheard) / (power(top(noisy)) + unheard)
    return (1 - kept.sqrt()).clamp(0, 1)


def top(sound: Tensor) -> Tensor:
    """(C, T) what lies between 0.55 and 0.95 of half the rate."""
    taps = torch.arange(-TAPS, TAPS + 1, dtype=torch.float32)
    tone = 0.95 * torch.sinc(0.95 * taps) - 0.55 * torch.sinc(0.55 * taps)
    band = tone * torch.hann_window(len(taps) + 2, periodic=False)[1:-1]
    return F.conv1d(F.pad(sound[:, None], (TAPS, TAPS), mode="replicate"), band[None, None])[:, 0]


def power(sound: Tensor) -> Tensor:
    """(1, T) of all channels, around each sample."""
    around = torch.hann_window(2 * AROUND + 3, periodic=False, dtype=torch.float64)[1:-1]
    squares = sound.square().sum(0).double()  # digits enough for what is quiet beside what is loud
    length = len(squares) + len(around) - 1
    both = torch.fft.rfft(squares, length) * torch.fft.rfft(around / around.sum(), length)
    return torch.fft.irfft(both, length)[None, AROUND : AROUND + len(squares)].float().clamp(min=0)
