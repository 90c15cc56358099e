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
