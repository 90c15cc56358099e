"""The score of noisy pictures by a plain residual U-Net that works at half the resolution.

It has no bias, so what it finds is as large as its input: a move and a spread. The score is move / spread², and that
of a picture twice as bright and twice as noisy is half as large, whatever was seen in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HALF = 2  # px, side of the squares that become channels
LEAST = 1e-6  # variance, white is 1


class ScoreUNet(nn.Module):
    """(B, C, H, W) -> the same shape, in units of 1 / white; sides are multiples of `multiple`."""

    def __init__(self, colours: int = 3, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        planes = colours * HALF**2
        steps = list(pairwise(widths))
        self.multiple = HALF * 2 ** len(steps)
        self.head = conv(planes, widths[0])
        self.down = nn.ModuleList(Residual(fine) for fine, _ in steps)
        self.coarser = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2, bias=False) for fine, coarse in steps)
        self.deepest = Residual(widths[-1])
        self.finer = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False) for fine, coarse in steps)
        self.up = nn.ModuleList(Residual(fine) for fine, _ in steps)
        self.move = conv(widths[0], planes)
        self.spread = conv(widths[0], planes)
        with torch.no_grad():  # so that scores begin small and of the right size
            self.move.weight *= 0.03
            self.spread.weight *= 0.1

    def forward(self, noisy: Tensor) -> Tensor:
        features = self.features(F.pixel_unshuffle(noisy, HALF))
        move = F.pixel_shuffle(self.move(features), HALF).float()
        spread = F.pixel_shuffle(F.conv2d(features.relu(), self.spread.weight.abs(), padding=1), HALF).float()
        return move / (spread.square() + LEAST)

    def features(self, squares: Tensor) -> Tensor:
        found: Tensor = self.head(squares)
        skips = []
        for residual, coarser in zip(self.down, self.coarser, strict=True):
            skips.append(residual(found))
            found = coarser(skips[-1])
        found = self.deepest(found)
        for residual, finer in zip(reversed(self.up), reversed(self.finer), strict=True):
            found = residual(finer(found) + skips.pop())
        return found


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = features + self.second(torch.relu(self.first(features)))
        return found


def conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, bias=False)
