"""The score of noisy pictures by a plain residual U-Net that works at half the resolution.

It has no bias, so what it finds is as large as its input: a move and a spread. The score is move / spread², and that
of a picture twice as bright and twice as noisy is half as large, whatever was seen in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.networks.residual_unet import ResidualUNet

HALF = 2  # px, side of the squares that become channels
LEAST = 1e-6  # variance, white is 1


class ScoreUNet(nn.Module):
    """(B, C, H, W) -> the same shape, in units of 1 / white; sides are multiples of `multiple`."""

    def __init__(
        self, colours: int = 3, widths: Sequence[int] = (32, 64, 128, 256), blocks: int = 1, leak: float = 0.0
    ) -> None:
        """`blocks`: on every level, down and up; `leak` of each."""
        super().__init__()
        planes = colours * HALF**2
        down, up = [blocks] * len(widths), [blocks] * (len(widths) - 1)
        self.trunk = ResidualUNet(planes, planes, widths, down, up, bias=False, leak=leak)
        self.multiple = HALF * self.trunk.multiple
        self.spread = nn.Conv2d(widths[0], planes, 3, padding=1, bias=False)
        with torch.no_grad():  # so that scores begin small and of the right size
            nn.init.kaiming_uniform_(self.trunk.tail.weight, math.sqrt(5)).mul_(0.03)
            self.spread.weight *= 0.1

    def forward(self, noisy: Tensor) -> Tensor:
        features = self.trunk.features(F.pixel_unshuffle(noisy, HALF))
        move = F.pixel_shuffle(self.trunk.tail(features), HALF).float()
        spread = F.pixel_shuffle(F.conv2d(features.relu(), self.spread.weight.abs(), padding=1), HALF).float()
        return move / (spread.square() + LEAST)
