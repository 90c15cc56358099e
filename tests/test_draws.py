"""Uncertainty: where the results of a model that draws random numbers differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from shelf import denoise
from torch import Tensor

from denoise import seeds, zoo
from denoise.errors import UserError
from denoise.measure.draws import COUNT, Draws
from denoise.methods.method import Method, method
from denoise.run import Options
from denoise.zoo import Card, TorchRestorer

SPREAD = 0.05


@method("toy_unsure_picture")
class UnsurePicture(Method):
    """Sure of the left half only."""

    seeded = True

    def forward(self, noisy: Tensor, survey: Any = None, seed: Any = 0, top: Any = 0, left: Any = 0) -> Tensor:
        drawn = SPREAD * seeds.normal(seed, seeds.located(noisy, top, left))
        drawn[..., : noisy.shape[-1] // 2] = 0
        return noisy + drawn


@method("toy_unsure_sound")
class UnsureSound(Method):
    kind = "audio"
    rate = 16_000
    channels = None
    seeded = True

    def forward(self, noisy: Tensor, survey: Any = None, seed: Any = 0, start: Any = 0) -> Tensor:
        return noisy + SPREAD * seeds.normal_like(noisy, int(seed))


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, kind in (("toy-unsure-picture", "picture"), ("toy-unsure-sound", "audio"), ("toy-sound", "audio")):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / zoo.CARD).write_text(
            f'name = "{name}"\nkind = "{kind}"\nmethod = "{name.replace("-", "_")}"\n'
        )
    monkeypatch.setenv("DENOISE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def draws_of(models: Path, name: str) -> Draws:
    return Draws(TorchRestorer.of(Card.of(models / name)), Options(seed=3))


def test_the_spread_of_a_picture_is_the_standard_deviation(models: Path) -> None:
    spread = draws_of(models, "toy-unsure-picture").of_picture(np.full((64, 80, 3), 0.5, np.float32))
    assert spread.shape == (64, 80, 1)
    assert spread[:, :40].max() < 1e-6
    assert np.sqrt(np.square(spread[:, 40:]).mean()) == pytest.approx(SPREAD, rel=0.05)


def test_the_spread_of_a_sound_has_the_power_of_the_variance(models: Path) -> None:
    apart = draws_of(models, "toy-unsure-sound").of_sound(np.zeros((2, 16_000), np.float32), 16_000)
    assert apart.shape == (2 * COUNT, 16_000)
    assert np.sqrt(np.square(apart).mean()) == pytest.approx(SPREAD, rel=0.05)
    assert np.abs(apart.reshape(COUNT, 2, -1).sum(0)).max() < 1e-5


def test_a_model_that_is_always_sure_is_refused(models: Path) -> None:
    with pytest.raises(UserError, match="neither draws random numbers nor measures noise"):
        draws_of(models, "toy-sound")


@pytest.mark.parametrize("kind", ["picture", "sound"])
def test_compare_draws_one_panel_more(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.png" if kind == "picture" else "a.wav")
    if kind == "picture":
        Image.fromarray(np.full((256, 256, 3), 128, np.uint8)).save(path)
    else:
        soundfile.write(path, np.zeros(16_000), 16_000)
    sizes = []
    for number, more in enumerate(((), ("-m", f"toy-unsure-{kind}"))):
        drawing = tmp_path / f"{number}.png"
        denoise("compare", path, path, "-o", drawing, *more)
        sizes.append(Image.open(drawing).size)
    wider, higher = (other - one for one, other in zip(*sizes, strict=True))
    assert (wider == 256 + 8, higher > 180) == ((True, False) if kind == "picture" else (False, True))
    if kind == "picture":
        unsure = np.asarray(Image.open(tmp_path / "1.png"))[32:288, -264:-8]
        assert unsure[:, :128].max() < 5 < unsure[:, 128:].mean()


def test_a_model_for_another_kind_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16_000)
    found = denoise(
        "compare", tmp_path / "a.wav", tmp_path / "a.wav", "-o", tmp_path / "c.png", "-m", "toy-unsure-picture"
    )
    assert found.exit_code == 2
    assert "is not for sounds" in found.stderr
    assert not (tmp_path / "c.png").exists()
