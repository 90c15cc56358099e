"""What the authors' own code of SGMSE and StoRM computed, and models made of its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from denoise.methods.sgmse import SpectralDiffusion
from denoise.processes import Count, Noise

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "speech"
official = pytest.mark.skipif(not ORACLES.is_dir(), reason="the recordings of the official code are not here")
NETWORK, SAMPLER, TRANSFORM = 1e-4, 1e-3, 1e-5  # allowed, of the largest value

Recorded = dict[str, Any]


def recorded(case: str, name: str) -> Recorded:
    with np.load(ORACLES / case / f"{name}.npz") as held:
        return {key: held[key] for key in held.files}


def planes(values: NDArray[Any]) -> Tensor:
    """(…, 1, F, T) complex as (…, 2, F, T)."""
    found = torch.from_numpy(values)
    return torch.cat([found.real, found.imag], -3)


def relative(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max())


def config(case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ORACLES / case / "config.json").read_text())
    return found


def model_of(kind: type[SpectralDiffusion], case: str, **changes: Any) -> SpectralDiffusion:
    """As the importer makes it from official weights and settings."""
    meta = json.loads((ORACLES / case / "meta.json").read_text())
    state = load_file(ORACLES / Path(case).parent / meta["state_dict"])
    said = config(case) | ({"sde_n": 1000} if case.startswith("storm/") else {})  # as StoRM's files do
    found = kind.from_official(state, {"hyper_parameters": said})
    assert found is not None
    arguments, ours = found
    model = kind(**arguments | changes)
    model.load_state_dict(ours)
    return model.eval()


def replayed(noise: NDArray[Any]) -> Noise:
    """The recorded draws, in the order in which they were used."""
    draws = planes(noise) if noise.size else None

    def draw(number: Count) -> Tensor:
        assert draws is not None, "no draw was recorded"
        return draws[int(number)]

    return draw
