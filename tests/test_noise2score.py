"""Noise2Score: Tweedie's formula where the score is known exactly, the authors' own code, and what is learnt."""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from denoise import checkpoint, seeds, zoo
from denoise.errors import UserError
from denoise.fit import recipes
from denoise.fit.loop import Run, Schedule
from denoise.fit.noisy_pictures import LAWS, Family, NoisyCrops
from denoise.fit.pictures import Photographs
from denoise.measure import bench_noise2score
from denoise.measure.bench import Wish
from denoise.methods.noise2score import TYPICAL, Noise2Score, alike, roughness
from denoise.networks.score_unet import ScoreUNet
from denoise.noise.picture_laws import Gamma, Gaussian, Poisson
from denoise.processes import ardae, thinning, tweedie, tweedie_level
from denoise.processes.tweedie import FAMILIES, UNITS
from denoise.run import Options, restore_picture
from denoise.signals import Picture

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "image" / "n2s"
official = pytest.mark.skipif(not ORACLES.is_dir(), reason="the recordings of the official code are not here")

positive = st.floats(0.05, 20)
values = st.floats(-0.5, 1.5)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def oracle(name: str) -> dict[str, Tensor]:
    return load_file(ORACLES / f"{name}.safetensors")


def scene(height: int = 120, width: int = 140) -> Tensor:
    """Slow waves of many brightnesses and a bright square, (1, 3, H, W) in 0.06..0.9."""
    down, across = torch.arange(height)[:, None] / height, torch.arange(width) / width
    planes = [0.06 + 0.75 * down * (0.5 + 0.5 * torch.sin(9 * across + colour)) for colour in range(3)]
    picture = torch.stack(planes)[None]
    picture[..., 40:60, 30:70] = 0.9
    return picture


def exact(family: int, clean: Tensor, dispersion: float) -> tweedie_level.Score:
    """The score of the noise on a clean picture that is known."""

    def score(noisy: Tensor) -> Tensor:
        x = clean.to(noisy)
        if family == 0:
            return (x - noisy) / dispersion
        if family == 1:
            return (x.log() - (noisy + dispersion / 2).log()) / dispersion
        return (1 / dispersion - 1) / noisy - 1 / (dispersion * x)

    return score


def law(family: int, level: float) -> Gaussian | Poisson | Gamma:
    return (Gaussian, Poisson, Gamma)[family](level)


def dispersion_of(family: int, level: float) -> float:
    return float(UNITS[family].to_dispersion(torch.tensor(level)))


CASES = [(0, 5.0), (0, 25.0), (0, 50.0), (0, 80.0), (1, 20.0), (1, 100.0), (1, 400.0), (2, 20.0), (2, 100.0)]
every_case = pytest.mark.parametrize(("family", "level"), CASES)


# Tweedie's formula, where the clean signals' distribution and so the score are known


@given(noisy=values, mean=values, prior=positive, noise=positive)
def test_gaussian_estimate_is_the_posterior_mean(noisy: float, mean: float, prior: float, noise: float) -> None:
    score = -(noisy - mean) / (prior**2 + noise**2)
    posterior = (noisy * prior**2 + mean * noise**2) / (prior**2 + noise**2)
    assert tweedie.gaussian(number(noisy), number(score), noise**2).item() == pytest.approx(posterior)


@given(noisy=positive, shape=st.floats(5, 50), rate=st.floats(1, 10), looks=st.floats(30, 400))
def test_gamma_estimate_is_the_inverse_of_the_mean_inverse(
    noisy: float, shape: float, rate: float, looks: float
) -> None:
    """1/x has a gamma distribution of that shape and rate: so has it behind y, of shape + looks and rate + looks·y."""
    score = (looks - 1) / noisy - looks * (shape + looks) / (rate + looks * noisy)
    posterior = (rate + looks * noisy) / (shape + looks)
    if not 0.2 < noisy / posterior < 5:
        return  # no noise of that strength leads there, and the divisor is kept from zero
    assert tweedie.gamma(number(noisy), number(score), 1 / looks).item() == pytest.approx(posterior)


@given(photons=st.integers(4, 500), shape=st.floats(1, 30), rate=st.floats(0.05, 2))
def test_poisson_estimate_is_the_geometric_mean(photons: int, shape: float, rate: float) -> None:
    """Clean photons have a gamma distribution: so have they behind a count, of shape + count and rate + 1."""
    logarithm = torch.digamma(number(photons + shape)) - math.log1p(rate)
    score = logarithm - torch.digamma(number(photons + 1.0))
    gain = 0.01
    found = tweedie.poisson(number(gain * photons), score / gain, gain)
    assert found.item() == pytest.approx(gain * float(logarithm.exp()), rel=3e-3)


@given(noisy=st.floats(0.01, 1.5), score=st.floats(-50, 50))
def test_without_noise_nothing_is_changed(noisy: float, score: float) -> None:
    for estimate in tweedie.ESTIMATES:
        assert estimate(number(noisy), number(score), 0.0).item() == pytest.approx(noisy)


def test_every_picture_of_a_batch_has_its_own_family() -> None:
    noisy, score = torch.rand(3, 2, 5, 5) + 0.1, torch.randn(3, 2, 5, 5)
    family, dispersion = torch.tensor([2.0, 0.0, 1.0]), torch.tensor([0.01, 0.02, 0.03])
    together = tweedie.estimate(noisy, score, family, dispersion)
    for item, kind, amount, found in zip(range(3), family, dispersion, together, strict=True):
        alone = tweedie.ESTIMATES[int(kind)](noisy[item], score[item], float(amount))
        assert torch.allclose(found, alone)


# The level and the family


@every_case
def test_the_level_is_found(family: int, level: float) -> None:
    clean = scene()
    noisy = law(family, level).sample(clean, 1)
    true = dispersion_of(family, level)
    score = exact(family, clean, true)
    found = tweedie_level.smoothest(noisy, score(noisy), torch.tensor([float(family)]))
    assert found.item() == pytest.approx(true, rel=5e-3)
    given = tweedie_level.answer(score, noisy, seeds.normal_like(noisy, 2))
    assert tweedie_level.perturbed(given, family) == pytest.approx(true, rel=1e-4)


def test_speckle_is_measured_beside_black_places() -> None:
    noisy = Gamma(100).sample(scene(), 1)
    noisy[..., :4, :] = 0
    given = tweedie_level.answer(exact(2, scene(), 0.01), noisy, seeds.normal_like(noisy, 2))
    assert tweedie_level.perturbed(given, 2) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("family", "level", "within"), [(0, 25, 0.01), (0, 50, 0.01), (1, 100, 0.15), (2, 100, 0.1)])
def test_a_search_ends_near_the_level(family: int, level: float, within: float) -> None:
    clean = scene()
    noisy = law(family, level).sample(clean, 1)
    true = dispersion_of(family, level)
    found, penalties = tweedie_level.searched(noisy, exact(family, clean, true)(noisy), family)
    assert found == pytest.approx(true, rel=within)
    assert len(penalties) == len(tweedie_level.GRIDS[family])


@every_case
def test_the_family_is_found(family: int, level: float) -> None:
    clean = scene()
    noisy = law(family, level).sample(clean, 1)
    score = exact(family, clean, dispersion_of(family, level))
    ours = tweedie_level.smoothest_by_brightness(noisy, score(noisy))
    given = tweedie_level.answer(score, noisy, seeds.normal_like(noisy, 2))
    for bins in (ours, tweedie_level.perturbed_by_brightness(given)):
        assert tweedie_level.power(bins).item() == pytest.approx(family, abs=0.2)
        assert tweedie_level.family(tweedie_level.power(bins)).item() == family


def test_the_family_is_found_in_half_precision_too() -> None:
    clean = scene()
    noisy = law(1, 100).sample(clean, 1)
    score = exact(1, clean, dispersion_of(1, 100))(noisy)
    with torch.autocast("cpu", torch.bfloat16):
        bins = tweedie_level.smoothest_by_brightness(noisy, score)
    assert tweedie_level.family(tweedie_level.power(bins)).item() == 1


def test_of_one_brightness_the_family_makes_no_difference_and_is_gaussian() -> None:
    clean = torch.full((1, 3, 60, 60), 0.5)
    noisy = Poisson(100).sample(clean, 3)
    score = exact(1, clean, 0.01)(noisy)
    power = tweedie_level.power(tweedie_level.smoothest_by_brightness(noisy, score))
    assert tweedie_level.family(power).item() == 0


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.3])
def test_the_level_makes_up_for_a_score_of_the_wrong_size(factor: float) -> None:
    clean = scene()
    noisy = Gaussian(60).sample(clean, 1)
    score = factor * exact(0, clean, (60 / 255) ** 2)(noisy)
    found = tweedie_level.smoothest(noisy, score, torch.zeros(1))
    assert torch.allclose(tweedie.gaussian(noisy, score, found), clean, atol=0.02)


def test_a_picture_without_noise_has_a_level_of_nothing() -> None:
    flat = torch.full((1, 3, 40, 40), 0.4)
    for family in range(3):
        assert tweedie_level.smoothest(flat, torch.randn_like(flat), torch.tensor([float(family)])).item() == 0


# What is minimised


def test_a_score_of_nothing_costs_one_and_the_true_one_costs_least() -> None:
    spread, sigma_a = 0.2, torch.tensor(0.1)
    noisy, probe = (seeds.normal_like(torch.zeros(200_000), seed) for seed in (1, 2))
    seen = spread * noisy + sigma_a * probe
    total = spread**2 + sigma_a**2
    costs = [float(ardae.objective(-scale * seen / total, probe, sigma_a)) for scale in (0.0, 0.8, 1.0, 1.2)]
    assert costs[0] == pytest.approx(1, abs=0.01)
    assert costs[2] == pytest.approx(float(1 - sigma_a**2 / total), abs=0.01)
    assert costs[2] == min(costs)


def test_small_steps_are_drawn_as_often_as_large_ones() -> None:
    drawn = ardae.log_uniform(5, 4000, 1.0, 0.01)
    assert 0.01 <= drawn.min() <= drawn.max() <= 1.0
    assert float((drawn < 0.1).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_only_the_noisy_picture_is_looked_at() -> None:
    model, noisy = small(), Gaussian(25).sample(scene(32, 32), 4)
    loss = model.loss(noisy, torch.full_like(noisy, float("nan")), 0)
    assert torch.isfinite(loss)
    assert loss == model.loss(noisy, noisy, 0)
    assert loss != model.loss(noisy, noisy, 1)


def test_a_grey_picture_is_asked_the_same_in_all_colours() -> None:
    grey = torch.rand(1, 1, 20, 20).expand(1, 3, 20, 20)
    batch = torch.cat([grey, torch.rand(1, 3, 20, 20)])
    probe = alike(batch, torch.randn_like(batch))
    assert torch.equal(probe[0, 0], probe[0, 2])
    assert not torch.equal(probe[1, 0], probe[1, 2])


def test_roughness_is_the_sigma_of_the_noise_where_it_is_flat() -> None:
    noisy = Gaussian(20).sample(torch.full((2, 3, 100, 100), 0.5), 1)
    assert torch.allclose(255 * roughness(noisy).mean(), torch.tensor(20.0), rtol=0.02)


def test_it_is_that_of_every_place() -> None:
    light = torch.linspace(0.1, 0.9, 200).expand(2, 3, 100, 200)
    found = roughness(Poisson(100).sample(light, 1))
    assert found.shape == (2, 1, 100, 200)
    assert torch.allclose(found.mean((0, 1, 2)), (light[0, 0, 0] / 100).sqrt(), rtol=0.15)


@pytest.mark.parametrize(("of_noise", "epoch"), [(True, 0), (False, 0), (False, 24_000)])
def test_sigma_a_is_as_configured(of_noise: bool, epoch: int) -> None:
    model = small(sigma_a=(0.05, 0.001), of_noise=of_noise, epoch=epoch)
    noisy = Gaussian(51).sample(torch.full((4, 3, 64, 64), 0.5), 1)
    found = torch.cat([model.sigma_of(noisy, step).flatten() for step in (0, 2000, 5990)])
    scale = 0.2 if of_noise else 1.0
    assert 0.0007 * scale <= found.min() <= found.max() <= 0.06 * scale
    if epoch:
        assert found[0] == pytest.approx(0.05, rel=1e-3)
        assert found[-1] == pytest.approx(0.001)
        assert model.sigma_of(noisy, 6000)[0] == model.sigma_of(noisy, 0)[0], "every epoch begins anew"


# The networks


def small(**more: object) -> Noise2Score:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Noise2Score(widths=(8, 16), **more).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        model.network.trunk.tail.weight *= -1  # type: ignore[union-attr]  # so that it finds noise in what it sees
    return model


@torch.no_grad()
@pytest.mark.parametrize("factor", [2.0, 5.0, 10.0])
def test_twice_the_noise_and_the_light_halve_the_score(factor: float) -> None:
    model, noisy = small(), scene(32, 48)
    ratio = model.score(noisy) / model.score(factor * noisy)
    assert float(ratio.median()) == pytest.approx(factor, rel=1e-2)
    assert float((ratio / factor - 1).abs().quantile(0.9)) < 0.05


def test_the_small_network_is_small() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = ScoreUNet()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, 64, 64))
    assert counter.get_total_flops() / 2 / 64**2 <= 40_000
    assert sum(weight.numel() for weight in network.parameters()) < 2.5e6


@official
@pytest.mark.parametrize("colours", [1, 3])
def test_official_network_and_step(colours: int) -> None:
    recorded, model = oracle(f"unet_c{colours}_trace"), imported(oracle(f"unet_c{colours}_weights"))
    assert sum(weight.numel() for weight in model.parameters()) == {1: 698_017, 3: 700_611}[colours]
    assert torch.allclose(model.score(recorded["input"]), recorded["score_sigma_a0"], atol=1e-5)
    sigma_a = recorded["sigma_a"]
    score = model.score(recorded["input"] + sigma_a * recorded["mu"])
    assert torch.allclose(score, recorded["score_at_perturbed"], atol=1e-5)
    loss = ardae.objective(score, recorded["mu"], sigma_a)
    loss.backward()
    assert torch.allclose(loss, recorded["ardae_loss"], atol=1e-6)
    weights = dict(model.network.named_parameters())
    gradients = [name for name in recorded if name.startswith("grad.")]
    assert len(gradients) == 4
    for name in gradients:
        found = weights[name.removeprefix("grad.")].grad
        assert found is not None
        assert (found - recorded[name]).norm() <= 0.02 * recorded[name].norm(), name


@official
def test_official_blocks() -> None:
    recorded, model = oracle("unet_c3_trace"), imported(oracle("unet_c3_weights"))
    seen: list[tuple[str, Tensor]] = []
    for name, block in model.network.named_children():
        block.register_forward_hook(lambda _, __, out, name=name: seen.append((name, out)))
    with torch.no_grad():
        model.score(recorded["input"])
    assert len(seen) == 11
    for place, (name, out) in enumerate(seen):
        told = f"call{place:02d}.{name.removeprefix('_')}"
        assert torch.allclose(out[0, :4, :4, :4], recorded[f"{told}.slice"], atol=1e-5), told
        assert out.mean().item() == pytest.approx(recorded[f"{told}.mean"].item(), abs=1e-5), told


@official
def test_official_estimates() -> None:
    recorded = oracle("tweedie")
    counts = recorded["poisson.score_counts"] / 0.01
    found = {
        "gauss": tweedie.gaussian(recorded["gauss.y"], recorded["gauss.score"], (25 / 255) ** 2),
        "poisson": tweedie.poisson(recorded["poisson.y"], counts, 0.01),
        "gamma": tweedie.gamma(recorded["gamma.y"], recorded["gamma.score"], 1 / 100),
    }
    for name, estimate in found.items():
        assert torch.allclose(estimate, recorded[f"{name}.out"], atol=1e-6), name


@official
@pytest.mark.parametrize(("family", "penalties"), [("gauss", "tv"), ("gamma", "loss")])
def test_official_searches(family: str, penalties: str) -> None:
    recorded, place = oracle("tweedie"), {"gauss": 0, "gamma": 2}[family]
    best, found = tweedie_level.searched(recorded[f"{family}.y"], recorded[f"{family}.score"], place)
    told = f"blind_{family}"
    assert np.allclose(found, recorded[f"{told}.{penalties}"], atol=6e-5)
    estimate = tweedie.ESTIMATES[place](recorded[f"{family}.y"], recorded[f"{family}.score"], best)
    assert torch.allclose(estimate, recorded[f"{told}.out"], atol=1e-5)


@official
def test_official_penalty_of_counts() -> None:
    """The authors' recording has one score in counts for all candidates."""
    recorded = oracle("tweedie")
    noisy, counts = recorded["poisson.y"], recorded["poisson.score_counts"]
    grid = recorded["blind_poisson.grid_eta"]
    assert np.allclose(1 / np.array(tweedie_level.GRIDS[1]), grid, rtol=1e-5)
    found = [
        float(tweedie_level.poisson_penalty(tweedie.poisson(noisy, counts / eta, eta), noisy)) for eta in grid.tolist()
    ]
    assert np.allclose(found, recorded["blind_poisson.loss"], atol=6e-5)


@official
def test_official_annealing() -> None:
    recorded = oracle("tweedie")
    for name, largest, smallest in (("gauss_gamma", 0.05, 0.001), ("poisson", 1.0, 0.5)):
        found = [ardae.annealed(float(images), largest, smallest) for images in recorded["anneal.iter"]]
        assert np.allclose(found, recorded[f"anneal.sigma_a_{name}"], atol=1e-6)


# The authors' files


def imported(state: dict[str, Tensor]) -> Noise2Score:
    found = Noise2Score.from_official(state, {})
    assert found is not None
    arguments, ours = found
    model = Noise2Score(**arguments)
    model.load_state_dict(ours)
    return model


def official_state(colours: int) -> dict[str, Tensor]:
    model = Noise2Score(colours, "paper")
    return {name.removeprefix("network."): value for name, value in model.state_dict().items()}


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("wrapped", ["", "module."])
def test_released_weights_and_their_average_are_read(
    colours: int, wrapped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    state = official_state(colours)
    torch.save(OrderedDict((wrapped + name, value) for name, value in state.items()), tmp_path / "plain.pth")
    average = {"decay": 0.999, "num_updates": 75_625, "shadow_params": list(state.values())}
    torch.save(average, tmp_path / "average.pth")
    for name in ("plain", "average"):
        checkpoint.import_official(tmp_path / f"{name}.pth", name)
        model = zoo.method_of(zoo.find(name))
        assert isinstance(model, Noise2Score)
        for key, value in state.items():
            assert torch.equal(model.state_dict()[f"network.{key}"], value)


def test_an_average_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    torch.save({"shadow_params": [torch.zeros(4, 4), torch.zeros(3)]}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not the architecture of Noise2Score"):
        checkpoint.import_official(tmp_path / "other.pth", "other")


# The method


@torch.no_grad()
def test_its_own_survey_changes_nothing_and_anothers_does() -> None:
    model, noisy = small(), Gaussian(25).sample(scene(48, 64), 1)
    survey = model.survey([noisy])
    assert survey.shape == (1, 1, 2)
    assert torch.allclose(model(noisy, survey), model(noisy), atol=1e-6)
    other = survey * torch.tensor([1.0, 0.0])
    assert torch.allclose(model(noisy, other), noisy.clamp(0, 1), atol=1e-6), "no noise, nothing to do"


@torch.no_grad()
@pytest.mark.parametrize(("family", "level"), CASES)
def test_a_level_that_is_told_is_used(family: int, level: float) -> None:
    model, noisy = small(), law(family, level).sample(scene(32, 32), 1)
    told = model.survey([noisy], family=family + 1, level=level).flatten()
    assert told[0] == family
    assert told[1] == pytest.approx(dispersion_of(family, level))
    restored = tweedie.ESTIMATES[family](noisy, model.score(noisy), dispersion_of(family, level)).clamp(0, 1)
    assert torch.allclose(model(noisy, family=family + 1, level=level), restored, atol=1e-6)


@torch.no_grad()
def test_every_picture_of_a_batch_has_its_own_noise() -> None:
    model, clean = small(), scene(48, 48)
    noisy = torch.cat([law(family, level).sample(clean, 1) for family, level in CASES[1::3]])
    assert torch.allclose(model(noisy), torch.cat([model(one[None]) for one in noisy]), atol=1e-5)
    surveys = torch.cat([model.survey([one[None]]) for one in noisy])
    assert torch.allclose(model(noisy, surveys), model(noisy), atol=1e-5)


def card_of(folder: Path, model: Noise2Score, network: str) -> zoo.Card:
    folder.mkdir(parents=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / zoo.WEIGHTS)
    digest = hashlib.sha256((folder / zoo.WEIGHTS).read_bytes()).hexdigest()
    (folder / zoo.CARD).write_text(
        f'name = "{folder.name}"\nkind = "picture"\nmethod = "noise2score"\nsummary = "Small."\nlicence = "MIT"\n'
        f'sha256 = "{digest}"\n\n[network]\n{network}\n'
    )
    return zoo.Card.of(folder)


@pytest.fixture
def card(tmp_path: Path) -> zoo.Card:
    return card_of(tmp_path / "models" / "small", small(), "widths = [8, 16]")


def test_in_tiles_it_is_the_whole_within_the_bound(card: zoo.Card) -> None:
    restorer = zoo.load(card, device="cpu")
    noisy = Gaussian(20).sample(scene(170, 301), 1)[0].clamp(0, 1)
    picture = Picture(noisy.permute(1, 2, 0).contiguous().numpy(), 1.0)
    whole = restore_picture(picture, restorer, Options(piece=10_000))
    assert np.abs(restore_picture(picture, restorer, Options(piece=96)) - whole).max() <= restorer.facts.bound


def test_its_graph_computes_the_same(card: zoo.Card, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="no ONNX Runtime here")
    pytest.importorskip("onnxscript", reason="graphs are made by onnxscript, which is not here")
    from denoise.onnx.export import export_model
    from denoise.onnx.session import OnnxRestorer

    graph = OnnxRestorer.opened(export_model(card, tmp_path), card, "cpu")
    here = zoo.load(card, device="cpu")
    for family, level in CASES[1::3]:
        noisy = law(family, level).sample(scene(61, 83), 1)
        assert (graph(noisy) - here(noisy)).abs().max() <= 1e-4
        assert torch.allclose(graph.survey([noisy]), here.survey([noisy]), rtol=1e-3)
        known = torch.tensor([[[float(family), 2 * dispersion_of(family, level)]]])
        assert (graph(noisy, known) - here(noisy, known)).abs().max() <= 1e-4
        assert (graph(noisy, known) - graph(noisy)).abs().max() > 1e-3


# Training


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(40):
        rows, columns = np.mgrid[:200, :220] / 200
        wave = np.sin(rows * (3 + index)) * np.cos(columns * (5 + index)) * 0.45 + 0.5
        pixels = np.stack([wave, wave**2, 1 - wave], -1)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def crops(folder: Path, grey: float = 0.25) -> NoisyCrops:
    families = {"gaussian": Family(1, (20, 60)), "poisson": Family(1, (10, 50)), "gamma": Family(1, (20, 60))}
    return NoisyCrops(Photographs.of(folder), families, batch=4, patch=32, grey=grey)


def test_a_batch_is_a_function_of_seed_and_step(photographs: Path) -> None:
    one, two = crops(photographs), crops(photographs)
    for step in range(5):
        assert torch.equal(one.at(step)[0], two.at(step)[0])
    assert not torch.equal(one.at(0)[0], one.at(1)[0])


def test_there_is_nothing_clean_in_a_batch_and_nothing_is_clipped(photographs: Path) -> None:
    source = crops(photographs)
    batches = [source.at(step) for step in range(10)]
    assert all(noise.shape == (4, 1, 2) for _, noise in batches)
    seen = torch.cat([noisy for noisy, _ in batches])
    assert seen.min() < -0.02
    assert seen.max() > 1.05
    assert float((255 * roughness(seen)).min()) > 2


def test_a_batch_says_what_its_noise_is(photographs: Path) -> None:
    for _, noise in (crops(photographs).at(step) for step in range(10)):
        for family, dispersion in noise[:, 0].tolist():
            level = float(UNITS[round(family)].to_level(torch.tensor(dispersion)))
            low, high = ((20, 60), (10, 50), (20, 60))[round(family)]
            assert low - 0.01 <= level <= high + 0.01


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_so_many_crops_are_grey(photographs: Path, share: float) -> None:
    noisy, _ = crops(photographs, share).at(0)
    grey = [bool((one == one[:1]).all()) for one in noisy]
    assert grey == [bool(share)] * len(noisy)


def test_every_family_can_be_drawn() -> None:
    assert set(LAWS) == set(FAMILIES)
    for name, made in LAWS.items():
        assert made(50).describe().lower().startswith(name)


@pytest.mark.parametrize(
    ("objective", "level"), [({"sigma_a": (1.0, 0.5)}, 40.0), ({"share": 0.25}, 80.0)], ids=["added", "the rest"]
)
def test_steps_make_the_loss_smaller_and_the_estimate_better(
    photographs: Path, tmp_path: Path, objective: dict[str, Any], level: float
) -> None:
    """A quarter of what was measured is twice as noisy."""
    source = NoisyCrops(Photographs.of(photographs), {"gaussian": Family(1, (40, 41))}, batch=8, patch=32)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Noise2Score(widths=(16, 32), **objective)
    run = Run(model, tmp_path, Schedule(rate=1e-3, warm_up=20))
    losses = [run.advance(*source.at(step), 1.0) for step in range(130)]
    assert np.mean(losses[-10:]) < 0.9 * losses[0]
    clean = source.photographs.validation[0][None, :, :96, :96].float() / 255
    noisy = Gaussian(level).sample(clean, 1)
    with torch.no_grad():
        restored = model.eval()(noisy, family=1, level=level)
    assert (restored - clean).square().mean() < 0.5 * (noisy - clean).square().mean()


@pytest.mark.parametrize("family", range(3), ids=FAMILIES)
def test_the_rest_is_asked_for_and_no_more_than_that(family: int) -> None:
    """Where the score makes Tweedie's estimate the clean picture, the noise of the rest is all that is left."""
    model, clean, share = small(share=0.2), scene(200, 200), 0.2
    dispersion = dispersion_of(family, (25.0, 20.0, 20.0)[family])
    noisy = law(family, (25.0, 20.0, 20.0)[family]).sample(clean, 1)
    model.score = lambda shown: exact_score(family, clean, shown, dispersion / share)  # type: ignore[method-assign]
    loss = model.loss(noisy, torch.tensor([[[float(family), dispersion]]]), 7)
    left = float(loss) * TYPICAL * (dispersion / share * float(noisy.mean()) ** family) ** 0.5
    assert left == pytest.approx(dispersion / (1 - share) * float((clean**family).mean()), rel=0.03)


def exact_score(family: int, clean: Tensor, noisy: Tensor, dispersion: float) -> Tensor:
    """The one whose estimate is the clean picture."""
    if family == 0:
        return (clean - noisy) / dispersion
    if family == 1:
        return (clean / (noisy + dispersion / 2)).log() / dispersion
    return (1 - dispersion - noisy / clean) / (dispersion * noisy)


@pytest.mark.parametrize("family", range(3), ids=FAMILIES)
def test_what_is_divided_is_two_pictures_of_independent_noise(family: int) -> None:
    clean = torch.full((1, 3, 300, 300), 0.4)
    level = (20.0, 150.0, 60.0)[family]
    dispersion = dispersion_of(family, level)
    noisy, share = law(family, level).sample(clean, 3), 0.3
    one, other = thinning.divided(noisy, torch.tensor([float(family)]), torch.tensor([dispersion]), share, 5)
    assert torch.allclose(share * one + (1 - share) * other, noisy, atol=1e-5)
    for part, size in ((one, share), (other, 1 - share)):
        assert float(part.mean()) == pytest.approx(0.4, rel=0.01)
        assert float(part.var()) == pytest.approx(dispersion / size * 0.4**family, rel=0.02)
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])) < 0.01
    again, _ = thinning.divided(noisy, torch.tensor([float(family)]), torch.tensor([dispersion]), share, 5)
    assert torch.equal(one, again)


def test_a_picture_without_colours_is_divided_alike_in_all() -> None:
    seen: list[Tensor] = []
    model = small(share=0.2)
    model.score = lambda shown: seen.append(shown) or torch.zeros_like(shown)  # type: ignore[method-assign,func-returns-value]
    noisy = Poisson(40).sample(torch.full((1, 1, 32, 32), 0.5), 2).expand(-1, 3, -1, -1)
    model.loss(noisy, torch.tensor([[[1.0, 1 / 40]]]), 0)
    assert bool((seen[0] == seen[0][:, :1]).all())


RECIPE = """
lessons = "noisy pictures"
[data]
batch = 2
patch = 32
[families.gaussian]
share = 1
levels = [10, 60]
[schedule]
rate = 1e-3
"""


def test_a_recipe_names_its_lessons(photographs: Path, card: zoo.Card, tmp_path: Path) -> None:
    (card.folder / recipes.RECIPE).write_text(RECIPE)
    run = recipes.train_model(card, photographs, 0.02, str, tmp_path / "runs")
    (last, *_) = (json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()[::-1])
    assert {"g25_known", "g25_found", "g50_known", "p100_found", "k100_known"} <= set(last)
    recipes.publish(run, card)
    assert zoo.load(zoo.Card.of(card.folder), device="cpu").facts.surveys


def test_unknown_lessons_are_told(photographs: Path, card: zoo.Card, tmp_path: Path) -> None:
    (card.folder / recipes.RECIPE).write_text(RECIPE.replace("noisy pictures", "noisy picture"))
    with pytest.raises(UserError, match="did you mean noisy pictures"):
        recipes.train_model(card, photographs, 0.02, str, tmp_path / "runs")


# The bench


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in bench_noise2score.SETS:
        (tmp_path / name).mkdir()
        pixels = (255 * scene(64, 80)[0].permute(1, 2, 0).numpy()).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / name / "0.png")
    return tmp_path


def test_every_way_is_measured_beside_the_noisy_input(
    data: Path, card: zoo.Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_noise2score, "find_spec", lambda name: None)
    told: list[str] = []
    rows = list(bench_noise2score.run(Wish(str(card.folder), device="cpu", data=data, tell=told.append)))
    assert any("BM3D is left out" in line for line in told)
    ways = {"noisy", "known", "known, 8 passes", "level found", "found", "found, 8 passes", "penalty", "perturbed"}
    wanted = {
        (f"1 of {name}", noise.name, way)
        for name in bench_noise2score.SETS
        for noise in bench_noise2score.NOISES
        for way in ways
    }
    assert {(row["pictures"], row["noise"], row["method"]) for row in rows} == wanted
    by_name = {(row["pictures"], row["noise"], row["method"]): row for row in rows}
    noisy = by_name["1 of test_cbsd68", "Gaussian 25", "noisy"]
    assert noisy["psnr_db"] == pytest.approx(20 * np.log10(255 / 25), abs=0.5)


def test_a_model_without_a_score_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match="no Noise2Score model"):
        list(bench_noise2score.run(Wish("idf-picture", device="cpu", data=data)))


@pytest.mark.parametrize("noise", bench_noise2score.NOISES, ids=lambda noise: noise.name)
def test_the_peer_is_told_every_family(noise: bench_noise2score.Noise) -> None:
    pytest.importorskip("bm3d", reason="the package bm3d is not installed")
    clean = scene(64, 64)[0, :1]
    noisy = noise.law.sample(clean, 1)
    restored = bench_noise2score.stabilised_bm3d(noise, noisy).picture
    assert (restored - clean).square().mean() < 0.25 * (noisy - clean).square().mean()
