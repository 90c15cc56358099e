"""A residual U-net that is told how strong the noise is (YOND's SNR-Net, arXiv 2506.03645), under its official names.

Values are (B, 4, H, W), sides multiples of 16; the level (B, 1, 1, 1) is the noise's standard deviation in their unit.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLANES = 4
DEPTH = 4
SLOPE = 0.01
UNSURE = 1.5 / 255  # of the light: about as far as it is off where there is detail; of less noise less is taken away


class GuidedUNet(nn.Module):
    multiple = 1 << DEPTH

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [width << level for level in range(DEPTH + 1)]
        self.conv_in = nn.Conv2d(PLANES, width, 3, padding=1)
        for level, (size, deeper) in enumerate(pairwise(sizes), 1):
            self.add_module(f"conv{level}", Guided(size, size))
            self.add_module(f"pool{level}", Halved(size, deeper))
        self.conv5 = Guided(sizes[-1], sizes[-1])
        for number, (size, deeper) in enumerate(reversed(list(pairwise(sizes))), 6):
            self.add_module(f"upv{number}", nn.ConvTranspose2d(deeper, size, 2, stride=2))
            self.add_module(f"conv{number}", Guided(2 * size, size))
        self.conv10 = nn.Conv2d(width, PLANES, 1)

    def forward(self, noisy: Tensor, level: Tensor, highest: Tensor | None = None) -> Tensor:
        """`highest`: the largest value (B, 1, 1, 1) of the whole picture, by which dark ones are made as bright as
        others; without it that of what is given."""
        highest = noisy.clamp(min=0).amax((1, 2, 3), keepdim=True) if highest is None else highest
        safe = torch.where(highest > 0, highest, 1)
        x, told = noisy / safe, level / safe
        h = F.leaky_relu(self.conv_in(x), SLOPE)
        kept = []
        for depth in range(1, DEPTH + 1):
            h = self.get_submodule(f"conv{depth}")(h, told)
            kept.append(h)
            h = self.get_submodule(f"pool{depth}")(h)
        h = self.conv5(h, told)
        for number in range(6, 6 + DEPTH):
            h = torch.cat([self.get_submodule(f"upv{number}")(h), kept.pop()], 1)
            h = self.get_submodule(f"conv{number}")(h, told)
        restored: Tensor = (self.conv10(h) + x) * safe
        return restored


def sure(level: Tensor) -> Tensor:
    """The share of what it finds that is worth taking away, at that level of the light."""
    return level.square() / (level.square() + UNSURE**2)


class Halved(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class Guided(nn.Module):
    """Two convolutions; between them the level scales and shifts every channel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.gamma = nn.Sequential(nn.Conv2d(1, outputs, 1), nn.SiLU(), nn.Conv2d(outputs, outputs, 1))
        self.beta = nn.Sequential(nn.SiLU(), nn.Conv2d(outputs, outputs, 1))
        self.short_cut = nn.Sequential(nn.Conv2d(inputs, outputs, 1)) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        x = self.short_cut(x)
        scale = self.gamma(level)
        z = self.conv1(F.silu(x)) * scale + self.beta(scale)
        y: Tensor = x + self.conv2(F.silu(z))
        return y
