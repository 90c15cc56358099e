"""The law of raw noise: draws as given make what the published code makes, drawn ones have the moments they should,
and neither threads nor tiles change a bit."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from denoise import seeds
from denoise.errors import UserError
from denoise.noise import camera_kernels as kernels
from denoise.noise import cameras, lanes
from denoise.noise.camera import (
    TILES,
    Camera,
    formed,
    low_light,
    pack,
    read_terms,
    tukey_quantile,
    tukey_tail,
    tukey_variance,
    unpack,
)

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "raw"
LAMBDAS = [-0.25, -0.026, 0.0, 1e-7, 0.14, 0.5, 2.0, 2.93]
SIDE = 512

SILENT = Camera(gain_dn_per_e=1.0, read_dn=0.0, step_dn=0.0)
A7S2 = Camera(0.765, 1.93, -0.0082, 0.572, (0.7, 0.7, 0.7, 0.7))
CAMERAS = [
    SILENT,
    A7S2,
    replace(A7S2, read_lambda=None, cfa="GBRG", bias_dn=(1.0, -2.0, 3.0, -4.0)),
    replace(A7S2, gain_dn_per_e=12.0, read_lambda=-0.25, row_dn=0.0),
    replace(A7S2, read_lambda=0.0, step_dn=4.0),
]
all_cameras = pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.describe())


@lru_cache
def oracle(name: str) -> dict[str, Any]:
    path = ORACLES / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} of the published code is not here")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def flat(level: float, height: int = SIDE, width: int = SIDE) -> torch.Tensor:
    return torch.full((height, width), float(level))


def noise(camera: Camera, level: float, seed: int = 1) -> np.ndarray:
    return (camera.sample(flat(level), seed) - level).double().numpy()


def tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def has_moments(values: np.ndarray, mean: float, variance: float) -> bool:
    """Within four standard errors; how well a variance is known is told by the values' own fourth moment."""
    kurtosis = float(np.mean((values - values.mean()) ** 4)) / values.var() ** 2
    mean_error = math.sqrt(variance / values.size)
    variance_error = variance * math.sqrt((kurtosis - 1) / values.size)
    return abs(values.mean() - mean) < 4 * mean_error and abs(values.var() - variance) < 4 * variance_error


def looks_like(values: np.ndarray, law: Any) -> bool:
    return bool(stats.kstest(values.ravel(), law).pvalue > 1e-4)


# Numbers


@pytest.mark.parametrize("name", [kernels.SHOT, kernels.READ, kernels.FINE, kernels.ROW])
@given(row=st.integers(0, 60_000), left=st.integers(0, 60_000), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_words_are_those_of_seeds(name: int, row: int, left: int, seed: int) -> None:
    bits = np.zeros(16, np.uint32)
    lanes.draw(lanes.stream(seed, name), row, left, 16, bits)
    counters = (torch.arange(left, left + 16) << 32) + row
    assert bits.tolist() == seeds.words(seed, name, counters).tolist()


def quantiles(bits: np.ndarray, camera: Camera) -> np.ndarray:
    """What the kernel makes of these words, which it would have drawn."""
    values = np.zeros(bits.size, np.float32)
    kernels.quantiles(bits, read_terms(camera.read_dn, camera.read_lambda), bits.size, values)
    return values.astype(np.float64)


def tails(bits: np.ndarray) -> np.ndarray:
    return ((bits & np.uint32(0x7FFFFFFF)).astype(np.float64) + 0.5) / 2**32


WORDS = np.concatenate([np.arange(0, 2000, dtype=np.uint32), np.linspace(0, 2**31 - 1, 200_001).astype(np.uint32)])


@pytest.mark.parametrize("read_lambda", LAMBDAS)
def test_read_noise_follows_the_closed_form_to_the_last_word(read_lambda: float) -> None:
    camera = replace(SILENT, read_dn=3.0, read_lambda=read_lambda)
    wanted = 3 * tukey_tail(tails(WORDS), read_lambda)
    assert np.allclose(quantiles(WORDS, camera), wanted, rtol=2e-4, atol=1e-6)
    assert np.array_equal(quantiles(WORDS | np.uint32(1 << 31), camera), -quantiles(WORDS, camera))


def test_gaussian_read_noise_follows_the_normal_quantile_to_the_last_word() -> None:
    wanted = -stats.norm.ppf(tails(WORDS))
    assert np.allclose(quantiles(WORDS, replace(SILENT, read_dn=1.0)), wanted, rtol=1e-4, atol=1e-6)


# Tukey's lambda law


def test_quantiles_are_those_of_scipy() -> None:
    known = oracle("tukey_lambda")
    for read_lambda, row in zip(known["lam"], known["ppf"], strict=True):
        inside = (known["p"] > 1e-9) & (known["p"] < 1 - 1e-9)
        assert np.allclose(tukey_quantile(known["p"], read_lambda)[inside], row[inside], rtol=1e-9, atol=1e-9)


def test_variance_is_that_of_scipy() -> None:
    known = oracle("tukey_lambda")
    for read_lambda, std in zip(known["lam"], known["std"], strict=True):
        assert math.sqrt(tukey_variance(float(read_lambda))) == pytest.approx(float(std), rel=1e-6)


def test_the_scale_is_no_standard_deviation() -> None:
    camera = Camera(1.0, read_dn=3.45, read_lambda=-0.075)
    assert camera.read_std_dn == pytest.approx(7.12, rel=0.01), "as measured at ISO 6400"
    assert has_moments(noise(replace(camera, step_dn=0.0), 0), 0, camera.read_std_dn**2)


def test_lambda_zero_is_the_logistic_law_and_no_division() -> None:
    chances = np.linspace(0.01, 0.99, 99)
    assert np.allclose(tukey_quantile(chances, 0.0), np.log(chances / (1 - chances)))
    assert np.allclose(tukey_quantile(chances, 1e-9), tukey_quantile(chances, 0.0), atol=1e-6)
    assert tukey_variance(0.0) == pytest.approx(math.pi**2 / 3)
    assert tukey_variance(1e-4) == pytest.approx(tukey_variance(0.0), rel=1e-3)


@pytest.mark.parametrize("read_lambda", [-0.45, -0.1, 0.0])
def test_the_ends_are_finite(read_lambda: float) -> None:
    low, high = tukey_quantile(np.array([0.0, 1.0]), read_lambda)
    assert math.isfinite(low)
    assert low == pytest.approx(-high)
    outermost = quantiles(np.array([0], np.uint32), replace(SILENT, read_dn=1.0, read_lambda=read_lambda))
    assert np.isfinite(outermost).all()


# Given draws


def packed_formed(camera: Camera, counts: Any, read: Any, row: Any, fraction: Any) -> torch.Tensor:
    planes = [unpack(tensor(values), "RGBG") for values in (counts, read, fraction)]
    return pack(formed(camera, planes[0], planes[1], tensor(row), planes[2]), "RGBG")


CASES = {
    "case0_p_ori0_clip0": "poisson gauss",
    "case2_pg_ori0_clip0": "poisson tukey",
    "case3_prq_ori1_clip0": "poisson gauss row steps",
    "case4_pgrqd_ori0_clip0": "poisson tukey row steps bias",
    "case5_pgrq_ori1_clip1": "poisson tukey row steps clip",
    "case6_pb_ori0_clip0": "poisson",
}


@pytest.mark.parametrize("case", CASES)
def test_given_draws_make_what_pmn_makes(case: str) -> None:
    """PMN draws a row for each packed plane; the planes are formed one by one, so that this does not matter."""
    known, parts = oracle("noise_pmn_injected"), CASES[case].split()
    p = {name[6:]: float(value) for name, value in known.items() if name.startswith("param_")}
    bias = (p["bias"],) * 4 if "bias" in parts else (0.0,) * 4
    camera = Camera(p["K"], 1.0, row_dn=p["sigR"], bias_dn=bias, step_dn=1.0)
    counts = known[f"{case}_poisson_counts"]
    read = drawn_read(known, case, p)
    row = known[f"{case}_randn_0"][..., 0] if "row" in parts else np.zeros(counts.shape[:2])
    fraction = known[f"{case}_uniform01_quant"] - 0.5 if "steps" in parts else np.zeros(counts.shape)
    planes = zip(counts, read, row, fraction, strict=True)
    noisy = torch.stack([formed(camera, *(tensor(values) for values in plane)) for plane in planes]).numpy()
    scale = (p["wp"] - p["bl"]) / (1 if "_ori1" in case else p["ratio"])
    found = noisy / scale
    if "clip" in parts:
        found = found.clip(0, 1)
    assert np.abs(found - known[f"{case}_out"]).max() <= 2e-4


def drawn_read(known: dict[str, Any], case: str, p: dict[str, float]) -> np.ndarray:
    if f"{case}_uniform01_tl" in known:
        return tukey_quantile(known[f"{case}_uniform01_tl"], p["lam"]) * p["sigTL"]
    if f"{case}_randn_read" in known:
        return known[f"{case}_randn_read"] * p["sigGs"]
    return np.zeros(known[f"{case}_poisson_counts"].shape)


def test_given_draws_make_what_eld_makes() -> None:
    known = oracle("noise_eld_baseline_injected")
    gain, sigma, saturation, ratio = (float(value) for value in known["K_gscale_sat_ratio"])
    camera = Camera(gain, 1.0, step_dn=0.0)
    counts, still = known["Pg_draw0_poisson_counts"], np.zeros(known["clean"].shape)
    read = known["Pg_draw1_randn"] * max(sigma, 1e-10)
    noisy = packed_formed(camera, counts, read, np.zeros(2 * counts.shape[1]), still).numpy()
    found = noisy * ratio / saturation
    assert np.abs(found.clip(0, 1) - known["Pg_out"].clip(0, 1)).max() <= 2e-4


@pytest.mark.parametrize("item", range(3))
def test_given_draws_make_what_led_makes(item: int) -> None:
    """LED shares a row's draw between R and G1, and between G2 and B, as we do."""
    known = oracle("noise_led_injected")
    gain, row_dn = float(known["K"][item]), float(known["row_sigma"][item])
    bias = [float(value) for value in known["noise_color_bias"][item].ravel()]  # R, G1, B, G2 planes
    camera = Camera(gain, 1.0, row_dn=row_dn, bias_dn=(bias[0], bias[1], bias[3], bias[2]))
    shape = float(known["read_lambda"][item].ravel()[0])
    read = tukey_quantile(known["draw05_rand_like"][item], shape) * known["read_sigma"][item].ravel()[0]
    counts, fraction = known["draw02_poisson"][item], known["draw08_rand_like"][item] - 0.5
    noise = packed_formed(camera, counts, read, known["draw07_randn"][item][:, 0], fraction).numpy()
    wanted = sum(known[f"noise_{part}"][item] for part in ("read", "row", "quant", "color_bias"))
    assert np.abs(noise - (gain * counts + wanted)).max() <= 2e-4 * np.abs(noise).max()


# Moments


@pytest.mark.parametrize("level", [0.0, 0.03, 0.9, 3.3, 9.99, 10.01, 47.0, 3000.0])
def test_photons_have_their_moments(level: float) -> None:
    values = noise(replace(SILENT, gain_dn_per_e=2.0), 2 * level)
    if level == 0:
        assert not values.any()
    else:
        assert has_moments(values, 0, 4 * level)
        assert stats.skew(values.ravel()) == pytest.approx(1 / math.sqrt(level), abs=skew_error(level, values.size))


def skew_error(mean: float, count: int) -> float:
    """Four standard errors, by the law's own sixth moment (of the standardised count)."""
    counts = np.arange(int(mean + 12 * math.sqrt(mean) + 20))
    z = (counts - mean) / math.sqrt(mean)
    return 4 * math.sqrt(float((z**6 * stats.poisson.pmf(counts, mean)).sum()) / count)


@all_cameras
@pytest.mark.parametrize("level", [0.0, 40.0])
def test_moments_are_those_that_are_stated(camera: Camera, level: float) -> None:
    values = noise(replace(camera, row_dn=0.0, bias_dn=(0, 0, 0, 0)), level, 3)
    stated = replace(camera, row_dn=0.0).variance(flat(level, 1, 1)).item()
    assert has_moments(values, 0, stated) if stated else not values.any()


CODES = {"p": "", "pg": "tukey", "pgrq": "tukey row steps", "pgrqd": "tukey row steps bias", "pn": "gauss"}
CODES |= {"g_only": "dark tukey", "r_only": "dark row", "q_only": "dark steps"}


@pytest.mark.parametrize("setting", ["A7S2_800", "A7S2_3200"])
@pytest.mark.parametrize("code", CODES)
def test_moments_are_those_of_the_published_code(setting: str, code: str) -> None:
    known, parts = oracle("noise_stats"), CODES[code].split()
    camera, levels = setting_of(known, setting, parts), known["clean_levels_norm"] * ("dark" not in parts)
    ratio, white = float(known[f"{setting}_param_ratio"]), camera.white_dn
    for plane, level in enumerate(levels):
        values = noise(camera, float(level) * white / ratio, plane)
        oracle_errors = [float(known[f"{setting}_{code}_stderr_{moment}"][plane]) for moment in ("mean", "var")]
        fourth = float(np.mean((values - values.mean()) ** 4))
        scatter = math.sqrt(max(fourth - values.var() ** 2, 0) / values.size)
        shift = math.hypot(oracle_errors[0], camera.row_dn / math.sqrt(SIDE), values.std() / SIDE)
        spread = math.hypot(oracle_errors[1], row_error(camera), scatter)
        assert abs(values.mean() - known[f"{setting}_{code}_mean"][plane]) <= 4 * shift
        assert abs(values.var() - known[f"{setting}_{code}_var"][plane]) <= 4 * spread


def row_error(camera: Camera) -> float:
    """Of the variance, as so few rows are drawn."""
    return camera.row_dn**2 * math.sqrt(2 / SIDE)


def setting_of(known: dict[str, Any], setting: str, parts: list[str]) -> Camera:
    p = {name: float(known[f"{setting}_param_{name}"]) for name in ("K", "sigTL", "sigR", "sigGs", "bias", "lam")}
    camera = replace(SILENT, gain_dn_per_e=p["K"])
    if "tukey" in parts:
        camera = replace(camera, read_dn=p["sigTL"], read_lambda=p["lam"])
    if "gauss" in parts:
        camera = replace(camera, read_dn=p["sigGs"])
    if "row" in parts:
        camera = replace(camera, row_dn=p["sigR"])
    if "bias" in parts:
        camera = replace(camera, bias_dn=(p["bias"],) * 4)
    return replace(camera, step_dn=1.0) if "steps" in parts else camera


# Distributions


@pytest.mark.parametrize("level", [0.02, 0.5, 2.0, 6.3, 9.9, 10.1, 14.0, 60.0])
def test_photons_are_poisson(level: float) -> None:
    counts = SILENT.sample(flat(level), 5).numpy().ravel().astype(int)
    assert counts.min() >= 0
    bins = np.bincount(counts, minlength=3)
    wanted = counts.size * stats.poisson.pmf(np.arange(len(bins)), level)
    wanted[-1] = counts.size - wanted[:-1].sum()
    common = wanted > 10
    found, wanted = np.append(bins[common], bins[~common].sum()), np.append(wanted[common], wanted[~common].sum())
    keep = wanted > 0
    assert stats.chisquare(found[keep], wanted[keep] * found[keep].sum() / wanted[keep].sum()).pvalue > 1e-4


@pytest.mark.parametrize("read_lambda", [-0.25, -0.026, 0.0, 0.14, 2.93])
def test_read_noise_is_tukeys(read_lambda: float) -> None:
    values = noise(replace(SILENT, read_dn=2.0, read_lambda=read_lambda), 0)
    assert looks_like(values, stats.tukeylambda(read_lambda, scale=2.0).cdf)


def test_read_noise_is_normal_steps_are_uniform_and_rows_are_normal() -> None:
    assert looks_like(noise(replace(SILENT, read_dn=2.0), 0), stats.norm(scale=2).cdf)
    assert looks_like(noise(replace(SILENT, step_dn=4.0), 0), stats.uniform(-2, 4).cdf)
    rows = replace(SILENT, row_dn=1.5).sample(flat(0, 20_000, 2), 1)[:, 0].numpy()
    assert looks_like(rows, stats.norm(scale=1.5).cdf)


def test_parts_do_not_share_their_numbers() -> None:
    parts = [noise(replace(SILENT, **one), 5.0) for one in ({}, {"read_dn": 3.0}, {"step_dn": 2.0})]
    shot, read, steps = parts[0], parts[1] - parts[0], parts[2] - parts[0]
    for one, other in ((shot, read), (shot, steps), (read, steps)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / SIDE
        assert abs(np.corrcoef(np.abs(one).ravel(), np.abs(other).ravel())[0, 1]) < 4 / SIDE


# Rows and colours


@pytest.mark.parametrize("cfa", TILES)
def test_a_sensor_row_has_one_offset_which_both_its_colours_share(cfa: str) -> None:
    noisy = replace(SILENT, row_dn=2.0, cfa=cfa).sample(flat(0, 256, 32), 4)
    assert (noisy == noisy[:, :1]).all()
    red, first, second, blue = pack(noisy, "RGGB", cfa)
    assert torch.equal(red, first)
    assert torch.equal(second, blue)
    assert abs(np.corrcoef(red[:, 0], blue[:, 0])[0, 1]) < 4 / math.sqrt(128)


def test_rows_covary_as_in_led() -> None:
    """Covariance of the row means between the planes R, G1, B, G2: full within a sensor row, none between rows."""
    wanted = oracle("noise_stats")["LED_row_sigma2_rowmean_cov"][[0, 1, 3, 2]][:, [0, 1, 3, 2]]
    rows = 20_000
    planes = pack(replace(SILENT, row_dn=2.0).sample(flat(0, 2 * rows, 4), 9), "RGGB").mean(-1).numpy()
    errors = 4 * 4.0 * math.sqrt(2 / rows + 2 / (300 * 64))
    assert np.abs(np.cov(planes) - wanted).max() < errors
    later = np.cov(planes[:, :-1], planes[:, 1:])[:4, 4:]
    assert np.abs(later - oracle("noise_stats")["LED_row_sigma2_rowmean_lag1_cov"]).max() < errors, "rows are apart"


def test_columns_have_nothing_in_common() -> None:
    noisy = noise(A7S2, 20.0).T - noise(A7S2, 20.0).mean(1)
    assert noisy.mean(1).var() == pytest.approx(noisy.var() / SIDE, abs=4 * noisy.var() / SIDE * math.sqrt(2 / SIDE))


@pytest.mark.parametrize("cfa", TILES)
def test_bias_belongs_to_its_colour(cfa: str) -> None:
    camera = replace(SILENT, bias_dn=(1.0, 2.0, 3.0, 4.0), cfa=cfa)
    planes = pack(camera.sample(flat(0, 6, 8), 1), "RGGB", cfa)
    assert planes.flatten(1).tolist() == [[float(level)] * 12 for level in (1, 2, 3, 4)]
    cut = camera.sample(flat(0, 5, 7), 1, top=1, left=3)
    assert torch.equal(cut, camera.sample(flat(0, 6, 10), 1)[1:, 3:])


def test_packing_is_that_of_eld_and_yond() -> None:
    known = oracle("raw_packing")
    mosaic = tensor(known["bayer_mosaic"])
    assert np.array_equal(pack(mosaic, "RGBG"), known["eld_bayer_packed"])
    assert np.array_equal(pack(mosaic, "RGGB"), np.moveaxis(known["yond_rggb_hwc"], -1, 0))
    assert np.array_equal(unpack(tensor(known["eld_bayer_packed"]), "RGBG"), known["eld_bayer_unpacked"])
    assert not torch.equal(pack(mosaic, "RGBG"), pack(mosaic, "RGGB")), "the orders differ and are never guessed"


@pytest.mark.parametrize("cfa", TILES)
@pytest.mark.parametrize("order", ["RGGB", "RGBG"])
def test_unpacking_undoes_packing(cfa: str, order: str) -> None:
    mosaic = torch.rand(6, 10)
    assert torch.equal(unpack(pack(mosaic, order, cfa), order, cfa), mosaic)


def test_the_fixed_pattern_stays_where_it_is() -> None:
    pattern = torch.rand(20, 30)
    camera = replace(A7S2, pattern_dn=pattern)
    plain = A7S2.sample(flat(3, 20, 30), 1)
    assert torch.equal(camera.sample(flat(3, 20, 30), 1), plain + pattern)
    assert torch.equal(camera.sample(flat(3, 5, 6), 1, 4, 8), (plain + pattern)[4:9, 8:14])


# The same bits, however it is cut


def gradient(height: int, width: int) -> torch.Tensor:
    """From nothing through few photons to many, so that a block holds both."""
    at = torch.arange(height * width, dtype=torch.float32).reshape(height, width)
    return (at * 0.618).remainder(1.0) ** 3 * 60 - 0.5


@all_cameras
def test_threads_do_not_change_a_bit(camera: Camera) -> None:
    clean = gradient(61, 1100)
    alone = camera.sample(clean, 8, threads=1)
    for threads in (2, 3, 7):
        assert torch.equal(camera.sample(clean, 8, threads=threads), alone)


@all_cameras
@given(top=st.integers(0, 40), left=st.integers(0, 1500), height=st.integers(1, 20), width=st.integers(1, 600))
@settings(max_examples=15)
def test_tiles_do_not_change_a_bit(camera: Camera, top: int, left: int, height: int, width: int) -> None:
    clean = gradient(60, 2100)
    part = clean[top : top + height, left : left + width]
    assert torch.equal(
        camera.sample(part, 8, top, left), camera.sample(clean, 8)[top : top + height, left : left + width]
    )


@all_cameras
@pytest.mark.parametrize("order", ["RGGB", "RGBG"])
@pytest.mark.parametrize("cfa", TILES)
def test_packed_planes_have_the_noise_of_their_mosaic(camera: Camera, order: str, cfa: str) -> None:
    camera, mosaic = replace(camera, cfa=cfa, pattern_dn=torch.rand(44, 800)), gradient(38, 790)
    whole = pack(camera.sample(mosaic, 8, 4, 6), order, cfa)
    for threads in (1, 3):
        planes = camera.sample_packed(pack(mosaic, order, cfa), order, 8, 4, 6, threads)
        assert torch.equal(planes, whole)


@all_cameras
def test_same_seed_same_noise(camera: Camera) -> None:
    clean = gradient(20, 40)
    before = clean.clone()
    noisy = camera.sample(clean, 4)
    assert torch.equal(noisy, camera.sample(clean, 4))
    assert not torch.equal(noisy, camera.sample(clean, 5))
    assert torch.equal(clean, before)
    assert noisy.dtype == torch.float32


def test_odd_light_makes_no_odd_numbers() -> None:
    """Below black there are no photons; what is no number makes none."""
    clean = torch.tensor([[-5.0, 0.0, float("nan"), 1e-30, 1e7]])
    noisy = SILENT.sample(clean, 1)
    assert noisy[0, :4].tolist() == [0, 0, 0, 0]
    assert noisy[0, 4].item() == pytest.approx(1e7, rel=1e-2)


def test_a_dim_picture_is_brightened_again() -> None:
    camera = replace(A7S2, bias_dn=(0.0, 0.0, 0.0, 0.0))
    bright = low_light(camera, flat(0.3), 100.0, 1)
    assert bright.mean().item() == pytest.approx(0.3, abs=0.003)
    assert bright.min() >= 0
    dark = low_light(camera, flat(0.0), 100.0, 1, clip=False)
    assert dark.std().item() == pytest.approx(math.sqrt(camera.variance(flat(0, 1, 1)).item()) / 158.71, rel=0.02)


# Cameras


def test_every_camera_has_a_source_and_draws_within_its_range() -> None:
    for name, model in cameras.known().items():
        assert model.source.count("/") >= 2, name
        gains = [model.drawn(seed).gain_dn_per_e for seed in range(40)]
        ranges = [branch.gain_dn_per_e for branch in model.branches]
        assert all(any(low <= gain <= high for low, high in ranges) for gain in gains), name
    assert all(model.may_train for model in cameras.trainers())
    assert "sony-a7m4" not in {model.name for model in cameras.trainers()}


@pytest.mark.parametrize("branch", ["low", "high"])
def test_draws_are_spread_as_those_of_pmn(branch: str) -> None:
    """Quantiles within what so few draws can show (Kolmogorov and Smirnov), and half of the draws in each branch."""
    known, draws = oracle("param_samplers"), a7s2_draws()
    columns = list(known["pmn_SonyA7S2_cols"])
    mine = draws[draws[:, 0] < 1.7] if branch == "low" else draws[draws[:, 0] >= 1.7]
    assert abs(len(mine) / len(draws) - 0.5) < 4 * 0.5 / math.sqrt(len(draws))
    table = known[f"pmn_SonyA7S2_{branch}_quantiles"]
    for index, column in enumerate(("K", "sigTL", "sigR")):
        wanted = table[:, columns.index(column)]
        shares = np.searchsorted(np.sort(mine[:, index]), wanted) / len(mine)
        assert np.abs(shares - known["pmn_SonyA7S2_quantile_p"]).max() < 1.95 / math.sqrt(len(mine)) + 0.014, column


@lru_cache
def a7s2_draws() -> np.ndarray:
    drawn = [cameras.find("sony-a7s2").drawn(seed) for seed in range(1500)]
    return np.array([(camera.gain_dn_per_e, camera.read_dn, camera.row_dn) for camera in drawn])


def test_spreads_lie_around_the_lines_of_led() -> None:
    known, model = oracle("param_samplers"), cameras.find("nikon-d850")
    drawn = [model.drawn(seed) for seed in range(1500)]
    gains = np.log([camera.gain_dn_per_e for camera in drawn])
    assert gains.min() >= known["led_NikonD850_logK_minmax"][0] - 1e-3
    for name, values in {"read": [c.read_dn for c in drawn], "row": [c.row_dn for c in drawn]}.items():
        slope, intercept = np.polyfit(gains, np.log(values), 1)
        spread = float(np.std(np.log(values) - slope * gains - intercept))
        error = 4 * spread / math.sqrt(len(drawn)) / float(gains.std())
        assert [slope, intercept, spread] == pytest.approx(list(known[f"led_NikonD850_{name}_refit"]), abs=2 * error)
    found = np.unique(np.round([camera.read_lambda or 0 for camera in drawn], 4))
    assert np.allclose(found, np.unique(np.round(known["led_NikonD850_lambda_values"], 4)), atol=1e-3)


def test_lambda_zero_is_kept_in_the_tables() -> None:
    shapes = [shape for branch in cameras.find("sony-a7s2-eld").branches for shape in branch.lambdas]
    assert shapes.count(0.0) == 2
    assert len(shapes) == 18


def test_bias_is_one_that_was_found_at_this_gain() -> None:
    model = cameras.find("sony-a7s2-eld")
    found = {model.drawn(seed, gain_dn_per_e=0.000939 * 1600).bias_dn for seed in range(20)}
    assert len(found) == 2, "two groups of frames at ISO 1600"
    for red, first, second, blue in found:
        assert red == pytest.approx(2.08, abs=0.02)
        assert first == pytest.approx(2.015, abs=0.01)
        assert second == pytest.approx(2.25, abs=0.01), "the file's order is R, G1, B, G2"
        assert blue == pytest.approx(2.317, abs=0.02)


def test_virtual_cameras_cover_their_ranges_evenly() -> None:
    made = cameras.virtual(5, seed=3)
    shapes = sorted(model.branches[0].lambdas[0] for model in made)
    assert np.allclose(np.diff(shapes), (0.2 + 0.242857) / 5, atol=1e-5)
    slopes = sorted(model.branches[0].tukey.slope for model in made)
    assert np.allclose(np.diff(slopes), (0.655876 - 0.462105) / 5, atol=1e-5)
    assert made == cameras.virtual(5, seed=3)
    assert made != cameras.virtual(5, seed=4)


def test_ratios_lie_between_100_and_300() -> None:
    ratios = np.array([cameras.ratio(seed) for seed in range(500)])
    assert looks_like(ratios, stats.uniform(100, 200).cdf)


def test_draws_repeat_with_their_seed() -> None:
    assert cameras.drawn(7) == cameras.drawn(7)
    assert len({cameras.drawn(seed) for seed in range(30)}) == 30


# Words, and what the user can put right


@all_cameras
def test_words_and_units(camera: Camera) -> None:
    words = camera.describe()
    assert f"{camera.gain_dn_per_e:.4g} DN per electron" in words
    assert "read noise" in words


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gain_dn_per_e": 0.0}, "gain of 0"),
        ({"read_dn": -1.0}, "read_dn is -1"),
        ({"row_dn": -1.0}, "row_dn is -1"),
        ({"step_dn": -2.0}, "step_dn is -2"),
        ({"read_lambda": -0.5}, "lambda of -0.5"),
        ({"read_lambda": math.nan}, "lambda of nan"),
        ({"bias_dn": (1.0, 2.0)}, "has 2 values"),
        ({"cfa": "RGBG"}, "no colour filter 'RGBG'"),
    ],
)
def test_no_such_camera(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(A7S2, **wrong)


def test_no_such_mosaic() -> None:
    with pytest.raises(UserError, match="unpack its planes first"):
        A7S2.sample(torch.zeros(4, 8, 8), 1)
    with pytest.raises(UserError, match=r"planes are \(4, H, W\)"):
        A7S2.sample_packed(torch.zeros(8, 8), "RGGB", 1)
    with pytest.raises(UserError, match="take even places"):
        A7S2.sample_packed(torch.zeros(4, 8, 8), "RGGB", 1, top=3)
    with pytest.raises(UserError, match="odd side"):
        pack(torch.zeros(5, 4), "RGGB")
    with pytest.raises(UserError, match="no order of planes 'GRBG'"):
        pack(torch.zeros(4, 4), "GRBG")
    with pytest.raises(UserError, match="reaches over its edge"):
        replace(A7S2, pattern_dn=torch.zeros(4, 4)).sample(torch.zeros(8, 8), 1)


def test_no_such_model() -> None:
    with pytest.raises(UserError, match="did you mean sony-a7s2"):
        cameras.find("sony-a7s22")
    with pytest.raises(UserError, match=r"calibrated from .* not at 900"):
        cameras.find("imx686").drawn(1, gain_dn_per_e=900.0)
