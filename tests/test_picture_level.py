"""Noise that was put into a picture is found again, in its units; what cannot be known is not guessed."""

from __future__ import annotations

import re
import time
import tracemalloc
from functools import lru_cache

import numpy as np
import pytest
import skimage.data
import torch

from denoise.errors import UserError
from denoise.noise.impulses import struck
from denoise.noise.law import PictureLaw
from denoise.noise.picture_laws import (
    Correlated,
    Gaussian,
    Mixed,
    Poisson,
    PoissonGaussian,
    SaltAndPepper,
    Speckle,
    blurred,
)
from denoise.noise.picture_level import estimate
from denoise.signals import Picture

HEIGHT, WIDTH = 320, 480


@lru_cache
def scene(colours: int = 3) -> torch.Tensor:
    """Slopes, edges, patches of many brightnesses, and a third of it fine texture."""
    dice = np.random.default_rng(1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    patches = dice.uniform(0.15, 0.85, (colours, HEIGHT // 64, WIDTH // 80))
    picture = patches[:, rows // 64, columns // 80] + 0.05 * np.sin(rows / 40) * np.cos(columns / 50)
    texture = 0.15 * dice.standard_normal((HEIGHT, WIDTH)) * (columns > 2 * WIDTH // 3)
    sharp = torch.from_numpy(np.clip(picture + texture, 0.02, 0.98)).float()
    return blurred(sharp, 0.6)


def taken(law: PictureLaw | None, seed: int = 0, top: int = 255, clean: torch.Tensor | None = None) -> Picture:
    """The scene as a file with that noise would hold it."""
    clean = scene() if clean is None else clean
    noisy = clean if law is None else law.sample(clean, seed)
    levels = (noisy.clamp(0, 1) * top).round().permute(1, 2, 0).numpy()
    return Picture(levels.astype(np.uint8 if top == 255 else np.uint16), top)


@pytest.mark.parametrize("sigma", [3, 5, 10, 15, 25, 50])
@pytest.mark.parametrize("seed", [0, 1])
def test_white_noise_is_measured_within_a_tenth(sigma: float, seed: int) -> None:
    found = estimate(taken(Gaussian(sigma), seed))
    assert found.sigma == pytest.approx(sigma, rel=0.1)
    assert found.coarse_sigma == pytest.approx(sigma, rel=0.15)
    assert found.white
    assert not found.clean
    assert found.line is None


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("colours", [1, 3])
def test_depth_and_colours_do_not_matter(top: int, colours: int) -> None:
    found = estimate(taken(Gaussian(8), top=top, clean=scene(colours=colours)))
    assert found.sigma == pytest.approx(8, rel=0.1)


def test_a_float_picture_is_measured_on_its_own_scale() -> None:
    noisy = Gaussian(8).sample(scene(), 0).permute(1, 2, 0).numpy()
    assert estimate(Picture(40 * noisy, 40.0)).sigma == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("sigma", [5, 10, 20])
@pytest.mark.parametrize("law", [Correlated(1), Correlated(1, 0.7, 1.0, 0.5, 0.2), Correlated(1, 1.0, 1.5, 0.5)])
def test_grain_is_measured_within_a_sixth_and_told_from_white_noise(law: Correlated, sigma: float) -> None:
    grain = Correlated(sigma, law.luma_blur, law.chroma_blur, law.chroma, law.coarse)
    found = estimate(taken(grain))
    assert found.sigma == pytest.approx(sigma, rel=1 / 6)
    assert not found.white
    assert found.coarseness > 1.4
    assert found.coarse_sigma > 1.5 * sigma


def test_the_coarse_level_is_that_of_the_white_noise_with_as_much_in_four_by_four_means() -> None:
    law = Correlated(10, 0.7, chroma=0, coarse=0)
    grain = law.sample(torch.full((3, 512, 512), 0.5), 3) - 0.5
    means = 255 * torch.nn.functional.avg_pool2d(grain, 4)
    assert estimate(taken(law)).coarse_sigma == pytest.approx(4 * means.std().item(), rel=0.2)


@pytest.mark.parametrize(("photons", "read"), [(30, 0), (100, 0), (200, 5), (1000, 2)])
def test_photon_noise_is_recovered_as_a_line(photons: float, read: float) -> None:
    found = estimate(taken(Mixed((Poisson(photons), Gaussian(read))), seed=5))
    assert found.line is not None
    assert found.line.photons_at_white == pytest.approx(photons, rel=0.15)
    assert found.sigma is not None
    assert found.line.read**2 == pytest.approx(read**2, abs=0.15 * found.sigma**2)
    assert found.line.confidence > 0.8
    assert found.white
    assert found.sigma == pytest.approx(np.sqrt(255**2 * 0.5 / photons + read**2), rel=0.15)


def test_laws_are_fitted_to_a_noisy_picture() -> None:
    assert Gaussian.fit(taken(Gaussian(12))).sigma == pytest.approx(12, rel=0.1)
    found = PoissonGaussian.fit(taken(PoissonGaussian(200, 5), seed=5))
    assert found.peak == pytest.approx(200, rel=0.15)
    assert found.read == pytest.approx(5, abs=2)
    assert Poisson.fit(taken(Poisson(100), seed=5)).peak == pytest.approx(100, rel=0.15)
    for law in (Poisson, PoissonGaussian):
        with pytest.raises(UserError, match="fit Gaussian noise"):
            law.fit(taken(Gaussian(12)))
    with pytest.raises(UserError, match="fit noise to another one"):
        Gaussian.fit(Picture(np.zeros((64, 64, 3), np.uint8), 255))


@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_a_clean_picture_is_called_clean(blur: float) -> None:
    found = estimate(taken(None, clean=blurred(scene(), blur)))
    assert found.clean
    assert found.sigma is not None
    assert found.sigma < 0.5
    assert "clean" in found.describe()


def test_more_noise_never_measures_less() -> None:
    found = [estimate(taken(Gaussian(sigma))).sigma for sigma in (0, 2, 4, 8, 16, 32)]
    assert found == sorted(found)


@pytest.mark.parametrize("name", ["grass", "gravel", "brick", "coins"])
def test_texture_everywhere_is_not_taken_for_noise(name: str) -> None:
    found = estimate(Picture(getattr(skimage.data, name)()[..., None], 255))
    assert found.sigma is None
    assert not found.clean
    assert "unknown" in found.describe()


@pytest.mark.parametrize("name", ["camera", "rocket"])
def test_a_clean_photograph_is_called_clean(name: str) -> None:
    photograph = getattr(skimage.data, name)()
    assert estimate(Picture(photograph.reshape(*photograph.shape[:2], -1), 255)).clean


@pytest.mark.parametrize("level", [0, 255])
def test_what_is_clipped_everywhere_says_nothing(level: int) -> None:
    assert estimate(Picture(np.full((200, 200, 3), level, np.uint8), 255)).sigma is None


def test_numbers_that_are_none_do_not_count() -> None:
    noisy = Gaussian(8).sample(scene(), 0).permute(1, 2, 0).numpy().copy()
    noisy[:40] = np.nan
    assert estimate(Picture(noisy, 1.0)).sigma == pytest.approx(8, rel=0.1)
    assert estimate(Picture(np.full((100, 100, 1), np.nan, np.float32), 1.0)).sigma is None


@pytest.mark.parametrize("height", [*range(1, 34), 47, 48, 65])
@pytest.mark.parametrize("width", [1, 16, 33, 500])
def test_any_size_is_answered(height: int, width: int) -> None:
    dice = np.random.default_rng(height)
    noisy = Picture(dice.normal(128, 10, (height, width, 1)).clip(0, 255).astype(np.uint8), 255)
    found = estimate(noisy)
    assert found.sigma is None or found.sigma == pytest.approx(10, rel=0.15)


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("density", [0.01, 0.05, 0.3])
def test_salt_and_pepper_is_counted(density: float, colours: int, top: int) -> None:
    found = estimate(taken(SaltAndPepper(density), top=top, clean=scene(colours=colours)))
    assert found.struck == pytest.approx(density, rel=0.15)
    assert not found.clean
    assert re.search(r"salt and pepper on \d+(\.\d+)? % of its samples", found.describe())


@pytest.mark.parametrize("law", [None, *map(Gaussian, (10, 25, 50, 100)), Poisson(10), Speckle(0.3), Correlated(20)])
def test_other_noise_is_not_taken_for_salt_and_pepper(law: PictureLaw | None) -> None:
    assert struck(taken(law)) == 0


@pytest.mark.parametrize("ink", [0, 255])
def test_print_and_stars_are_not_taken_for_salt_and_pepper(ink: int) -> None:
    page = np.full((200, 300, 3), 128, np.uint8)
    page[np.random.default_rng(0).random((200, 300)) < 0.02] = ink
    assert struck(Picture(page, 255)) == 0


def test_a_picture_of_two_tones_is_not_taken_for_salt_and_pepper() -> None:
    dots = 255 * np.random.default_rng(0).integers(0, 2, (200, 300, 1), np.uint8)
    assert struck(Picture(dots, 255)) == 0


def test_words_carry_their_units() -> None:
    white = estimate(taken(Gaussian(15))).describe()
    assert re.fullmatch(r"noise of sigma 1\d\.\d of 255, independent from pixel to pixel", white)
    grain = estimate(taken(Correlated(10))).describe()
    assert re.search(r"grains of several pixels \(its coarse part is as strong as white noise of 2\d\.\d\)", grain)
    photons = estimate(taken(Poisson(100))).describe()
    assert re.search(r"growing with brightness like \d+ photons at white", photons)


@pytest.fixture(scope="module")
def large() -> Picture:
    """Six megapixels of noise, seen as a hundred (rows repeat in memory)."""
    tile = np.random.default_rng(0).normal(120, 12, (600, 10_000, 1)).clip(0, 255).astype(np.uint8)
    rows = np.broadcast_to(tile[None], (17, 600, 10_000, 1)).reshape(10_200, 10_000, 1)
    return Picture(rows, 255)


def test_a_large_picture_needs_little_memory_and_time(large: Picture) -> None:
    tracemalloc.start()
    found = estimate(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.sigma == pytest.approx(12, rel=0.05)
    assert peak < 100e6, "a float copy would be 408 MB"


def test_two_megapixels_take_less_than_a_second() -> None:
    picture = Picture(np.tile(taken(Gaussian(10)).pixels, (4, 4, 1))[:1200, :1700], 255)
    begin = time.process_time()
    estimate(picture)
    assert time.process_time() - begin < 1
