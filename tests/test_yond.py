"""YOND: noise out of flat areas, the network that is told the noise; laws and the numbers of the paper's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from denoise import seeds
from denoise.methods.yond import Yond, unclipped
from denoise.networks.guided_unet import GuidedUNet
from denoise.noise.flat_areas import Line, bounded, box_mean, box_variance, ceiling, coarse, fine, flatness, light_of
from denoise.noise.stabilise import short_by

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


def test_texture_everywhere_is_not_taken_for_noise() -> None:
    y, x = np.mgrid[:200, :240]
    waves = 0.3 + 0.1 * np.sin(x / 2.3) * np.cos(y / 3.1) + 0.05 * np.sin((x + 2 * y) / 1.7)
    noisy = noisy_of(np.repeat(waves[..., None], 4, 2), 1e-4, 1e-3)
    true = 1e-4 * float(noisy.mean()) + 1e-6
    taken = coarse(noisy)
    assert taken.at(float(noisy.mean())) > 50 * true
    assert bounded(taken, noisy).at(float(noisy.mean())) < taken.at(float(noisy.mean())) / 4


def test_the_ceiling_is_about_the_noise_where_parts_are_flat() -> None:
    noisy = noisy_of(scene())
    most = ceiling(noisy)
    assert most is not None
    for level in (0.1, 0.3, 0.4):
        assert most.at(level) == pytest.approx(GAIN * level + READ**2, rel=0.35)
    close = Line(GAIN, READ**2)
    assert bounded(close, noisy) == close


def test_below_black_a_steep_line_is_not_taken_for_little_noise() -> None:
    dark = 1e-4 * np.random.default_rng(0).standard_normal((200, 240, 4)) - 2e-5
    taken = bounded(Line(0.2, 5e-7), dark)
    assert taken.at(0.0) == pytest.approx(1e-8, rel=0.35)


def test_a_picture_without_noise_has_a_low_ceiling() -> None:
    assert ceiling(np.full((4, 4, 4), 0.5)) is None
    most = ceiling(scene())
    assert most is not None
    assert most.at(0.3) < 1e-4


def test_what_was_white_is_white_again() -> None:
    """Noise is cut off at white, so the mean of a white wall is below it."""
    noise = 0.01 * seeds.normal_like(torch.zeros(100_000), 0).double()
    for light in (0.9, 0.97, 0.99, 0.995, 1.0):
        mean = (light + noise).clamp(max=1).mean()
        assert float(unclipped(mean, torch.tensor(0.01).double())) == pytest.approx(light, abs=2e-4)
    above = torch.tensor([1.0, 1.2])
    assert torch.equal(unclipped(above, torch.tensor(0.01)), above)


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


# The method


class Average(torch.nn.Module):
    """As good as a network can be where a picture is flat."""

    def forward(self, noisy: Tensor, level: Tensor, highest: Tensor) -> Tensor:
        return noisy.mean((2, 3), keepdim=True).expand_as(noisy)


class Smooth(torch.nn.Module):
    def forward(self, noisy: Tensor, level: Tensor, highest: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(noisy, 5, 1, 2, count_include_pad=False)


@torch.no_grad()
@pytest.mark.parametrize("electrons", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("read_e", [0.0, 0.5, 3.0])
def test_a_flat_picture_keeps_its_mean(electrons: float, read_e: float) -> None:
    """Though it is roots that were averaged."""
    model, shot, offset = Yond(4).eval(), 0.002, 0.01
    model.network = Average()
    dice = np.random.default_rng(0)
    sites = dice.poisson(electrons, (1, 4, 128, 128)) + read_e * dice.standard_normal((1, 4, 128, 128))
    noisy = torch.from_numpy(sites * shot + offset).float()
    told = torch.tensor([shot, (shot * read_e) ** 2, offset, 1]).expand(1, 4, 4)
    found = model(noisy, told) / shot
    error = 4 * float(np.sqrt((electrons + read_e**2) / noisy[0, 0].numel()))
    assert float(found.mean(dim=(2, 3)).sub(electrons).abs().max()) < error + 3e-3
    matched = abs(float(found.mean()) - electrons)
    model.table.zero_()
    assert matched < abs(float((model(noisy, told) / shot).mean()) - electrons)


def test_the_table_is_what_the_algebraic_inverse_lacks() -> None:
    model = Yond(4)
    algebraic = np.array([-0.2, 0.0, 0.3, 1.0, 7.0, 80.0, 900.0])
    reads = [0.0, 0.2, 1.0, 5.0]
    ours = model.short_by(
        torch.from_numpy(algebraic).float().expand(1, 4, 1, 7), torch.tensor(reads)[None, :, None, None]
    )
    assert np.abs(ours[0, :, 0].numpy().T - short_by(algebraic, reads)).max() < 3e-3
    many = model.short_by(torch.tensor([999.0, 1001.0, 1e5]).expand(1, 4, 1, 3), torch.full((1, 4, 1, 1), 2.0))
    assert torch.allclose(many, torch.full((1, 4, 1, 3), 0.25), atol=2e-2)
    assert float((many[..., 0] - many[..., 1]).abs().max()) < 1e-3


@torch.no_grad()
def test_the_noise_is_measured_where_it_is_not_told() -> None:
    model = Yond(4).eval()
    model.network = Smooth()
    noisy = torch.from_numpy(noisy_of(scene())).permute(2, 0, 1)[None].float()
    found = model.survey([noisy])
    assert found.shape == (1, 4, 4)
    shot, read, offset, light = found[0, 0].tolist()
    assert 0.35 < light < 0.55
    assert shot == pytest.approx(GAIN, rel=0.4)
    assert (read >= 0, offset) == (True, 0)
    assert torch.equal(model(noisy), model(noisy, found))


@torch.no_grad()
def test_where_there_is_little_noise_little_is_taken() -> None:
    model = Yond(4).eval()
    model.network = Smooth()
    noisy = torch.from_numpy(noisy_of(scene())).permute(2, 0, 1)[None].float()
    faint, strong = (torch.tensor([1e-7, sigma**2, 0.0, 1.0]).expand(1, 4, 4) for sigma in (1e-4, 1e-2))
    taken = [float((model(noisy, told) - noisy).square().mean().sqrt()) for told in (faint, strong)]
    assert taken[0] < 0.02 * taken[1]


@torch.no_grad()
def test_where_no_photon_noise_is_seen_no_digits_are_lost() -> None:
    torch.manual_seed(0)
    model, noisy = Yond(4).eval(), torch.from_numpy(noisy_of(scene()))[:192, :192].permute(2, 0, 1)[None].float()
    for read in (1e-6, 1e-3, 1e-2):
        told = torch.tensor([0.0, read, 0.0, 1.0]).expand(1, 4, 4)
        exact = model.double()(noisy.double(), told.double())
        assert float((model.float()(noisy, told) - exact).abs().max()) < 1e-4


@torch.no_grad()
def test_black_that_is_off_is_put_right() -> None:
    """The noise of so few photons leans to one side, which tells how many there are."""
    model, dice = Yond(4).eval(), np.random.default_rng(0)
    model.network = Smooth()
    clean = 0.02 * np.tile(scene()[:192, :192], (3, 3, 1))
    noisy = 4e-4 * dice.poisson(clean / 4e-4) + 5e-4 * dice.standard_normal(clean.shape) - 2e-3
    survey = model.survey([torch.from_numpy(noisy).permute(2, 0, 1)[None].float()])
    shot, read, offset, light = survey[0, 0].tolist()
    assert offset == pytest.approx(-2e-3, abs=3e-4)
    assert shot == pytest.approx(4e-4, rel=0.1)
    assert read == pytest.approx(2.5e-7, abs=3e-7)
    assert light == pytest.approx(float(np.quantile(clean, 0.95)), rel=0.1)


def dark_scene(times: float) -> tuple[Tensor, Tensor]:
    """So many times less light, the noise being as much less: (clean, noisy)."""
    clean = scene()[:192]
    return tuple(torch.from_numpy(one / times).permute(2, 0, 1)[None].float() for one in (clean, noisy_of(clean)))


@torch.no_grad()
def test_a_picture_in_the_dark_is_restored_as_if_it_were_bright() -> None:
    torch.manual_seed(0)
    model = Yond(4).eval()
    found = []
    for times in (4, 400):
        told = torch.tensor([GAIN / times, (READ / times) ** 2, 0.0, 0.45 / times]).expand(1, 4, 4)
        found.append(times * model(dark_scene(times)[1], told))
    assert float((found[0] - found[1]).abs().max()) < 1e-3


@torch.no_grad()
def test_lamps_do_not_keep_the_dark_noisy() -> None:
    """Nor does what is much brighter than all else change."""
    model = Yond(4).eval()
    model.network = Smooth()
    clean, noisy = dark_scene(200)
    errors = []
    for lamp in (0.0, 0.8):
        given = noisy.clone()
        given[..., 40:64, 40:64] += lamp
        found = model(given)
        errors.append(float((found - clean)[..., 80:, 80:].square().mean().sqrt()))
        assert float((found - given)[..., 44:60, 44:60].abs().max()) < 0.03
    assert errors[1] < 1.1 * errors[0] < 0.6 * float((noisy - clean).square().mean().sqrt())


def test_all_but_a_few_places_tell_how_much_light_there_is() -> None:
    cells = torch.full((1, 4, 80, 80), 0.01)
    assert light_of(cells) == pytest.approx(0.01)
    cells[..., :8, :24] = 0.9
    assert light_of(cells) == pytest.approx(0.01)
    cells[..., :40] = 0.9
    assert light_of(cells) == pytest.approx(0.9)
    assert light_of(5 * cells) == 1
    assert light_of(cells[..., :3, :5]) == pytest.approx(0.9)


@torch.no_grad()
def test_every_mosaic_of_a_batch_has_noise_of_its_own() -> None:
    model = Yond(4).eval()
    many = torch.stack([torch.from_numpy(noisy_of(scene(seed), GAIN * (1 + seed))) for seed in range(2)])
    many = many.permute(0, 3, 1, 2).float()
    assert torch.equal(model.survey([many]), torch.cat([model.survey([one]) for one in many.split(1)]))


def test_training_takes_the_loss_down() -> None:
    torch.manual_seed(0)
    model = Yond(4)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    clean = torch.from_numpy(scene()[:64, :64]).permute(2, 0, 1)[None].float()
    losses = []
    for step in range(20):
        loss = model.loss(clean + 0.1 * seeds.normal_like(clean, step), clean, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


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
