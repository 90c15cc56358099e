"""The one overlap-add, for chunks of sound and tiles of pictures. Its windows sum to one: a restorer that
changes nothing changes nothing, however the signal is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """One piece of an axis and how much of it is shared with its neighbours."""

    start: int
    stop: int
    fade_in: int
    fade_out: int

    def __len__(self) -> int:
        return self.stop - self.start

    def widened(self, context: int, length: int, multiple: int = 1) -> tuple[int, int]:
        """With so much around it, from a multiple on: a network that halves its picture sees the same halves."""
        return max(0, self.start - context) // multiple * multiple, min(length, self.stop + context)


def spans(length: int, piece: int, overlap: int) -> list[Span]:
    """Pieces of about equal size, none larger than `piece`, each sharing `overlap` with the next."""
    if length <= piece:
        return [Span(0, length, 0, 0)]
    overlap = min(overlap, piece // 3)  # a middle piece has room for both of its fades
    count = -(-(length - overlap) // (piece - overlap))
    stride = -(-(length - overlap) // count)
    count = -(-(length - overlap) // stride)
    return [
        Span(
            start=index * stride,
            stop=min(index * stride + stride + overlap, length),
            fade_in=overlap if index else 0,
            fade_out=overlap if index < count - 1 else 0,
        )
        for index in range(count)
    ]


def rise(size: int) -> Tensor:
    """From almost 0 to almost 1; with its mirror image it sums to one."""
    at = (torch.arange(size) + 0.5) / max(size, 1)
    return torch.sin(0.5 * torch.pi * at).square()


def stitch(pieces: Iterable[tuple[Span, Tensor]], dim: int = -1) -> Iterator[Tensor]:
    """The finished stretches along `dim`, in order, each as soon as nothing more can change it."""
    tail: Tensor | None = None
    for span, piece in pieces:
        if tail is not None:
            head = piece.narrow(dim, 0, span.fade_in)
            yield tail + (head - tail) * along(rise(span.fade_in).to(head), dim, head.ndim)
        yield piece.narrow(dim, span.fade_in, len(span) - span.fade_in - span.fade_out)
        tail = piece.narrow(dim, len(span) - span.fade_out, span.fade_out)


def along(line: Tensor, dim: int, ndim: int) -> Tensor:
    shape = [1] * ndim
    shape[dim] = -1
    return line.reshape(shape)


def in_chunks(
    restore: Callable[[Tensor, int], Tensor],
    signal: Tensor,
    piece: int,
    overlap: int,
    context: int = 0,
    dim: int = -1,
    multiple: int = 1,
) -> Tensor:
    """`restore(part, start)` piece by piece along `dim`, each part seeing `context` more on either side."""
    length = signal.shape[dim]

    def pieces() -> Iterator[tuple[Span, Tensor]]:
        for span in spans(length, piece, overlap):
            start, stop = span.widened(context, length, multiple)
            restored = restore(signal.narrow(dim, start, stop - start), start)
            yield span, restored.narrow(dim, span.start - start, len(span))

    return torch.cat(list(stitch(pieces(), dim)), dim)


def mirrored(signal: Tensor, sides: Sequence[int]) -> Tensor:
    """Its last axes cut or continued to those sides, at their end and as a mirror would: what is added is as noisy as
    the rest, and no network takes it for a smooth place."""
    for axis, side in enumerate(sides, signal.ndim - len(sides)):
        signal = signal.index_select(axis, reflection(signal.shape[axis], side).to(signal.device))
    return signal


def reflection(length: int, side: int) -> Tensor:
    """0, 1 … length - 1, length - 2 … 1, 0, 1 …"""
    at = torch.arange(side) % max(2 * length - 2, 1)
    return torch.where(at < length, at, 2 * length - 2 - at)
