"""Where a picture is noisy, as a model that measures it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from denoise.restorer import Restorer
from denoise.run import coloured

Floats = NDArray[np.floating[Any]]


def noise_map(pixels: Floats, restorer: Restorer) -> Floats | None:
    """(H, W, C), white is 1 -> standard deviations of 255, (h, w), all that is measured of a place as one number."""
    measured = getattr(restorer, "noise_map", None)  # a graph has none
    if measured is None or restorer.facts.kind != "picture":
        return None
    noisy = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))
    found: torch.Tensor | None = measured(coloured(noisy, restorer.facts))
    return None if found is None else found.float().square().mean((0, 1)).sqrt().cpu().numpy()
