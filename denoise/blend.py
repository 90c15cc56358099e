"""The one overlap-add, for chunks of sound and tiles of pictures. Its windows sum to one: a restorer that
changes nothing changes nothing, however the signal is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
        """With that much more on either side; it begins at a multiple, where a grid of the whole does too."""
        start = max(0, self.start - context)
        return start - start % multiple, min(length, self.stop + context)


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
) -> Tensor:
    """`restore(part, start)` piece by piece along `dim`, each part seeing `context` more on either side."""
    length = signal.shape[dim]

    def pieces() -> Iterator[tuple[Span, Tensor]]:
        for span in spans(length, piece, overlap):
            start, stop = span.widened(context, length)
            restored = restore(signal.narrow(dim, start, stop - start), start)
            yield span, restored.narrow(dim, span.start - start, len(span))

    return torch.cat(list(stitch(pieces(), dim)), dim)
