"""A raw frame as laws of noise are fitted to it: its photosites, and what its file tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from denoise.errors import UserError
from denoise.noise.calibration import centred


@dataclass(frozen=True, eq=False)
class Frame:
    """One mosaic and what its file tells; None where it does not."""

    path: Path
    photosites: NDArray[Any]  # (H, W), as the file counts
    size: tuple[int, int]  # width and height of the whole frame, of which this may be the middle
    cfa: str | None = None
    black_dn: tuple[float, float, float, float] | None = None  # R, G1, G2, B
    white_dn: float | None = None
    iso: int | None = None
    camera: str | None = None

    @property
    def highest_dn(self) -> float:
        """White; where the file does not tell it, the highest value there is: what reaches it may be cut off."""
        return float(self.photosites.max()) if self.white_dn is None else self.white_dn

    def describe(self) -> str:
        """`raw mosaic, 6000×4000, values up to 16383, GRBG, ISO 800, Toy 1`."""
        width, height = self.size
        words = ["raw mosaic", f"{width}×{height}", f"values up to {self.photosites.max():g}"]
        words += [self.cfa] if self.cfa else []
        words += [f"ISO {self.iso}"] if self.iso else []
        return ", ".join(words + ([self.camera] if self.camera else []))

    def middle(self) -> Frame:
        """The part that a calibration looks at, so that many frames fit into memory."""
        return replace(self, photosites=centred(self.photosites).copy())


SAME = {
    "size": "sizes ({}); give those of one camera and mode.",
    "iso": "ISO ({}); put those of each ISO into a folder of its own.",
    "cfa": "colour filters ({}); give those of one camera.",
    "camera": "cameras ({}); give those of one.",
}


def refuse_unlike(frames: Sequence[Frame], place: str = "") -> None:
    """Of one size, ISO, colour filter and camera, as far as the files tell."""
    for fact, rest in SAME.items():
        values = {getattr(frame, fact) for frame in frames} - {None}
        if len(values) > 1:
            words = ", ".join(sorted(" × ".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values))
            raise UserError(f"{place or frames[0].path.parent}: the frames have different {rest.format(words)}")
