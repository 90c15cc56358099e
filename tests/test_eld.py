"""ELD: dark raw lessons with all noises of a camera, the network of the paper, and a result that keeps its exposure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
import pytest
import torch
from raws import waves
from safetensors.torch import load_file
from shelf import denoise
from torch import Tensor

from denoise import seeds, zoo
from denoise.errors import UserError
from denoise.fit import dark_raw, recipes
from denoise.fit.dark_raw import FULL, PLAIN, RANGE_DN, DarkPairs, cameras_of, darkened, suited
from denoise.fit.loop import LOG
from denoise.fit.pictures import Photographs
from denoise.methods.eld import Eld
from denoise.networks.unet_seeindark import UNetSeeInDark
from denoise.noise import cameras
from denoise.noise.calibration import Calibration
from denoise.noise.camera import Camera
from denoise.noise.camera_file import gathered, written
from denoise.run import Options, restore_mosaic
from denoise.signals import Mosaic
from denoise.zoo import TorchRestorer, facts_of

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "raw"
CARD = """
name = "night"
kind = "raw"
method = "eld"
summary = "For the night."
default = true
licence = "MIT"

[network]
width = 4

[scores]
command = "denoise bench raw"
"""
RECIPE = """
lessons = "dark raw"
law = "{law}"
[data]
ratio = [100.0, 300.0]
batch = 2
patch = 32
[schedule]
rate = 1e-3
warm_up = 1
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return waves(tmp_path_factory.mktemp("photographs"))


def card_in(folder: Path, law: str = FULL) -> zoo.Card:
    (folder / "night").mkdir(parents=True)
    (folder / "night" / "model.toml").write_text(CARD)
    (folder / "night" / "recipe.toml").write_text(RECIPE.format(law=law))
    return zoo.Card.of(folder / "night")


def own_camera(path: Path, camera: Camera) -> Path:
    path.write_text(written(gathered("Mine", [Calibration(camera, (512.0,) * 4, 1600)])))
    return path


# The network


def ramp(*shape: int) -> Tensor:
    return seeds.uniform_like(torch.zeros(shape), 1)


@torch.no_grad()
def test_without_biases_brightness_passes_through() -> None:
    torch.manual_seed(0)
    x = ramp(1, 4, 32, 48)
    network = UNetSeeInDark(8, bias=False)
    assert torch.allclose(network(x / 128) * 128, network(x), atol=1e-6)
    assert not torch.allclose(UNetSeeInDark(8)(x / 128) * 128, network(x), atol=1e-2)


@torch.no_grad()
def test_what_comes_out_at_first_is_neither_lost_nor_large() -> None:
    torch.manual_seed(0)
    x = ramp(1, 4, 64, 64)
    for bias in (False, True):
        assert 0.02 < float(UNetSeeInDark(8, bias)(x).norm() / x.norm()) < 0.5


@torch.no_grad()
def test_outputs_are_those_of_the_official_network() -> None:
    if not (ORACLES / "networks_recipe.npz").is_file():
        pytest.skip("the recordings of the official code are not here")
    told = np.load(ORACLES / "networks_recipe.npz")
    small = UNetSeeInDark(8)
    small.load_state_dict(load_file(ORACLES / "unetseeindark_nf8.safetensors"))
    whole = UNetSeeInDark(32)
    whole.load_state_dict({name: recipe(name, value, int(told["recipe_seed"])) for name, value in named(whole)})
    assert sum(one.numel() for one in whole.parameters()) == told["UNetSeeInDark_nf32_nparams"]
    for network, name in ((small, "UNetSeeInDark_nf8"), (whole, "UNetSeeInDark_nf32")):
        found = network(torch.from_numpy(told[f"{name}_x"]))
        assert float((found - torch.from_numpy(told[f"{name}_out"])).abs().max()) <= 1e-4


def named(network: UNetSeeInDark) -> list[tuple[str, Tensor]]:
    return list(network.state_dict().items())


def recipe(name: str, value: Tensor, seed: int) -> Tensor:
    """The weights that the recordings were made with."""
    drawn = np.random.default_rng((crc32(name.encode()) + seed) % 2**32).standard_normal(tuple(value.shape))
    scale = np.sqrt(2 / np.prod(value.shape[1:])) if value.ndim > 1 else 0.05
    return torch.from_numpy((drawn * scale).astype(np.float32))


# The method


def small(network: Literal["guided", "paper"] = "guided") -> Eld:
    torch.manual_seed(0)
    return Eld(4, network).eval()


@torch.no_grad()
@pytest.mark.parametrize("network", ["guided", "paper"])
def test_a_picture_keeps_its_exposure_however_dark_it_is(network: Literal["guided", "paper"]) -> None:
    model, noisy = small(network), 0.9 * ramp(1, 4, 32, 48)
    assert torch.allclose(model(noisy / 256) * 256, model(noisy), atol=1e-5)
    assert float(model(torch.zeros_like(noisy)).abs().max()) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("network", ["guided", "paper"])
def test_lamps_do_not_shine_into_the_dark(network: Literal["guided", "paper"]) -> None:
    """With a ratio, what is cut off at the brightened white counts as white, however bright it is."""
    model, dark = small(network), ramp(1, 4, 64, 64) / 200
    one, other = dark.clone(), dark.clone()
    one[..., 30:34, 30:34], other[..., 30:34, 30:34] = 0.1, 1.0
    known = model.survey([dark])
    changes = [[model(lit, known, ratio=ratio) - lit for lit in (one, other)] for ratio in (1.0, 100.0)]
    assert not torch.allclose(*changes[0], atol=1e-3)
    assert torch.allclose(*changes[1], atol=1e-6)
    usual = [model(dark, known, ratio=ratio) for ratio in (1.0, 100.0)]
    assert torch.allclose(*usual, atol=1e-6), "where nothing is cut off, nothing is changed by a ratio"


@torch.no_grad()
def test_noise_is_measured_about_and_texture_little() -> None:
    slope = torch.linspace(0.2, 0.6, 128).expand(1, 4, 96, 128)
    noisy = slope + 0.03 * seeds.normal_like(slope, 0)
    shot, read, bias, light = Eld.measured(noisy, lambda *_: noisy)[0, 2].tolist()
    assert (shot, bias) == (0, 0)
    assert read**0.5 == pytest.approx(0.03, rel=0.1)
    assert 0.5 < light < 0.65


@torch.no_grad()
def test_what_is_told_counts_and_a_bias_goes() -> None:
    model, noisy = small(), ramp(1, 4, 32, 48)
    weak, strong, off = (
        torch.tensor(told).expand(1, 4, 4)
        for told in ([1e-3, 1e-4, 0.0, 0.9], [1e-3, 1e-2, 0.0, 0.9], [1e-3, 1e-4, 0.1, 0.9])
    )
    assert not torch.allclose(model(noisy, weak), model(noisy, strong), atol=1e-3)
    assert torch.allclose(model(noisy + 0.1, off), model(noisy, weak), atol=1e-5)


def test_through_the_runner_levels_are_those_of_the_file() -> None:
    model = small()
    restorer = TorchRestorer(model, facts_of(zoo.Card(Path(), {"name": "eld", "kind": "raw"}), model))
    sites = np.rint(512 + 80 * ramp(70, 90).numpy()).astype(np.uint16)
    found = restore_mosaic(Mosaic(sites, "GBRG", (512.0,) * 4, 16383), restorer, Options(knobs={"ratio": 100}))
    assert found.dtype == np.uint16
    assert abs(float(found.mean()) - float(sites.mean())) < 80
    with pytest.raises(UserError, match="out of range"):
        restore_mosaic(Mosaic(sites, "GBRG", (512.0,) * 4, 16383), restorer, Options(knobs={"ratio": 301}))


def test_four_times_the_noise_weighs_twice_as_much() -> None:
    model, clean = small("paper"), torch.full((1, 4, 32, 32), 0.3)
    torch.nn.init.zeros_(next(layer for name, layer in model.named_parameters() if "conv10" in name))
    noise = seeds.normal_like(clean, 0)
    weak, strong = (float(model.loss(clean + sigma * noise, clean, 0).detach()) for sigma in (0.05, 0.2))
    assert strong == pytest.approx(2 * weak, rel=1e-4)


def test_training_takes_the_loss_down(photographs: Path) -> None:
    torch.manual_seed(0)
    model, losses = Eld(8), []
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    pairs = lessons(photographs, cameras_of(["sony-a7s2-eld"], FULL, None))
    for step in range(30):
        loss = model.loss(*pairs.at(0), step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


# Lessons


def lessons(folder: Path, camera: dark_raw.Cameras, **more: float) -> DarkPairs:
    return DarkPairs(Photographs.of(folder), camera, (100.0, 300.0), batch=3, patch=32, **more)  # type: ignore[arg-type]


def test_a_batch_is_a_function_of_seed_and_step(photographs: Path) -> None:
    pairs = lessons(photographs, cameras_of(None, FULL, None))
    one, same = pairs.at(3), pairs.at(3)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], pairs.at(4)[0])
    assert one[0].shape == one[1].shape == (3, 4, 32, 32)
    assert not torch.equal(*one)


def test_some_crops_have_no_noise_and_some_of_them_a_single_colour(photographs: Path) -> None:
    pairs = lessons(photographs, cameras_of(None, FULL, None), clean=1.0)
    seen = [pairs.at(step) for step in range(8)]
    assert all(torch.equal(*pair) for pair in seen)
    flat = [bool((one == one[:, :1, :1]).all()) for noisy, _ in seen for one in noisy]
    assert 0 < sum(flat) < len(flat) / 2


def test_rows_and_black_are_off_in_the_whole_law_and_not_in_its_twin() -> None:
    """The same setting of the same camera; what they differ in is the law."""
    dark = torch.zeros(4, 64, 256)
    for law, expected in ((FULL, True), (PLAIN, False)):
        camera = cameras_of(["canon-5d4"], law, None)(7)
        noisy = darkened(dark, camera, 200, 7) * camera.white_dn / 200
        rows = float(noisy[0].mean(1).std()) / (camera.read_std_dn / 16)
        assert (rows > 1.3) == expected
        assert any(camera.bias_dn) == expected
        assert (camera.read_lambda is not None) == expected
        assert (camera.step_dn, camera.white_dn) == (1.0, RANGE_DN)
    full, twin = (cameras_of(None, law, None)(7) for law in (FULL, PLAIN))
    assert (full.gain_dn_per_e, full.name) == (twin.gain_dn_per_e, twin.name)


def test_sensor_rows_run_through_both_greens() -> None:
    camera = replace(cameras.find("canon-5d4").drawn(1), read_dn=0.01, row_dn=5.0)
    red, first, second, blue = darkened(torch.zeros(4, 64, 64), camera, 100, 1).mean(2)
    assert float(torch.corrcoef(torch.stack([red, first]))[0, 1]) > 0.99
    assert float(torch.corrcoef(torch.stack([second, blue]))[0, 1]) > 0.99
    assert abs(float(torch.corrcoef(torch.stack([red, second]))[0, 1])) < 0.5


def test_what_a_file_cannot_hold_is_cut_off_and_light_is_kept() -> None:
    camera = Camera(1.0, 4000.0, white_dn=RANGE_DN)
    noisy = darkened(torch.full((4, 64, 64), 0.5), camera, 1, 0)
    assert (float(noisy.min()), float(noisy.max())) == pytest.approx((dark_raw.FLOOR, 1))
    quiet = darkened(torch.full((4, 64, 64), 0.5), Camera(0.01, 0.1, white_dn=RANGE_DN), 100, 0)
    assert float(quiet.mean()) == pytest.approx(0.5, rel=0.01)


def test_a_phone_is_darkened_as_far_as_it_counts() -> None:
    assert suited(200, Camera(1.0, 1.0, white_dn=RANGE_DN)) == 200
    assert suited(200, Camera(1.0, 1.0, white_dn=959.0)) == pytest.approx(12.3, abs=0.1)
    assert suited(2, Camera(1.0, 1.0, white_dn=959.0)) == 1


def test_unknown_laws_and_cameras_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown law 'elt'; did you mean eld"):
        cameras_of(None, "elt", None)
    with pytest.raises(UserError, match="Unknown camera"):
        cameras_of(["kodak"], FULL, None)
    with pytest.raises(UserError, match="no such calibration"):
        cameras_of(None, FULL, tmp_path / "none.toml")


@pytest.mark.parametrize("law", [FULL, PLAIN])
def test_a_recipe_is_followed(law: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "JUDGED", 1)
    card = card_in(tmp_path / "models", law)
    run = recipes.train_model(card, photographs, 0.02, lambda _: None, tmp_path / "runs", "cpu")
    assert {"x100", "x200", "x300"} <= set(json.loads((run / LOG).read_text().splitlines()[-1]))
    recipes.publish(run, card)
    restored = zoo.load(zoo.Card.of(card.folder), device="cpu")(torch.rand(1, 4, 32, 48))
    assert bool(torch.isfinite(restored).all())


# The user's own camera


OWN = Camera(2.0, 30.0, row_dn=4.0, bias_dn=(5.0, 0.0, 0.0, -5.0), white_dn=15000.0, cfa="BGGR")


def test_of_an_own_camera_its_noise_alone_is_drawn(tmp_path: Path) -> None:
    """At every one of its settings, with its fixed pattern, which its Poisson–Gaussian twin does not know."""
    pattern = np.random.default_rng(0).normal(0, 100, (80, 96)).astype(np.float16)
    np.save(tmp_path / "pattern.npy", pattern)
    settings = [
        Calibration(replace(OWN, gain_dn_per_e=gain), (512.0,) * 4, iso, pattern=tmp_path / "pattern.npy")
        for gain, iso in ((1.0, 400), (2.0, 800), (4.0, 1600))
    ]
    (tmp_path / "my.toml").write_text(written(gathered("Mine", settings)))
    draw = cameras_of(None, FULL, tmp_path / "my.toml")
    assert {draw(seed).gain_dn_per_e for seed in range(12)} == {1.0, 2.0, 4.0}
    noisy = darkened(torch.zeros(4, 16, 16), draw(0), 100, 0, (0.99, 0.99)) * 150
    there = torch.from_numpy(pattern[-32:, -32:].astype(np.float32))
    blue = noisy[3] - noisy[3].mean()
    assert float(torch.corrcoef(torch.stack([blue.flatten(), there[::2, ::2].flatten()]))[0, 1]) > 0.9
    with pytest.raises(UserError, match="smaller than a crop"):
        darkened(torch.zeros(4, 64, 64), draw(0), 100, 0)
    twin = cameras_of(None, PLAIN, tmp_path / "my.toml")(0)
    assert (twin.row_dn, twin.pattern_dn, twin.read_lambda, twin.read_dn) == (0, None, None, 30)


def test_a_model_is_trained_on_an_own_camera_and_becomes_another(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "JUDGED", 1)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    card = card_in(tmp_path / "models")
    before = (card.folder / "model.toml").read_text()
    camera = own_camera(tmp_path / "mine.toml", OWN)
    line = ("train", card.folder, "--data", photographs, "--camera", camera, "--minutes", 0.1, "--publish")
    result = denoise(*line, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert (card.folder / "model.toml").read_text() == before
    made = zoo.Card.of(tmp_path / "home" / "denoise" / "models" / "night-mine")
    assert (made.name, made.entries["begun_as"], made.entries["network"]) == ("night-mine", "night", {"width": 4})
    assert not {"scores", "default"} & set(made.entries)
    assert zoo.load(made, device="cpu").facts.kind == "raw"
    assert (tmp_path / "runs" / "night-mine" / "weights.safetensors").exists()


def test_a_camera_without_meaning_is_refused(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = card_in(tmp_path / "models")
    (card.folder / "recipe.toml").write_text("[data]\nsigma = [5, 50]\nbatch = 1\npatch = 32\n[schedule]\n")
    for camera, words in ((own_camera(tmp_path / "mine.toml", OWN), "learns of no camera's noise"),):
        result = denoise("train", card.folder, "--data", photographs, "--camera", camera)
        assert (result.exit_code, words in result.stderr) == (2, True), result.stderr
    (card.folder / "recipe.toml").write_text(RECIPE.format(law=FULL))
    gone = denoise("train", card.folder, "--data", photographs, "--camera", tmp_path / "gone.toml")
    assert (gone.exit_code, "there is no such calibration" in gone.stderr) == (2, True)
    assert not (tmp_path / "runs").exists()
