"""A model fitted to your own pictures: noise as it is seen, an error estimated without clean ones, and the gate."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save
from shelf import denoise, tree
from torch import Tensor, nn

from denoise import seeds, zoo
from denoise.errors import UserError
from denoise.fit import loop, own_lessons, own_pages, own_pictures
from denoise.fit.own_lessons import Lesson, Part
from denoise.fit.own_pages import Page
from denoise.fit.own_pictures import Judgement, Taught
from denoise.measure import bench_fit
from denoise.measure.bench import Wish
from denoise.methods.method import Method, method
from denoise.noise import principal
from denoise.noise.law import PictureLaw
from denoise.noise.patches import CERTAIN, IN_FLAT_PLACES, Patches, seen
from denoise.noise.picture_laws import Gaussian, Poisson, SaltAndPepper, eight_bit
from denoise.noise.picture_level import estimate
from denoise.restorer import Facts
from denoise.signals import Picture

FACTS = Facts("judged", "picture", channels=3)


def scene(number: int = 0, height: int = 160, width: int = 160) -> Tensor:
    """Slow waves of every brightness, (3, H, W)."""
    down, across = torch.arange(height)[:, None] / height, torch.arange(width) / width
    planes = [0.15 + 0.65 * down * (0.6 + 0.4 * torch.sin(4 * across + colour + number)) for colour in range(3)]
    return torch.stack(planes)


def coarse_noise(height: int, width: int, sigma: float, seed: int) -> Tensor:
    """In grains of three pixels."""
    white = seeds.normal(seed, seeds.positions((1, 3, height + 2, width + 2), 0))
    return F.avg_pool2d(white, 3, 1)[0] * 3 * sigma / 255


def pixels(picture: Tensor, depth: int = 8) -> np.ndarray:
    white = 2**depth - 1
    values = (picture.clamp(0, 1) * white).round().permute(1, 2, 0).numpy()
    return values.astype(np.uint8 if depth == 8 else np.uint16)


def page(noisy: Tensor, name: str = "one") -> Page:
    picture = Picture(pixels(noisy), 255)
    noise, tiles = estimate(picture), own_pages.tiles_of(picture)
    return Page(name, tiles, noise, seen(tiles, noise))


def patches_of(noisy: Tensor) -> Patches:
    found = page(noisy).patches
    assert found is not None
    return found


@method("poor_smoother")
class PoorSmoother(Method):
    """Before it has learnt anything it does nothing."""

    def __init__(self, able: bool = True) -> None:
        super().__init__()
        self.able = able
        self.kernel = nn.Parameter(torch.zeros(1, 1, 5, 5))

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        kernel = (120 if self.able else 0) * self.kernel.expand(3, -1, -1, -1)
        return noisy + F.conv2d(F.pad(noisy, (2,) * 4, mode="replicate"), kernel, groups=3)


class Box(Method):
    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        return F.avg_pool2d(noisy, 5, 1, 2, count_include_pad=False)


def stock(folder: Path, able: bool = True) -> Path:
    folder.mkdir(parents=True)
    content = save(PoorSmoother().state_dict())
    (folder / zoo.WEIGHTS).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    text = f'name = "poor"\nkind = "picture"\nmethod = "poor_smoother"\nlicence = "MIT"\nsha256 = "{digest}"\n'
    (folder / zoo.CARD).write_text(f"{text}\n[network]\nable = {str(able).lower()}\n")
    return folder


def shot(folder: Path, number: int, side: int = 160, sigma: float = 20.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    noisy = Gaussian(sigma).sample(scene(number, side, side), 50 + number)
    Image.fromarray(pixels(noisy)).save(folder / f"{number}.png")
    return folder


def roll(folder: Path, pictures: int = 5) -> Path:
    for number in range(pictures):
        shot(folder, number)
    return folder


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """About 60 steps in a twentieth of a minute, however fast this machine is."""
    tick(monkeypatch, 0.025)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    tick(monkeypatch, 0.2)


def tick(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    ticks = count(0, seconds)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


# Noise as it was seen


def test_noise_that_grows_with_brightness_does_so_when_it_is_drawn() -> None:
    law = Poisson(150)
    found = patches_of(law.sample(scene(), 3))
    for brightness in (0.2, 0.6):
        flat = torch.full((3, 90, 90), brightness)
        wanted = float(law.variance(flat).mean().sqrt())
        assert float(found.drawn(flat, 1).std()) == pytest.approx(wanted, rel=0.2)


def test_grains_are_seen_and_drawn_as_coarse_as_they_are() -> None:
    noise = coarse_noise(160, 160, 9, 4)
    coarse, white = patches_of(scene() + noise), patches_of(Gaussian(9).sample(scene(), 4))
    assert coarse.coarse
    assert 2 <= coarse.grain <= 4
    assert not white.coarse
    assert white.grain == 1
    drawn = coarse.drawn(torch.full((3, 120, 120), 0.4), 1)
    alike = [float((field[..., 1:] * field[..., :-1]).mean() / field.square().mean()) for field in (drawn, noise)]
    assert alike[0] == pytest.approx(alike[1], abs=0.12)
    assert "in grains of" in coarse.describe()
    assert "independent" in white.describe()


def test_texture_does_not_make_white_noise_stronger() -> None:
    clean = scene(3, 256, 256)
    clean = clean + 0.05 * torch.sin(torch.arange(256) / 4) * torch.sin(torch.arange(256) / 5)[:, None]
    found = patches_of(Gaussian(10).sample(clean, 2))
    assert 255 * float(found.drawn(clean, 1).std()) == pytest.approx(10, rel=0.1)


def test_where_nothing_is_flat_no_noise_is_claimed() -> None:
    noisy = seeds.uniform(1, seeds.positions((3, 160, 160), 0))
    assert seen(noisy[None], estimate(Picture(np.zeros((8, 8, 3), np.uint8), 255))) is None


def leaves(height: int = 320, width: int = 320) -> Tensor:
    """Edges everywhere, nothing flat: squares of many sizes laid over each other, each of a tint of its own."""
    dice, picture = Random(3), torch.zeros(3, height, width)
    for size in (64, 32, 16, 8):
        for _ in range(4 * height * width // size**2):
            top, left = dice.randrange(height), dice.randrange(width)
            grey = dice.uniform(0.25, 0.75)
            colour = torch.tensor([grey + dice.uniform(-0.05, 0.05) for _ in range(3)])
            picture[:, top : top + size, left : left + size] = colour[:, None, None]
    return picture


@pytest.mark.parametrize("law", [Gaussian(8), Gaussian(20), Poisson(100)], ids=["weak", "strong", "photons"])
def test_white_noise_is_measured_where_nothing_is_flat(law: PictureLaw) -> None:
    clean = leaves()
    found = principal.curve_of(law.sample(clean, 4)[None])
    assert found is not None
    for level, variance in zip(*found, strict=True):
        assert float(variance) == pytest.approx(float(law.variance(level)), rel=0.15, abs=(4 / 255) ** 2)


def test_white_noise_is_measured_where_a_part_of_it_is_clipped() -> None:
    """Beside black only the bright half of it is left, of which as much is no fair sample."""
    clean = (1.6 * (leaves() - 0.25)).clamp(0, 1)
    found = principal.curve_of(eight_bit(Gaussian(20).sample(clean, 4))[None])
    assert found is not None
    assert 255 * float(found[1].mean().sqrt()) == pytest.approx(20, rel=0.04)


def test_noise_in_grains_is_not_taken_for_white() -> None:
    assert principal.curve_of((leaves() + coarse_noise(320, 320, 12, 6))[None]) is None


def test_noise_of_all_colours_together_is_not_taken_for_that_of_each() -> None:
    grey = seeds.normal(4, seeds.positions((1, 320, 320), 0)) * 12 / 255
    found = patches_of(scene(2, 320, 320) + grey)
    assert found.sigma == pytest.approx(12, rel=0.1)
    drawn = found.drawn(torch.full((3, 96, 96), 0.4), 1)
    assert float((drawn[0] * drawn[1]).mean() / drawn.square().mean()) > 0.9


def test_pictures_without_colours_do_not_make_noise_stronger_than_in_flat_places() -> None:
    fine = seeds.uniform(1, seeds.positions((1, 160, 160), 0)) * 0.08
    clean = scene(2, 320, 320).mean(0, keepdim=True)
    clean[:, 160:, :160] += fine
    found = patches_of(Gaussian(6).sample(clean, 4))
    assert found.sigma < 1.1 * 6


@pytest.mark.parametrize("grains", [False, True], ids=["white", "coarse"])
def test_no_noise_is_drawn_twice(grains: bool) -> None:
    noise = coarse_noise(160, 160, 12, 6) if grains else Gaussian(12).sample(scene(), 6) - scene()
    found, flat = patches_of(scene() + noise), torch.full((3, 96, 96), 0.4)
    kept = found.drawn(flat, 0).flatten()
    alike = [
        float(torch.corrcoef(torch.stack([kept, found.drawn(flat, seed).flatten()]))[0, 1]) for seed in range(1, 9)
    ]
    assert max(abs(value) for value in alike) < 0.1


def test_halves_of_the_patches_have_none_in_common() -> None:
    one, other = (patches_of(scene() + coarse_noise(160, 160, 12, 6)).half(which) for which in (0, 1))
    assert not any(torch.equal(a, b) for a in one.shapes for b in other.shapes)


# The lesson


def part_of(noise: Tensor, sigma: float) -> tuple[Part, Tensor]:
    clean = scene(2, 128, 128)
    return Part(clean + noise, Patches.gaussian(sigma)), clean


def test_what_is_shown_and_what_is_asked_for_err_independently() -> None:
    part, clean = part_of(Gaussian(20).sample(scene(2, 128, 128), 5) - scene(2, 128, 128), 20)
    shown, asked = own_lessons.recorrupted(part, Random(1))
    asked_for = asked.isfinite()
    one, other = (shown - clean)[asked_for], (asked - clean)[asked_for]
    assert abs(float((one * other).mean() / (one.std() * other.std()))) < 0.03
    assert float(one.std()) > 1.05 * 20 / 255


def test_what_is_clipped_is_not_asked_for_and_not_judged() -> None:
    """Where it is black, clipped noise is all on one side."""
    clean = torch.linspace(-0.1, 0.9, 256).clamp(min=0).expand(3, 256, 256)
    noisy = Gaussian(20).sample(clean, 5)
    clipped, whole = (Part(one, Patches.gaussian(20)) for one in (noisy.clamp(0, 1), noisy))
    _, asked = own_lessons.recorrupted(clipped, Random(1))
    dark = clean[0, 0] < 20 / 255
    assert float(asked[..., dark].isfinite().float().mean()) < 0.01
    bright = (clean[0, 0] > 60 / 255) & (clean[0, 0] < 190 / 255)
    assert asked[..., bright].isfinite().all()
    assert float((asked - clean)[..., bright].mean()) == pytest.approx(0, abs=0.003)
    assert own_lessons.unclipped(whole).all(), "values below black and above white show that none are cut"
    given = clipped.tile[None]
    sure = own_lessons.unclipped(clipped)
    true = float((Box()(given)[0] - clean).square()[sure].mean())
    assert float(own_lessons.unbiased(Box(), clipped, FACTS, 9)) == pytest.approx(true, rel=0.25, abs=(1 / 255) ** 2)


def test_pictures_that_are_clipped_nearly_everywhere_are_taught_by_masks() -> None:
    pages = [page(Gaussian(20).sample(0.08 * scene(number), number)) for number in range(5)]
    lesson = own_lessons.lesson_of(pages, Box(), FACTS, 0)
    assert lesson.masks


@pytest.mark.parametrize("grains", [False, True], ids=["white", "coarse"])
def test_the_error_is_estimated_without_the_clean_picture(grains: bool) -> None:
    clean = scene(1, 256, 256)
    noise = coarse_noise(256, 256, 12, 6) if grains else Gaussian(12).sample(clean, 6) - clean
    found = patches_of(clean + noise)
    for restorer in (Box(), Taught(PoorSmoother())):
        with torch.no_grad():
            true = float((restorer((clean + noise)[None]) - clean).square().mean())
            estimated = float(own_lessons.unbiased(restorer, Part(clean + noise, found), FACTS, 9))
        assert estimated == pytest.approx(true, rel=0.25, abs=(2 / 255) ** 2)


@pytest.mark.parametrize("grain", [1, 3])
def test_what_is_asked_for_behind_a_mask_is_not_shown(grain: int) -> None:
    tile = torch.arange(96 * 96).reshape(1, 96, 96).float()
    hidden, centres = own_lessons.holes(tile, grain, Random(2))
    assert int(centres.sum()) > 10
    for _, row, column in centres.nonzero().tolist():
        rows = slice(max(0, row - grain + 1), row + grain)
        columns = slice(max(0, column - grain + 1), column + grain)
        around = tile[0, rows, columns]
        assert (hidden[0, rows, columns] != around).all()
        assert not torch.isin(hidden[0, row, column], around)


def test_pictures_without_flat_places_are_taught_by_masks_as_wide_as_the_grain() -> None:
    noisy = scene() + coarse_noise(160, 160, 9, 4)
    pages = [
        Page(
            "one",
            own_pages.tiles_of(Picture(pixels(noisy), 255)).repeat(4, 1, 1, 1),
            estimate(Picture(np.zeros((8, 8, 3), np.uint8), 255)),
            None,
        )
    ]
    lesson = own_lessons.lesson_of(pages, Box(), FACTS, 0)
    assert lesson.masks
    assert lesson.grain > 1
    assert "masked pixels with all that lie" in lesson.describe()
    shown, asked = lesson.at(0)
    assert shown.shape == asked.shape
    assert 0 < float(asked.isfinite().float().mean()) < 0.1
    assert math.isfinite(Taught(PoorSmoother()).loss(shown, asked, 0).item())
    assert torch.isfinite(lesson.errors(Box())).all()


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    lessons = [lesson() for _ in range(2)]
    for step in range(3):
        both = zip(*(one.at(step) for one in lessons), strict=True)
        assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in both)
    assert not torch.equal(lessons[0].at(0)[0], lessons[0].at(1)[0])


def lesson() -> Lesson:
    pages = [page(Gaussian(20).sample(scene(number), number)) for number in range(5)]
    return own_lessons.lesson_of(pages, Box(), FACTS, 0)


def test_what_judges_is_never_learnt_from() -> None:
    whole = lesson()
    assert whole.kept_aside == "2 pictures"
    assert not any(torch.equal(one.tile, other.tile) for one in whole.training for other in whole.aside)


# The command


def root_mean_square(one: np.ndarray, other: Tensor) -> float:
    return float(np.sqrt(np.mean((one.astype(np.float64) - pixels(other)) ** 2)))


def test_a_poor_model_becomes_a_better_one(tmp_path: Path, steps: None) -> None:
    folder, poor, mine = roll(tmp_path / "noisy"), stock(tmp_path / "poor"), tmp_path / "my-model"
    answer = denoise("fit", folder, "-o", mine, "--from", poor, "--minutes", 0.05, "--device", "cpu", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["kept"]
    assert told["after"] < 0.7 * told["before"]
    assert told["before"] == pytest.approx(20, rel=0.1)
    assert {path.name for path in mine.iterdir()} == {"model.toml", "weights.safetensors", "README.md"}
    assert zoo.Card.of(mine).entries["fitted"]["start"] == "poor"
    unseen = shot(tmp_path / "later", 9) / "9.png"
    for name in (poor, mine):
        assert denoise("clean", unseen, "-o", tmp_path / name.name / "9.png", "--model", name).exit_code == 0
    left = [
        root_mean_square(np.array(Image.open(tmp_path / name / "9.png")), scene(9)) for name in ("poor", "my-model")
    ]
    assert left[1] < 0.7 * left[0]


def test_what_is_no_better_is_not_written(tmp_path: Path, few_steps: None) -> None:
    folder, poor = roll(tmp_path / "noisy"), stock(tmp_path / "poor", able=False)
    before = tree(tmp_path)
    answer = denoise("fit", folder, "-o", tmp_path / "mine", "--from", poor, "--minutes", 0.05, "--device", "cpu")
    assert answer.exit_code == 0, answer.output
    assert "Not better for certain: nothing is written" in answer.stdout
    assert tree(tmp_path) == before


def test_only_a_smaller_error_that_can_be_one_is_better(tmp_path: Path) -> None:
    wish, card = own_pictures.Wish(tmp_path, tmp_path / "mine"), zoo.Card(tmp_path, {"name": "poor"})
    before = torch.full((4,), 1e-3)
    afters = {"Written": before / 2, "neither can be judged": -before}
    few = before * torch.tensor([0.1, 1.01, 1.01, 1.01])
    told = [*afters.items(), ("Not better for certain", before.clone()), ("Not better for certain", few)]
    for sentence, after in told:
        result = own_pictures.verdict(lesson(), card, wish, 1, judgement(before), judgement(after))
        assert sentence in result.as_text()
        assert (result.folder is not None) == (sentence == "Written")


def judgement(errors: Tensor, doubted: float = 0.0, taken: float = 1.0) -> Judgement:
    return Judgement(errors, [errors + doubted, errors - doubted], taken)


def test_what_is_only_better_if_the_noise_was_measured_well_is_not_better() -> None:
    before, after = torch.full((4,), 1e-3), torch.full((4,), 8e-4)
    assert own_pictures.is_better(judgement(after), judgement(before), masks=False)
    assert not own_pictures.is_better(judgement(after, doubted=3e-4), judgement(before), masks=False)


def test_what_only_its_owner_can_tell_is_asked_of_him(tmp_path: Path) -> None:
    """Where white noise was measured in flat places of grey pictures, or grains; not where it is certain already."""
    wish, card = own_pictures.Wish(tmp_path, tmp_path / "mine"), zoo.Card(tmp_path, {"name": "poor"})
    before, after = judgement(torch.full((4,), 1e-3)), judgement(torch.full((4,), 8e-4), doubted=3e-4)
    grainy = [scene(n) + coarse_noise(160, 160, 15, n) for n in range(5)]
    (tmp_path / "noisy").mkdir()
    for number, noisy in enumerate(grainy):
        Image.fromarray(pixels(noisy)).save(tmp_path / "noisy" / f"{number}.png")
    for flat, doubt, sentence in ((False, IN_FLAT_PLACES, "say --flat"), (True, CERTAIN, "Not better for certain")):
        asked = replace(wish, folder=tmp_path / "noisy", flat=flat)
        made = own_lessons.lesson_of(own_pictures.pages_for(asked, card, print), Box(), FACTS, 0)
        assert made.doubt == doubt
        result = own_pictures.verdict(made, card, asked, 1, before, after)
        assert result.folder is None
        assert sentence in result.as_text()
        assert ("on their owner's word" in result.judged_by) == flat


def test_behind_masks_more_may_not_be_taken_away() -> None:
    before, after = torch.full((4,), 1e-3), torch.full((4,), 8e-4)
    for taken, better in ((1.1, True), (1.5, False)):
        assert own_pictures.is_better(judgement(after, taken=taken), judgement(before), masks=True) == better
    assert own_pictures.is_better(judgement(after, taken=1.5), judgement(before), masks=False)


def test_one_large_picture_is_divided(tmp_path: Path, few_steps: None) -> None:
    picture, poor = tmp_path / "one.png", stock(tmp_path / "poor")
    Image.fromarray(pixels(scene(0, 300, 300) + coarse_noise(300, 300, 10, 1))).save(picture)
    answer = denoise("fit", picture, "-o", tmp_path / "mine", "--from", poor, "--minutes", 0.05)
    assert answer.exit_code == 0, answer.output
    assert "1 part of them kept aside" in answer.output
    assert "in grains of 3 px" in answer.stderr


@pytest.mark.parametrize(("density", "named"), [(0.002, ""), (0.05, '[struck]\nmodel = "owl"\n')])
def test_salt_and_pepper_is_not_learnt_from(tmp_path: Path, density: float, named: str) -> None:
    """Of little of it the flat places are clean, which the pictures are not."""
    poor = stock(tmp_path / "poor")
    with (poor / zoo.CARD).open("a") as card:
        card.write(f"\n{named}")
    (tmp_path / "in").mkdir()
    for number in range(3):
        struck = SaltAndPepper(density).sample(scene(number, 256, 256), number)
        Image.fromarray(pixels(struck)).save(tmp_path / "in" / f"{number}.png")
    answer = denoise("fit", tmp_path / "in", "-o", tmp_path / "mine", "--from", poor)
    assert answer.exit_code == 2
    assert "3 of 3 pictures have salt and pepper on " in answer.stderr
    assert ("owl is made for that" in answer.stderr) == bool(named)
    assert not (tmp_path / "mine").exists()


def page_of(sigma: float | None, low: float = 0.0, high: float = 1.0) -> Page:
    tiles = torch.linspace(low, high, 3 * 64 * 64).reshape(1, 3, 64, 64).expand(400, -1, -1, -1)
    return cast(Page, SimpleNamespace(noise=SimpleNamespace(sigma=sigma), tiles=tiles))


def test_pictures_whose_noise_cannot_be_measured_are_what_the_others_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 of 4 pictures are clean already"):
        own_pages.refuse_clean(tmp_path, [page_of(0.2), page_of(0.3), page_of(None), page_of(None)])
    own_pages.refuse_clean(tmp_path, [page_of(20), page_of(None), page_of(None)])
    own_pages.refuse_clean(tmp_path, [page_of(None), page_of(None)])


def test_of_black_pictures_nothing_is_learnt(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="4 of 4 pictures are clean already"):
        own_pages.refuse_clean(tmp_path, 4 * [page_of(None, 0.0, 0.0)])


def test_grey_pages_of_sixteen_bits_are_learnt_from(tmp_path: Path) -> None:
    import tifffile

    stack = [pixels(Gaussian(20).sample(scene(number), number)[:1] / 16, 16)[..., 0] for number in range(4)]
    tifffile.imwrite(tmp_path / "stack.tif", np.stack(stack), photometric="minisblack")
    pages = own_pages.pages_of(tmp_path, print)
    own_pages.refuse_clean(tmp_path, pages)
    assert [one.name for one in pages] == [f"stack.tif, page {number}" for number in range(1, 5)]
    shown, asked = own_lessons.lesson_of(pages, Box(), FACTS, 0).at(0)
    assert shown.shape == asked.shape == (4, 3, 64, 64)
    assert torch.equal(shown[:, 0], shown[:, 2])


# What cannot be done


def empty(folder: Path) -> Path:
    folder.mkdir()
    (folder / "notes.txt").write_text("none")
    return folder


def mixed(folder: Path) -> Path:
    import tifffile

    tifffile.imwrite(roll(folder) / "deep.tif", pixels(scene(), 16), photometric="rgb")
    return folder


def clean(folder: Path) -> Path:
    folder.mkdir()
    for number in range(5):
        Image.fromarray(pixels(scene(number))).save(folder / f"{number}.png")
    return folder


def half_clean(folder: Path) -> Path:
    for number in range(3):
        Image.fromarray(pixels(scene(number))).save(roll(folder, 3) / f"clean{number}.png")
    return folder


def damaged(folder: Path) -> Path:
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    return folder


BAD = {
    "there is no such folder": lambda folder: folder,
    "no pictures in it": empty,
    "one picture of at most 100 × 100 px are too little to learn from; a single picture": lambda f: shot(
        f, 0, side=100
    ),
    "2 pictures of at most 160 × 160 px are too little": lambda folder: roll(folder, 2),
    "mixes 16-bit (deep.tif) and 8-bit (0.png) pictures": mixed,
    "clean already": clean,
    "too few of its 6 pictures are noisy": half_clean,
    "broken.png": damaged,
}


@pytest.mark.parametrize("sentence", list(BAD))
def test_what_cannot_be_learnt_from_is_refused(tmp_path: Path, sentence: str) -> None:
    folder, poor = BAD[sentence](tmp_path / "noisy"), stock(tmp_path / "poor")
    before = tree(tmp_path)
    answer = denoise("fit", folder, "-o", tmp_path / "mine", "--from", poor, "--minutes", 0.05)
    assert answer.exit_code == 2
    assert sentence in answer.stderr
    assert tree(tmp_path) == before


def test_places_and_models_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    folder, poor = roll(tmp_path / "noisy"), stock(tmp_path / "poor")
    (tmp_path / "file").write_text("none")
    before = tree(tmp_path)
    wrong = {
        "is there already": (poor, poor),
        "is no folder that can be written to": (tmp_path / "file" / "mine", poor),
        "Unknown model": (tmp_path / "mine", "pour"),
        "is for sounds": (tmp_path / "mine", "spectral"),
    }
    for sentence, (out, start) in wrong.items():
        answer = denoise("fit", folder, "-o", out, "--from", start, "--minutes", 0.05)
        assert answer.exit_code == 2
        assert sentence in answer.stderr
    assert tree(tmp_path) == before


# The bench


@pytest.mark.parametrize(("able", "kept"), [(True, "yes"), (False, "no")])
def test_the_bench_looks_at_the_fitted_model_whatever_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_steps: None, able: bool, kept: str
) -> None:
    clean = [pixels(scene(number)) for number in range(5)]
    monkeypatch.setattr(bench_fit, "cases", lambda data, count: [("waves", Gaussian(20), False, lambda: clean)])
    poor = stock(tmp_path / "poor", able)
    (row,) = bench_fit.run(Wish(str(poor), device="cpu", minutes=0.2))
    assert (row["pictures"], row["start"], row["kept"]) == ("5, waves", "poor", kept)
    assert row["noisy_db"] == row["before_db"] == pytest.approx(20 * np.log10(255 / 20), abs=0.3)
    gain = float(str(row["after_db"])) - float(str(row["before_db"]))
    assert gain > 1 if able else gain == 0


def test_printed_pages_are_of_paper_and_ink_and_no_two_alike() -> None:
    one, other = bench_fit.printed(0), bench_fit.printed(1)
    assert one.shape == (bench_fit.HEIGHT, bench_fit.WIDTH, 3)
    assert not np.array_equal(one, other)
    for page in (one, other):
        paper = np.median(page)
        assert paper > 200
        assert 0.02 < (page < paper - 60).mean() < 0.3
