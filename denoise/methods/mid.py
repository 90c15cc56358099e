"""MID: mask, inpaint and denoise (Chihaoui and Favaro, arXiv 2503.21377).

Of the noisy picture a random part of the pixels is dropped; the network is to give the whole clean picture, so it
has to fill in and to denoise at once and cannot lean on any single pixel. Restored is the mean over several masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise import seeds
from denoise.methods.method import Method, method
from denoise.networks.residual_unet import ResidualUNet
from denoise.restorer import Knob

HALF = 2  # px, side of the squares that become channels
NEAR = 7  # px over which what is seen is averaged, as the first guess
EVERY = 1e-3  # weight of the mean of all that is seen, where nothing is near


@method("mid")
class Mid(Method):
    """What is seen, and where it is seen, through a plain U-Net."""

    piece = 512
    context = 64  # px
    bound = 1e-2
    seeded = True
    no_graph = "how many masks it averages over is only known while it runs"
    knobs = (Knob("masks", 8, 1, 64, 1, "How many random masks are averaged over: more is slower and smoother."),)

    def __init__(self, widths: Sequence[int] = (32, 64, 128), drop: float = 0.5) -> None:
        """`drop`: share of the pixels that are not seen."""
        super().__init__()
        planes = 3 * HALF**2
        self.network = ResidualUNet(planes + HALF**2, planes, widths)
        self.multiple = self.least = HALF * self.network.multiple
        self.drop = drop

    @property
    def core(self) -> ResidualUNet:
        return self.network

    def forward(
        self,
        noisy: Tensor,
        survey: Tensor | None = None,
        masks: float = 8,
        seed: float = 0,
        top: float = 0,
        left: float = 0,
    ) -> Tensor:
        places = seeds.located(noisy[:, :1], int(top), int(left))
        drawn = (self.mask(places, int(seed), number) for number in range(int(masks)))
        total = torch.zeros_like(noisy)
        for mask in drawn:
            total = total + self.filled(noisy, mask)
        return (total / int(masks)).clamp(0, 1)

    def mask(self, places: Tensor, seed: int, number: int) -> Tensor:
        """1 where a pixel is seen, in all its colours: as many planes as there are places."""
        return (seeds.uniform(seed, places, number) >= self.drop).float()

    def filled(self, noisy: Tensor, mask: Tensor) -> Tensor:
        """The clean picture (B, 3, H, W) out of what the mask (·, 1, H, W) lets through, and of nothing else."""
        mask = mask.expand(len(noisy), -1, -1, -1)
        guess = surroundings(noisy * mask, mask)
        shown = torch.cat([mask * (noisy - guess), mask - 0.5], 1)
        told = torch.cat([F.pixel_unshuffle(shown[:, :3], HALF), F.pixel_unshuffle(shown[:, 3:], HALF)], 1)
        return guess + F.pixel_shuffle(self.network(told), HALF).float()

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """Mean absolute error over seen and unseen pixels alike, each picture behind a mask of its own."""
        places = seeds.positions((len(noisy), 1, *noisy.shape[2:]), 0, noisy.device)
        return (self.filled(noisy, self.mask(places, step, 0)) - clean).abs().mean()


def surroundings(seen: Tensor, mask: Tensor) -> Tensor:
    """Mean of the seen pixels around each; where there are none, of all."""
    everywhere = seen.mean((2, 3), keepdim=True) / mask.mean((2, 3), keepdim=True).clamp(min=EVERY)
    near, count = (F.avg_pool2d(planes, NEAR, 1, NEAR // 2) for planes in (seen, mask))
    return (near + EVERY * everywhere) / (count + EVERY)
