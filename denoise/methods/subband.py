"""Speech without noise, as it comes in: a small causal network filters the spectrum of every frame.

A frame is 32 ms long and begins 16 ms after the one before; what comes out is known when its last frame is complete.
What the network sees is compressed and divided by a running mean of itself, so that no level is too low for it.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.methods.method import Live, Method, method
from denoise.networks.loudness import worse_by
from denoise.networks.subband import Network, State, running_mean, sum_of
from denoise.signals import Kind

RATE = 16_000
HOP = 256
FRAME = 2 * HOP
POWER = 0.3  # that magnitudes are raised to
LEAST = 1e-14  # power in one bin that is nothing; a step of 16 bits gives about 1e-7
LEVEL_S = 2.0  # time over which the level is averaged
BLOCK = 128 * HOP  # samples that are worked on at once
LOOPED = 64 * HOP  # and in a graph

UNDER = 2.0  # how much worse it is to take too much than too little
NOMINAL = 10 ** (-5 / 20)  # root mean square of speech for which the terms of the loss are alike
TRAINED = 10 ** (-25 / 20)  # that of speech in training
PER_DB = 0.02
BEST_DB = 30.0  # of one piece; more is not worth anything


@method("subband")
class Subband(Method):
    """A gated mean for every band, one for all bands, and complex filters over two frames."""

    kind: ClassVar[Kind] = "audio"
    rate = RATE
    channels = 1
    context = 5 * RATE
    piece = 40 * RATE
    bound = 0.02
    window: Tensor
    fourier: Tensor
    inverse: Tensor

    def __init__(self, fine: int = 24, width: int = 32, depth: int = 3, whole: int = 48, taps: int = 2) -> None:
        super().__init__()
        self.network = Network(fine, width, depth, whole, taps)
        self.register_buffer("window", torch.hann_window(FRAME).sqrt(), persistent=False)
        self.register_buffer("fourier", fourier(), persistent=False)
        self.register_buffer("inverse", inverse(), persistent=False)

    @property
    def core(self) -> nn.Module:
        return self.network

    def forward(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor:
        """(B, 1, T) at 16 kHz."""
        length = noisy.shape[-1]
        sound = F.pad(noisy[:, 0], (0, HOP + -length % HOP))
        if torch.compiler.is_exporting():
            restored = self.in_a_loop(sound)
        else:
            restored = self.going_on(sound)[0] if torch.is_grad_enabled() else self.in_blocks(sound)
        return restored[:, None, HOP : HOP + length]

    def in_blocks(self, sound: Tensor) -> Tensor:
        """The same, a third faster: what a block needs stays in the processor's cache."""
        state, restored = self.silence(sound), []
        for block in sound.split(BLOCK, 1):
            part, state = self.going_on(block, state)
            restored.append(part)
        return torch.cat(restored, 1)

    def in_a_loop(self, sound: Tensor) -> Tensor:
        """The same for a graph."""
        from torch._higher_order_ops.scan import scan

        blocks = F.pad(sound, (0, -sound.shape[1] % LOOPED)).unflatten(1, (-1, LOOPED)).transpose(0, 1)

        def step(state: State, block: Tensor) -> tuple[State, Tensor]:
            restored, after = self.going_on(block, state)
            return {name: after[name].clone(memory_format=torch.contiguous_format) for name in state}, restored

        restored: Tensor = scan(step, self.silence(sound), blocks)[1]
        return restored.transpose(0, 1).flatten(1)

    def going_on(self, sound: Tensor, before: State | None = None) -> tuple[Tensor, State]:
        """As it comes in: (B, n·256) samples and what was kept -> as many, 256 samples late, and what to keep."""
        state = self.silence(sound) if before is None else before
        spectra, known = self.analysed(sound, state["sound"])
        cleaned, after = self.cleaned(spectra, state)
        restored, tail = self.synthesised(cleaned, state["tail"])
        return restored, after | {"sound": known, "tail": tail}

    def live(self) -> Live:
        return Live(Frame(self), self.silence(torch.zeros(1, HOP)), HOP, HOP)

    def cleaned(self, spectra: Tensor, state: State) -> tuple[Tensor, State]:
        """(n, B, 257, 2) -> the same without noise, and what to keep of it."""
        seen, level, heard = self.compressed(spectra, state["level"], state["heard"])
        inner = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
        filters, kept = self.network(seen, inner or None)
        past = torch.cat([state["spectra"], spectra])
        after = {"level": level, "heard": heard, "spectra": past[past.shape[0] - self.network.taps + 1 :]}
        return filtered(past, filters.float()), after | {f"network.{name}": value for name, value in kept.items()}

    def silence(self, sound: Tensor) -> State:
        """What is kept before the first sample."""
        batch = sound.shape[0]
        samples = {name: sound.new_zeros(batch, HOP) for name in ("sound", "tail")}
        return samples | self.no_spectra(sound.new_zeros(1, batch, HOP + 1, 2))

    def no_spectra(self, like: Tensor) -> State:
        """And before the first spectrum."""
        batch, bins = like.shape[1:3]
        inner = self.network.silence(like.new_zeros(1, batch, bins, 3))
        return {
            "level": like.new_zeros(batch),
            "heard": like.new_zeros(1),
            "spectra": like.new_zeros(self.network.taps - 1, batch, bins, 2),
        } | {f"network.{name}": value for name, value in inner.items()}

    def analysed(self, sound: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n·256) -> (n, B, 257, 2)."""
        whole = torch.cat([before, sound], 1)
        return self.spectra_of(whole).transpose(0, 1), whole[:, whole.shape[1] - HOP :]

    def spectra_of(self, sound: Tensor) -> Tensor:
        """(B, (n+1)·256) -> (B, n, 257, 2)."""
        hops = sound.unflatten(1, (-1, HOP))
        return self.transformed(torch.cat([hops[:, :-1], hops[:, 1:]], 2) * self.window)

    def synthesised(self, spectra: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """(n, B, 257, 2) -> (B, n·256), and what the next frame is added to."""
        frames = self.back(spectra) * self.window
        first, second = frames[..., :HOP], torch.cat([tail[None], frames[..., HOP:]])
        return (first + second[:-1]).transpose(0, 1).flatten(1), second[-1]

    def transformed(self, frames: Tensor) -> Tensor:
        """(…, 512) -> (…, 257, 2): a graph has no complex numbers, and multiplies with the matrix."""
        if torch.compiler.is_exporting():
            return (frames @ self.fourier).unflatten(-1, (-1, 2))
        return torch.view_as_real(torch.fft.rfft(frames))

    def back(self, spectra: Tensor) -> Tensor:
        """(…, 257, 2) -> (…, 512)."""
        if torch.compiler.is_exporting():
            return spectra.flatten(-2) @ self.inverse
        return torch.fft.irfft(torch.view_as_complex(spectra.contiguous()), FRAME)

    def compressed(self, spectra: Tensor, level: Tensor, heard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, B, 257, 3): re, im and magnitude, relative to their running level; that level; frames so far."""
        power = (spectra * spectra).sum(-1, keepdim=True).clamp(min=LEAST)  # a sum with it is lost in a graph
        magnitude = power ** (POWER / 2)
        count = heard + torch.arange(1, spectra.shape[0] + 1, dtype=heard.dtype, device=heard.device)
        share = (1 / count).clamp(min=1 - math.exp(-HOP / RATE / LEVEL_S))[:, None]
        value = magnitude.mean((2, 3))
        levels = running_mean(share.expand_as(value).contiguous(), value, level)
        seen = torch.cat([spectra * (magnitude / power.sqrt()), magnitude], -1) / levels[..., None, None]
        return seen, levels[-1], count[-1:]

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """Compressed spectra, and samples; too little left of them is worse than too much."""
        restored = self(noisy).float()
        with torch.autocast(noisy.device.type, enabled=False):
            return self.distance(*(sound[:, 0] * (NOMINAL / TRAINED) for sound in (restored, clean)))

    def distance(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Of sounds (B, T) whose speech has the level NOMINAL."""
        mine, true = self.looked_at(restored), self.looked_at(clean)
        missing = true.magnitude - mine.magnitude
        magnitude = (missing.square() * torch.where(missing > 0, UNDER, 1.0)).mean()
        spectrum = (mine.spectrum - true.spectrum).square().sum(-1).mean()
        samples = (restored - clean).abs().mean()
        heard = worse_by(mine.power, true.power, NOMINAL**2 * FRAME * HOP / 2, RATE).mean()
        known = 0.7 * magnitude + 0.2 * spectrum + 0.4 * samples
        return known + 0.1 * heard - PER_DB * ratio_db(restored, clean).mean()

    def looked_at(self, sound: Tensor) -> Look:
        spectra = self.spectra_of(sound[:, : sound.shape[1] // HOP * HOP])
        power = spectra.square().sum(-1)
        magnitude = (power + 1e-5) ** (POWER / 2)
        return Look(power, magnitude, spectra * (magnitude / (power + 1e-5).sqrt())[..., None])


class Frame(nn.Module):
    """The next 256 samples, (1, 256), and what was kept of those before."""

    def __init__(self, whole: Subband) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, noisy: Tensor, strength: Tensor, **state: Tensor) -> tuple[Tensor, ...]:
        restored, after = self.whole.going_on(noisy, state)
        dry = state["sound"]  # what came in a frame before is what comes out now
        return dry + strength * (restored - dry), *(after[name] for name in state)


class Look(NamedTuple):
    """(B, n, 257), and what is compressed: the magnitude, and the spectrum with a last axis of two."""

    power: Tensor
    magnitude: Tensor
    spectrum: Tensor


def fourier() -> Tensor:
    """(512, 2·257): cosine and negative sine of every frequency, by turns."""
    turns = torch.arange(FRAME)[:, None] * torch.arange(HOP + 1) % FRAME
    angle = turns.double() * (2 * math.pi / FRAME)
    return torch.stack([angle.cos(), -angle.sin()], -1).flatten(1).float()


def inverse() -> Tensor:
    """(2·257, 512): every frequency but the first and the last stands for two."""
    twice = torch.full((HOP + 1, 1), 2 / FRAME)
    twice[0], twice[-1] = 1 / FRAME, 1 / FRAME
    return (fourier().unflatten(1, (-1, 2)) * twice).flatten(1).T.contiguous()


def filtered(spectra: Tensor, filters: Tensor) -> Tensor:
    """Every frame as a sum over itself and those before: (n + taps - 1, B, 257, 2), (n, B, 257, taps, 2)."""
    count, taps = filters.shape[0], filters.shape[3]
    res, ims = [], []
    for tap in range(taps):
        re, im = spectra[taps - 1 - tap :][:count].unbind(-1)
        a, b = filters[:, :, :, tap].unbind(-1)
        res.append(a * re - b * im)
        ims.append(a * im + b * re)
    return torch.stack([sum_of(res), sum_of(ims)], -1)


def ratio_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Signal to error of every piece that is not silent, at most about 30 dB."""
    signal = clean.square().mean(1)
    error = (restored - clean).square().mean(1) + signal * 10 ** (-BEST_DB / 10)
    heard = signal > 1e-6
    return torch.where(heard, 10 * torch.log10(signal.clamp(min=1e-6) / error.clamp(min=1e-12)), 0.0)
