"""Generator and Fourier transformer discriminator after LRD (Zhang et al., ICCV 2023).

The authors kept these two networks to themselves. What is known of them is the task (signal-independent noise of all
ISOs from one conditional generator), the kind of the discriminator (a TransGAN transformer of several scales that
also sees the spectrum), and how they were trained (WGAN with gradient penalty, no batch normalisation). The rest is a
design of this project.

A mosaic is packed into its 2×2 cells: channels (0, 0), (0, 1), (1, 0), (1, 1) of a cell, as `pixel_unshuffle` has it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.networks.pnnp import transfer

ROW_OF, COLUMN_OF = (0, 0, 1, 1), (0, 1, 0, 1)  # sensor row and column within a cell, per channel
LEAK = 0.2


class TwoReaches(nn.Module):
    """A residual block with a branch for single pixels (the shape of their law) and one for their neighbours
    (correlation). Nothing is padded: one cell is lost on each side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near, self.wide = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 3)
        self.blend = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        active = F.leaky_relu(x, LEAK)
        inner = x[..., 1:-1, 1:-1]
        found: Tensor = self.blend(F.leaky_relu(self.near(active[..., 1:-1, 1:-1]) + self.wide(active), LEAK))
        return inner + found


class NoiseGenerator(nn.Module):
    """Packed noise (B, 4, h, w) of standard normal numbers for pixels z, rows r and columns c:
    exp(scale(s)) · (law(filter(z), s) + shares(s) · (r, c) + CNN(z, r, c, s)).

    The numbers reach `halo` cells further than the noise on every side, so that a tile is a part of the whole.
    A row's number is shared by all of its pixels, of every colour: this makes banding. The condition s is a number
    per item, such as log ISO. The CNN begins at zero, so that the straight way is learned first.
    """

    def __init__(self, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.halo = blocks
        self.filter = nn.Parameter(nn.init.dirac_(torch.empty(4, 4, 3, 3)))  # linear correlation
        self.law = transfer(16, 2, inputs=2)  # of single pixels
        self.shares = nn.Linear(1, 2)  # of rows and of columns
        self.head = nn.Conv2d(4 + 2 + 2 + 1, width, 1)
        self.body = nn.Sequential(*(TwoReaches(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, 4, 1)
        self.scale = nn.Linear(1, 1)
        for value in (*self.tail.parameters(), *self.scale.parameters()):
            nn.init.zeros_(value)

    def forward(self, pixels: Tensor, rows: Tensor, columns: Tensor, condition: Tensor) -> Tensor:
        """pixels (B, 4, h + 2 halo, w + 2 halo), rows (B, 2, h + 2 halo), columns (B, 2, w + 2 halo)."""
        across = rows[..., None].expand(-1, -1, -1, pixels.shape[3])
        down = columns[:, :, None].expand(-1, -1, pixels.shape[2], -1)
        stated = condition.reshape(-1, 1, 1, 1).expand(len(pixels), 1, *pixels.shape[2:])
        rest = self.tail(self.body(self.head(torch.cat([pixels, across, down, stated], 1))))
        row_share, column_share = self.shares(condition.reshape(-1, 1))[..., None, None, None].unbind(1)
        banding = row_share * across[:, ROW_OF] + column_share * down[:, COLUMN_OF]
        straight = self.bend(inside(self.correlated(pixels), self.halo - 1), stated) + inside(banding, self.halo)
        noise: Tensor = self.scale(condition.reshape(-1, 1)).exp()[..., None, None] * (straight + rest)
        return noise

    def correlated(self, pixels: Tensor) -> Tensor:
        """Still standard normal, so that the law of single pixels need not follow the correlation."""
        return F.conv2d(pixels, self.filter / self.filter.flatten(1).norm(dim=1).reshape(4, 1, 1, 1))

    def bend(self, pixels: Tensor, stated: Tensor) -> Tensor:
        flat = pixels.reshape(-1, 1, *pixels.shape[2:])
        beside = inside(stated, self.halo).expand_as(pixels).reshape(flat.shape)
        bent: Tensor = self.law(torch.cat([flat, beside], 1))
        return bent.reshape(pixels.shape)


def inside(values: Tensor, margin: int) -> Tensor:
    return values[..., margin : values.shape[-2] - margin, margin : values.shape[-1] - margin]


class Block(nn.Module):
    """Self-attention and a perceptron, each with a residual connection; written out, because the penalty on the
    gradient differentiates it twice."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.before(tokens))
        refined: Tensor = tokens + self.narrow(F.gelu(self.wide(self.between(tokens))))
        return refined

    def attention(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        parts = self.mixed(tokens).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        weight = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        seen: Tensor = self.out((weight @ value).transpose(1, 2).reshape(batch, count, width))
        return seen


class Pyramid(nn.Module):
    """Tokens of one view of a patch: cut into squares of `cell`, twice and four times that. After each scale the
    tokens are averaged in fours and joined by those of the next."""

    def __init__(self, side: int, cell: int, width: int, heads: int) -> None:
        super().__init__()
        cells = (cell, 2 * cell, 4 * cell)
        self.embed = nn.ModuleList(nn.Conv2d(4, width, size, stride=size) for size in cells)
        self.join = nn.ModuleList(nn.Linear(2 * width, width) for _ in cells[1:])
        self.stages = nn.ModuleList(Block(width, heads) for _ in cells[1:])
        self.place = nn.ParameterList(torch.zeros(1, (side // size) ** 2, width) for size in cells)

    def forward(self, view: Tensor) -> Tensor:
        tokens = self.tokens(view, 0)
        for index, (stage, join) in enumerate(zip(self.stages, self.join, strict=True), 1):
            pooled = quartered(stage(tokens))
            tokens = join(torch.cat([pooled, self.tokens(view, index)], 2))
        return tokens

    def tokens(self, view: Tensor, scale: int) -> Tensor:
        embedded: Tensor = self.embed[scale](view).flatten(2).transpose(1, 2) + self.place[scale]
        return embedded


def quartered(tokens: Tensor) -> Tensor:
    """The mean of every 2×2 neighbours of a square grid of tokens."""
    batch, count, width = tokens.shape
    side = round(count**0.5)
    grid = tokens.reshape(batch, side // 2, 2, side // 2, 2, width)
    return grid.mean((2, 4)).reshape(batch, count // 4, width)


class FourierDiscriminator(nn.Module):
    """A score per packed patch (B, 4, side, side), high where it looks real: it sees the patch and the logarithm of
    its spectrum, in which banding is a line and correlation a slope."""

    def __init__(self, side: int = 32, cell: int = 4, width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.space, self.spectrum = (Pyramid(side, cell, width, heads) for _ in range(2))
        self.judge = nn.Parameter(torch.zeros(1, 1, width))  # the token that gathers the verdict
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.score = nn.Linear(width + 1, 1)

    def forward(self, patch: Tensor, condition: Tensor) -> Tensor:
        loudness = torch.log1p(torch.fft.fft2(patch, norm="ortho").abs())
        judge = self.judge.expand(len(patch), -1, -1)
        tokens = self.blocks(torch.cat([judge, self.space(patch), self.spectrum(loudness)], 1))
        verdict: Tensor = self.score(torch.cat([tokens[:, 0], condition.reshape(-1, 1)], 1))[:, 0]
        return verdict


Critic = Callable[[Tensor, Tensor], Tensor]


def gradient_penalty(critic: Critic, real: Tensor, made: Tensor, condition: Tensor, share: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)² between real and made patches (WGAN-GP); `share` is a number of 0..1 per item."""
    share = share.reshape(-1, 1, 1, 1)
    between = (share * real + (1 - share) * made).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, condition).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
