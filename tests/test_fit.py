"""Training: the same steps whether interrupted or not, a rate that ends in time, weights that are the best seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from denoise import zoo
from denoise.errors import UserError
from denoise.fit import loop, recipes
from denoise.fit.developed import Grain, finished, jpeg_of, resized, smoothed, tinted
from denoise.fit.loop import Run, Schedule, train
from denoise.fit.optimiser import LEAST, Optimiser
from denoise.fit.pictures import LAWS, PAIRINGS, VALIDATION, Pairs, Photographs, busyness, turned, validation_pairs
from denoise.methods.idf import IDF
from denoise.methods.method import Method
from denoise.methods.photo import Photo
from denoise.noise.picture_laws import Jpeg, blurred


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(40):
        rows, columns = np.mgrid[:200, :220] / 200
        wave = np.sin(rows * (3 + index)) * np.cos(columns * (5 + index)) * 0.4 + 0.5
        pixels = np.stack([wave, wave**2, 1 - wave], -1)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def pairs(folder: Path) -> Pairs:
    mix = dict.fromkeys(PAIRINGS, 1.0)
    return Pairs(Photographs.of(folder), mix, batch=2, patch=32, soft={"grainy": 0.5}, tinted=0.3)


def method() -> IDF:
    torch.manual_seed(3)
    return IDF(hidden=8)


def test_photographs_kept_aside_are_never_trained_on(photographs: Path) -> None:
    all_of_them = Photographs.of(photographs)
    assert len(all_of_them.training) + len(all_of_them.validation) == 40
    assert not any(torch.equal(a, b) for a in all_of_them.training for b in all_of_them.validation)
    assert len(all_of_them.validation) >= 1


def test_a_folder_without_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few photographs"):
        Photographs.of(tmp_path)


def test_a_batch_is_a_function_of_seed_and_step(photographs: Path) -> None:
    one, two = pairs(photographs), pairs(photographs)
    for step in range(12):
        assert all(torch.equal(a, b) for a, b in zip(one.at(step), two.at(step), strict=True))
    assert not torch.equal(one.at(0)[1], one.at(1)[1])


def test_pairs_are_eight_bit_pictures_of_the_asked_size(photographs: Path) -> None:
    source = pairs(photographs)
    for step in range(30):
        noisy, clean = source.at(step)
        assert noisy.shape == clean.shape == (2, 3, 32, 32)
        for picture in (noisy, clean):
            assert 0 <= picture.min() <= picture.max() <= 1
            assert torch.allclose(picture * 255, (picture * 255).round(), atol=1e-3)


@pytest.mark.parametrize("name", list(LAWS))
def test_every_law_of_the_mix_changes_the_picture(name: str) -> None:
    clean = torch.full((3, 40, 40), 0.5)
    noisy = LAWS[name](Random(1)).sample(clean, 7)
    assert noisy.shape == clean.shape
    assert (noisy - clean).abs().max() > 1e-3


PULLING_TO_GREY = {"salt_and_pepper", "mixed"}  # what is replaced by black or white does


@pytest.mark.parametrize("name", sorted(PAIRINGS.keys() - PULLING_TO_GREY))
def test_no_pairing_teaches_a_shift_of_colour(name: str) -> None:
    clean = torch.tensor([0.4, 0.5, 0.6])[:, None, None].expand(-1, 64, 64)
    shifts = []
    for index in range(24):
        noisy, target = PAIRINGS[name](clean, Random(index))
        shifts.append((noisy - target).mean((1, 2)))
    assert torch.stack(shifts).median(0).values.abs().max() < 1.5 / 255


def test_clean_pairs_are_equal_and_the_cameras_are_not() -> None:
    clean = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for index in range(8):
        noisy, target = PAIRINGS["clean"](clean, Random(index))
        assert torch.equal(noisy, target)
        noisy, target = PAIRINGS["photographed"](clean, Random(index))
        assert not torch.equal(noisy, target)


def test_some_clean_pairs_are_of_one_colour_and_most_are_not() -> None:
    clean = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    flat = [bool((PAIRINGS["clean"](clean, Random(index))[0].std((1, 2)) < 1e-3).all()) for index in range(60)]
    assert 0.1 < np.mean(flat) < 0.4


def grain_of(**more: float) -> Grain:
    usual = {"luma_blur": 0.7, "chroma_blur": 1.5, "luma_coarse": 0.0, "chroma_coarse": 1.0, "read": 1.0}
    return Grain(**({"sigma": 6.0, "colour": 0.5} | usual | more))


def planes_of(grain: Grain, level: float = 0.5) -> np.ndarray:
    """Brightness of its noise on a flat picture, of 255."""
    noise = grain.noise(torch.full((3, 256, 256), level), torch.Generator().manual_seed(1))
    return np.einsum("c,chw->hw", [0.299, 0.587, 0.114], 255 * noise.numpy())


def test_grain_is_as_strong_and_as_coarse_as_asked() -> None:
    """The autocorrelation of blurred white is exp(-d²/4s²), s being the blur."""
    luma = planes_of(grain_of())
    assert luma.std() == pytest.approx(6, rel=0.03)
    for lag in (1, 2):
        wanted = np.exp(-(lag**2) / (4 * 0.7**2))
        assert np.mean(luma[:, lag:] * luma[:, :-lag]) / luma.var() == pytest.approx(wanted, abs=0.03)
    assert planes_of(grain_of(luma_coarse=1.0)).std() == pytest.approx(6, rel=0.05)


def test_grain_without_colour_is_grey_and_photons_make_no_noise_in_the_dark() -> None:
    clean = torch.full((3, 64, 64), 0.5)
    clean[:, :, :32] = 0.1
    noise = grain_of(colour=0.0, read=0.0).noise(clean, torch.Generator().manual_seed(1))
    assert torch.allclose(noise[0], noise[2], atol=1e-6)
    dark, bright = (grain_of(read=read).strength(clean) for read in (0.0, 1.0))
    assert dark[0, 0] / dark[0, 63] < 0.5 * bright[0, 0] / bright[0, 63]


def test_what_is_resized_keeps_its_size_and_its_pair() -> None:
    picture = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    for scale in (0.6, 0.77, 1.0, 1.33, 1.5):
        both = resized(torch.cat([picture, picture]), scale)
        assert both.shape == (2, 3, 40, 48)
        assert torch.equal(both[0], both[1])


def test_a_jpeg_that_begins_anywhere_is_still_the_same_picture() -> None:
    picture = smoothed(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)), 2)[0]
    results = [jpeg_of(picture, Jpeg(90), Random(index)) for index in range(6)]
    assert all((result - picture).abs().mean() < 3 / 255 for result in results)
    assert any(not torch.equal(result, results[0]) for result in results)


def test_blur_by_fourier_transform_is_blur() -> None:
    picture = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    inner = (..., slice(4, -4), slice(4, -4))
    assert torch.allclose(smoothed(picture, 1.2)[inner], blurred(picture, 1.2)[inner], atol=5e-3)


def test_noise_that_is_clipped_and_rounded_is_what_a_file_holds() -> None:
    clean = torch.full((3, 32, 32), 0.98)
    noisy, target = finished(clean + 0.1, clean, Random(1), compressed=0.0, qualities=(75, 98))
    assert noisy.max() == 1
    assert torch.allclose(target * 255, (target * 255).round(), atol=1e-4)


def test_turning_keeps_every_pixel() -> None:
    picture = torch.rand(3, 5, 5)
    for index in range(16):
        assert torch.equal(turned(picture, Random(index)).flatten().sort().values, picture.flatten().sort().values)


def test_validation_covers_weak_strong_and_coarse_noise(photographs: Path) -> None:
    errors = {
        name: float((noisy - clean).square().mean())
        for name, noisy, clean in validation_pairs(Photographs.of(photographs), 3, 96)
    }
    assert errors["s15"] < errors["s25"] < errors["s50"]
    assert {"grain", "speckle", "salt"} <= set(errors)


def test_what_judges_a_model_is_chosen_by_name(photographs: Path) -> None:
    sets = list(validation_pairs(Photographs.of(photographs), 2, 64, names=tuple(VALIDATION)))
    assert [name for name, *_ in sets] == list(VALIDATION)
    errors = {name: float((noisy - clean).square().mean()) for name, noisy, clean in sets}
    assert errors["clean"] == 0
    assert 0 < errors["compact"] < errors["night"]
    assert errors["sensor"] > 0


def test_soft_pictures_judge_where_noise_is_all_there_is(photographs: Path) -> None:
    (_, _, sharp), (_, noisy, soft) = validation_pairs(Photographs.of(photographs), 2, 64, names=("s15", "soft s15"))
    assert busyness(soft[0]) < busyness(sharp[0])
    assert float((noisy - soft).std()) == pytest.approx(15 / 255, rel=0.1)


def test_only_the_noises_that_say_so_get_soft_pictures() -> None:
    texture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 128, 128), np.uint8))
    kept = Photographs([texture], [texture])

    def edges(soft: dict[str, float]) -> float:
        """How sudden their steps are: of one pixel beside those of two."""
        lessons = Pairs(kept, {"clean": 1.0}, batch=1, patch=32, soft=soft)
        crops = [lessons.pair(Random(seed))[1] for seed in range(24)]
        return float(np.median([busyness(one) / max(busyness(one[:, ::2, ::2]), 1e-6) for one in crops]))

    assert edges({"white": 1.0}) == edges({})
    assert edges({"clean": 1.0}) < 0.9 * edges({})


def test_waves_of_colour_are_slow_and_drawn_anew(photographs: Path) -> None:
    grey = torch.full((3, 96, 96), 0.5)
    one, again, other = (tinted(grey, Random(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert float((one - grey).abs().max()) > 0.02
    steepest = 0.2 * 2 * np.pi / 32  # of the strongest and shortest wave, per pixel; and the rounding to 8 bits
    assert float((one[:, :, 1:] - one[:, :, :-1]).abs().max()) < steepest + 1 / 255


def test_doing_nothing_to_clean_pictures_is_not_worth_everything() -> None:
    assert recipes.picture_score({"s25": 31.0, "clean": 50.0}) == recipes.picture_score({"s25": 31.0, "clean": 45.0})
    assert recipes.picture_score({"s25": 31.0, "clean": 40.0}) < recipes.picture_score({"s25": 31.0, "clean": 45.0})


def small_photo(width: int = 8) -> Photo:
    torch.manual_seed(3)
    return Photo(widths=(width, width), measuring=(8, 8))


@pytest.mark.parametrize(
    ("made", "schedule"),
    [(method, Schedule()), (small_photo, Schedule()), (partial(small_photo, LEAST), Schedule(muon=True))],
    ids=["idf", "photo", "muon"],
)
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    photographs: Path, tmp_path: Path, made: Callable[[], Method], schedule: Schedule
) -> None:
    batches = pairs(photographs).at
    whole = Run(made(), tmp_path / "whole", schedule)
    for _ in range(6):
        whole.advance(*batches(whole.step), 1.0)
    first = Run(made(), tmp_path / "cut", schedule)
    for _ in range(3):
        first.advance(*batches(first.step), 1.0)
    first.save()
    second = Run(made(), tmp_path / "cut", schedule)
    assert second.resume()
    assert second.step == 3
    for _ in range(3):
        second.advance(*batches(second.step), 1.0)
    for name, value in whole.method.state_dict().items():
        assert torch.equal(value, second.method.state_dict()[name])
        assert torch.equal(whole.average[name], second.average[name])


@pytest.mark.parametrize("layer", [nn.Conv2d(24, 32, 3), nn.ConvTranspose2d(24, 16, 2), nn.Linear(20, 40)])
def test_muon_goes_equally_far_in_every_direction(layer: nn.Module) -> None:
    torch.manual_seed(0)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn_like(layer.weight) * torch.logspace(0, -2, len(layer.weight)).view(
        -1, *[1] * (layer.weight.ndim - 1)
    )
    Optimiser(layer, 1e-3, 0.0, muon=True).step(1e-3)
    lengths = torch.linalg.svdvals((layer.weight.detach() - before).flatten(1))
    assert lengths.min() > 0.4 * lengths.max()
    assert float((layer.weight.detach() - before).square().mean().sqrt()) == pytest.approx(2e-4, rel=0.3)  # as AdamW


def test_heads_tails_and_biases_stay_with_adamw() -> None:
    module = nn.Sequential(nn.Conv2d(1, 32, 3), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 3, 3))
    muon = Optimiser(module, 1e-3, 0.0, muon=True)
    assert [weight is module[1].weight for weight, _ in muon.inner] == [True]
    assert not Optimiser(module, 1e-3, 0.0).inner


def test_steps_make_the_loss_smaller(photographs: Path, tmp_path: Path) -> None:
    run = Run(method(), tmp_path, Schedule(rate=3e-3, warm_up=1))
    noisy, clean = pairs(photographs).at(0)
    losses = [run.advance(noisy, clean, 1.0) for _ in range(25)]
    assert min(losses[-5:]) < losses[0] - 0.3


def test_a_step_that_is_not_finite_is_not_taken(tmp_path: Path) -> None:
    run = Run(method(), tmp_path, Schedule())
    before = {name: value.clone() for name, value in run.method.state_dict().items()}
    run.advance(torch.full((1, 3, 16, 16), float("nan")), torch.zeros(1, 3, 16, 16), 1.0)
    assert all(torch.equal(value, before[name]) for name, value in run.method.state_dict().items())


def test_the_rate_warms_up_stays_and_falls_to_nothing() -> None:
    schedule = Schedule(warm_up=10, fall=0.25)
    assert schedule.factor(0, 0.0) == pytest.approx(0.1)
    assert schedule.factor(50, 0.5) == 1
    assert schedule.factor(50, 0.875) == pytest.approx(0.5)
    assert schedule.factor(50, 1.0) == 0


def test_the_state_kept_for_later_is_from_before_the_fall(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count(0, 0.05)  # seconds: this machine's own do not matter
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    run = Run(method(), tmp_path, Schedule())
    told: list[str] = []
    train(run, pairs(photographs).at, lambda _: {"psnr": 1.0}, 0.02, told.append)
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    assert 0 < kept["step"] < run.step
    assert told
    assert (tmp_path / "weights.safetensors").exists()


def test_only_better_averages_replace_the_weights(tmp_path: Path) -> None:
    run = Run(method(), tmp_path, Schedule())
    best = loop.note(run, lambda _: {"psnr": 30.0}, 0.0, float("-inf"), str)
    kept = (tmp_path / "weights.safetensors").read_bytes()
    run.average["network.block.kernel_predictor.weight"].add_(1)
    assert loop.note(run, lambda _: {"psnr": 29.0}, 0.0, best, str) == best == 30
    assert (tmp_path / "weights.safetensors").read_bytes() == kept
    assert loop.note(run, lambda _: {"psnr": 31.0}, 0.0, best, str) == 31
    assert (tmp_path / "weights.safetensors").read_bytes() != kept
    assert loop.best_of(tmp_path) == 31


def test_a_recipe_is_followed_and_its_result_published(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(
        'name = "small"\nkind = "picture"\nmethod = "idf"\nlicence = "MIT"\n\n[network]\nhidden = 8\n'
    )
    (folder / "recipe.toml").write_text(
        "[data]\nbatch = 2\npatch = 32\n[mix]\ngaussian = 1.0\n[schedule]\nrate = 1e-3\n"
    )
    told: list[str] = []
    card = zoo.Card.of(folder)
    run = recipes.train_model(card, photographs, 0.03, told.append, tmp_path / "runs")
    recipes.publish(run, card)
    published = zoo.Card.of(folder)
    assert published.entries["steps"] == json.loads((run / loop.LOG).read_text().splitlines()[-1])["step"]
    assert published.entries["network"] == {"hidden": 8}
    restored = zoo.load(published)(torch.rand(1, 3, 16, 16))
    assert torch.isfinite(restored).all()
    recipes.curve(run, tmp_path / "curve.png")
    assert Image.open(tmp_path / "curve.png").size[0] > 300


def test_a_model_without_a_recipe_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text('name = "bare"\nkind = "picture"\nmethod = "idf"\n')
    with pytest.raises(UserError, match="nothing to train"):
        recipes.recipe_of(zoo.Card.of(tmp_path))


def test_stating_an_entry_leaves_the_rest_of_the_card_alone() -> None:
    card = 'name = "x"\nsha256 = "old"\n\n[network]\nsha256 = "inner"\n'
    assert recipes.stated(card, "sha256", '"new"') == 'name = "x"\nsha256 = "new"\n\n[network]\nsha256 = "inner"\n'
    other = 'name = "x"\n\n[network]\nsteps = 5\n'
    assert recipes.stated(other, "steps", "9") == 'name = "x"\nsteps = 9\n\n[network]\nsteps = 5\n'
    assert recipes.stated(card, "steps", "5").startswith('name = "x"\nsha256 = "old"\nsteps = 5\n\n[network]')
    assert recipes.stated('name = "x"\n', "steps", "5") == 'name = "x"\nsteps = 5\n'


# What is wrong with a run's files


def test_a_line_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 3, "score": 30.5}\n{"step": 6, "sc')
    assert loop.best_of(tmp_path) == 30.5
    assert recipes.best_step(tmp_path) == 3
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 9, "score": 31.5}\n')
    assert recipes.best_step(tmp_path) == 9


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    run = Run(method(), tmp_path, Schedule())
    run.save()
    run.state_file.write_bytes(run.state_file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"state\.pt: is damaged; delete it"):
        run.resume()


def test_a_file_where_the_run_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(UserError, match=r"cannot be made a folder .*put away what is there"):
        Run(method(), tmp_path / "runs" / "one", Schedule())


def test_a_recipe_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("rate 3")
    with pytest.raises(UserError, match=r"recipe\.toml: is not TOML"):
        recipes.recipe_of(SimpleNamespace(name="toy", folder=tmp_path))  # type: ignore[arg-type]


def test_photographs_smaller_than_a_crop_are_refused(photographs: Path) -> None:
    with pytest.raises(UserError, match=r"220×200 px is among them; at least 256 px"):
        Pairs(Photographs.of(photographs), dict.fromkeys(PAIRINGS, 1.0), batch=2, patch=256)


def test_no_such_folder_of_photographs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Photographs.of(tmp_path / "none")
