"""MID: what a mask hides is not seen, masks are averaged, and the set of noise keeps to noise from round to round."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from shelf import denoise
from torch import Tensor

from denoise import seeds, zoo
from denoise.errors import UserError
from denoise.fit import loop, recipes
from denoise.fit.pictures import Photographs
from denoise.fit.unpaired import STRONGER, UnpairedNoise, unpaired
from denoise.measure import bench_mid
from denoise.measure.bench import Wish
from denoise.methods.method import Method
from denoise.methods.mid import Mid, surroundings
from denoise.noise.patches import Patches, left_over
from denoise.noise.picture_laws import Gaussian, Poisson
from denoise.run import Options, restore_picture
from denoise.signals import Picture


def small(drop: float = 0.5) -> Mid:
    torch.manual_seed(1)
    mid = Mid((8, 8), drop)
    with torch.no_grad():
        mid.network.tail.weight.normal_(0, 0.05)
    return mid.eval()


def scene(number: int = 0, height: int = 160, width: int = 160) -> Tensor:
    """Slow waves of every brightness, (3, H, W)."""
    down, across = torch.arange(height)[:, None] / height, torch.arange(width) / width
    planes = [0.15 + 0.65 * down * (0.6 + 0.4 * torch.sin(4 * across + colour + number)) for colour in range(3)]
    return torch.stack(planes)


def striped() -> Tensor:
    """The left half flat, the right half of a texture that repeats every four pixels."""
    picture = scene(1, 192, 192)
    picture[..., 96:] += 0.12 * torch.sin(torch.pi * (torch.arange(96) / 2 + 0.25))
    return picture


class Blur(Method):
    """As a restorer that takes half of the texture with the noise."""

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        padded = F.pad(noisy, (3,) * 4, mode="replicate")
        return 0.35 * noisy + 0.65 * F.avg_pool2d(padded, 7, 1)


class Smooth(Method):
    """As a restorer that is almost perfect where nothing but slow waves are."""

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        return F.avg_pool2d(F.pad(noisy, (4,) * 4, mode="replicate"), 9, 1)


# The method


@pytest.mark.parametrize("drop", [0.2, 0.5, 0.8])
def test_as_many_pixels_are_dropped_as_asked_for(drop: float) -> None:
    mid = Mid((8, 8), drop)
    masks = torch.cat([mid.mask(seeds.located(torch.zeros(1, 1, 100, 100), 0, 0), 5, number) for number in range(4)])
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert float(1 - masks.mean()) == pytest.approx(drop, abs=0.01)
    together = float((masks[0] * masks[1]).mean())
    assert together == pytest.approx((1 - drop) ** 2, abs=0.02)  # one says nothing of another


def test_what_a_mask_hides_is_not_seen() -> None:
    mid, noisy = small(), torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    mask = mid.mask(seeds.located(noisy[:, :1], 0, 0), 3, 0)
    other = torch.where(mask > 0, noisy, 1 - noisy)
    with torch.no_grad():
        assert torch.equal(mid.filled(noisy, mask), mid.filled(other, mask))
        assert not torch.equal(mid.filled(noisy, mask), mid.filled(noisy.roll(1, 3), mask))


def test_the_answer_is_the_mean_over_the_masks() -> None:
    mid, noisy = small(), 0.3 + 0.4 * torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        places = seeds.located(noisy[:, :1], 0, 0)
        single = [mid.filled(noisy, mid.mask(places, 7, number)) for number in range(3)]
        assert torch.allclose(mid(noisy, masks=3, seed=7), torch.stack(single).mean(0).clamp(0, 1), atol=1e-6)
        assert not torch.equal(mid(noisy, masks=1, seed=7), mid(noisy, masks=1, seed=8))


def test_more_masks_leave_less_chance() -> None:
    mid, noisy = small(), Gaussian(20).sample(scene(0, 48, 48), 1)[None]
    with torch.no_grad():
        few, many = (mid(noisy, masks=masks, seed=1) - mid(noisy, masks=masks, seed=2) for masks in (1, 16))
    assert many.std() < 0.4 * few.std()


def test_pieces_draw_the_same_masks_as_the_whole() -> None:
    mid = small()
    restorer = zoo.TorchRestorer(mid, zoo.facts_of(bench_mid.CARD, mid))
    picture = Picture(Gaussian(10).sample(scene(0, 200, 150), 1).permute(1, 2, 0).numpy(), 1.0)
    whole, cut = (restore_picture(picture, restorer, Options(piece=piece)) for piece in (1000, 96))
    assert np.abs(whole - cut).max() < mid.bound


def test_the_first_guess_is_what_is_seen_around() -> None:
    flat = torch.full((1, 3, 40, 40), 0.4)
    mask = (torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0)) > 0.8).float()
    mask[..., 10:25, 10:25] = 0
    assert torch.allclose(surroundings(flat * mask, mask), flat, atol=1e-4)


def test_it_learns_to_fill_in(tmp_path: Path) -> None:
    torch.manual_seed(2)
    run = loop.Run(Mid((8, 8)), tmp_path, loop.Schedule(rate=5e-3, warm_up=1))
    clean = torch.stack([striped()[:, 40:104, 60:124]] * 2)
    losses = [run.advance(Gaussian(15).sample(clean, step), clean, 1.0) for step in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


# The set of noise


def test_the_first_noise_is_white_and_as_strong_as_asked() -> None:
    drawn = 255 * Patches.gaussian(20).drawn(torch.full((3, 150, 130), 0.3), 4)
    assert float(drawn.std()) == pytest.approx(20, rel=0.03)
    assert abs(float((drawn[..., 1:] * drawn[..., :-1]).mean() / drawn.square().mean())) < 0.03
    assert not torch.equal(drawn, 255 * Patches.gaussian(20).drawn(torch.full((3, 150, 130), 0.3), 5))


def alike(residual: Tensor, picture: Tensor) -> float:
    """Correlation with the picture's own detail."""
    detail = picture - Smooth()(picture[None])[0]
    centred = residual - residual.mean()
    return float((centred * detail).mean() / (centred.std() * detail.std()))


def test_noise_sets_learn_no_texture() -> None:
    """Half of what is taken away is of the texture; of what is kept of it nothing is."""
    clean = striped()
    noisy = Gaussian(12).sample(clean, 3)
    denoised = Blur()(noisy[None])
    found = left_over(noisy[None], denoised)
    assert found is not None
    residual = noisy - denoised[0]
    assert alike(residual[..., 96:], clean[..., 96:]) > 0.5
    stripes = residual[..., 100:-4]
    assert float((stripes[..., 4:] * stripes[..., :-4]).mean() / stripes.square().mean()) > 0.3
    assert abs(found.correlation(4)) < 0.1
    assert abs(alike(found.drawn(clean, 1)[..., 96:], clean[..., 96:])) < 0.05
    assert found.sigma == pytest.approx(255 * float(residual[..., :90].std()), rel=0.15)


def lessons(pictures: list[Tensor]) -> UnpairedNoise:
    pages = [SimpleNamespace(tiles=picture[None]) for picture in pictures]
    photographs = Photographs([(255 * scene(5)).byte()], [(255 * scene(6)).byte()])
    return UnpairedNoise(photographs, pages, [], 2, 48, [Patches.gaussian(40)])  # type: ignore[arg-type]


def test_a_round_replaces_white_noise_by_that_of_the_pictures() -> None:
    law = Poisson(120)
    lesson = lessons([law.sample(scene(number), number) for number in range(3)])
    before = lesson.at(0)
    found = lesson.renew(Smooth())
    after = lesson.at(0)
    assert found["pictures that gave noise"] == 3
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0], after[0])
    for brightness in (0.2, 0.6):
        flat = torch.full((3, 80, 80), brightness)
        drawn = torch.stack([one.drawn(flat, 1) for one in lesson.noise])
        assert float(drawn.std()) == pytest.approx(float(law.variance(flat).mean().sqrt()), rel=0.2)


def test_grey_pictures_give_noise_without_colour() -> None:
    lesson = lessons([Gaussian(20).sample(scene(number)[:1], number) for number in range(2)])
    assert lesson.renew(Smooth())["sigma"] == pytest.approx(20, rel=0.1)
    noisy, clean = lesson.at(0)
    noise = (noisy - clean)[(noisy > 0) & (noisy < 1)]
    assert noisy.shape == clean.shape == (2, 3, 48, 48)
    weakest, strongest = STRONGER
    assert 0.9 * 20 * weakest < 255 * float(noise.std()) < 1.1 * 20 * strongest


def test_where_no_noise_is_found_the_old_one_stays() -> None:
    lesson = lessons([torch.ones(3, 64, 64)])
    assert lesson.renew(Smooth()) == {"pictures that gave noise": 0, "sigma": pytest.approx(40)}


# Rounds, recipe and bench


def folders(root: Path, clean: str = "clean", noisy: str = "noisy") -> Path:
    for number in range(40):
        save(root / clean / f"{number}.png", scene(number, 80, 80))
    for number in range(5):
        save(root / noisy / f"{number}.jpg", Gaussian(15).sample(scene(50 + number), number))
    return root


def save(path: Path, picture: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (255 * picture.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(values).save(path, quality=97)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(0, 0.6)  # seconds: this machine's own do not matter
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr("denoise.fit.unpaired.JUDGED", 1)


def test_a_recipe_trains_it_in_rounds(tmp_path: Path, few_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes, "curve", lambda *_: None)  # drawn in tests of its own
    (tmp_path / "small").mkdir()
    card = 'name = "small"\nkind = "picture"\nmethod = "mid"\nlicence = "MIT"\n\n[network]\nwidths = [8, 8]\n'
    (tmp_path / "small" / zoo.CARD).write_text(card)
    recipe = 'lessons = "unpaired noise"\n[data]\nbatch = 1\npatch = 32\nrounds = 2\n[schedule]\nrate = 1e-3\n'
    (tmp_path / "small" / recipes.RECIPE).write_text(recipe)
    answer = denoise("train", "small", "--data", folders(tmp_path / "data"), "--minutes", 0.1, "--publish")
    assert answer.exit_code == 0, answer.output
    assert "round 2: pictures that gave noise" in answer.stderr
    save(tmp_path / "one.png", Gaussian(15).sample(scene(), 1))
    assert denoise("clean", "one.png", "-o", "out.png", "--model", "small", "--set", "masks=2").exit_code == 0


def test_both_folders_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data and --noisy"):
        recipes.of_unpaired({"data": {}}, recipes.Material(tmp_path), tmp_path, print)


def test_pictures_that_show_no_noise_are_refused(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", (seeds.uniform(number, seeds.positions((3, 140, 140), 0)) > 0.5).float())
    with pytest.raises(UserError, match="too little of these pictures is flat"):
        unpaired(tmp_path, tmp_path, 1, 32, print)


def test_the_bench_tells_every_round_beside_its_peers(
    tmp_path: Path, few_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_mid, "Mid", partial(Mid, (8, 8)))
    monkeypatch.setattr(bench_mid, "BATCH", 1)
    monkeypatch.setattr(bench_mid, "CROP", 64)
    monkeypatch.setattr(bench_mid, "ROUNDS", 2)
    monkeypatch.setattr(bench_mid, "slow", lambda noise, wish: {})
    folders(tmp_path, "train_open", "real_polyu/noisy")
    for number in range(5):
        save(tmp_path / "real_polyu" / "clean" / f"{number}.jpg", scene(50 + number))
    rows = list(bench_mid.run(Wish(device="cpu", data=tmp_path, limit=1, minutes=0.05)))
    assert [str(row["method"]).partition(",")[0] for row in rows] == ["noisy", "idf-picture", "mid", "mid"]
    assert all(np.isfinite([row["psnr_db"], row["ssim"]]).all() for row in rows)
    assert rows[2]["noise_sigma"] is None
    assert rows[3]["noise_sigma"] is not None
