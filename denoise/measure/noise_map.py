"""Where a picture is noisy, as a model that measures it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from denoise.restorer import Restorer
from denoise.run import coloured

Floats = NDArray[np.floating[Any]]
HEADROOM = 1.2  # times the largest value of a map


@dataclass(frozen=True)
class NoiseMap:
    restorer: Restorer

    @classmethod
    def by(cls, restorer: Restorer) -> NoiseMap | None:
        """None where it measures nothing."""
        grey = np.full((8, 8, 3), 0.5, np.float32)
        return None if noise_map(grey, restorer) is None else cls(restorer)

    def of_picture(self, pixels: Floats) -> tuple[Floats, float]:
        """(H, W, C), white is 1 -> the map as a picture (H, W, 1), and the standard deviation, of 255, of its white."""
        found = noise_map(pixels, self.restorer)
        assert found is not None
        highest = max(float(found.max()) * HEADROOM, 1.0)
        return enlarged(found / highest, pixels.shape[:2])[..., None], highest


def noise_map(pixels: Floats, restorer: Restorer) -> Floats | None:
    """(H, W, C), white is 1 -> standard deviations of 255, (h, w), all that is measured of a place as one number."""
    measured = getattr(restorer, "noise_map", None)  # a graph has none
    if measured is None or restorer.facts.kind != "picture":
        return None
    noisy = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))
    found: torch.Tensor | None = measured(coloured(noisy, restorer.facts))
    return None if found is None else found.float().square().mean((0, 1)).sqrt().cpu().numpy()


def enlarged(map_: Floats, size: tuple[int, ...]) -> Floats:
    from PIL import Image

    picture = Image.fromarray(map_.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)
