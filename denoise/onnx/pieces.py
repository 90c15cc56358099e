"""Pieces of a folder's files, as a model sees them: what a graph in whole numbers is fitted to and tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from denoise.errors import UserError
from denoise.media.find import NAMES, kind_of
from denoise.restorer import Facts
from denoise.signals import Kind
from denoise.zoo import SAMPLES, Card, facts_of, method_of

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 4
SIDE = 192  # px
MOST = 16  # files


def pieces_for(card: Card, folder: Path | None) -> list[Tensor]:
    """Of that folder, or of the samples."""
    return pieces_of(folder or SAMPLES, facts_of(card, method_of(card)))


def pieces_of(folder: Path, facts: Facts) -> list[Tensor]:
    """One of each file of the model's kind, as a batch of one: the first seconds, or the middle."""
    from denoise.run import padded_to

    paths = sorted(path for path in folder.rglob("*") if path.is_file() and kind_of(path) == facts.kind)
    found = [piece for path in islice(paths, MOST) for piece in READERS[facts.kind](path, facts)]
    if not found:
        raise UserError(f"{folder}: no {NAMES[facts.kind]} in it to calibrate with; name a folder with --calibrate.")
    return [padded_to(piece, facts.multiple, facts.least) for piece in found]


def of_sound(path: Path, facts: Facts) -> Iterator[Tensor]:
    import torch

    from denoise.media.sound import open_sound
    from denoise.resample import at_rate
    from denoise.run import NOMINAL_RATE, voiced

    rate = facts.rate or NOMINAL_RATE
    block = next(at_rate(open_sound(path).audio, rate).blocks(SECONDS * rate), None)
    if block is not None:
        yield from voiced(torch.from_numpy(block.copy()), facts).split(1)


def of_picture(path: Path, facts: Facts) -> Iterator[Tensor]:
    from denoise.media.picture import open_picture
    from denoise.run import coloured

    with open_picture(path) as source:
        picture = source.page(0).picture
    yield from coloured(picture.region(middle(picture.height), middle(picture.width)), facts).split(1)


def of_raw(path: Path, facts: Facts) -> Iterator[Tensor]:
    from denoise.media.raw import open_raw
    from denoise.signals import Cells

    cells = Cells(open_raw(path).mosaic)
    yield cells.region(middle(cells.height), middle(cells.width))[None]


def middle(length: int) -> slice:
    start = max(length - SIDE, 0) // 2
    return slice(start, min(start + SIDE, length))


READERS: dict[Kind, Callable[[Path, Facts], Iterator[Tensor]]] = {
    "audio": of_sound,
    "picture": of_picture,
    "raw": of_raw,
}
