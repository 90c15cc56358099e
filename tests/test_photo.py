"""Photographs: the map says what noise there is, the knobs do what they say, tiles are the whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from denoise import seeds, zoo
from denoise.measure.comparison import compare
from denoise.measure.noise_map import NoiseMap
from denoise.media.picture import open_picture
from denoise.methods.photo import (
    PLANES,
    Photo,
    asymmetric,
    deviations,
    hadamard,
    levels_of,
    opponent,
    rgb,
    smooth,
    true_deviations,
    unrest,
)
from denoise.noise.picture_laws import Correlated
from denoise.run import Options, restore_picture
from denoise.signals import Picture
from denoise.zoo import SAMPLES, Card, TorchRestorer

FINE_LUMA, COARSE_LUMA, FINE_COLOUR, COARSE_COLOUR = range(4)
EQUAL = 1e-6


def made(seed: int = 0) -> Photo:
    """Small, untrained, and taking something away all the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Photo(widths=(8, 8, 8), measuring=(8, 8))
        torch.nn.init.normal_(model.cleaning.tail.weight, std=0.05)
        torch.nn.init.normal_(model.measuring.tail.weight, std=0.02)
    return model.eval()


def soft(height: int, width: int) -> Tensor:
    """Colours well within the range, (1, 3, H, W)."""
    at = torch.arange(height)[:, None] / 9 + torch.arange(width) / 13
    return torch.stack([0.5 + 0.15 * torch.sin(at * (1 + colour / 4)) for colour in range(3)])[None]


def noisy(height: int, width: int, sigma: float = 8, seed: int = 0) -> Tensor:
    clean = soft(height, width)
    return (clean + sigma / 255 * seeds.normal_like(clean, seed)).clamp(0, 1)


def restorer(model: Photo) -> TorchRestorer:
    card = Card(Path(), {"name": "toy", "kind": "picture", "method": "photo"})
    return TorchRestorer(model, zoo.facts_of(card, model))


def near(one: Tensor, other: Tensor, within: float = EQUAL) -> bool:
    return one.shape == other.shape and float((one - other).detach().abs().max()) <= within


# The knobs


@torch.no_grad()
def test_it_takes_something_away() -> None:
    picture = noisy(48, 64)
    assert not near(made()(picture), picture, 0.01), "else the other tests show nothing"


@torch.no_grad()
def test_without_noise_in_the_map_nothing_is_taken_away() -> None:
    picture = noisy(48, 64)
    picture[..., :9, :9] = 1.4  # brighter than white, as floating-point files may be
    picture[..., -9:, :9] = -0.2
    assert torch.equal(made()(picture, noise=0.0), picture)


@torch.no_grad()
def test_a_map_of_nothing_leaves_the_picture_alone_whatever_the_network_says() -> None:
    model, picture = made(), noisy(32, 32)
    torch.nn.init.constant_(model.measuring.tail.bias, -30)  # type: ignore[arg-type]
    assert near(model(picture), picture, 1e-7)


@torch.no_grad()
def test_colour_off_keeps_every_colour_difference() -> None:
    picture = noisy(48, 64)
    restored = made()(picture, colour=0.0)
    assert near(opponent(restored)[:, 1:], opponent(picture)[:, 1:])
    assert not near(opponent(restored)[:, :1], opponent(picture)[:, :1], 0.005)


@torch.no_grad()
def test_luminance_off_keeps_the_brightness() -> None:
    picture = noisy(48, 64)
    restored = made()(picture, luminance=0.0)
    assert near(opponent(restored)[:, :1], opponent(picture)[:, :1])
    assert not near(opponent(restored)[:, 1:], opponent(picture)[:, 1:], 0.005)


@torch.no_grad()
@pytest.mark.parametrize("name", ["colour", "luminance"])
def test_each_strength_is_linear(name: str) -> None:
    model, picture = made(), noisy(48, 64)
    none, some, all_ = (model(picture, **{name: value}) for value in (0.0, 0.3, 1.0))
    assert near(some, none + 0.3 * (all_ - none))


@torch.no_grad()
def test_detail_gives_back_what_is_fine_in_brightness_and_nothing_else() -> None:
    model, picture = made(), noisy(48, 64)
    usual, detailed = opponent(model(picture)), opponent(model(picture, detail=1.0))
    before = opponent(picture)[:, :1]
    assert near(before - detailed[:, :1], smooth(before - usual[:, :1], 5))
    assert near(detailed[:, 1:], usual[:, 1:])


@torch.no_grad()
def test_more_noise_in_the_map_is_believed() -> None:
    model, picture = made(), noisy(48, 64)
    seen = picture - 0.5
    sigmas = torch.full((1, len(PLANES), 12, 16), 5 / 255)
    assert not near(model.removed(seen, sigmas), model.removed(seen, 2 * sigmas), 0.005)


# The map


def white(sigma: float) -> Tensor:
    return sigma / 255 * seeds.normal_like(torch.empty(2, 3, 160, 160), 5)


def test_the_map_of_white_noise_is_the_same_fine_and_coarse() -> None:
    found = 255 * true_deviations(white(10)).mean((0, 2, 3))
    assert found[FINE_LUMA] == pytest.approx(10 * (0.299**2 + 0.587**2 + 0.114**2) ** 0.5, rel=0.02)
    assert found[COARSE_LUMA] == pytest.approx(float(found[FINE_LUMA]), rel=0.05)
    assert found[COARSE_COLOUR] == pytest.approx(float(found[FINE_COLOUR]), rel=0.05)


def test_the_map_of_coarse_grain_is_higher_where_it_is_coarse() -> None:
    clean = torch.full((3, 160, 160), 0.5)
    grain = Correlated(6, luma_blur=0.7, chroma_blur=2).sample(clean, 3) - clean
    found = true_deviations(grain[None]).mean((0, 2, 3))
    assert 1.5 < found[COARSE_LUMA] / found[FINE_LUMA] < 4
    assert found[COARSE_COLOUR] / found[FINE_COLOUR] > 2.5


def test_white_noise_is_seen_at_its_own_level() -> None:
    """All that the network which measures is shown of it."""
    found = unrest(0.5 + white(10))[:, 3:].mean((0, 2, 3))
    sizes = 255 * deviations(found)
    assert found.shape == (3 * 15 + 3 * 2,)
    assert sizes.min() > 3
    assert sizes.max() < 8
    assert sizes[:45:3] == pytest.approx(float(sizes[45]), rel=0.1), "brightness: inside of blocks as between them"


@pytest.mark.parametrize("side", [2, 4])
def test_blocks_keep_their_power_and_begin_with_their_means(side: int) -> None:
    picture = noisy(16, 24)
    found = hadamard(picture, side)
    assert found.square().sum() == pytest.approx(float(picture.square().sum()), rel=1e-5)
    assert near(found[:, :3] / side, torch.nn.functional.avg_pool2d(picture, side))


def test_colour_noise_and_brightness_noise_are_told_apart() -> None:
    grey = true_deviations(white(10)[:, :1].expand(-1, 3, -1, -1))
    assert grey[:, 2:].max() < EQUAL
    assert grey[:, :2].mean() > 8 / 255
    assert not true_deviations(torch.zeros(1, 3, 32, 32)).any()


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 16), (33, 50)])
def test_there_is_a_map_of_any_picture(height: int, width: int) -> None:
    model = made()
    found = model.noise_map(noisy(height, width))
    assert found.shape == (1, len(PLANES), -(-height // 4), -(-width // 4))
    assert (found >= 0).all()


def test_compare_shows_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made()
    measured = torch.full((1, len(PLANES), 64, 64), 2.0)
    measured[..., 32:] = 10
    monkeypatch.setattr(model, "noise_map", lambda noisy: measured)
    Image.fromarray(np.full((256, 256, 3), 128, np.uint8)).save(tmp_path / "a.png")
    mapping = NoiseMap.by(restorer(model))
    drawing = np.asarray(compare(tmp_path / "a.png", tmp_path / "a.png", mapping=mapping).drawing)
    panel = drawing[32:288, -264:-8]
    assert drawing.shape[1] == 4 * (256 + 8) + 8
    assert (panel[:, :120] == round(255 * 2 / 12)).all()
    assert (panel[:, 136:] == round(255 * 10 / 12)).all()


def test_a_model_that_measures_nothing_has_no_map() -> None:
    assert NoiseMap.by(zoo.load(zoo.find("idf-picture"), device="cpu")) is None


def test_too_low_a_level_costs_more_than_too_high_a_one() -> None:
    true = torch.full((1, 4, 3, 3), 2.0)
    low, high = asymmetric(true - 0.5, true), asymmetric(true + 0.5, true)
    assert low == pytest.approx(0.7 * 0.25)
    assert high == pytest.approx(0.3 * 0.25)
    assert asymmetric(true, true) == 0


def test_the_map_learns_how_strong_the_noise_is() -> None:
    model = made()
    optimiser = torch.optim.Adam(model.measuring.parameters(), 5e-3)
    clean = soft(48, 48).expand(4, -1, -1, -1)
    for step in range(40):
        sigmas = torch.tensor([1.0, 4.0, 12.0, 30.0])[:, None, None, None] / 255
        noise = sigmas * seeds.normal_like(clean, step)
        error = asymmetric(model.levels(clean + noise - 0.5), levels_of(true_deviations(noise)))
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    with torch.no_grad():
        found = [model.noise_map(noisy(48, 48, sigma, 99)).mean((0, 2, 3)) for sigma in (2.0, 8.0, 25.0)]
    assert (found[1] > 1.5 * found[0]).all()
    assert (found[2] > 1.5 * found[1]).all()


# The loss


def test_the_map_learns_from_its_own_error_alone() -> None:
    model = made()
    clean = soft(32, 32)
    model.loss(noisy(32, 32), clean, 0).backward()
    mine = model.measuring.tail.bias.grad.clone()  # type: ignore[union-attr]
    model.zero_grad()
    with torch.no_grad():
        for weight in model.cleaning.parameters():
            weight.mul_(3)
    model.loss(noisy(32, 32), clean, 0).backward()
    assert near(mine, model.measuring.tail.bias.grad, 1e-6)  # type: ignore[arg-type]
    assert mine.abs().max() > 0


def test_steps_make_the_loss_smaller() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Photo(widths=(16, 16), measuring=(8, 8))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    clean = soft(32, 48).expand(4, -1, -1, -1)
    noised = (clean + 0.05 * seeds.normal_like(clean, 1)).clamp(0, 1)
    losses = []
    for step in range(50):
        loss = model.loss(noised, clean, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1


# Pictures of any size, in tiles


@pytest.mark.parametrize("side", [1, 2, 7, 15, 16, 17, 33])
def test_any_size_keeps_its_shape(side: int) -> None:
    pixels = (noisy(side, 35 - side)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    assert restore_picture(Picture(pixels, 255), restorer(made())).shape == pixels.shape


def test_tiles_are_the_whole() -> None:
    """No tile begins where the network halves its picture, were it not for the rule that it does."""
    model = made()
    model.context = 80
    pixels = np.ascontiguousarray(noisy(210, 175)[0].permute(1, 2, 0).numpy())
    whole, tiles = (
        restore_picture(Picture(pixels, 1.0), restorer(model), Options(piece=piece)) for piece in (10**6, 70)
    )
    assert np.abs(whole - pixels).max() > 0.01
    assert np.abs(whole - tiles).max() < 1e-5


def test_a_grey_picture_stays_grey() -> None:
    grey = (noisy(40, 52)[0, :1].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    restored = restore_picture(Picture(grey, 255), restorer(made()))
    assert restored.shape == grey.shape
    assert (restored != grey).any()


def test_colours_are_those_of_jpeg() -> None:
    picture = noisy(16, 16)
    assert near(rgb(opponent(picture)), picture)
    grey = picture[:, :1].expand(-1, 3, -1, -1)
    assert near(opponent(grey)[:, 1:], torch.zeros(1, 2, 16, 16))
    red = opponent(torch.tensor([1.0, 0.0, 0.0])[None, :, None, None])
    assert red.flatten().tolist() == pytest.approx([0.299, -0.168736, 0.5], abs=1e-5)


# What it costs, and other engines


def test_it_is_small_enough_for_a_cpu() -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Photo()(torch.zeros(1, 3, 64, 64))
    assert counter.get_total_flops() / 2 / 64**2 <= 40_000  # a multiplication and an addition each


def test_its_graph_computes_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="the exporter is not installed")
    from denoise.onnx.export import save, traced
    from denoise.onnx.label import told_controls
    from denoise.onnx.session import OnnxRestorer, session_on
    from denoise.onnx.verify import worst_error

    ours = restorer(made())
    said = {"name": "toy", "inputs": json.dumps(told_controls(ours.facts))}
    save(traced(ours.method, ours.facts), said, tmp_path / "toy.onnx")
    graph = OnnxRestorer(tmp_path / "toy.onnx", ours.facts, session_on(tmp_path / "toy.onnx", "cpu", 1), 1)
    assert worst_error(graph, ours) < 1e-5


# As it ships


def test_noise_at_every_border_goes_like_all_other_noise() -> None:
    """Sides are continued to a multiple of 16, and what is added must not look clean."""
    shipped, clean = zoo.load(zoo.find("photo"), device="cpu"), soft(161, 177)
    given = (clean + 20 / 255 * seeds.normal_like(clean, 3)).clamp(0, 1)
    pixels = restore_picture(Picture(given[0].permute(1, 2, 0).numpy(), 1.0), shipped, Options())
    error = (255 * (torch.from_numpy(np.asarray(pixels)) - clean[0].permute(1, 2, 0))).square().mean(2)
    within, below, right = (float(part.mean().sqrt()) for part in (error[:100, :100], error[-16:], error[:, -16:]))
    assert max(within, below, right) < 7


def test_skin_is_not_made_wax() -> None:
    """A face keeps about as much fine structure as it has, and it is its own."""
    shipped = zoo.load(zoo.find("photo"), device="cpu")
    with (
        open_picture(SAMPLES / "photo.png") as noisy_photo,
        open_picture(SAMPLES / "clean" / "photo.png") as clean_photo,
    ):
        restored = restore_picture(noisy_photo.page(0).picture, shipped, Options())
        ours, true = (fine_structure(np.asarray(pixels)) for pixels in (restored, clean_photo.page(0).picture.pixels))
    assert 0.7 < ours.std() / true.std() < 1.1
    assert np.corrcoef(ours.ravel(), true.ravel())[0, 1] > 0.78


def fine_structure(pixels: np.ndarray) -> np.ndarray:
    """Of the face's brightness: what a Gaussian of one pixel takes away."""
    brightness = pixels.astype(float).mean(2)
    return (brightness - gaussian_filter(brightness, 1.0))[105:180, 128:196]
