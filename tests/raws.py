"""Small raw files, and a small model for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from shelf import shelve
from torch import Tensor, nn

from denoise.methods.method import Method, method
from denoise.restorer import Knob
from denoise.signals import Mosaic

Pixels = NDArray[Any]

TILES = ("RGGB", "BGGR", "GRBG", "GBRG")
XTRANS = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"
BLACK, WHITE = 512, 16383
MATRIX = (0.9, -0.3, -0.1, -0.4, 1.2, 0.2, -0.1, 0.2, 0.6)  # of a plausible camera, from XYZ
MODELS = Path(__file__).parent / "models"


def light(height: int, width: int) -> NDArray[np.float64]:
    """Slow waves of every colour, H×W×3 within 0..1."""
    down, across = np.mgrid[:height, :width] / 17
    return np.stack([0.5 + 0.4 * np.sin(down * (1 + k / 5) + across + k) for k in range(3)], -1)


def waves(folder: Path) -> Path:
    """30 pictures to learn from, each of finer waves than the next."""
    for number in range(30):
        y, x = np.mgrid[:260, :300] / (8 + number)
        colours = [np.sin(x + k) * np.cos(y - k) for k in range(3)]
        Image.fromarray(np.uint8(127 + 100 * np.stack(colours, -1))).save(folder / f"{number}.png")
    return folder


def toy_shelf(folder: Path) -> Path:
    """A shelf of toys, one for raw files among them."""
    place = shelve(folder)
    (place / "toy-raw").mkdir()
    (place / "toy-raw" / "model.toml").write_bytes((MODELS / "toy-raw" / "model.toml").read_bytes())
    return place


def mosaicked(colours: NDArray[Any], cfa: str) -> NDArray[Any]:
    side = 2 if len(cfa) == 4 else 6
    tile = np.array(["RGB".index(letter) for letter in cfa]).reshape(side, side)
    height, width = colours.shape[:2]
    which = tile[np.ix_(np.arange(height) % side, np.arange(width) % side)]
    return np.take_along_axis(colours, which[..., None], 2)[..., 0]


def photosites(height: int = 64, width: int = 80, cfa: str = "RGGB", noise: float = 30, seed: int = 0) -> Pixels:
    """DN of a scene with some noise; a few of them below black and above white."""
    dice = np.random.default_rng(seed)
    values = BLACK + mosaicked(light(height, width), cfa) * (WHITE - BLACK) * 0.8
    values += noise * dice.standard_normal(values.shape)
    values[0, 0], values[-1, -1] = BLACK - 20, WHITE + 5
    return values.round().astype(np.uint16)


def mosaic(height: int = 64, width: int = 80, cfa: str = "RGGB", **more: Any) -> Mosaic:
    return Mosaic(photosites(height, width, cfa, **more), cfa, (BLACK,) * 4, WHITE)


def dng(
    path: Path,
    values: Pixels | None = None,
    cfa: str = "RGGB",
    black: Sequence[int] | None = (BLACK,),
    leave: Iterable[int] = (),
    more: Iterable[tuple[Any, ...]] = (),
    **settings: Any,
) -> Path:
    """Written by tifffile, as phones do: one directory with everything. `leave`: tags that shall be missing."""
    values = photosites(cfa=cfa) if values is None else values
    side = {4: 2, 36: 6}[len(cfa)]
    matrix = [part for value in MATRIX for part in (round(value * 10_000), 10_000)]
    tags: list[tuple[Any, ...]] = [
        (50706, "B", 4, (1, 4, 0, 0), True),
        (33421, "H", 2, (side, side), True),
        (33422, "B", side * side, tuple("RGB".index(letter) for letter in cfa), True),
        (50717, "H", 1, WHITE, True),
        (34855, "H", 1, 800, True),
        (271, "s", 0, "Toy", True),
        (272, "s", 0, "Toy 1", True),
        (50708, "s", 0, "Toy 1", True),
        (50721, "2i", 9, tuple(matrix), True),
        (50778, "H", 1, 21, True),
        (50728, "2I", 3, (500, 1000, 1, 1, 700, 1000), True),
        *more,
    ]
    if black is not None:
        tags += [(50713, "H", 2, (2, 2) if len(black) == 4 else (1, 1), True), (50714, "H", len(black), black, True)]
    told = [tag for tag in tags if tag[0] not in leave]
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric=32803, planarconfig=1, extratags=told, **settings)
    return path


# A model


@method("toy_raw")
class ToyRaw(Method):
    """Mixes in the mean of 3×3 cells, the more the stronger the noise."""

    kind = "raw"
    channels = 4
    context = 1
    piece = 128
    surveys = True
    knobs = (Knob("detail", 0, 0, 1, 0.1, "How much is left as it is."),)

    def forward(self, noisy: Tensor, survey: Tensor | None = None, detail: float | Tensor = 0.0) -> Tensor:
        noise = noise_of(noisy) if survey is None else survey
        shot, read, bias = (noise[..., column, None, None] for column in range(3))
        smooth = F.avg_pool2d(F.pad(noisy, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        variance = (shot * (smooth - bias) + read).clamp(min=0)
        return noisy + (1 - detail) * variance / (variance + 1e-4) * (smooth - noisy)

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        (whole,) = pieces
        return noise_of(whole)

    def graph(self) -> nn.Module:
        return Graph(self)


class Graph(nn.Module):
    def __init__(self, whole: ToyRaw) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, noisy: Tensor, survey: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.cat([survey, noise_of(noisy)], 1)[:, :4]
        return self.whole(noisy, noise, detail), noise


def noise_of(cells: Tensor) -> Tensor:
    """(B, 4, 4): no shot noise, read noise by differences along the diagonal, no bias and all light."""
    before = F.pad(cells, (1, 0, 1, 0), mode="replicate")[..., :-1, :-1]
    read = (cells - before).square().mean((2, 3)) / 2
    return torch.stack([torch.zeros_like(read), read, torch.zeros_like(read), torch.ones_like(read)], -1)
