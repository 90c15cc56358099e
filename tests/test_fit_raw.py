"""Training on raw mosaics that were never taken: photographs undeveloped, and white noise."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
import torch
from raws import waves

from denoise import zoo
from denoise.fit import recipes
from denoise.fit.loop import LOG
from denoise.fit.pictures import Photographs
from denoise.fit.raw import RawPairs, rooted
from denoise.fit.unprocess import GAMMA, Developed, planes, without_curve
from denoise.methods.yond import BRIGHTEST
from denoise.noise.flat_areas import light_of

RECIPE = """
[data]
sigma = [5.0, 50.0]
batch = 2
patch = 32
[schedule]
rate = 1e-3
warm_up = 1
"""
CARD = """
name = "small"
kind = "raw"
method = "yond"
licence = "MIT"
[network]
width = 4
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return waves(tmp_path_factory.mktemp("photographs"))


def pairs(folder: Path, sigma: tuple[float, float] = (10.0, 20.0)) -> RawPairs:
    return RawPairs(Photographs.of(folder), sigma, batch=3, patch=32)


# Undeveloped


def test_the_curve_is_undone() -> None:
    x = torch.linspace(0, 1, 50)
    assert torch.allclose(without_curve(3 * x**2 - 2 * x**3), x, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_grey_becomes_grey_of_the_camera_and_white_stays_white(seed: int) -> None:
    """What a camera develops to grey had the inverse gains of its white balance; the brightest is left as it is."""
    camera = Developed.drawn(Random(seed))
    red, green, blue = camera.undone(torch.full((3, 2, 2), 0.4))[:, 0, 0].tolist()
    light = float(without_curve(torch.tensor(0.4))) ** GAMMA
    assert green == pytest.approx(light / camera.brightness, rel=1e-4)
    assert (green / red, green / blue) == pytest.approx((camera.red, camera.blue), rel=1e-4)
    assert torch.allclose(camera.undone(torch.ones(3, 2, 2)), torch.ones(3, 2, 2), atol=1e-3)
    assert float(camera.undone(torch.zeros(3, 2, 2)).max()) < 1e-6


def test_brighter_stays_brighter() -> None:
    ramp = torch.linspace(0, 1, 200).expand(3, 1, -1)
    green = Developed.drawn(Random(1)).undone(ramp)[1, 0]
    assert bool((green.diff() >= 0).all())


def test_every_site_keeps_its_own_colour() -> None:
    light = torch.arange(3 * 4 * 6).view(3, 4, 6).float()
    red, first, second, blue = planes(light)
    assert (red[0, 0], first[0, 0], second[0, 0], blue[0, 0]) == (
        light[0, 0, 0],
        light[1, 0, 1],
        light[1, 1, 0],
        light[2, 1, 1],
    )
    assert planes(light).shape == (4, 2, 3)


# Pairs


def test_a_batch_is_a_function_of_seed_and_step(photographs: Path) -> None:
    one, same = pairs(photographs).at(3), pairs(photographs).at(3)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], pairs(photographs).at(4)[0])
    assert one[0].shape == (3, 4, 32, 32)


def test_the_noise_is_white_and_as_strong_as_drawn(photographs: Path) -> None:
    noisy, clean = pairs(photographs, (15.0, 15.0)).at(0)
    noise = noisy - clean
    assert float(noise.std()) * 255 == pytest.approx(15, rel=0.03)
    assert abs(float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean())) < 0.05
    assert float(clean.min()) >= 0
    assert float(clean.max()) <= 1


def test_roots_of_light_are_as_yond_shows_them(photographs: Path) -> None:
    """Whatever the exposure, and lamps within bounds."""
    cells = RawPairs(Photographs.of(photographs), (1.0, 1.0), 1, 64).cells(Random(3))
    roots = rooted(cells)
    assert torch.allclose(rooted(cells / 16), roots, atol=1e-5)
    light = light_of(cells[None])
    assert torch.allclose(roots.square() * light, cells, atol=1e-5)
    cells[:, :2, :2] = 100 * light
    assert float(rooted(cells).max()) == BRIGHTEST
    shown = RawPairs(Photographs.of(photographs), (1.0, 1.0), 1, 64, even=1.0).shown(cells, Random(0))
    assert torch.equal(shown, rooted(cells))


def test_some_crops_are_soft(photographs: Path) -> None:
    sharp, soft = (RawPairs(Photographs.of(photographs), (1.0, 1.0), 8, 32, soft=share).at(0)[1] for share in (0, 1))
    steps = [float((clean[..., 1:] - clean[..., :-1]).abs().mean() / clean.mean()) for clean in (sharp, soft)]
    assert steps[1] < steps[0]


def test_a_recipe_is_followed(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "JUDGED", 1)
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(CARD)
    (folder / "recipe.toml").write_text(RECIPE)
    card = zoo.Card.of(folder)
    run = recipes.train_model(card, photographs, 0.02, lambda _: None, tmp_path / "runs", "cpu")
    assert {"s1", "s5", "s15", "s50"} <= set(json.loads((run / LOG).read_text().splitlines()[-1]))
    recipes.publish(run, card)
    restored = zoo.load(zoo.Card.of(folder), device="cpu")(torch.rand(1, 4, 32, 48))
    assert bool(torch.isfinite(restored).all())
