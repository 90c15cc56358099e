"""NCSN++ (Song et al. 2021) as speech papers use it: a U-net over a complex spectrogram, in plain PyTorch.

Modules carry the official names and stand in the official order, so that released weights load as they are.
Values are (B, channels, frequency, time); frequency and time must be multiples of `multiple`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.errors import UserError
from denoise.restorer import unknown

EPS = 1e-6
NOTHING = 1e-10  # scale of weights that start at almost zero
FOURIER_SCALE = 16.0
ROOT_HALF = math.sqrt(0.5)
PARTS = 2  # real and imaginary


@dataclass(frozen=True)
class Shape:
    """What a network is built from; names as in the official checkpoints."""

    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 2, 2, 2)
    num_res_blocks: int = 2
    attention: tuple[int, ...] = (4,)  # levels, 0 the finest, that attend beside the bottleneck
    inputs: int = 4  # real channels
    pyramids: bool = True  # smaller copies of the input added on the way down, outputs added on the way up
    conditional: bool = True  # knows the time
    divided: Literal["before", "after", "never"] = "before"  # by the time: before or after the last convolution
    centered: bool = True  # else inputs are mapped by 2x - 1
    local: bool = False  # statistics and attention frame by frame: an output looks no farther than convolutions do

    @property
    def multiple(self) -> int:
        return 1 << (len(self.ch_mult) - 1)


VARIANTS = {
    "ncsnpp": Shape(),
    "ncsnpp_48k": Shape(attention=(), pyramids=False, divided="after"),
    "ncsnpp_v2": Shape(divided="never"),
    "ncsnpp_predictor": Shape(inputs=2, conditional=False, divided="never"),
}


def shaped(variant: str, given: Mapping[str, Any]) -> Shape:
    """A variant with some of its sizes changed, as a card states them."""
    if variant not in VARIANTS:
        raise UserError(unknown("variant of NCSN++", variant, list(VARIANTS), "there are"))
    sizes: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return replace(VARIANTS[variant], **sizes)


# Resampling by the filter 1 3 3 1, with nothing beyond the borders

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def halved(x: Tensor) -> Tensor:
    return F.conv2d(x, taps_for(x), stride=2, padding=1, groups=x.shape[1])


def doubled(x: Tensor) -> Tensor:
    return F.conv_transpose2d(x, 4 * taps_for(x), stride=2, padding=1, groups=x.shape[1])


def taps_for(x: Tensor) -> Tensor:
    return (TAPS[:, None] * TAPS).to(x).expand(x.shape[1], 1, -1, -1)


# Parts


def spread_evenly(weight: Tensor, fan_in: int, fan_out: int, scale: float = 1.0) -> None:
    """Variance scaling over the average of both fans, uniform."""
    bound = math.sqrt(3 * max(scale, NOTHING) / ((fan_in + fan_out) / 2))
    nn.init.uniform_(weight, -bound, bound)


def convolution(inputs: int, outputs: int, size: int = 3, scale: float = 1.0) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    spread_evenly(made.weight, inputs * size * size, outputs * size * size, scale)
    nn.init.zeros_(made.bias if made.bias is not None else torch.zeros(1))
    return made


def linear(inputs: int, outputs: int) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    spread_evenly(made.weight, inputs, outputs)
    nn.init.zeros_(made.bias)
    return made


class FrameNorm(nn.GroupNorm):
    """Group normalisation with statistics of each frame alone."""

    def forward(self, input: Tensor) -> Tensor:
        frames = input.shape[3]
        rows = input.float().permute(0, 2, 3, 1).flatten(2)  # (B, F, T C): sums over F are quick
        centred = rows - self.over_groups(rows.mean(1, keepdim=True), frames)
        scale = (self.over_groups(centred.square().mean(1, keepdim=True), frames) + self.eps).rsqrt()
        normal = torch.addcmul(self.bias.repeat(frames), centred, scale * self.weight.repeat(frames))
        return normal.unflatten(2, (frames, -1)).permute(0, 3, 1, 2)

    def over_groups(self, means: Tensor, frames: int) -> Tensor:
        """Means of channels (B, 1, T C), replaced by those of their groups."""
        groups = means.unflatten(2, (frames * self.num_groups, -1))
        return groups.mean(3, keepdim=True).expand_as(groups).flatten(2)


def normalisation(channels: int, local: bool) -> nn.GroupNorm:
    kind = FrameNorm if local else nn.GroupNorm
    return kind(min(channels // 4, 32), channels, eps=EPS)


class Fourier(nn.Module):
    """Sines and cosines of the logarithm of time, at fixed random frequencies: (B) -> (B, 2 nf)."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.W = nn.Parameter(FOURIER_SCALE * torch.randn(nf), requires_grad=False)

    def forward(self, time: Tensor) -> Tensor:
        turns = 2 * math.pi * time.log()[:, None] * self.W
        return torch.cat([turns.sin(), turns.cos()], 1)


class ResBlock(nn.Module):
    """Two convolutions beside a straight way; `resampled` halves or doubles both ways."""

    def __init__(self, inputs: int, outputs: int, embedding: int, local: bool, resampled: str = "") -> None:
        super().__init__()
        self.GroupNorm_0 = normalisation(inputs, local)
        self.Conv_0 = convolution(inputs, outputs)
        self.Dense_0 = linear(embedding, outputs)
        self.GroupNorm_1 = normalisation(outputs, local)
        self.Conv_1 = convolution(outputs, outputs, scale=0)
        self.resize = {"": nn.Identity(), "down": Halved(), "up": Doubled()}[resampled]
        if inputs != outputs or resampled:
            self.Conv_2 = convolution(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.Conv_0(self.resize(F.silu(self.GroupNorm_0(x))))
        x = self.resize(x)
        if embedding is not None:
            h = h + self.Dense_0(embedding)[:, :, None, None]
        h = self.Conv_1(F.silu(self.GroupNorm_1(h)))
        straight = self.Conv_2(x) if hasattr(self, "Conv_2") else x
        return (straight + h) * ROOT_HALF


class Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return halved(x)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return doubled(x)


class NIN(nn.Module):
    """A 1×1 convolution whose weight is kept as (in, out)."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(channels, channels))
        self.b = nn.Parameter(torch.zeros(channels))
        spread_evenly(self.W, channels, channels, scale)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.W.t()[:, :, None, None], self.b)


class Attention(nn.Module):
    """Every place of the plane attends to all of them, or, `local`, to those of its frame."""

    def __init__(self, channels: int, local: bool) -> None:
        super().__init__()
        self.local = local
        self.GroupNorm_0 = normalisation(channels, local)
        self.NIN_0, self.NIN_1, self.NIN_2 = (NIN(channels, 0.1) for _ in range(3))
        self.NIN_3 = NIN(channels, 0)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.GroupNorm_0(x)
        query, key, value = (self.places(part(normal)) for part in (self.NIN_0, self.NIN_1, self.NIN_2))
        seen = F.scaled_dot_product_attention(query, key, value)
        return (x + self.NIN_3(self.planes(seen, x))) * ROOT_HALF

    def places(self, x: Tensor) -> Tensor:
        """(B, groups that see each other, places, C)"""
        return x.permute(0, 3, 2, 1) if self.local else x.permute(0, 2, 3, 1).flatten(1, 2)[:, None]

    def planes(self, seen: Tensor, like: Tensor) -> Tensor:
        if self.local:
            return seen.permute(0, 3, 2, 1)
        return seen[:, 0].unflatten(1, (like.shape[2], -1)).permute(0, 3, 1, 2)


class Combine(nn.Module):
    """Adds the shrunken input."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.Conv_0 = convolution(inputs, channels, 1)

    def forward(self, pyramid: Tensor, h: Tensor) -> Tensor:
        return self.Conv_0(pyramid) + h


# The network


class NCSNpp(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.multiple, self.local = shape.multiple, shape.local
        self.output_layer = nn.Conv2d(shape.inputs, PARTS, 1)
        self.all_modules = nn.ModuleList(modules_of(shape))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, inputs, F, T) at the times (B) -> (B, 2, F, T); a network that knows no time ignores it."""
        modules = iter(self.all_modules)
        embedding = self.embedded(modules, time)
        x = x if self.shape.centered else 2 * x - 1
        x = x.contiguous(memory_format=torch.channels_last)  # convolutions of few channels are quicker so
        h, kept = self.downwards(modules, x, embedding)
        for part in (next(modules), next(modules), next(modules)):
            h = part(h) if isinstance(part, Attention) else part(h, embedding)
        out = self.upwards(modules, h, kept, embedding)
        if self.shape.divided == "before":
            out = out / time[:, None, None, None]
        out = self.output_layer(out)
        return out / time[:, None, None, None] if self.shape.divided == "after" else out

    def embedded(self, modules: Iterator[nn.Module], time: Tensor) -> Tensor | None:
        """What tells every block the time, (B, 4 nf)."""
        fourier = next(modules)
        if not self.shape.conditional:
            return None
        first, second = next(modules), next(modules)
        return F.silu(second(F.silu(first(fourier(time)))))

    def downwards(
        self, modules: Iterator[nn.Module], x: Tensor, embedding: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        shape, kept, pyramid = self.shape, [next(modules)(x)], x
        for level in range(len(shape.ch_mult)):
            for _ in range(shape.num_res_blocks):
                h = next(modules)(kept[-1], embedding)
                kept.append(next(modules)(h) if level in shape.attention else h)
            if level < len(shape.ch_mult) - 1:
                h = next(modules)(kept[-1], embedding)
                if shape.pyramids:
                    pyramid = halved(pyramid)
                    h = next(modules)(pyramid, h)
                kept.append(h)
        return kept[-1], kept

    def upwards(self, modules: Iterator[nn.Module], h: Tensor, kept: list[Tensor], embedding: Tensor | None) -> Tensor:
        shape = self.shape
        pyramid: Tensor | None = None
        for level in reversed(range(len(shape.ch_mult))):
            for _ in range(shape.num_res_blocks + 1):
                h = next(modules)(torch.cat([h, kept.pop()], 1), embedding)
            if level in shape.attention:
                h = next(modules)(h)
            if shape.pyramids or level == 0:
                head = self.head(modules, h)
                pyramid = head if pyramid is None else doubled(pyramid) + head
            if level:
                h = next(modules)(h, embedding)
        assert pyramid is not None
        return pyramid

    def head(self, modules: Iterator[nn.Module], h: Tensor) -> Tensor:
        norm, conv = next(modules), next(modules)
        return conv(F.silu(norm(h)))


def modules_of(shape: Shape) -> Iterator[nn.Module]:
    """All parts, in the order in which they are used."""
    embedding, local, levels = 4 * shape.nf, shape.local, len(shape.ch_mult)
    yield Fourier(shape.nf)
    if shape.conditional:
        yield linear(2 * shape.nf, embedding)
        yield linear(embedding, embedding)
    yield convolution(shape.inputs, shape.nf)
    channels, kept = shape.nf, [shape.nf]
    for level, times in enumerate(shape.ch_mult):
        for _ in range(shape.num_res_blocks):
            yield ResBlock(channels, shape.nf * times, embedding, local)
            channels = shape.nf * times
            if level in shape.attention:
                yield Attention(channels, local)
            kept.append(channels)
        if level < levels - 1:
            yield ResBlock(channels, channels, embedding, local, "down")
            if shape.pyramids:
                yield Combine(shape.inputs, channels)
            kept.append(channels)
    yield ResBlock(channels, channels, embedding, local)
    yield Attention(channels, local)
    yield ResBlock(channels, channels, embedding, local)
    for level in reversed(range(levels)):
        for _ in range(shape.num_res_blocks + 1):
            yield ResBlock(channels + kept.pop(), shape.nf * shape.ch_mult[level], embedding, local)
            channels = shape.nf * shape.ch_mult[level]
        if level in shape.attention:
            yield Attention(channels, local)
        if shape.pyramids or level == 0:
            yield normalisation(channels, local)
            yield convolution(channels, shape.inputs, scale=0)
        if level:
            yield ResBlock(channels, channels, embedding, local, "up")


# The sizes of a network that is only known by its weights

Part = dict[str, Tensor]
"""The tensors of one module."""


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What of its shape can be read from the tensors of a network; an IndexError where it is another kind."""
    parts = parts_of(state)
    conditional = "weight" in parts[1] and parts[1]["weight"].ndim == 2
    stem = 3 if conditional else 1
    nf, inputs = parts[stem]["weight"].shape[:2]
    down = way_down(parts[stem + 1 :], int(nf))
    levels = levels_of(down)
    return {
        "nf": int(nf),
        "ch_mult": tuple(width(level[0], 0) // int(nf) for level in levels),
        "num_res_blocks": sum(is_block(part) for part in levels[-1]),
        "attention": tuple(number for number, level in enumerate(levels) if any("NIN_0.W" in part for part in level)),
        "inputs": int(inputs),
        "conditional": conditional,
        "pyramids": any(is_combination(part) for part in down),
    }


def parts_of(state: Mapping[str, Tensor]) -> list[Part]:
    """The tensors of every module, in order."""
    found: dict[int, Part] = {}
    for name, value in state.items():
        if name.startswith("all_modules."):
            _, number, rest = name.split(".", 2)
            found.setdefault(int(number), {})[rest] = value
    return [found.get(number, {}) for number in range(max(found, default=-1) + 1)]


def is_block(part: Part) -> bool:
    return "Conv_1.weight" in part


def is_combination(part: Part) -> bool:
    return "Conv_0.weight" in part and not is_block(part)


def width(block: Part, side: int) -> int:
    """Channels that come out (0) or go in (1)."""
    return int(block["Conv_0.weight"].shape[side])


def way_down(parts: Sequence[Part], channels: int) -> Sequence[Part]:
    """Up to the bottleneck, whose three modules stand before the first block that takes in what was kept."""
    for number, part in enumerate(parts):
        if is_block(part):
            if width(part, 1) != channels:
                return parts[: number - 3]
            channels = width(part, 0)
    return parts[:0]


def levels_of(down: Sequence[Part]) -> list[list[Part]]:
    """Blocks and attention of each level; what ends it is the block whose straight way is a convolution."""
    levels: list[list[Part]] = [[]]
    for part in down:
        if is_block(part) and "Conv_2.weight" in part and width(part, 0) == width(part, 1):
            levels.append([])
        elif not is_combination(part):
            levels[-1].append(part)
    return levels
