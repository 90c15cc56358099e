"""What a camera does to light: the law of raw noise after Wei et al. (ELD, 2020), in DN above black.

D = K n + N_read + N_row + N_q + bias, with n Poisson of mean y / K, N_read after Tukey's lambda or Gaussian, one N_row
for a whole sensor row, and N_q uniform over one step.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise.errors import UserError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Four = tuple[float, float, float, float]

COLOURS = ("R", "G1", "G2", "B")  # G1 lies on R's rows, G2 on B's
TILES = ("RGGB", "BGGR", "GRBG", "GBRG")
ORDERS = {"RGGB": COLOURS, "RGBG": ("R", "G1", "B", "G2")}
SURE = 1e-10  # a chance is kept so far from 0 and 1, where the tails of some laws are infinite
PER_THREAD = 1 << 18  # photosites; fewer are not worth a thread
WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Camera:
    gain_dn_per_e: float  # K
    read_dn: float  # Gaussian: its standard deviation; Tukey's lambda: its scale, of which that is a multiple
    read_lambda: float | None = None  # None: Gaussian
    row_dn: float = 0.0  # standard deviation, of what a sensor row has in common
    bias_dn: Four = (0.0, 0.0, 0.0, 0.0)  # error of the black level, R G1 G2 B
    step_dn: float = 1.0  # of quantisation; 0: none
    white_dn: float = 15871.0  # above black
    cfa: str = "RGGB"  # colours of the sensor's first two rows and columns, row by row
    pattern_dn: Tensor | None = field(default=None, compare=False, repr=False)  # (H, W), of the whole sensor
    name: str = ""

    def __post_init__(self) -> None:
        require(self.gain_dn_per_e > 0, f"A gain of {self.gain_dn_per_e:g} DN per electron makes no picture")
        for what in ("read_dn", "row_dn", "step_dn"):
            require(getattr(self, what) >= 0, f"{what} is {getattr(self, what):g}, but a spread is never negative")
        if self.read_lambda is not None:
            check_lambda(self.read_lambda)
        require(len(self.bias_dn) == 4, f"bias_dn has {len(self.bias_dn)} values; it needs four, for R, G1, G2 and B")
        sites_of(self.cfa)

    @classmethod
    def fit(cls, evidence: tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]], **known: Any) -> Camera:
        """Of dark frames and pairs of flat ones (H, W), which may be none where `known` tells the gain or the ISO."""
        from denoise.noise.calibration import calibrated

        return calibrated(*evidence, **known).camera

    @property
    def read_std_dn(self) -> float:
        if self.read_lambda is None:
            return self.read_dn
        return self.read_dn * math.sqrt(tukey_variance(self.read_lambda))

    def sample(self, clean: Tensor, seed: int, top: int = 0, left: int = 0, threads: int | None = None) -> Tensor:
        """Of a mosaic (H, W) in DN above black, whose first photosite lies at (top, left) of the sensor.

        Not clipped, and not rounded: the steps are noise too.
        """
        noisy = exposed(self, clean, seed, top, left, threads)
        if self.pattern_dn is not None:
            noisy += cut(self.pattern_dn, top, left, clean.shape)
        return noisy

    def sample_packed(
        self, clean: Tensor, order: str, seed: int, top: int = 0, left: int = 0, threads: int | None = None
    ) -> Tensor:
        """The same of packed planes (4, H, W), without a mosaic in between; (top, left) is even."""
        noisy = exposed_planes(self, clean, order, seed, (top, left), threads)
        if self.pattern_dn is not None:
            _, height, width = clean.shape
            noisy += pack(cut(self.pattern_dn, top, left, (2 * height, 2 * width)), order, self.cfa)
        return noisy

    def variance(self, clean: Tensor) -> Tensor:
        """In DN²; rows are counted, although neighbours in a row share theirs."""
        constant = self.read_std_dn**2 + self.row_dn**2 + self.step_dn**2 / 12
        return self.gain_dn_per_e * clean.clamp(min=0) + constant

    def describe(self) -> str:
        parts = [f"{self.gain_dn_per_e:.4g} DN per electron", self.read_words()]
        parts += [f"rows {self.row_dn:.3g} DN"] if self.row_dn else []
        parts += [f"steps of {self.step_dn:g} DN"] if self.step_dn else []
        if any(self.bias_dn):
            biases = zip(COLOURS, self.bias_dn, strict=True)
            parts += ["black off by " + " ".join(f"{colour} {bias:+.2f}" for colour, bias in biases) + " DN"]
        parts += ["fixed pattern"] if self.pattern_dn is not None else []
        return (f"{self.name}: " if self.name else "") + ", ".join([*parts, f"white {self.white_dn:g} DN above black"])

    def read_words(self) -> str:
        if self.read_lambda is None:
            return f"read noise {self.read_dn:.3g} DN, Gaussian"
        law = f"Tukey lambda {self.read_lambda:.3g}, scale {self.read_dn:.3g} DN"
        return f"read noise {self.read_std_dn:.3g} DN ({law})"


def photons(gain_dn_per_e: float) -> Camera:
    """A camera that counts photons and adds nothing."""
    return Camera(gain_dn_per_e, read_dn=0.0, step_dn=0.0)


def low_light(camera: Camera, picture: Tensor, ratio: float, seed: int, clip: bool = True) -> Tensor:
    """A mosaic of 0..1 as this camera sees it at 1/ratio of the light, brightened again by as much."""
    white = camera.white_dn
    noisy = camera.sample(picture * (white / ratio), seed) * (ratio / white)
    return noisy.clamp(0, 1) if clip else noisy


def formed(camera: Camera, counts: Tensor, read: Tensor, row: Tensor, fraction: Tensor) -> Tensor:
    """The law with given draws, for a mosaic that begins at the sensor's corner.

    `counts` (H, W) in electrons, `read` (H, W) in DN, `row` (H,) standard normal, `fraction` (H, W) of a step, ±1/2.
    """
    from denoise.noise import camera_kernels as kernels

    bias = repeated(in_tile(camera.bias_dn, camera.cfa), tuple(counts.shape))
    offset = np.float32(camera.row_dn) * plain(row)[:, None] + bias
    noisy = np.empty(tuple(counts.shape), np.float32)
    kernels.form(plain(counts), plain(read), offset, plain(fraction), scales_of(camera), noisy)
    return torch.from_numpy(noisy)


# Sampling


def exposed(camera: Camera, clean: Tensor, seed: int, top: int, left: int, threads: int | None) -> Tensor:
    from denoise.noise import camera_kernels as kernels

    if clean.ndim != 2:
        raise UserError(f"A mosaic is (H, W), this has the shape {tuple(clean.shape)}; unpack its planes first.")
    light, noisy = plain(clean.detach()), np.empty(tuple(clean.shape), np.float32)
    law = law_of(camera)

    def rows(begin: int, end: int) -> None:
        kernels.expose(light[begin:end], noisy[begin:end], (top + begin, left), seed & WORD, *law)

    in_bands(rows, clean.shape[0], threads or worthwhile(clean.numel()))
    return torch.from_numpy(noisy)


def exposed_planes(
    camera: Camera, clean: Tensor, order: str, seed: int, place: tuple[int, int], threads: int | None
) -> Tensor:
    from denoise.noise import camera_kernels as kernels

    check_planes(clean)
    require(
        place[0] % 2 == 0 and place[1] % 2 == 0, f"Planes begin with a whole tile, not at {place}; take even places"
    )
    light, noisy = plain(clean.detach()), np.empty(tuple(clean.shape), np.float32)
    law, sites = law_of(camera), planes_of(order, camera.cfa)

    def rows(begin: int, end: int) -> None:
        kernels.expose_planes(light, noisy, sites, (begin, end), place, seed & WORD, *law)

    in_bands(rows, clean.shape[1], threads or worthwhile(clean.numel()))
    return torch.from_numpy(noisy)


def law_of(camera: Camera) -> tuple[Any, ...]:
    """As the kernels want it."""
    from denoise.noise.photon_kernels import few_table

    read = read_terms(camera.read_dn, camera.read_lambda)
    return scales_of(camera), in_tile(camera.bias_dn, camera.cfa), read, few_table()


def in_bands(rows: Any, height: int, threads: int) -> None:
    """`rows(begin, end)` for all rows, so many bands at a time; what it computes does not depend on the cut."""
    edges = [height * index // threads for index in range(threads + 1)]
    if threads == 1:
        return rows(0, height)
    for done in [crew(threads, os.getpid()).submit(rows, *edge) for edge in pairwise(edges)]:
        done.result()
    return None


@lru_cache(maxsize=4)
def crew(threads: int, process: int) -> ThreadPoolExecutor:
    """Kept, since to start threads takes as long as a small patch; a forked process has its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="noise")


def worthwhile(photosites: int) -> int:
    import numba

    return max(1, min(numba.get_num_threads(), photosites // PER_THREAD))


def scales_of(camera: Camera) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in (camera.gain_dn_per_e, camera.step_dn, camera.row_dn))


@lru_cache(maxsize=64)
def read_terms(read_dn: float, read_lambda: float | None) -> tuple[np.float32, ...]:
    """The read noise as the kernel draws it, in DN."""
    from denoise.noise import lanes

    tail = lanes.normal_tail if read_lambda is None else partial(tukey_tail, read_lambda=read_lambda)
    return tuple(np.float32(read_dn * float(term)) for term in lanes.shaped(tail))


def plain(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.numpy(), dtype=np.float32)


def cut(pattern: Tensor, top: int, left: int, shape: Sequence[int]) -> Tensor:
    height, width = shape
    part = pattern[top : top + height, left : left + width]
    if part.shape != (height, width):
        raise UserError(
            f"The fixed pattern is {tuple(pattern.shape)}, the mosaic {height}×{width} at ({top}, {left}) reaches over "
            "its edge; give the pattern of the whole sensor."
        )
    return part


# Tukey's lambda law


def tukey_quantile(chance: Any, read_lambda: float) -> Doubles:
    """(p^λ - (1-p)^λ) / λ, and ln(p / (1-p)) at λ = 0; finite at p = 0 and 1 too."""
    p = np.clip(np.asarray(chance, np.float64), SURE, 1 - SURE)
    return powered(np.log(p), read_lambda) - powered(np.log1p(-p), read_lambda)


def tukey_tail(chance: Doubles, read_lambda: float) -> Doubles:
    """The quantile of 1 - chance, as exact for the smallest chances."""
    return powered(np.log1p(-chance), read_lambda) - powered(np.log(chance), read_lambda)


def powered(log: Doubles, read_lambda: float) -> Doubles:
    """(x^λ - 1) / λ of ln x."""
    return np.expm1(read_lambda * log) / read_lambda if read_lambda else log


def tukey_variance(read_lambda: float) -> float:
    """Of the law at scale 1."""
    check_lambda(read_lambda)
    if abs(read_lambda) < 1e-5:
        return math.pi**2 / 3
    both = 2 * math.lgamma(read_lambda + 1) - math.lgamma(2 * read_lambda + 2)
    return 2 / read_lambda**2 * (1 / (1 + 2 * read_lambda) - math.exp(both))


def check_lambda(read_lambda: float) -> None:
    wanted = "; give one from -0.5 (not included) to 8, or none for Gaussian noise"
    require(-0.5 < read_lambda <= 8, f"Tukey's lambda of {read_lambda:g} has no usable law{wanted}")


# The four colours


def in_tile(values: Sequence[float], cfa: str) -> Floats:
    """Of R, G1, G2 and B, as they lie in the 2×2 tile."""
    tile = np.empty((2, 2), np.float32)
    for value, site in zip(values, sites_of(cfa).values(), strict=True):
        tile[site] = value
    return tile


def repeated(tile: Floats, shape: tuple[int, ...]) -> Floats:
    """Over a mosaic (H, W)."""
    height, width = shape
    return np.tile(tile, (-(-height // 2), -(-width // 2)))[:height, :width]


def sites_of(cfa: str) -> dict[str, tuple[int, int]]:
    """Row and column of each of COLOURS in the tile."""
    require(cfa in TILES, f"There is no colour filter {cfa!r}; there are {', '.join(TILES)}")
    at = {cfa[2 * row + column] + str(row): (row, column) for row in (0, 1) for column in (0, 1)}
    red = cfa.index("R") // 2
    return {"R": at[f"R{red}"], "G1": at[f"G{red}"], "G2": at[f"G{1 - red}"], "B": at[f"B{1 - red}"]}


def pack(mosaic: Tensor, order: str, cfa: str = "RGGB") -> Tensor:
    """A mosaic (H, W) as four planes (4, H/2, W/2); the order RGBG is that of SID and ELD: R, G1, B, G2."""
    height, width = mosaic.shape
    require(height % 2 == 0 and width % 2 == 0, f"A mosaic of {height}×{width} has an odd side and no whole tiles")
    sites = sites_of(cfa)
    return torch.stack([mosaic[row::2, column::2] for row, column in (sites[colour] for colour in colours_of(order))])


def unpack(planes: Tensor, order: str, cfa: str = "RGGB") -> Tensor:
    check_planes(planes)
    mosaic = planes.new_empty(2 * planes.shape[1], 2 * planes.shape[2])
    sites = sites_of(cfa)
    for plane, colour in zip(planes, colours_of(order), strict=True):
        row, column = sites[colour]
        mosaic[row::2, column::2] = plane
    return mosaic


def planes_of(order: str, cfa: str) -> NDArray[np.int64]:
    """Which plane lies at each site of the tile, (2, 2)."""
    tile, sites = np.empty((2, 2), np.int64), sites_of(cfa)
    for plane, colour in enumerate(colours_of(order)):
        tile[sites[colour]] = plane
    return tile


def check_planes(planes: Tensor) -> None:
    require(planes.ndim == 3 and len(planes) == 4, f"Packed planes are (4, H, W), these are {tuple(planes.shape)}")


def colours_of(order: str) -> tuple[str, ...]:
    require(order in ORDERS, f"There is no order of planes {order!r}; there are {' and '.join(ORDERS)}")
    return ORDERS[order]


def require(truth: bool, otherwise: str) -> None:
    if not truth:
        raise UserError(otherwise + ".")
