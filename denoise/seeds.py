"""Random numbers as a function of (seed, position): integer arithmetic that PyTorch, ONNX Runtime and
JavaScript do alike, so the same seed gives the same noise in every engine, thread count and tile cut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def mixed(word: Tensor) -> Tensor:
    """A 32-bit word well stirred (two multiply-xorshift rounds), kept in the low half of an int64."""
    word = word ^ (word >> 16)
    word = (word * 0x7FEB352D) & MASK
    word = word ^ (word >> 15)
    word = (word * 0x2C1B3C6D) & MASK
    return word ^ (word >> 16)


def words(seed: Tensor | int, stream: int, counter: Tensor) -> Tensor:
    """One 32-bit word for every counter (int64 tensor, any size below 2^62)."""
    low = counter & MASK
    high = (counter >> 32) & MASK
    start = mixed(torch.as_tensor((seed + stream * GOLDEN) & MASK, device=counter.device))
    return mixed(mixed(mixed(low ^ start) + high & MASK) ^ (start * 3 + stream & MASK))


def positions(shape: Sequence[int], start: int, device: torch.device | str | None = None) -> Tensor:
    return torch.arange(math.prod(shape), device=device).reshape(tuple(shape)) + start


def located(values: Tensor, *start: int) -> Tensor:
    """Counters for a piece (B, C, T) or (B, C, H, W) that begins at `start` in the whole signal.

    The same place has the same counter in every cut; all items of a batch share theirs.
    """
    bits = 48 // len(start)
    axes = torch.meshgrid(*(torch.arange(size, device=values.device) for size in values.shape[1:]), indexing="ij")
    counter = axes[0]
    for axis, begin in zip(axes[1:], start, strict=True):
        counter = (counter << bits) + axis + begin
    return counter[None]


def uniform(seed: Tensor | int, counter: Tensor, stream: int = 0) -> Tensor:
    """Strictly between 0 and 1, float32: 23 bits and a half, so that no logarithm meets a zero."""
    top = words(seed, stream, counter) >> 9
    return (top.to(torch.float32) + 0.5) * (1.0 / (1 << 23))


def normal(seed: Tensor | int, counter: Tensor, stream: int = 0) -> Tensor:
    """Standard normal numbers (Box and Muller), one for every counter."""
    radius = torch.sqrt(-2.0 * torch.log(uniform(seed, counter, 2 * stream)))
    return radius * torch.cos(2.0 * math.pi * uniform(seed, counter, 2 * stream + 1))


def normal_like(values: Tensor, seed: int, stream: int = 0, start: int = 0) -> Tensor:
    return normal(seed, positions(values.shape, start, values.device), stream)


def uniform_like(values: Tensor, seed: int, stream: int = 0, start: int = 0) -> Tensor:
    return uniform(seed, positions(values.shape, start, values.device), stream)
