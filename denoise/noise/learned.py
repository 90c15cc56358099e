"""Signal-independent raw noise as a network learned it from the user's own dark frames.

Two networks can carry the law. `pnnp`: a proxy for the noise of single pixels, beside Gaussian rows and columns
(Feng et al., TPAMI 2026). `lrd`: one generator for pixels, rows, columns and what correlates them (after Zhang et al.,
ICCV 2023). Neither paper released the training of its network; here both are trained by a design of this project,
described in `learning`.

The noise has no mean: black level and fixed pattern belong to the camera, and shot noise to the light.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from denoise import seeds
from denoise.errors import UserError
from denoise.networks.lrd import NoiseGenerator
from denoise.networks.pnnp import PixelProxy
from denoise.noise import counted
from denoise.noise.camera import photons
from denoise.noise.distribution_loss import kld
from denoise.noise.picture_kernels import AXIS_BITS, white

Field = NDArray[np.float32]
Darks = Sequence[Tensor] | Mapping[float, Sequence[Tensor]]  # (H, W) mosaics in DN, of one ISO or by ISO
Start = tuple[int, int]  # row and column in the whole mosaic

LAW, WEIGHTS = "law.toml", "weights.safetensors"
UNSTATED_ISO = 100.0  # where the user gave none; it then means nothing
BEFORE, AFTER, ROWS, COLUMNS = range(4)  # streams of random numbers
APART = 0x5EED  # between the seeds of photons and darkness
MARGIN = 1 << 12  # sensor rows and columns before the first, for what reaches beyond the border
TABLE_EDGE, TABLE_STEPS = np.float32(6), 6000  # no counted normal number lies beyond 5.77
PER_UNIT = np.float32(TABLE_STEPS / (2 * TABLE_EDGE))
TILE = 256  # cells, side of what the generator makes at once
MEASURED = 1024  # side of the noise by which a law is measured


@njit(cache=True, inline="always")
def drawn(first: Any, second: Any, stream: int, at: int) -> Any:
    """The standard normal number at a counter, as `seeds.normal` draws it; `first` and `second` begin its streams."""
    return counted.normal(counted.word(first, 2 * stream, at), counted.word(second, 2 * stream + 1, at))


def normals(seed: int, stream: int, top: int, left: int, height: int, width: int) -> Field:
    numbers: Field = white(1, height, width, np.uint32(seed), stream, top, left)[0]
    return numbers


@njit(cache=True, inline="always")
def looked_up(table: Any, x: Any) -> Any:
    place = (x + TABLE_EDGE) * PER_UNIT
    below = int(place)
    return table[below] + np.float32(place - below) * (table[below + 1] - table[below])


@njit(cache=True)
def bent(out: Any, seed: int, top: int, left: int, before: Any, after: Any) -> None:
    """Adds the noise of a proxy whose two branches are tables."""
    one, two = counted.begun(seed, 2 * BEFORE), counted.begun(seed, 2 * BEFORE + 1)
    three, four = counted.begun(seed, 2 * AFTER), counted.begun(seed, 2 * AFTER + 1)
    for i in range(out.shape[0]):
        row = ((top + i) << AXIS_BITS) + left
        for j in range(out.shape[1]):
            x, y = drawn(one, two, BEFORE, row + j), drawn(three, four, AFTER, row + j)
            out[i, j] += looked_up(before, x) + looked_up(after, y)


@dataclass(frozen=True)
class Level:
    """What is known of the noise at one ISO, DN."""

    iso: float
    unit_dn: float  # standard deviation of single pixels, rows and columns taken off
    row_dn: float  # standard deviation of the rows' offsets
    column_dn: float
    offset_dn: float = 0.0  # mean of what the network makes; taken off
    std_dn: float = 0.0  # of all that the law makes
    black_dn: float = 0.0  # mean of the dark frames, which the noise is around


@dataclass(frozen=True, eq=False)
class LearnedRead:
    which: str  # a key of NETWORKS
    network: nn.Module
    levels: tuple[Level, ...]  # by ISO, ascending
    iso: float
    frames: int  # that it was fitted to
    kld_nats: float  # of its noise from theirs, over the values of pixels

    def sample(self, clean: Tensor, seed: int, start: Start = (0, 0)) -> Tensor:
        """`clean` is a mosaic (H, W) in DN, or the tile of one that begins at `start`."""
        return self.noise((clean.shape[0], clean.shape[1]), seed, start).to(clean.device).add_(clean)

    @torch.no_grad()
    def noise(self, shape: tuple[int, int], seed: int, start: Start = (0, 0)) -> Tensor:
        made = NETWORKS[self.which].noise(self, shape, seed & seeds.MASK, start)
        return made.sub_(self.level.offset_dn)

    def variance(self, clean: Tensor) -> Tensor:
        return torch.full_like(clean, self.level.std_dn**2)

    def describe(self) -> str:
        level = self.level
        at = f" at ISO {self.iso:g}" if len(self.levels) > 1 else ""
        return (
            f"read noise as {NETWORKS[self.which].title} learned it from {self.frames} dark frames{at}: "
            f"{level.std_dn:.3g} DN in all, rows {level.row_dn:.2g} DN, columns {level.column_dn:.2g} DN; "
            f"{self.kld_nats:.2g} nats from the frames"
        )

    @cached_property
    def level(self) -> Level:
        """At the ISO of this law: between two ISOs that were fitted, along a straight line of logarithms."""
        known = np.log([level.iso for level in self.levels])
        columns = {key: [asdict(level)[key] for level in self.levels] for key in asdict(self.levels[0]) if key != "iso"}
        means = {
            key: float(np.interp(math.log(self.iso), known, columns.pop(key))) for key in ("offset_dn", "black_dn")
        }
        lines = {key: np.log(np.maximum(values, 1e-9)) for key, values in columns.items()}
        found = {key: float(np.exp(np.interp(math.log(self.iso), known, line))) for key, line in lines.items()}
        spreads = {key: value if value > 1e-6 else 0.0 for key, value in found.items()}
        return Level(self.iso, **spreads, **means)

    @cached_property
    def curves(self) -> tuple[Field, Field]:
        """The two branches of a proxy as tables over -TABLE_EDGE..TABLE_EDGE, DN."""
        assert isinstance(self.network, PixelProxy)
        x = torch.linspace(-float(TABLE_EDGE), float(TABLE_EDGE), TABLE_STEPS + 1)[None, None, None]
        with torch.no_grad():
            before, after = self.network.before(x) * self.network.gain(self.iso), self.network.after(x)
        return before.flatten().numpy(), after.flatten().numpy()

    def at(self, iso: float) -> LearnedRead:
        """The law at another ISO within those that were fitted."""
        low, high = self.levels[0].iso, self.levels[-1].iso
        if not low <= iso <= high:
            raise UserError(
                f"ISO {iso:g} lies outside of what this noise was learned from, ISO {low:g} to {high:g}: "
                "choose one within, or fit again with dark frames of that ISO."
            )
        return replace(self, iso=iso)

    @classmethod
    def fit(cls, evidence: Darks, which: str = "pnnp", minutes: float = 5, seed: int = 0) -> Self:
        found = fitted(evidence, which, minutes, seed)
        return cls(found.which, found.network, found.levels, found.iso, found.frames, found.kld_nats)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        (folder / LAW).write_text(self.as_toml())

    def as_data(self) -> dict[str, Any]:
        levels = [asdict(level) for level in self.levels]
        return {"network": self.which, "frames": self.frames, "kld_nats": self.kld_nats, "levels": levels}

    def as_toml(self) -> str:
        head = (
            f'# {self.describe()}\nnetwork = "{self.which}"\niso = {self.iso!r}\n'
            f"frames = {self.frames}\nkld_nats = {self.kld_nats!r}\n"
        )
        tables = ["\n".join(f"{key} = {value!r}" for key, value in asdict(level).items()) for level in self.levels]
        return head + "".join(f"\n[[level]]\n{table}\n" for table in tables)


@dataclass(frozen=True, eq=False)
class LearnedCamera:
    """Photons, and on top of them what a network has learned of the darkness."""

    gain_dn_per_e: float
    read: LearnedRead

    def sample(self, clean: Tensor, seed: int, start: Start = (0, 0)) -> Tensor:
        return self.read.sample(photons(self.gain_dn_per_e).sample(clean, seed, *start), seed ^ APART, start)

    def variance(self, clean: Tensor) -> Tensor:
        return self.gain_dn_per_e * clean.clamp(min=0) + self.read.variance(clean)

    def describe(self) -> str:
        return f"{self.gain_dn_per_e:.4g} DN per electron, {self.read.describe()}"


def field(seed: int, stream: int, start: Start, shape: tuple[int, int]) -> Field:
    return normals(seed, stream, start[0] + MARGIN, start[1] + MARGIN, *shape)


def row_numbers(seed: int, top: int, count: int) -> Field:
    return field(seed, ROWS, (top, -MARGIN), (count, 1))


def column_numbers(seed: int, left: int, count: int) -> Field:
    return field(seed, COLUMNS, (-MARGIN, left), (1, count))


def proxy_noise(law: LearnedRead, shape: tuple[int, int], seed: int, start: Start) -> Tensor:
    noise = np.empty(shape, np.float32)
    noise[:] = np.float32(law.level.row_dn) * row_numbers(seed, start[0], shape[0])
    noise += np.float32(law.level.column_dn) * column_numbers(seed, start[1], shape[1])
    bent(noise, seed, start[0] + MARGIN, start[1] + MARGIN, *law.curves)
    return torch.from_numpy(noise)


def generator_noise(law: LearnedRead, shape: tuple[int, int], seed: int, start: Start) -> Tensor:
    """In tiles of whole 2×2 cells, cut where the mosaic begins or ends within one."""
    assert isinstance(law.network, NoiseGenerator)
    (top, left), (height, width) = (start[0] // 2, start[1] // 2), shape
    bottom, right = -(-(start[0] + height) // 2), -(-(start[1] + width) // 2)
    out = torch.empty(2 * (bottom - top), 2 * (right - left))
    for row in range(top, bottom, TILE):
        for column in range(left, right, TILE):
            cells = min(TILE, bottom - row), min(TILE, right - column)
            inputs = cell_numbers(seed, (row, column), cells, law.network.halo)
            made = law.level.unit_dn * law.network(*inputs, condition(law.iso))
            place = out[2 * (row - top) :, 2 * (column - left) :]
            place[: 2 * cells[0], : 2 * cells[1]] = torch.pixel_shuffle(made, 2)[0, 0]
    return out[start[0] % 2 :, start[1] % 2 :][:height, :width].contiguous()


def cell_numbers(seed: int, start: Start, cells: tuple[int, int], halo: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a generator wants for a tile, counted by place on the sensor; start and size are in 2×2 cells."""
    top, left = 2 * (start[0] - halo), 2 * (start[1] - halo)
    height, width = (2 * (size + 2 * halo) for size in cells)
    pixels = torch.from_numpy(field(seed, BEFORE, (top, left), (height, width)))
    rows = torch.from_numpy(row_numbers(seed, top, height)).reshape(1, -1)
    columns = torch.from_numpy(column_numbers(seed, left, width))
    return torch.pixel_unshuffle(pixels[None, None], 2), in_cells(rows), in_cells(columns)


def in_cells(line: Tensor) -> Tensor:
    """Numbers of sensor rows (B, 2h) as those of the two rows of each cell (B, 2, h)."""
    return line.reshape(len(line), -1, 2).transpose(1, 2)


def condition(iso: float) -> Tensor:
    """What the generator is told of the ISO: about -1..9 from ISO 50 to 51200."""
    return torch.tensor([math.log2(iso / UNSTATED_ISO)])


@dataclass(frozen=True)
class Network:
    title: str
    noise: Callable[[LearnedRead, tuple[int, int], int, Start], Tensor]
    like: Callable[[Mapping[str, Tensor], tuple[Level, ...]], nn.Module]  # of these weights' size


def proxy_like(state: Mapping[str, Tensor], levels: tuple[Level, ...]) -> PixelProxy:
    blocks = sum(name.startswith("before.") and name.endswith("conv1.weight") for name in state)
    return PixelProxy([level.iso for level in levels], width=len(state["before.0.weight"]), blocks=blocks)


def generator_like(state: Mapping[str, Tensor], levels: tuple[Level, ...]) -> NoiseGenerator:
    blocks = sum(name.endswith("wide.weight") for name in state)
    return NoiseGenerator(width=len(state["head.weight"]), blocks=blocks)


NETWORKS = {
    "pnnp": Network("the PNNP proxy", proxy_noise, proxy_like),
    "lrd": Network("an LRD generator", generator_noise, generator_like),
}


def silent(line: str) -> None:
    """Where nobody wants to hear how a training goes on."""


def fitted(
    darks: Darks,
    which: str = "pnnp",
    minutes: float = 5,
    seed: int = 0,
    tell: Callable[[str], None] = silent,
    steps: int | None = None,
) -> LearnedRead:
    """Trains for that long, and for `steps` at most: where these end it, the same seed gives the same law."""
    from denoise.noise import learning

    if which not in NETWORKS:
        raise UserError(f"There is no network {which!r} to learn noise with; choose {' or '.join(NETWORKS)}.")
    if not 0 < minutes < math.inf:
        raise UserError(f"{minutes:g} minutes of training were asked for; more than 0 are wanted.")
    by_iso = darks if isinstance(darks, Mapping) else {UNSTATED_ISO: darks}
    evidence = [learning.evidence(iso, frames, seed) for iso, frames in sorted(by_iso.items())]
    network = learning.LEARN[which](evidence, seed, learning.Pace(minutes, steps), tell)
    levels = tuple(
        Level(item.iso, item.unit_dn, item.row_dn, item.column_dn, black_dn=mean_of(by_iso[item.iso]))
        for item in evidence
    )
    frames = sum(len(item.pixels) for item in evidence)
    law = LearnedRead(which, network.eval(), levels, levels[0].iso, frames, 0.0)
    real = [item.whole / item.unit_dn for item in evidence]
    return measured(law, real, seed)


def mean_of(frames: Sequence[Tensor]) -> float:
    return sum(float(frame.mean(dtype=torch.float64)) for frame in frames) / len(frames)


def measured(law: LearnedRead, real: Sequence[Tensor], seed: int) -> LearnedRead:
    """With the mean and spread of its noise at every ISO, and its distance from the real one in units of `unit_dn`."""
    levels, distances = [], []
    for level, there in zip(law.levels, real, strict=True):
        made = replace(law, levels=(level,), iso=level.iso).noise((MEASURED, MEASURED), seed)
        levels.append(replace(level, offset_dn=float(made.mean()), std_dn=float(made.std())))
        distances.append(kld(there, (made - made.mean()) / level.unit_dn, torch.linspace(-6, 6, 301)))
    return replace(law, levels=tuple(levels), kld_nats=sum(distances) / len(distances))


def opened(folder: Path) -> LearnedRead:
    """A law that was saved."""
    try:
        stated = tomllib.loads((folder / LAW).read_text())
        state = load_file(folder / WEIGHTS)
        levels = tuple(Level(**entries) for entries in stated["level"])
        network = NETWORKS[stated["network"]].like(state, levels)
        network.load_state_dict(state)
        facts = {key: stated[key] for key in ("iso", "frames", "kld_nats")}
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder}: not a folder of learned noise, which holds {LAW} and {WEIGHTS}; "
            "make one with `denoise noise fit --learned`."
        ) from None
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as fault:
        reason = str(fault).partition("\n")[0]
        raise UserError(f"{folder}: damaged learned noise ({reason}); fit it again.") from None
    return LearnedRead(stated["network"], network.eval(), levels, **facts)
