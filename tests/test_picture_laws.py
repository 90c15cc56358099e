"""Noise laws do what their parameters say: moments within four standard errors, the same again for the same seed."""

from __future__ import annotations

import math
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from denoise.noise.law import PictureLaw
from denoise.noise.photograph import MOSAICS, Photograph, Response, colour_masks, demosaiced
from denoise.noise.picture_laws import (
    Banding,
    Correlated,
    Gamma,
    Gaussian,
    Jpeg,
    Mixed,
    Poisson,
    PoissonGaussian,
    SaltAndPepper,
    Speckle,
    blurred,
    eight_bit,
)

SIDE = 256
COUNT = 3 * SIDE * SIDE

LAWS: list[PictureLaw] = [
    Gaussian(25),
    Poisson(60),
    PoissonGaussian(100, 6),
    Gamma(30),
    Speckle(0.04),
    SaltAndPepper(0.05),
    Banding(4, 2),
    Correlated(8),
    Correlated(5, luma_blur=0, chroma=0, read=0.3),
    Mixed((Poisson(200), Gaussian(10), SaltAndPepper(0.01))),
    Photograph(0.05, 0.02),
]
laws = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.describe())


def flat(level: float, colours: int = 3) -> torch.Tensor:
    return torch.full((colours, SIDE, SIDE), level)


def noise(law: PictureLaw, level: float, seed: int = 1) -> np.ndarray:
    return (law.sample(flat(level), seed) - level).double().numpy()


def has_moments(values: np.ndarray, mean: float, variance: float, kurtosis: float = 3) -> bool:
    """`kurtosis` of the law: it decides how well a variance can be known."""
    mean_error = math.sqrt(variance / values.size)
    variance_error = variance * math.sqrt((kurtosis - 1) / values.size)
    return abs(values.mean() - mean) < 4 * mean_error and abs(values.var() - variance) < 4 * variance_error


@pytest.mark.parametrize("sigma", [1, 15, 50])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gaussian(sigma: float, level: float) -> None:
    assert has_moments(noise(Gaussian(sigma), level), 0, (sigma / 255) ** 2)


@pytest.mark.parametrize("peak", [2, 20, 200, 5000])
@pytest.mark.parametrize("level", [0.05, 0.5, 1.0])
def test_poisson_variance_grows_with_brightness(peak: float, level: float) -> None:
    photons = peak * level
    assert has_moments(noise(Poisson(peak), level), 0, level / peak, kurtosis=3 + 1 / photons)


@pytest.mark.parametrize("variance", [0.001, 0.04])
@pytest.mark.parametrize("level", [0.2, 0.9])
def test_speckle_multiplies(variance: float, level: float) -> None:
    assert has_moments(noise(Speckle(variance), level), 0, variance * level**2)


@pytest.mark.parametrize("read", [0, 8])
@pytest.mark.parametrize("level", [0.05, 0.5])
def test_photons_are_read_out_with_noise(read: float, level: float) -> None:
    variance = level / 50 + (read / 255) ** 2
    assert has_moments(noise(PoissonGaussian(50, read), level), 0, variance, kurtosis=3 + 1 / (50 * level))


@pytest.mark.parametrize("looks", [0.5, 1, 10, 100])
def test_gamma_noise_has_the_distribution_it_states(looks: float) -> None:
    factor = noise(Gamma(looks), 0.5).ravel() / 0.5 + 1
    assert has_moments(factor - 1, 0, 1 / looks, kurtosis=3 + 6 / looks)
    assert stats.kstest(factor[:20_000], stats.gamma(looks, scale=1 / looks).cdf).pvalue > 1e-4


@pytest.mark.parametrize("law", [Gaussian(25), PoissonGaussian(1000, 5), Speckle(0.04)])
def test_white_laws_are_near_the_normal_law(law: PictureLaw) -> None:
    values = noise(law, 0.5).ravel()[:20_000]
    assert stats.kstest(values / values.std(), stats.norm.cdf).pvalue > 1e-4


def test_banding_moves_whole_rows_and_columns_in_all_colours() -> None:
    bands = noise(Banding(4), 0.5)
    assert np.ptp(bands, axis=(0, 2)).max() < 1e-6
    assert bands[0, :, 0].var() == pytest.approx((4 / 255) ** 2, rel=4 * math.sqrt(2 / SIDE))
    columns = noise(Banding(0, 4), 0.5)
    assert np.ptp(columns, axis=(0, 1)).max() < 1e-6


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
@laws
def test_the_variance_is_what_the_law_says(law: PictureLaw, level: float) -> None:
    if isinstance(law, Photograph):
        law = replace(law, mosaic="", shot=0.005, read=0.002)  # it speaks of the sensor, and to first order
    found, stated = noise(law, level).var(), float(law.variance(flat(level)).mean())
    alike = 60 if isinstance(law, Correlated) else SIDE if isinstance(law, Banding) else 6
    tolerance = 0.05 if isinstance(law, (Mixed, Photograph)) else 4 * math.sqrt(2 * alike / COUNT)
    assert found == pytest.approx(stated, rel=tolerance)


def test_a_jpeg_states_its_error_on_the_picture_at_hand() -> None:
    picture = torch.rand(3, 40, 44)
    stated = Jpeg(60).variance(picture)
    assert stated.shape == picture.shape
    assert float(stated.mean()) == pytest.approx(
        float((Jpeg(60).sample(picture, 0) - picture).square().mean()), rel=0.2
    )


@laws
@pytest.mark.parametrize("seed", [0, 2**40 + 3])
def test_a_tile_has_the_noise_of_its_part_of_the_picture(law: PictureLaw, seed: int) -> None:
    picture = torch.rand(3, 60, 70)
    whole = law.sample(picture, seed)
    tile = law.sample(picture[:, 20:50, 30:70], seed, 20, 30)
    inner = (..., slice(2, -2), slice(2, -2))  # demosaicing looks two pixels far
    assert torch.allclose(tile[inner], whole[:, 20:50, 30:70][inner], atol=1e-6)


def test_noise_is_the_same_for_any_number_of_threads() -> None:
    picture = torch.rand(3, 64, 64)
    before = numba.get_num_threads()
    results = []
    for threads in {1, before}:
        numba.set_num_threads(threads)
        results.append(PoissonGaussian(40, 3).sample(picture, 9))
    numba.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("contrast", [0.0, 0.6])
def test_a_response_rises_and_is_undone(gamma: float, contrast: float) -> None:
    response = Response(gamma, contrast)
    stored = torch.linspace(0, 1, 2000)
    assert torch.allclose(response(response.inverse(stored)), stored, atol=1e-4)
    assert (response(stored).diff() > 0).all()


@pytest.mark.parametrize("mosaic", MOSAICS)
def test_demosaicing_keeps_what_was_measured_and_what_is_flat(mosaic: str) -> None:
    light = torch.rand(3, 11, 14)
    own = colour_masks(mosaic, 11, 14) > 0
    assert torch.equal(demosaiced(light, mosaic)[own], light[own])
    assert torch.allclose(demosaiced(torch.full((3, 11, 14), 0.3), mosaic), torch.tensor(0.3), atol=1e-6)
    assert own.sum(0).eq(1).all()


def test_a_photograph_is_noisier_in_the_shadows_and_correlated_by_its_mosaic() -> None:
    law = Photograph(0.05, 0.02)
    dark, bright = noise(law, 0.2).var(), noise(law, 0.8).var()
    assert dark > bright
    grain = noise(law, 0.5)
    assert autocorrelation(grain[0], 1) > 0.3 > abs(autocorrelation(noise(replace(law, mosaic=""), 0.5)[0], 1))


def test_photographs_are_drawn_within_the_papers_ranges() -> None:
    drawn = [Photograph.drawn(seed) for seed in range(200)]
    assert max(law.shot for law in drawn) <= 0.16
    assert max(law.read for law in drawn) <= 0.06
    assert {law.mosaic for law in drawn} == set(MOSAICS)
    assert Photograph.drawn(3) == Photograph.drawn(3)


@pytest.mark.parametrize("density", [0.01, 0.2])
def test_salt_and_pepper_replace_that_share_in_equal_parts(density: float) -> None:
    noisy = SaltAndPepper(density).sample(flat(0.5), 3)
    for share in (float((noisy == 0).double().mean()), float((noisy == 1).double().mean())):
        assert abs(share - density / 2) < 4 * math.sqrt(density / 2 / COUNT)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("law", [Correlated(8), Correlated(4, 0, 3, 0.3, 1), Correlated(12, 1.2, 0.5, 1.5, 0)])
def test_grain_has_the_strength_it_states(law: Correlated) -> None:
    grain = noise(law, 0.5)
    assert grain.std() == pytest.approx(law.sigma / 255, rel=4 * math.sqrt(30 / COUNT))
    assert abs(grain.mean()) < 4 * grain.std() / math.sqrt(COUNT / 60), "some 60 samples move together"


@pytest.mark.parametrize("read", [0.0, 0.4, 1.0])
def test_grain_grows_with_brightness_as_far_as_it_is_not_read_noise(read: float) -> None:
    halves = torch.cat([torch.full((3, SIDE, SIDE), level) for level in (0.1, 0.5)], 2)
    grain = (Correlated(5, 0, 0.1, 0, 0, read).sample(halves, 2) - halves).double()
    dark, bright = grain[..., :SIDE].var().item(), grain[..., SIDE:].var().item()
    assert dark / bright == pytest.approx((read + (1 - read) * 0.2) / 1.0, rel=0.03)


def autocorrelation(plane: np.ndarray, lag: int) -> float:
    across, down = plane[:, lag:] * plane[:, :-lag], plane[lag:] * plane[:-lag]
    return float((across.mean() + down.mean()) / 2 / plane.var())


@pytest.mark.parametrize("blur", [0.7, 1.5, 3.0])
def test_blurred_white_noise_is_alike_over_its_width(blur: float) -> None:
    """White noise through a Gaussian of s pixels correlates as exp(-d²/4s²)."""
    grain = noise(Correlated(10, blur, chroma=0, coarse=0), 0.5)[0]
    for lag in (1, 2, 4):
        assert autocorrelation(grain, lag) == pytest.approx(math.exp(-(lag**2) / (4 * blur**2)), abs=0.04)


def test_grain_is_fine_in_brightness_and_coarse_in_colour() -> None:
    """The law's defaults lie near what photographs of real cameras show: .6 and .9 between neighbours."""
    grain = noise(Correlated(8, coarse=0.2), 0.5)
    luma = grain.mean(0)
    colour = grain[0] - luma
    assert 0.5 < autocorrelation(luma, 1) < 0.8
    assert 0.85 < autocorrelation(colour, 1) < 0.98
    assert autocorrelation(colour, 4) > autocorrelation(luma, 4) + 0.1
    assert 0.2 < np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1] < 0.8


def test_white_laws_are_white_and_differ_between_the_colours() -> None:
    for law in (Gaussian(25), Poisson(60), Speckle(0.04)):
        values = noise(law, 0.5)
        assert abs(autocorrelation(values[0], 1)) < 4 / SIDE
        assert abs(np.corrcoef(values[0].ravel(), values[1].ravel())[0, 1]) < 4 / SIDE


def counts_of(mean: torch.Tensor, seed: int) -> torch.Tensor:
    return Poisson(1).sample(mean[None, None], seed)[0, 0]


@pytest.mark.parametrize("mean", [0.0, 0.03, 0.5, 1.0, 4.7, 12.0, 29.9])
def test_few_photons_are_counted_exactly(mean: float) -> None:
    counts = counts_of(torch.full((400_000,), mean), 5).long().numpy()
    assert chi_square_chance(counts, mean) > 1e-4


@pytest.mark.parametrize("mean", [30.1, 80.0, 1000.0])
def test_many_photons_are_counted_nearly_exactly(mean: float) -> None:
    """The normal law with its third moment: no two distribution functions differ by more than a percent."""
    counts = counts_of(torch.full((400_000,), mean), 5).numpy()
    at = np.arange(int(mean - 5 * math.sqrt(mean)), int(mean + 6 * math.sqrt(mean)))
    found = np.searchsorted(np.sort(counts), at, side="right") / counts.size
    assert np.abs(found - stats.poisson.cdf(at, mean)).max() < 0.01
    assert stats.skew(counts) == pytest.approx(1 / math.sqrt(mean), abs=4 * math.sqrt(6 / counts.size))


def chi_square_chance(counts: np.ndarray, mean: float) -> float:
    """How probable so uneven a histogram is under the Poisson law; rare cells are put together."""
    cells = np.arange(counts.max() + 2)
    expected = counts.size * stats.poisson.pmf(cells, mean)
    expected[-1] = counts.size - expected[:-1].sum()
    found = np.bincount(counts, minlength=cells.size)
    rare = expected < 10
    found = np.append(found[~rare], found[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] == 0:
        found, expected = found[:-1], expected[:-1]
    if found.size < 2:
        return 1.0 if found[0] == counts.size else 0.0
    return float(stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue)


def test_counts_are_whole_and_never_negative() -> None:
    mean = torch.linspace(0, 100, 100_001)
    counts = counts_of(mean, 0)
    assert torch.equal(counts, counts.round())
    assert counts.min() == 0
    assert (counts_of(torch.zeros(1000), 0) == 0).all()


@laws
def test_same_seed_same_noise(law: PictureLaw) -> None:
    picture = torch.rand(3, 40, 50)
    assert torch.equal(law.sample(picture, 4), law.sample(picture, 4))
    assert not torch.equal(law.sample(picture, 4), law.sample(picture, 5))


@laws
def test_seeds_are_unrelated(law: PictureLaw) -> None:
    one, other = (noise(law, 0.5, seed).ravel() for seed in (10, 11))
    alike = 200 if isinstance(law, (Correlated, Banding)) else 5  # samples that move together
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / math.sqrt(COUNT / alike)


@laws
def test_the_picture_itself_stays_as_it_was(law: PictureLaw) -> None:
    picture = torch.rand(3, 20, 30)
    before = picture.clone()
    law.sample(picture, 1)
    assert torch.equal(picture, before)


@laws
@given(height=st.integers(2, 33), width=st.integers(2, 33), colours=st.sampled_from([1, 3]))
@settings(max_examples=15)
def test_any_size_stays(law: PictureLaw, height: int, width: int, colours: int) -> None:
    noisy = law.sample(torch.rand(colours, height, width), 0)
    assert noisy.shape == (colours, height, width)
    assert noisy.dtype == torch.float32
    assert torch.isfinite(noisy).all()


@laws
def test_words_and_units(law: PictureLaw) -> None:
    assert any(figure.isdigit() for figure in law.describe())


def test_mixed_laws_add_their_variances_and_do_not_share_their_numbers() -> None:
    twice = noise(Mixed((Gaussian(10), Gaussian(10))), 0.5)
    assert has_moments(twice, 0, 2 * (10 / 255) ** 2)


def test_no_noise_at_no_strength() -> None:
    picture = torch.rand(3, 20, 20)
    for law in (Gaussian(0), Speckle(0), SaltAndPepper(0)):
        assert torch.equal(law.sample(picture, 1), picture)


@given(st.lists(st.floats(-3, 4, width=32), min_size=1, max_size=50))
def test_eight_bits_are_clipped_and_rounded(values: list[float]) -> None:
    kept = eight_bit(torch.tensor(values)) * 255
    assert torch.allclose(kept, kept.round(), atol=1e-4)
    assert kept.min() >= 0
    assert kept.max() <= 255
    inside = torch.tensor(values).clamp(0, 1) * 255
    assert (kept - inside).abs().max() <= 0.5 + 1e-4


def test_eight_bits_twice_are_eight_bits() -> None:
    picture = torch.rand(3, 50, 50)
    assert torch.equal(eight_bit(eight_bit(picture)), eight_bit(picture))


@given(height=st.integers(1, 30), width=st.integers(1, 30), sigma=st.floats(0, 4))
@settings(max_examples=40)
def test_a_blur_keeps_what_is_constant(height: int, width: int, sigma: float) -> None:
    assert torch.allclose(blurred(torch.full((2, height, width), 0.7), sigma), torch.tensor(0.7), atol=1e-5)
