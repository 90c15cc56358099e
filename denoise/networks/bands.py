"""A network for diffusion over bands and time: what the causal one of speech does, told the time and looking both ways.

Its operations are a tenth of those of NCSN++ at the same size, because neighbouring bins are worked on as one band,
and what belongs to each bin alone is left to filters of the spectra that come in.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.networks import subband
from denoise.networks.subband import BANDS, PATCHES, Across, patched, remembered, unpatched

FREQUENCIES = 8  # of the waves that the time is shown as
FEATURES = 3  # of one spectrum: real part, imaginary part, magnitude


class Bands(nn.Module):
    """(B, 2·spectra, 257, T) at the times (B) -> (B, 2, 257, T). It begins as the last of the spectra that come in."""

    multiple = 1  # of the number of frames
    local = True  # memories fade

    def __init__(self, inputs: int = 4, fine: int = 32, width: int = 48, depth: int = 4, whole: int = 64) -> None:
        super().__init__()
        self.spectra = inputs // 2
        self.into = nn.ModuleList(nn.Linear(2 * size * FEATURES * self.spectra, fine) for _, size in PATCHES)
        self.place = nn.Parameter(torch.zeros(BANDS, fine))
        self.clock = nn.Sequential(nn.Linear(2 + 2 * FREQUENCIES, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.down = nn.Linear(2 * fine, width)
        self.blocks = nn.ModuleList(Block(width, BANDS // 2, whole) for _ in range(depth))
        self.up = nn.Linear(width, 2 * fine)
        self.mix = Across(fine, times=2, reach=1)
        self.out = nn.ModuleList(nn.Linear(fine, size * 2 * (self.spectra + 1)) for _, size in PATCHES)
        for layer in self.out:
            last_at_first(layer, self.spectra)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        spectra = x.permute(3, 0, 2, 1).unflatten(3, (self.spectra, 2))  # (T, B, F, spectra, 2)
        known = self.clock(waves(time))  # (B, width)
        magnitude = (spectra.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        seen = torch.cat([spectra, magnitude], -1).flatten(3)
        fine = F.silu(patched(seen, self.into) + self.place)
        h = self.down(fine.unflatten(2, (-1, 2)).flatten(3))
        for block in self.blocks:
            h = block(h, known[:, None])
        y = self.mix(fine + self.up(h).unflatten(3, (2, -1)).flatten(2, 3))
        found = unpatched(y, self.out, (self.spectra + 1, 2)).float()
        return (filtered(spectra, found[..., :-1, :]) + found[..., -1, :]).permute(1, 3, 2, 0)


def last_at_first(layer: nn.Module, spectra: int) -> None:
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_().view(-1, spectra + 1, 2)[:, spectra - 1, 0] = 1


def waves(time: Tensor) -> Tensor:
    """(B) -> (B, 2 + 2·FREQUENCIES): the time, its logarithm, and waves that tell near times apart."""
    turns = time[:, None] * (math.pi * torch.arange(1, FREQUENCIES + 1, device=time.device))
    return torch.cat([time[:, None], time[:, None].clamp(min=1e-5).log() / 4, turns.sin(), turns.cos()], 1)


def filtered(spectra: Tensor, filters: Tensor) -> Tensor:
    """The sum of (…, spectra, 2) after each was multiplied with its complex number."""
    re, im = spectra.unbind(-1)
    a, b = filters.unbind(-1)
    return torch.stack([(a * re - b * im).sum(-1), (a * im + b * re).sum(-1)], -1)


class Block(subband.Block):
    """What a band remembers of before and after, what its neighbours do, what all bands do; each told the time."""

    def __init__(self, width: int, bands: int, whole: int) -> None:
        super().__init__(width, bands, whole)
        self.memory = Memory(width)
        self.told = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:  # type: ignore[override]  # the time in place of a state
        x = self.across(self.memory(x, *self.told(known).chunk(2, -1)))
        z, g, o = self.recall(self.gather(self.norm(x).flatten(2))).chunk(3, -1)
        y: Tensor = x + self.spread(both_ways(z, g) * F.silu(o)).unflatten(2, (self.bands, -1))
        return y


class Memory(subband.Memory):
    """Three frames as they are, and gated means of all before and of all after."""

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:  # type: ignore[override]
        padded = F.pad(self.norm(x) * (1 + scale) + shift, (0, 0, 0, 0, 0, 0, 1, 1))
        seen = subband.sum_of([padded[k : k + x.shape[0]] * self.taps[k] for k in range(3)])
        z, g, o = self.gates(seen).chunk(3, -1)
        y: Tensor = x + self.back(both_ways(z, g) * F.silu(o))
        return y


def both_ways(z: Tensor, g: Tensor) -> Tensor:
    """Gated means: of what came before for every second channel, of what comes after for the others."""
    later = torch.arange(z.shape[-1], device=z.device) % 2 > 0
    z, g = (torch.where(later, part.flip(0), part) for part in (z, g))
    h = remembered(z, g, torch.zeros_like(z[0]))
    return torch.where(later, h.flip(0), h)
