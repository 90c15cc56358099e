"""PSNR, SSIM, colour shift and speed of every picture model on eight noises and real photographs, beside its peers.

All methods see the same noisy 8-bit pictures. The peers are told how strong the noise is: its true RMS, or for
real photographs the coarse level that `denoise inspect` measures, and 10, which suits BM3D better; the models are
told nothing. Pictures without noise are there too, against themselves: what a method takes from them is harm. The
colour shift is the mean error of that colour of a picture that errs most; what the noise itself shifts, by clipping
or by another exposure, is in the row of the noisy pictures. BM3D takes minutes per megapixel, so it is measured on the
centres of a few pictures, and everything else on these once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from denoise import zoo
from denoise.errors import UserError
from denoise.measure.bench import Row, Wish
from denoise.measure.scores import SAME_DB, psnr, ssim
from denoise.noise.law import PictureLaw
from denoise.noise.picture_laws import (
    Correlated,
    Gaussian,
    Mixed,
    Poisson,
    SaltAndPepper,
    Speckle,
    eight_bit,
)
from denoise.noise.picture_level import estimate
from denoise.restorer import Restorer
from denoise.run import WAYS, Options, restore_picture
from denoise.signals import Picture

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "images"
SEED = 1000  # of the first picture's noise; the next ones follow
FEW, CROP = 8, 224  # pictures, and px of their centres, for what is too slow for more
HAND_SET = 10.0  # of 255, for photographs

NOISES: dict[str, PictureLaw] = {
    "Gaussian 15": Gaussian(15),
    "Gaussian 25": Gaussian(25),
    "Gaussian 50": Gaussian(50),
    "Poisson, 60 photons": Poisson(60),
    "speckle 0.04": Speckle(0.04),
    "salt and pepper 2 %": SaltAndPepper(0.02),
    "correlated 10": Correlated(10),
    "mixed": Mixed((Gaussian(15), Speckle(0.02), SaltAndPepper(0.01))),
}
CLEAN = "none: clean pictures against themselves"
REAL = "real photographs"
LEAST_TOLD = 1.0  # of 255, to the peers: less they cannot work with

Pixels = NDArray[np.uint8]  # H×W×3
Values = NDArray[np.float32]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Pair:
    """A picture with and without its noise."""

    noisy: Pixels
    clean: Pixels
    told: float  # what the peers are told of the noise: sigma, of 255

    @property
    def megapixels(self) -> float:
        height, width = self.noisy.shape[:2]
        return int(height) * int(width) / 1e6

    def centre(self, side: int) -> Pair:
        height, width = self.noisy.shape[:2]
        top, left = max(0, height - side) // 2, max(0, width - side) // 2
        cut = (slice(top, top + side), slice(left, left + side))
        return Pair(self.noisy[cut], self.clean[cut], self.told)


Method = Callable[[Pair], Pixels]


def run(wish: Wish) -> Iterator[Row]:
    data = wish.data or DATA
    models = models_of(wish)
    for noise in [*NOISES, CLEAN, REAL]:
        pairs = list(pairs_of(noise, data, wish.limit))
        yield from rows(noise, pairs, f"{len(pairs)} whole", QUICK | models, wish)
        cuts = [pair.centre(CROP) for pair in evenly(pairs, FEW)]
        yield from rows(noise, cuts, f"{len(cuts)} centres of {CROP} px", QUICK | slow(noise, wish) | models, wish)


def rows(noise: str, pairs: list[Pair], what: str, methods: dict[str, Method], wish: Wish) -> Iterator[Row]:
    for name, method in methods.items():
        wish.tell(f"{noise}, {what}: {name}")
        yield {"noise": noise, "pictures": what, "method": name, **measured(pairs, method)}


def measured(pairs: list[Pair], method: Method) -> dict[str, float]:
    """Means over the pictures; seconds for each megapixel."""
    begin = time.perf_counter()
    results = [method(pair) for pair in pairs]
    seconds = time.perf_counter() - begin
    scores = np.mean([scores_of(pair.clean, result) for pair, result in zip(pairs, results, strict=True)], axis=0)
    return {
        "psnr_db": round(float(scores[0]), 2),
        "ssim": round(float(scores[1]), 4),
        "colour_shift_of_255": round(float(scores[2]), 3),
        "s_per_megapixel": round(seconds / sum(pair.megapixels for pair in pairs), 2),
    }


def scores_of(clean: Pixels, result: Pixels) -> tuple[float, float, float]:
    """PSNR, SSIM and colour shift."""
    one, other = unit(clean).transpose(2, 0, 1), unit(result).transpose(2, 0, 1)
    return min(psnr(one, other), SAME_DB), ssim(one, other), shift(clean, result)


def shift(clean: Pixels, result: Pixels) -> float:
    """How far the mean of a colour moved, of 255; of the one that moved most."""
    return float(np.abs(result.mean((0, 1), np.float64) - clean.mean((0, 1), np.float64)).max())


# Pictures


def pairs_of(noise: str, data: Path, limit: int | None) -> Iterator[Pair]:
    if noise == REAL:
        for path in some(data / "real_polyu" / "noisy", limit):
            yield photographed(path)
    else:
        for number, path in enumerate(some(data / "test_cbsd68", limit)):
            clean = opened(path)
            yield untouched(clean) if noise == CLEAN else noised(clean, NOISES[noise], SEED + number)


def some(folder: Path, limit: int | None) -> list[Path]:
    """The pictures of a folder, or so many of them, evenly chosen."""
    paths = sorted(path for path in folder.glob("*") if path.suffix in (".png", ".webp", ".jpg"))
    if not paths:
        raise UserError(f"{folder}: no pictures; name with --data the folder that holds test_cbsd68 and real_polyu.")
    return evenly(paths, limit or len(paths))


def evenly(items: list[Item], count: int) -> list[Item]:
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def opened(path: Path) -> Pixels:
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def noised(clean: Pixels, law: PictureLaw, seed: int) -> Pair:
    picture = torch.from_numpy(unit(clean)).permute(2, 0, 1)
    noisy = eight_bit(law.sample(picture, seed)).permute(1, 2, 0).numpy()
    rms = float(np.sqrt(np.mean(np.square(noisy - unit(clean)))))
    return Pair(levels(noisy), clean, 255 * rms)


def untouched(clean: Pixels) -> Pair:
    return Pair(clean, clean, inspected(clean))


def photographed(path: Path) -> Pair:
    noisy = opened(path)
    return Pair(noisy, opened(path.parent.parent / "clean" / path.name), inspected(noisy))


def inspected(noisy: Pixels) -> float:
    """What the peers are told where nobody knows."""
    found = estimate(Picture(noisy, 255))
    return HAND_SET if found.sigma is None else max(found.coarse_sigma, LEAST_TOLD)


def unit(pixels: Pixels) -> Values:
    return pixels.astype(np.float32) / np.float32(255)


def levels(values: Values) -> Pixels:
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)


# Methods


def as_it_is(pair: Pair) -> Pixels:
    return pair.noisy


def non_local_means(pair: Pair) -> Pixels:
    """As scikit-image's documentation sets its fast form: 5×5 patches, 13×13 of them, h of 0.6 sigma."""
    from skimage.restoration import denoise_nl_means

    sigma = pair.told / 255
    found = denoise_nl_means(
        unit(pair.noisy), patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=2
    )
    return levels(found)


def bm3d(pair: Pair) -> Pixels:
    from bm3d import bm3d_rgb

    return levels(bm3d_rgb(unit(pair.noisy).astype(np.float64), pair.told / 255))


QUICK: dict[str, Method] = {"noisy": as_it_is, "non-local means": non_local_means}


def slow(noise: str, wish: Wish) -> dict[str, Method]:
    if not find_spec("bm3d"):
        wish.tell("BM3D is left out: pip install 'denoise-kit[peers]' brings it.")
        return {}
    by_hand = {f"BM3D told {HAND_SET:g}": lambda pair: bm3d(replace(pair, told=HAND_SET))} if noise == REAL else {}
    return {"BM3D": bm3d} | by_hand


def models_of(wish: Wish) -> dict[str, Method]:
    """The picture models of the zoo; or the one that was asked for, with all passes too where it takes them."""
    engine = zoo.engine_named(wish.engine)
    if wish.model is None:
        cards = [card for card in zoo.cards().values() if card.kind == "picture"]
        return {card.name: partial(restored, zoo.load(card, engine, wish.device)) for card in cards}
    asked = zoo.load(wish.model, engine, wish.device)
    found: dict[str, Method] = {asked.facts.name: partial(restored, asked)}
    if asked.facts.takes_passes:
        found[f"{asked.facts.name}, {len(WAYS)} passes"] = partial(restored, asked, passes=len(WAYS))
    return found


def restored(restorer: Restorer, pair: Pair, passes: int = 1) -> Pixels:
    return restore_picture(Picture(pair.noisy, 255), restorer, Options(passes=passes))
