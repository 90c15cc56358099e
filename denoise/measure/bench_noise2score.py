"""PSNR of Tweedie's estimates (Noise2Score), with the noise told or found, on noise that is not clipped.

The pictures are whole, of CBSD68 in colour and of Set12 in grey; the noise is known to the peer. *found* is what the
model does by itself: family and level of its own finding; *level found* is told the family; *8 passes* are over the
picture turned and mirrored, and take eight times as long. *penalty* and *perturbed*
are the ways of the two papers to the level, told the family too. BM3D takes minutes per megapixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise import seeds, zoo
from denoise.devices import chosen
from denoise.errors import UserError
from denoise.measure.bench import Row, Wish
from denoise.measure.bench_pictures import DATA, SEED, opened, some, unit
from denoise.measure.scores import psnr
from denoise.methods.noise2score import Noise2Score, alike
from denoise.noise.law import PictureLaw
from denoise.noise.picture_laws import Gamma, Gaussian, Poisson
from denoise.processes import tweedie, tweedie_level
from denoise.processes.tweedie import UNITS
from denoise.restorer import Restorer
from denoise.run import Careful, Options, coloured

Values = NDArray[np.float64]  # H×W×C
TINY = 1e-9  # dispersion of what has no noise
SETS = ("test_cbsd68", "test_set12")


@dataclass(frozen=True)
class Noise:
    name: str
    family: int  # its power
    level: float

    @property
    def law(self) -> PictureLaw:
        return (Gaussian, Poisson, Gamma)[self.family](self.level)


NOISES = (
    Noise("Gaussian 25", 0, 25),
    Noise("Gaussian 50", 0, 50),
    Noise("Poisson 0.01", 1, 100),
    Noise("gamma 100", 2, 100),
)


@dataclass(frozen=True)
class Pair:
    """(C, H, W), white is 1; noise beyond black and white is kept."""

    noisy: Tensor
    clean: Tensor


@dataclass(frozen=True)
class Found:
    picture: Tensor
    level: float | None = None  # in the unit of its family
    right: bool | None = None  # whether it found the family


Way = Callable[[Noise, Tensor], Found]


def run(wish: Wish) -> Iterator[Row]:
    ways = ways_of(wish)
    for folder in SETS:
        for noise in NOISES:
            pairs = list(pairs_of(folder, noise, wish))
            for name, way in ways.items():
                wish.tell(f"{folder}, {noise.name}: {name}")
                yield {"pictures": f"{len(pairs)} of {folder}", "noise": noise.name, "method": name} | summary(
                    [(pair, way(noise, pair.noisy)) for pair in pairs]
                )


def pairs_of(folder: str, noise: Noise, wish: Wish) -> Iterator[Pair]:
    for number, path in enumerate(some((wish.data or DATA) / folder, wish.limit)):
        clean = torch.from_numpy(unit(opened(path))).permute(2, 0, 1)
        clean = clean[:1] if folder == "test_set12" else clean
        yield Pair(noise.law.sample(clean.contiguous(), SEED + number), clean)


def summary(results: list[tuple[Pair, Found]]) -> Row:
    """Means over the pictures; the level's deviation from picture to picture beside it."""
    scores = [psnr(pair.clean.numpy(), found.picture.numpy()) for pair, found in results]
    levels = [found.level for _, found in results if found.level is not None]
    right = [found.right for _, found in results if found.right is not None]
    return {
        "psnr_db": round(float(np.mean(scores)), 2),
        "level": round(float(np.mean(levels)), 2) if levels else None,
        "deviation": round(float(np.std(levels)), 2) if levels else None,
        "right_family": f"{sum(right)} of {len(right)}" if right else None,
    }


# Ways


def ways_of(wish: Wish) -> dict[str, Way]:
    card, device = zoo.find(wish.model or "noise2score"), chosen(wish.device)
    single, double = (Scorer.of(card, device, precision) for precision in (torch.float32, torch.float64))
    restorer = zoo.load(card, zoo.engine_named(wish.engine), wish.device)
    return peers(wish) | {
        "known": partial(told, restorer),
        "known, 8 passes": partial(told, restorer, passes=8),
        "level found": lambda noise, noisy: found(restorer, noise, noisy, noise.family),
        "found": partial(found, restorer),
        "found, 8 passes": partial(found, restorer, passes=8),
        "penalty": partial(penalty, single),
        "perturbed": partial(perturbed, double),
    }


def found(restorer: Restorer, noise: Noise, noisy: Tensor, family: int | None = None, passes: int = 1) -> Found:
    careful = Careful(restorer, Options(knobs={} if family is None else {"family": family + 1}, passes=passes))
    given = coloured(noisy, careful.facts)
    survey = careful.survey(lambda: [given])
    power, dispersion = survey.flatten().tolist()
    level = level_of(int(power), dispersion)
    return Found(
        as_given(careful(given, survey)[0], noisy), level if power == noise.family else None, power == noise.family
    )


def told(restorer: Restorer, noise: Noise, noisy: Tensor, passes: int = 1) -> Found:
    careful = Careful(restorer, Options(knobs={"family": noise.family + 1, "level": noise.level}, passes=passes))
    return Found(as_given(careful(coloured(noisy, careful.facts))[0], noisy))


def as_given(restored: Tensor, noisy: Tensor) -> Tensor:
    """Grey again, where it was."""
    return restored.mean(0, keepdim=True) if len(noisy) == 1 else restored


def level_of(family: int, dispersion: float) -> float:
    return float(UNITS[family].to_level(torch.tensor(max(dispersion, TINY))))


# The papers' ways to the level


@dataclass(frozen=True)
class Scorer:
    """The network itself, in a precision of its own."""

    method: Noise2Score
    device: str

    @classmethod
    def of(cls, card: zoo.Card, device: str, precision: torch.dtype) -> Scorer:
        return cls(scoring(card).to(device, precision), device)

    @torch.inference_mode()
    def __call__(self, noisy: Tensor) -> Tensor:
        """The score of pictures of any size."""
        height, width = noisy.shape[2:]
        return self.method.score(self.method.padded(noisy))[..., :height, :width]

    def given(self, noisy: Tensor) -> Tensor:
        """As many colours as the network takes."""
        return noisy[None].expand(-1, self.method.channels or -1, -1, -1).to(self.device)


def scoring(card: zoo.Card) -> Noise2Score:
    method = zoo.method_of(card)
    if not isinstance(method, Noise2Score):
        raise UserError(f"{card.name} is no Noise2Score model; this bench knows no other that learns a score.")
    return method


def penalty(scorer: Scorer, noise: Noise, noisy: Tensor) -> Found:
    given = scorer.given(noisy)
    score = scorer(given)
    dispersion, _ = tweedie_level.searched(given, score, noise.family)
    return estimated(noise, given, score, dispersion, noisy)


def perturbed(scorer: Scorer, noise: Noise, noisy: Tensor) -> Found:
    given = scorer.given(noisy).double()
    probe = alike(given, seeds.normal_like(given, SEED))
    dispersion = tweedie_level.perturbed(tweedie_level.answer(scorer, given, probe), noise.family)
    return estimated(noise, given, scorer(given), dispersion, noisy)


def estimated(noise: Noise, given: Tensor, score: Tensor, dispersion: float, noisy: Tensor) -> Found:
    clean = tweedie.ESTIMATES[noise.family](given, score, dispersion)[0].clamp(0, 1).float().cpu()
    return Found(as_given(clean, noisy), level_of(noise.family, dispersion))


# Peers


def as_it_is(noise: Noise, noisy: Tensor) -> Found:
    return Found(noisy)


def peers(wish: Wish) -> dict[str, Way]:
    if find_spec("bm3d"):
        return {"noisy": as_it_is, "BM3D": stabilised_bm3d}
    wish.tell("BM3D is left out: pip install 'denoise-kit[peers]' brings it.")
    return {"noisy": as_it_is}


def stabilised_bm3d(noise: Noise, noisy: Tensor) -> Found:
    """Told the level; where noise grows with brightness, behind a curve that makes it even and back again."""
    values = noisy.permute(1, 2, 0).numpy().astype(np.float64)
    clean = (gaussian_bm3d, poisson_bm3d, gamma_bm3d)[noise.family](values, noise.level)
    return Found(torch.from_numpy(clean).permute(2, 0, 1).clamp(0, 1).float())


def gaussian_bm3d(values: Values, sigma: float) -> Values:
    return bm3d(values, sigma / 255)


def poisson_bm3d(values: Values, photons: float) -> Values:
    """Anscombe's curve and its asymptotically unbiased inverse; the noise behind it has a sigma of 1."""
    curve = 2 * np.sqrt(values * photons + 3 / 8)
    white = 2 * np.sqrt(photons)
    return ((bm3d(curve / white, 1 / white) * white / 2) ** 2 - 1 / 8) / photons


def gamma_bm3d(values: Values, looks: float) -> Values:
    """The logarithm; a gamma number's has the mean digamma(looks) - log(looks) and the variance trigamma(looks)."""
    from scipy.special import polygamma

    curve = np.log(np.maximum(values, 1 / 255))
    return np.exp(bm3d(curve, float(np.sqrt(polygamma(1, looks)))) - float(polygamma(0, looks) - np.log(looks)))


def bm3d(values: Values, sigma: float) -> Values:
    from bm3d import bm3d as of_planes
    from bm3d import bm3d_rgb

    if values.shape[2] == 3:
        return np.asarray(bm3d_rgb(values, sigma))
    return np.asarray(of_planes(values[..., 0], sigma))[..., None]
