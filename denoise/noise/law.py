"""What a law of noise can do. Signals are float32 tensors: pictures (…, C, H, W) of 0..1, mosaics (H, W) in DN,
sound (C, T) of -1..1."""

from __future__ import annotations

from typing import Any, Protocol, Self

from torch import Tensor


class Law(Protocol):
    def sample(self, clean: Tensor, seed: int) -> Tensor:
        """The signal with this noise; not clipped, not rounded, unless the law itself clips or rounds."""
        ...

    def variance(self, clean: Tensor) -> Tensor:
        """Of the noise, at every sample of a clean signal; the shape of `clean`."""
        ...

    def describe(self) -> str:
        """In words, with units."""
        ...


class Fitted(Law, Protocol):
    """A law that can be found in what the user has: dark frames, flat frames, a noisy file."""

    @classmethod
    def fit(cls, evidence: Any) -> Self: ...


class PictureLaw(Law, Protocol):
    """A law whose noise at a pixel depends on the seed and the pixel's place alone, so that tiles agree."""

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0) -> Tensor: ...
