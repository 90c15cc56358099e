"""What every picture format answers: what a page is, its tags, its pixels; and how pages are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from denoise.errors import BadFile, UserError
from denoise.media.tags import Tags
from denoise.signals import Samples


@dataclass(frozen=True)
class Header:
    """What a page promises before it is decoded."""

    width: int
    height: int
    channels: int  # 1 grey, 3 colour
    bits: int  # per sample
    alpha: bool = False
    floating: bool = False

    @property
    def dtype(self) -> np.dtype[np.generic]:
        if self.floating:
            return np.dtype(f"float{self.bits}")
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def white(self) -> int | None:
        """What a whole number has to be to mean white; a float picture has to be looked at."""
        return None if self.floating else 2**self.bits - 1

    @property
    def samples(self) -> int:
        return self.channels + self.alpha

    @property
    def decoded_bytes(self) -> int:
        return self.width * self.height * self.samples * self.dtype.itemsize

    @property
    def depth(self) -> str:
        return f"{self.bits}-bit float" if self.floating else f"{self.bits}-bit"

    @property
    def colour(self) -> str:
        return ("grey" if self.channels == 1 else "RGB") + (" with alpha" if self.alpha else "")


class Reader(Protocol):
    """One open picture file."""

    format: str
    pages: int
    notes: tuple[str, ...]  # what reading changes, in words

    def header(self, page: int) -> Header: ...

    def tags(self, page: int) -> Tags: ...

    def pixels(self, page: int) -> Samples:
        """H×W×samples, alpha last, in the file's type."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Sheet:
    """A page on its way out: pixels that the target format can hold, and what to keep."""

    pixels: Samples  # H×W×channels
    alpha: Samples | None  # H×W×1
    header: Header  # of these pixels
    tags: Tags

    def interleaved(self) -> Samples:
        if self.alpha is None:
            return np.ascontiguousarray(self.pixels)
        return np.concatenate([self.pixels, self.alpha], axis=2)


WITHOUT_LOSS = frozenset({"PNG", "TIFF", "GIF", "BMP"})


def first_loss(source: Reader, name: str, quality: int) -> list[str]:
    """The words that are due when exact pixels go into a lossy file."""
    if source.format not in WITHOUT_LOSS:
        return []
    return [f"{name} is written with loss, quality {quality}; PNG and TIFF are without"]


def refuse(path: Path, reason: str) -> BadFile:
    return BadFile(f"{path}: {reason}")


@contextmanager
def decoding(path: Path, name: str) -> Iterator[None]:
    """Decoders meet foreign bytes and raise what they like; the user reads one sentence."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise refuse(path, f"this {name} picture does not fit into memory; close other programs or crop it.") from error
    except Exception as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise refuse(path, f"damaged or incomplete {name} file ({detail}); copy or export it again.") from error
