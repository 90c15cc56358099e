"""The U-Net of Noise2Score (Kim and Ye, NeurIPS 2021): one block for every deeper way down, one for every way up.

The names of its parts are those of the released weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SLOPE = 0.1
WAYS_DOWN, WAYS_UP = 4, 3  # that share their weights


class SharedUNet(nn.Module):
    """(B, C, H, W) -> the same shape, signed; sides are multiples of 32."""

    multiple = 32  # px: five times halved

    def __init__(self, colours: int = 3) -> None:
        super().__init__()
        self._block1 = nn.Sequential(*conv(colours, 48), *conv(48, 48), nn.MaxPool2d(2))
        self._block2 = nn.Sequential(*conv(48, 48), nn.MaxPool2d(2))
        self._block3 = nn.Sequential(*conv(48, 48), twice(48))
        self._block4 = nn.Sequential(*conv(96, 96), *conv(96, 96), twice(96))
        self._block5 = nn.Sequential(*conv(144, 96), *conv(96, 96), twice(96))
        self._block6 = nn.Sequential(*conv(96 + colours, 64), *conv(64, 32), nn.Conv2d(32, colours, 3, padding=1))

    def forward(self, noisy: Tensor) -> Tensor:
        down = [self._block1(noisy)]
        for _ in range(WAYS_DOWN):
            down.append(self._block2(down[-1]))
        *skips, deepest = down
        up = self._block4(torch.cat([self._block3(deepest), skips.pop()], 1))
        for _ in range(WAYS_UP):
            up = self._block5(torch.cat([up, skips.pop()], 1))
        scored: Tensor = self._block6(torch.cat([up, noisy], 1))
        return scored


def conv(before: int, after: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(SLOPE)


def twice(width: int) -> nn.Module:
    """Twice as large."""
    return nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
