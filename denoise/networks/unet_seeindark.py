"""The U-net of Learning to See in the Dark (Chen et al., CVPR 2018), which ELD trains too, under its official names.

Values are (B, 4, H, W), sides multiples of 16. Without biases it is as good at any brightness: of a picture that is so
many times darker it makes the same, as many times darker.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLANES = 4
DEPTH = 4
SLOPE = 0.2
FIRST = 0.1  # about the size of what comes out before anything is learnt, of what went in


class UNetSeeInDark(nn.Module):
    multiple = 1 << DEPTH

    def __init__(self, width: int = 32, bias: bool = True) -> None:
        super().__init__()
        sizes = [width << level for level in range(DEPTH + 1)]
        for number, (inputs, outputs) in enumerate(pairwise([PLANES, *sizes]), 1):
            self.add_pair(number, inputs, outputs, bias)
        for number, (deeper, size) in enumerate(pairwise(reversed(sizes)), DEPTH + 2):
            self.add_module(f"upv{number}", nn.ConvTranspose2d(deeper, size, 2, stride=2, bias=bias))
            self.add_pair(number, deeper, size, bias)
        self.conv10_1 = nn.Conv2d(width, PLANES, 1, bias=bias)
        self.apply(begun)
        nn.init.normal_(self.conv10_1.weight, std=FIRST / width**0.5)

    def add_pair(self, number: int, inputs: int, outputs: int, bias: bool) -> None:
        self.add_module(f"conv{number}_1", nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))
        self.add_module(f"conv{number}_2", nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for number in range(1, DEPTH + 1):
            x = self.pair(number, x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.pair(DEPTH + 1, x)
        for number in range(DEPTH + 2, 2 * DEPTH + 2):
            x = self.pair(number, torch.cat([self.get_submodule(f"upv{number}")(x), kept.pop()], 1))
        y: Tensor = self.conv10_1(x)
        return y

    def pair(self, number: int, x: Tensor) -> Tensor:
        for half in (1, 2):
            x = F.leaky_relu(self.get_submodule(f"conv{number}_{half}")(x), SLOPE)
        return x


def begun(part: nn.Module) -> None:
    """So that signals pass as strong as they came: eighteen layers, that have no biases, would else lose them."""
    if isinstance(part, nn.Conv2d):
        nn.init.kaiming_normal_(part.weight, SLOPE)
    elif isinstance(part, nn.ConvTranspose2d):
        nn.init.normal_(part.weight, std=part.in_channels**-0.5)
