"""A plain U-Net of residual blocks: 3×3 convolutions, ReLU or a leaky one, added skips; no norm, no pooling over all.

Quick on a CPU because everything is a dense convolution, at half the resolution or less where pixels are unshuffled
before it. Only head and tail have biases, so that what lies between scales with its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, width: int, leak: float = 0.0) -> None:
        super().__init__()
        self.leak = leak
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(x)
        return x + self.second(F.leaky_relu(inner, self.leak) if self.leak else inner.relu())


def blocks(width: int, count: int, leak: float = 0.0) -> nn.Sequential:
    return nn.Sequential(*(Block(width, leak) for _ in range(count)))


class ResidualUNet(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H, W); sides are multiples of `multiple`. It starts by answering nothing."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int],
        down: Sequence[int] | None = None,
        up: Sequence[int] | None = None,
        bias: bool = True,
        leak: float = 0.0,
    ) -> None:
        """`down` and `up`: blocks on every level, from the finest; one each where nothing is said. `bias`: of head and
        tail. `leak`: how much of what is negative passes a block; where nothing does, a channel that is never positive
        learns nothing any more."""
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.head = nn.Conv2d(inputs, widths[0], 3, padding=1, bias=bias)
        self.tail = nn.Conv2d(widths[0], outputs, 3, padding=1, bias=bias)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)
        levels = list(pairwise(widths))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2, bias=False) for fine, coarse in levels)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False) for fine, coarse in levels)
        falling = zip(widths, down or [1] * len(widths), strict=True)
        rising = zip(widths[:-1], up or [1] * len(levels), strict=True)
        self.down = nn.ModuleList(blocks(width, count, leak) for width, count in falling)
        self.up = nn.ModuleList(blocks(width, count, leak) for width, count in rising)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.tail(self.features(x))
        return answer

    def features(self, x: Tensor) -> Tensor:
        """What the tail reads the answer from."""
        x = self.head(x.contiguous(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for level, shrink in zip(self.down[:-1], self.shrink, strict=True):
            skips.append(level(x))
            x = shrink(skips[-1])
        x = self.down[-1](x)
        for level, grow, skip in reversed(list(zip(self.up, self.grow, skips, strict=True))):
            x = level(grow(x) + skip)
        return x
