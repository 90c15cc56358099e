"""Cameras that others calibrated (cameras.toml), virtual ones between them, and a camera at one setting drawn from
either: log K is uniform, the logarithms of the spreads lie around straight lines over it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, TypeVar

import torch

from denoise import seeds
from denoise.errors import UserError
from denoise.noise.camera import Camera, Four
from denoise.restorer import unknown

T = TypeVar("T")
Read = Literal["tukey", "gauss"]

GAINS = (0.1, 30.0)  # DN per electron, of virtual cameras
RATIOS = (100.0, 300.0)  # of exposures, long against short
SPANNING = ("sony-a7s2-eld", "nikon-d850", "canon-70d", "canon-700d", "canon-5d4")  # virtual cameras lie between them
STREAM = 1000  # of the draws here; the kernels take the first ones
WHICH, BRANCH, GAIN, READ, ROW, LAMBDA, BIAS, RATIO = range(8)  # what is drawn


@dataclass(frozen=True)
class Line:
    """ln sigma over ln K."""

    slope: float
    intercept: float
    spread: float  # standard deviation around the line

    def at(self, gain_dn_per_e: float, z: float) -> float:
        """Sigma in DN, so many spreads off the line."""
        return math.exp(self.slope * math.log(gain_dn_per_e) + self.intercept + self.spread * z)


@dataclass(frozen=True)
class Branch:
    """The gains that share a readout circuit."""

    gain_dn_per_e: tuple[float, float]  # lowest and highest
    tukey: Line
    gauss: Line
    row: Line
    lambdas: tuple[float, ...]


@dataclass(frozen=True)
class Offset:
    bias_dn: Four  # R, G1, G2, B
    gain_dn_per_e: float | None = None  # at which it was found; None: not told


@dataclass(frozen=True)
class Model:
    name: str
    title: str
    white_dn: float
    branches: tuple[Branch, ...]
    offsets: tuple[Offset, ...]
    source: str  # a repository and its licence
    may_train: bool  # weights that ship

    def drawn(self, seed: int, gain_dn_per_e: float | None = None, read: Read = "tukey") -> Camera:
        """One setting of this camera; without a gain, any."""
        branch = self.branch_at(gain_dn_per_e) if gain_dn_per_e else chosen(self.branches, seed, BRANCH)
        gain = gain_dn_per_e or between(*branch.gain_dn_per_e, uniform(seed, GAIN))
        line = branch.tukey if read == "tukey" else branch.gauss
        return Camera(
            gain_dn_per_e=gain,
            read_dn=line.at(gain, normal(seed, READ)),
            read_lambda=chosen(branch.lambdas, seed, LAMBDA) if read == "tukey" else None,
            row_dn=branch.row.at(gain, normal(seed, ROW)),
            bias_dn=chosen(self.offsets_near(gain), seed, BIAS).bias_dn,
            white_dn=self.white_dn,
            name=self.title,
        )

    def branch_at(self, gain_dn_per_e: float) -> Branch:
        for branch in self.branches:
            low, high = branch.gain_dn_per_e
            if low * 0.999 <= gain_dn_per_e <= high * 1.001:
                return branch
        ranges = " and ".join("{:.3g} to {:.3g}".format(*branch.gain_dn_per_e) for branch in self.branches)
        raise UserError(f"{self.name} was calibrated from {ranges} DN per electron, not at {gain_dn_per_e:g}.")

    def offsets_near(self, gain_dn_per_e: float) -> tuple[Offset, ...]:
        """Those that were found at the gain nearest to this one."""

        def far(offset: Offset) -> float:
            return abs(math.log((offset.gain_dn_per_e or gain_dn_per_e) / gain_dn_per_e))

        nearest = min(map(far, self.offsets))
        return tuple(offset for offset in self.offsets if far(offset) <= nearest + 1e-9)


def drawn(seed: int, models: Sequence[Model] | None = None, read: Read = "tukey") -> Camera:
    """A setting of any camera; by default of those that may train weights that ship."""
    return chosen(models or trainers(), seed, WHICH).drawn(seed, read=read)


def ratio(seed: int, low: float = RATIOS[0], high: float = RATIOS[1]) -> float:
    """How much longer the clean exposure was than the noisy one."""
    return low + (high - low) * uniform(seed, RATIO)


def find(name: str) -> Model:
    if name not in known():
        raise UserError(unknown("camera", name, list(known()), "there are"))
    return known()[name]


def trainers() -> tuple[Model, ...]:
    return tuple(model for model in known().values() if model.may_train)


@lru_cache(maxsize=1)
def known() -> dict[str, Model]:
    text = (resources.files("denoise.noise") / "cameras.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {name: model_of(name, table, tables["sources"]) for name, table in tables["cameras"].items()}


def model_of(name: str, table: Mapping[str, Any], sources: Mapping[str, Any]) -> Model:
    source = sources[table["source"]]
    return Model(
        name,
        table["title"],
        table["white_dn"],
        tuple(branch_of({"lambdas": table.get("lambdas")} | branch) for branch in table["branches"]),
        offsets_of(table),
        f"{source['repo']} {source['path']} ({source['licence']})",
        source["may_train"],
    )


def branch_of(table: Mapping[str, Any]) -> Branch:
    lines = {name: Line(*table[name]) for name in ("tukey", "gauss", "row")}
    low, high = table["gain_dn_per_e"]
    return Branch((low, high), **lines, lambdas=tuple(table["lambdas"]))


def offsets_of(table: Mapping[str, Any]) -> tuple[Offset, ...]:
    """None are told: black is as it should be."""
    rows = table.get("bias_dn", [[0.0]])
    gains = [table["gain_per_iso"] * iso for iso in table["bias_iso"]] if "bias_iso" in table else [None] * len(rows)
    return tuple(Offset(in_our_order(row), gain) for row, gain in zip(rows, gains, strict=True))


def in_our_order(row: Sequence[float]) -> Four:
    """The file lists R, G1, B, G2, or one value for all."""
    red, first, blue, second = row if len(row) == 4 else [row[0]] * 4
    return red, first, second, blue


# Virtual cameras


def virtual(count: int = 5, seed: int = 0) -> tuple[Model, ...]:
    """Cameras that cover evenly what calibrated ones span (as in LED): every parameter's range is cut into `count`
    cells, and each camera has the middle of one, another for every parameter."""
    models = [known()[name] for name in SPANNING]
    branches = [branch for model in models for branch in model.branches]
    grid = Grid(count, seed)
    lines = {
        name: [grid.between([getattr(getattr(branch, name), part) for branch in branches]) for part in PARTS]
        for name in ("tukey", "gauss", "row")
    }
    lambdas = grid.between([value for branch in branches for value in branch.lambdas])
    levels = grid.between([mean(offset.bias_dn) for model in models for offset in model.offsets])
    spreads = grid.between([math.log(spread(offset.bias_dn)) for model in models for offset in model.offsets])
    made = []
    for index in range(count):
        own = {name: Line(*(column[index] for column in columns)) for name, columns in lines.items()}
        bias = scattered(levels[index], math.exp(spreads[index]), seed + index)
        branch = Branch(GAINS, **own, lambdas=(lambdas[index],))
        made.append(virtual_model(index + 1, branch, bias, models[0].white_dn))
    return tuple(made)


PARTS = ("slope", "intercept", "spread")


def virtual_model(number: int, branch: Branch, bias_dn: Four, white_dn: float) -> Model:
    title, source = f"Virtual camera {number}", "made up between " + ", ".join(SPANNING)
    return Model(f"virtual-{number}", title, white_dn, (branch,), (Offset(bias_dn),), source, True)


class Grid:
    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.stream = count, seed, STREAM + 100

    def between(self, values: Sequence[float]) -> list[float]:
        """The middles of the cells of their range, in a random order of its own."""
        self.stream += 1
        order = seeds.uniform(self.seed, torch.arange(self.count), self.stream).argsort().tolist()
        low, high = min(values), max(values)
        return [low + (high - low) * (cell + 0.5) / self.count for cell in order]


def scattered(level: float, spread: float, seed: int) -> Four:
    red, first, second, blue = seeds.normal(seed, torch.arange(4), STREAM + 50).tolist()
    return level + spread * red, level + spread * first, level + spread * second, level + spread * blue


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def spread(values: Sequence[float]) -> float:
    return math.sqrt(mean([(value - mean(values)) ** 2 for value in values]))


# Draws


def uniform(seed: int, what: int) -> float:
    return shares(seed)[what]


def normal(seed: int, what: int) -> float:
    return normals(seed)[what]


@lru_cache(maxsize=1)
def shares(seed: int) -> list[float]:
    return seeds.uniform(seed, torch.arange(RATIO + 1), STREAM).tolist()


@lru_cache(maxsize=1)
def normals(seed: int) -> list[float]:
    return seeds.normal(seed, torch.arange(RATIO + 1), STREAM).tolist()


def between(low: float, high: float, share: float) -> float:
    """Uniform in the logarithm."""
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * share)


def chosen(of: Sequence[T], seed: int, what: int) -> T:
    return of[int(uniform(seed, what) * len(of))]
