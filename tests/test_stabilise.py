"""Photon noise made even: laws, and the numbers of the paper's code and of an independent integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from denoise.noise.stabilise import amplitudes, bias, bias_of_many, electrons, expected, stabilised, unbiased_electrons

ORACLE = Path(__file__).parents[2] / "shared" / "oracles" / "raw" / "yond_vst.npz"
READS_E = (0.0, 0.3, 1.0, 4.0)


def test_there_and_back_is_the_same() -> None:
    x = np.linspace(0, 500, 101)
    for read in READS_E:
        assert np.allclose(electrons(stabilised(x, read), read), x, atol=1e-9)


@pytest.mark.parametrize("read", READS_E)
@pytest.mark.parametrize("mean", [0.0, 0.5, 3.0, 40.0])
def test_the_bias_is_that_of_drawn_noise(mean: float, read: float) -> None:
    dice, count = np.random.default_rng(0), 400_000
    drawn = stabilised(dice.poisson(mean, count) + read * dice.standard_normal(count), read)
    error = 4 * drawn.std() / np.sqrt(count) + 1e-9
    assert abs(drawn.mean() - stabilised(np.array(mean), read) - bias(np.array([mean]), read)[0]) < error


def test_drawn_noise_becomes_even() -> None:
    dice = np.random.default_rng(1)
    for mean in (5.0, 50.0, 500.0):
        drawn = stabilised(dice.poisson(mean, 100_000) + 2.0 * dice.standard_normal(100_000), 2.0)
        assert drawn.std() == pytest.approx(1, abs=0.03)


def test_without_photons_and_read_noise_nothing_is_off() -> None:
    assert bias(np.zeros(1), 0.0)[0] == 0


@pytest.mark.parametrize("read", READS_E)
def test_series_and_sum_meet(read: float) -> None:
    mean = np.array([200.0, 900.0])
    assert np.allclose(bias_of_many(mean, read), bias(mean, read), rtol=2e-3)


def test_roots_that_are_cut_off_are_integrated_exactly() -> None:
    """Against half a million equal steps of the normal density itself."""
    z = np.linspace(-12, 12, 500_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    for centre, spread in ((0.4, 0.01), (0.4, 0.5), (0.0, 3.0), (-1.0, 1.0), (700.0, 8.0)):
        true = float((2 * np.sqrt(np.maximum(centre + spread * z, 0)) * density).sum())
        assert amplitudes(np.array([centre]), spread)[0] == pytest.approx(true, rel=1e-6, abs=1e-7)


def test_the_closed_form_takes_means_of_transforms_back() -> None:
    mean = np.array([3.0, 10.0, 100.0, 900.0])
    for read in (0.0, 2.0):
        assert np.allclose(unbiased_electrons(expected(mean, read), read), mean, rtol=0.02)
    assert unbiased_electrons(np.array([-1.0, 0.0]), 1.0).tolist() == [0, 0]


# The paper's own code


@pytest.fixture(scope="module")
def oracle() -> dict[str, NDArray[Any]]:
    if not ORACLE.is_file():
        pytest.skip("the recordings of the official code are not here")
    return dict(np.load(ORACLE))


def test_the_transforms_are_the_paper_s(oracle: dict[str, NDArray[Any]]) -> None:
    for i, gain in enumerate(oracle["gain"]):
        for j, sigma in enumerate(oracle["sigma"]):
            read = sigma / gain
            x, z = oracle["x_DN"] / gain, oracle["z"]
            assert np.allclose(stabilised(x, read), oracle["vst"][i, j], rtol=1e-9, atol=1e-9)
            assert np.allclose(gain * electrons(z, read), oracle["inv_algebraic"][i, j], rtol=1e-9, atol=1e-7)
            ours = gain * unbiased_electrons(z, read)
            assert np.allclose(ours, oracle["inv_exact_closed_form"][i, j], rtol=1e-9, atol=1e-7)


def test_the_bias_is_the_recorded_one(oracle: dict[str, NDArray[Any]]) -> None:
    """Its nodes do not see the kink where a root is cut off, which few electrons reach."""
    means = oracle["mean_photons_grid"]
    many = means >= 10
    for i, gain in enumerate(oracle["gain"]):
        for j, sigma in enumerate(oracle["sigma"]):
            ours, theirs = bias(means, sigma / gain), oracle["accurate_bias"][i, j]
            assert np.allclose(ours, theirs, atol=6e-3)
            assert np.allclose(ours[many], theirs[many], atol=2e-5)


def test_where_the_official_integral_is_wrong_drawn_noise_agrees_with_ours(oracle: dict[str, NDArray[Any]]) -> None:
    """In the dark, with a read noise of one electron: its lattice is too coarse."""
    case = oracle["sel_gain_sigma_idx"].tolist().index([2, 2])
    assert (oracle["gain"][2], oracle["sigma"][2]) == (1, 1)
    drawn = stabilised(np.random.default_rng(2).standard_normal(2_000_000), 1.0).mean() - stabilised(np.zeros(1), 1.0)
    assert bias(np.zeros(1), 1.0) == pytest.approx(drawn, abs=2e-3)
    assert abs(oracle["official_get_bias_pho1"][case, 0] - drawn[0]) > 0.02
