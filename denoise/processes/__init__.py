"""Diffusion as pure functions: processes that turn a clean signal into a noisy one, and ways back.

Values are real tensors (B, 2, F, T), real and imaginary part. A standard complex number has a variance of one half
in each part. Time runs from 0, clean, to 1. Noise is never drawn here: it is asked for by its number.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Count = int | Tensor
"""A whole number; a tensor without axes where a graph counts."""

Noise = Callable[[Count], Tensor]
"""The draw of that number, counted from zero in the order in which draws are used: standard complex."""

Model = Callable[[Tensor, Tensor], Tensor]
"""(x, time ()) -> the score, or the clean signal, as the network sees it there."""


def over(values: Tensor, like: Tensor) -> Tensor:
    """One number, or one per item, with axes to be multiplied by a batch."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim)) if values.ndim else values
