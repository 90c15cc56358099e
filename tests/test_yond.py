"""YOND: noise out of flat areas, the network that is told the noise; laws and the numbers of the paper's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from denoise import seeds
from denoise.networks.guided_unet import GuidedUNet
from denoise.noise.flat_areas import Line, box_mean, box_variance, coarse, fine, flatness

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "raw"
GAIN, READ = 0.004, 0.006


def recorded(name: str) -> dict[str, NDArray[Any]]:
    if not (ORACLES / name).is_file():
        pytest.skip("the recordings of the official code are not here")
    return dict(np.load(ORACLES / name))


def scene(seed: int = 0) -> NDArray[np.float64]:
    """Smooth, with edges: (H, W, 4)."""
    y, x = np.mgrid[:200, :240] / 40
    smooth = 0.25 + 0.15 * np.sin(x + seed) + 0.05 * np.cos(2 * y)
    edges = 0.1 * ((x + y) % 3 < 0.6)
    return np.stack([smooth + edges * k / 4 for k in range(1, 5)], -1)


def noisy_of(clean: NDArray[np.float64], gain: float = GAIN, read: float = READ) -> NDArray[np.float64]:
    dice = np.random.default_rng(3)
    return gain * dice.poisson(clean / gain) + read * dice.standard_normal(clean.shape)


def packed(mosaic: NDArray[Any]) -> NDArray[np.float32]:
    """Red, first green, second green, blue."""
    m = mosaic.astype(np.float32)
    return np.stack([m[::2, ::2], m[::2, 1::2], m[1::2, ::2], m[1::2, 1::2]], -1)


# Noise out of flat areas


def test_beside_the_clean_picture_the_noise_is_found() -> None:
    clean = scene()
    found = fine(noisy_of(clean), clean, Line(1.0, 1.0))
    assert found.gain == pytest.approx(GAIN, rel=0.05)
    assert found.read == pytest.approx(READ, rel=0.5)


def test_alone_it_is_found_about() -> None:
    assert coarse(noisy_of(scene())).gain == pytest.approx(GAIN, rel=0.5)


def test_a_line_that_falls_is_not_believed() -> None:
    """Noise that is strong where it is dark has nothing to do with photons."""
    clean = np.linspace(0.1, 0.7, 240)[None, :, None].repeat(200, 0).repeat(4, 2)
    noisy = clean + 0.05 * (1 - clean) * np.random.default_rng(0).standard_normal(clean.shape)
    before = Line(0.1, 0.2)
    assert fine(noisy, clean, before) == before


def test_boxes_are_means_and_variances() -> None:
    planes = np.random.default_rng(0).normal(size=(40, 50, 4))
    box = planes[10:15, 20:25]
    assert box_mean(planes, 5)[12, 22] == pytest.approx(box.mean((0, 1)))
    assert box_variance(planes, 5)[12, 22] == pytest.approx(box.var((0, 1)))
    assert box_variance(np.full((40, 50, 4), 0.3), 29).max() < 1e-12


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("box", [29, 19])
def test_lines_are_the_paper_s(case: int, box: int) -> None:
    told = recorded("yond_noise_estimation.npz")
    noisy, denoised, clean = (packed(told[f"c{case}_{k}_bayer"]) for k in ("noisy", "coarse_denoised", "clean"))
    first = coarse(noisy, box)
    for found, name in (
        (first, "self"),
        (fine(noisy, denoised, first, box), "collab"),
        (fine(noisy, clean, first, box), "collabclean"),
    ):
        assert (found.gain, found.read_variance) == pytest.approx(told[f"c{case}_{name}_k{box}_beta1_beta2"], rel=1e-3)


def test_the_threshold_is_the_paper_s() -> None:
    told = recorded("yond_noise_estimation.npz")
    noisy = packed(told["c0_noisy_bayer"])
    found = flatness(box_mean(noisy, 29), np.sqrt(box_variance(box_mean(noisy, 19), 29)))
    assert found == pytest.approx(told["c0_self_threshold_percent"], rel=1e-5)


# The network


@torch.no_grad()
def test_the_level_changes_what_is_restored_and_brightness_passes_through() -> None:
    torch.manual_seed(0)
    network = GuidedUNet(8).eval()
    noisy = 0.3 + 0.1 * seeds.normal_like(torch.zeros(1, 4, 32, 48), 0)
    level = torch.full((1, 1, 1, 1), 0.1)
    usual = network(noisy, level)
    assert not torch.allclose(usual, network(noisy, 3 * level), atol=1e-3)
    assert torch.allclose(network(2 * noisy, 2 * level), 2 * usual, atol=1e-5)
    assert torch.equal(network(noisy, level, noisy.amax()[None, None, None, None]), usual)
    assert not network(torch.zeros(1, 4, 32, 32), level).isnan().any()


@torch.no_grad()
def test_outputs_are_those_of_the_official_network() -> None:
    told = recorded("yond_vst_denoiser.npz")
    network = GuidedUNet(8)
    network.load_state_dict(load_file(ORACLES / "yond_guidedresunet_nf8.safetensors"))
    x = torch.from_numpy(told["x"])
    for level, out in ((torch.from_numpy(told["t"]).view(1, 1, 1, 1), "out"), (told["t_batch"], "out_tbatch")):
        found = network(x, torch.as_tensor(level))
        assert float((found - torch.from_numpy(told[out])).abs().max()) <= 1e-5
