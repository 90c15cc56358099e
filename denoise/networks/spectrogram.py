"""Complex spectrograms as pairs of real planes, and their compressed amplitudes: nothing here that a graph cannot hold.

A spectrogram is (N, 2, F, T): real part, imaginary part. Frames lie on the grid of the whole signal: `offset` says
how many samples after a frame's centre a piece begins, so that every cut of a sound has the same frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.errors import UserError

SMALLEST = 1e-24  # power below which a bin counts as empty
WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {"hann": lambda hann: hann, "sqrthann": torch.sqrt}

Count = int | Tensor
Magnitude = Callable[[Tensor, float, float], Tensor]
"""(magnitude > 0, factor, exponent) -> magnitude"""


def raised(magnitude: Tensor, factor: float, exponent: float) -> Tensor:
    return factor * magnitude**exponent


def lowered(magnitude: Tensor, factor: float, exponent: float) -> Tensor:
    return (magnitude / factor) ** (1 / exponent)


def logarithmic(magnitude: Tensor, factor: float, exponent: float) -> Tensor:
    return factor * magnitude.log1p()


def exponential(magnitude: Tensor, factor: float, exponent: float) -> Tensor:
    return (magnitude / factor).expm1()


def same(magnitude: Tensor, factor: float, exponent: float) -> Tensor:
    return magnitude


TRANSFORMS: dict[str, tuple[Magnitude, Magnitude]] = {
    "exponent": (raised, lowered),
    "log": (logarithmic, exponential),
    "none": (same, same),
}


def mirrored(at: Tensor, last: Count) -> Tensor:
    """Places beyond 0 and `last`, reflected back once; what is farther away stays at the border."""
    return (last - (last - at.abs()).abs()).clamp(min=0)


def rescaled(spectrum: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Every bin with another magnitude and its own phase; empty bins stay empty."""
    magnitude = spectrum.square().sum(1, keepdim=True).clamp(min=SMALLEST).sqrt()
    return spectrum * (change(magnitude) / magnitude)


class Spectrogram(nn.Module):
    """Short-time Fourier transform with centred frames, mirrored borders and amplitude compression.

    `factor` and `exponent` are the paper's beta and alpha: c' = beta |c|^alpha e^{i angle c}.
    """

    def __init__(
        self,
        n_fft: int = 510,
        hop: int = 128,
        window: str = "hann",
        transform: str = "exponent",
        factor: float = 0.15,
        exponent: float = 0.5,
    ) -> None:
        super().__init__()
        if window not in WINDOWS or transform not in TRANSFORMS:
            raise UserError(
                f"Spectrogram {window!r}, {transform!r}: a window out of {', '.join(WINDOWS)} and a transform "
                f"out of {', '.join(TRANSFORMS)} are wanted."
            )
        self.n_fft, self.hop, self.window, self.bins = n_fft, hop, window, n_fft // 2 + 1
        self.factor, self.exponent = factor, exponent
        self.smaller, self.larger = TRANSFORMS[transform]
        analysis, synthesis, envelope = kernels(n_fft, WINDOWS[window])
        self.register_buffer("analysis", analysis, persistent=False)
        self.register_buffer("synthesis", synthesis, persistent=False)
        self.register_buffer("envelope", envelope, persistent=False)
        self.analysis: Tensor
        self.synthesis: Tensor
        self.envelope: Tensor

    def frames(self, length: int, offset: Count = 0) -> Count:
        """Frames whose centre lies within the sound."""
        return 1 + (length + offset) // self.hop

    def compressed(self, spectrum: Tensor) -> Tensor:
        return rescaled(spectrum, lambda magnitude: self.smaller(magnitude, self.factor, self.exponent))

    def expanded(self, spectrum: Tensor) -> Tensor:
        return rescaled(spectrum, lambda magnitude: self.larger(magnitude, self.factor, self.exponent))

    def analysed(self, sound: Tensor, frames: int, offset: Count = 0) -> Tensor:
        """(N, samples) -> (N, 2, F, frames)."""
        at = torch.arange(self.n_fft + (frames - 1) * self.hop, device=sound.device) - (self.n_fft // 2 + offset)
        whole = sound[:, mirrored(at, sound.shape[1] - 1)]
        return F.conv1d(whole[:, None], self.analysis, stride=self.hop).unflatten(1, (2, self.bins))

    def synthesised(self, spectrum: Tensor, length: int, offset: Count = 0) -> Tensor:
        """(N, 2, F, T) -> (N, length)."""
        added = F.conv_transpose1d(spectrum.flatten(1, 2), self.synthesis, stride=self.hop)
        weight = F.conv_transpose1d(torch.ones_like(spectrum[:1, 0, :1]), self.envelope, stride=self.hop)
        whole = (added / weight.clamp(min=1e-11))[:, 0]
        return whole[:, torch.arange(length, device=spectrum.device) + (self.n_fft // 2 + offset)]


def kernels(n_fft: int, shaped: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Windowed cosines and sines there and back (2F, 1, n), and the window's square (1, 1, n)."""
    window = shaped(torch.hann_window(n_fft, dtype=torch.float64))
    bins = torch.arange(n_fft // 2 + 1)
    turns = (bins[:, None] * torch.arange(n_fft) % n_fft).double() * (2 * math.pi / n_fft)
    waves = torch.cat([turns.cos(), -turns.sin()])
    twice = 2 - ((bins == 0) | (2 * bins == n_fft)).double()  # bins that stand for two
    back = waves * torch.cat([twice, twice])[:, None] / n_fft
    return (waves * window)[:, None].float(), (back * window)[:, None].float(), window.square()[None, None].float()
