"""Noise that networks learn from dark frames: what the papers' own code computed, the same noise in every cut, and a
known law that is found again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from torch import Tensor

from denoise import seeds
from denoise.errors import UserError
from denoise.networks.lrd import FourierDiscriminator, NoiseGenerator, gradient_penalty
from denoise.networks.pnnp import PixelProxy, ReleasedProxy, begin_as_identity, released
from denoise.noise import distribution_loss as ddl
from denoise.noise import learned, learning
from denoise.noise.learned import LearnedRead, Level
from denoise.noise.picture_kernels import AXIS_BITS

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "raw"
LAMBDA, SCALE, ROW = -0.1, 2.0, 1.0  # of the known law, DN
READ = SCALE * math.sqrt(
    2 / LAMBDA**2 * (1 / (1 + 2 * LAMBDA) - math.gamma(LAMBDA + 1) ** 2 / math.gamma(2 * LAMBDA + 2))
)
NEIGHBOUR = 0.5  # share of a pixel in the next of its colour
SIDE, FRAMES = 256, 6
WANTED = torch.tensor([0.01, 0.1, 0.5, 0.9, 0.99])


def oracle(name: str) -> dict[str, np.ndarray]:
    path = ORACLES / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with np.load(path) as arrays:
        return dict(arrays)


def tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def dark(seed: int, side: int = SIDE, neighbour: float = 0.0) -> Tensor:
    """A frame of the known law: Tukey-lambda read noise, one offset per sensor row, black at 512 DN."""
    chance = seeds.uniform_like(torch.empty(side, side), seed).double()
    read = (SCALE * (chance**LAMBDA - (1 - chance) ** LAMBDA) / LAMBDA).float()
    read[:, 2:] += neighbour * read.clone()[:, :-2]
    return 512 + read + ROW * seeds.normal_like(torch.empty(side, 1), seed, 5)


def darks(seed: int, count: int = FRAMES, neighbour: float = 0.0) -> list[Tensor]:
    return [dark(seed + 1000 * number, neighbour=neighbour) for number in range(count)]


def untrained(which: str) -> LearnedRead:
    """Something to sample: a bent proxy, or a generator of random weights."""
    level = Level(100.0, 3.0, 0.7, 0.4, 0.0, 3.0)
    network: PixelProxy | NoiseGenerator = PixelProxy([100.0], (0.02, 0.0)) if which == "pnnp" else NoiseGenerator(8, 2)
    learning.begun(network, 4)
    if isinstance(network, NoiseGenerator):
        network.tail.weight.data += 0.2
    return LearnedRead(which, network, (level,), 100.0, 2, 0.0)


# What the papers' code computed


def test_proxy_is_that_of_the_authors() -> None:
    recorded = oracle("pnnp_proxy")
    proxy = released(load_file(ORACLES / "pnnp_proxy_pixel.safetensors"))
    x, y = tensor(recorded["x_pre"]), tensor(recorded["x_fol"])
    with torch.no_grad():
        for iso, out, scale in zip(recorded["iso"], recorded["out"], recorded["scale"], strict=True):
            assert float(proxy.scale(float(iso))) == pytest.approx(scale, rel=1e-6)
            assert torch.allclose(proxy(x, y, float(iso)), tensor(out), atol=1e-4, rtol=1e-6), "up to 573 DN"
        curve = tensor(recorded["curve_x"])[None, None, None]
        assert float((proxy.before(curve).flatten() - tensor(recorded["curve_pre"])).abs().max()) < 1e-4
        assert float((proxy.after(curve).flatten() - tensor(recorded["curve_fol"])).abs().max()) < 1e-4


def test_between_two_isos_the_scale_is_between_theirs_unlike_the_released_one() -> None:
    table = {"log_scale": torch.tensor([1.0, 3.0, 5.0]).log()}
    proxy, quirk = PixelProxy([100, 200, 400]), ReleasedProxy([100, 200, 400])
    for one in (proxy, quirk):
        one.load_state_dict(proxy.state_dict() | table)
        one.requires_grad_(False)
    for iso, scale in ((100, 1), (150, 2), (200, 3), (300, 4), (400, 5), (800, 5)):
        assert float(proxy.scale(iso)) == pytest.approx(scale)
    for iso, scale in ((100, 1), (150, 2.5), (200, 3), (300, 5), (400, 5)):
        assert float(quirk.scale(iso)) == pytest.approx(scale), "downwards from the next two"


@pytest.mark.parametrize(("decades", "count"), [(4, 1000), (3, 200)])
def test_grids_are_those_of_the_authors(decades: int, count: int) -> None:
    recorded = oracle("pnnp_ddl")
    grids = {"uniform": ddl.uniform_levels, "cdf": ddl.normal_levels, "icdf": ddl.normal_points}
    for name, grid in grids.items():
        off = (grid(count, decades) - tensor(recorded[f"get_x_{name}_s{decades}_n{count}"])).abs()
        assert float(off.max()) < 1e-4, name


def test_jittered_grids_stay_ordered_and_near() -> None:
    for grid in (ddl.normal_levels, ddl.normal_points):
        moved = grid(jitter=3)
        assert bool((moved.diff() >= 0).all())
        assert 0 < float((moved - grid()).abs().max()) < 1e-3
        assert torch.equal(moved, grid(jitter=3))
        assert not torch.equal(moved, grid(jitter=4))


def test_distribution_losses_and_their_gradients_are_those_of_the_authors() -> None:
    recorded = oracle("pnnp_ddl")
    real, levels, points = tensor(recorded["gt"]), tensor(recorded["get_x_cdf_s4_n1000"]), tensor(recorded["cdf_x"])
    assert float((ddl.cdf(real, points) - tensor(recorded["cdf_of_gt_at_x"])).abs().max()) < 1e-6
    losses = {"quantile": (ddl.quantile_loss, levels), "cdf": (ddl.cdf_loss, points)}
    for name, (loss, grid) in losses.items():
        made = tensor(recorded["output"]).requires_grad_()
        found = loss(made, real, grid)
        found.backward()
        assert float(found.detach()) == pytest.approx(float(recorded[f"{name}_loss"]), rel=1e-5)
        assert made.grad is not None
        off = (made.grad - tensor(recorded[f"{name}_loss_grad"])).abs().max()
        assert float(off) < 1e-4 * np.abs(recorded[f"{name}_loss_grad"]).max()


def test_divergences_are_those_of_the_authors() -> None:
    recorded = oracle("pnnp_ddl")
    found = ddl.kld(tensor(recorded["gt"]), tensor(recorded["output"]), tensor(recorded["kld_x"]))
    assert found == pytest.approx(float(recorded["kld"]), rel=1e-4)
    recorded = oracle("lrd_eld_helpers")
    found = ddl.histogram_kld(tensor(recorded["p"]), tensor(recorded["q"]))
    assert found == pytest.approx(float(recorded["cal_kld_sym"]), rel=1e-4)


def test_high_bits_are_recovered_as_the_authors_do() -> None:
    recorded = oracle("pmn_sna_hbr")
    _, _, sigma, bias = recorded["hbr_param_lam_sTL_sG_bias"]
    values = tensor(recorded["hbr_gauss_in"])
    found = learning.high_bit(values, torch.from_numpy(recorded["hbr_gauss_uniform"]), bias, sigma)
    assert float((found - tensor(recorded["hbr_gauss_out_plus_bl"] - 512)).abs().max()) < 1e-4


# Laws of the losses and the networks


def test_no_distance_to_oneself_and_a_shift_costs_its_length() -> None:
    values = seeds.normal(1, torch.arange(5000))
    assert float(ddl.quantile_loss(values, values, ddl.normal_levels())) == 0
    assert float(ddl.quantile_loss(values + 0.3, values, ddl.normal_levels())) == pytest.approx(0.3, rel=1e-4)
    assert ddl.kld(values, values, torch.linspace(-5, 5, 50)) == 0
    assert ddl.kld(values, 2 * values, torch.linspace(-5, 5, 50)) > 0.1


def test_quantiles_are_those_of_torch() -> None:
    values, levels = seeds.normal(2, torch.arange(999)), torch.tensor([0.0, 0.013, 0.5, 0.77, 1.0])
    assert torch.allclose(ddl.quantiles(values, levels), torch.quantile(values, levels), atol=1e-6)


@pytest.mark.parametrize("height", [1.0, 2.5, 0.0])
def test_a_branch_begins_as_a_straight_line(height: float) -> None:
    branch = PixelProxy([100.0]).before
    begin_as_identity(branch, torch.linspace(0.5, 2, 8), torch.linspace(-1, 1, 8), height)
    x = torch.linspace(-6, 6, 50)[None, None, None]
    assert torch.allclose(branch(x), height * x, atol=1e-5)


def test_generator_begins_as_white_noise_with_banding_and_shares_the_rows() -> None:
    network = NoiseGenerator(8, 2)
    begin_as_identity(network.law, torch.ones(8), torch.zeros(8), 1.0)
    network.shares.load_state_dict({"weight": torch.zeros(2, 1), "bias": torch.tensor([0.1, 0.2])})
    pixels, rows, columns = learned.cell_numbers(1, (0, 0), (9, 7), network.halo)
    made = torch.pixel_shuffle(network(pixels, rows, columns, torch.zeros(1)), 2)[0, 0]
    white = torch.from_numpy(learned.field(1, learned.BEFORE, (0, 0), (18, 14)))
    rest = made - white - 0.1 * torch.from_numpy(learned.row_numbers(1, 0, 18))
    assert torch.allclose(rest, 0.2 * torch.from_numpy(learned.column_numbers(1, 0, 14)).expand(18, 14), atol=1e-5)


@pytest.mark.parametrize("slope", [0.25, 1.0])
def test_penalty_is_the_squared_distance_of_the_slope_from_one(slope: float) -> None:
    """16 values: the norm of the gradient is four times the slope."""
    real, made, share = torch.ones(3, 4, 2, 2), torch.zeros(3, 4, 2, 2), torch.tensor([0.1, 0.5, 0.9])
    steep = gradient_penalty(lambda patch, _: slope * patch.sum((1, 2, 3)), real, made, torch.zeros(3), share)
    assert float(steep) == pytest.approx((4 * slope - 1) ** 2)


def test_discriminator_scores_every_patch_and_can_be_differentiated_twice() -> None:
    critic = FourierDiscriminator(16, width=8, heads=2, depth=1)
    real, made = (torch.from_numpy(learned.field(seed, 0, (0, 0), (64, 48))).reshape(3, 4, 16, 16) for seed in (1, 2))
    assert critic(real, torch.zeros(3)).shape == (3,)
    gradient_penalty(critic, real, made, torch.zeros(3), torch.full((3,), 0.5)).backward()
    touched = [name for name, value in critic.named_parameters() if value.grad is not None and value.grad.any()]
    assert any("spectrum" in name for name in touched)
    assert any("space" in name for name in touched)


def test_critic_learns_to_tell_banding_from_white_noise() -> None:
    network, critic = NoiseGenerator(8, 1), FourierDiscriminator(learning.CELLS, width=learning.CRITIC_WIDTH)
    begin_as_identity(network.law, torch.ones(8), torch.zeros(8), 1.0)
    torch.nn.init.zeros_(network.shares.bias)
    torch.nn.init.zeros_(network.shares.weight)
    learning.begun(critic, 1)
    banded = torch.from_numpy(learned.normals(1, 0, 0, 0, 256, 256) + learned.normals(1, 1, 0, 0, 256, 1))
    patches = learning.Patches([banded[None]], [100.0], network.halo, 1)
    optimiser = learning.adam(critic)
    learning.cooled(optimiser, learning.CRITIC_RATE, 0.1)
    for step in range(40):
        learning.descend(optimiser, learning.critic_loss(network, critic, patches, step))
    with torch.no_grad():
        real, made = patches.real(900), network(*patches.numbers(900), patches.condition(900))
        right, wrong = (critic(patch, patches.condition(900)) for patch in (real, made))
    assert float(right.mean() - wrong.mean()) > float(right.std() + wrong.std())


# Laws of the noise


def test_numbers_are_those_of_the_seeds() -> None:
    at = (torch.arange(5)[:, None] + 3 << AXIS_BITS) + torch.arange(7) + 11
    drawn = torch.from_numpy(learned.normals(9, 1, 3, 11, 5, 7))
    assert torch.allclose(drawn, seeds.normal(9, at, 1), atol=1e-5)


networks = pytest.mark.parametrize("which", list(learned.NETWORKS))


@networks
def test_same_seed_same_noise_and_another_with_another_seed(which: str) -> None:
    law, clean = untrained(which), torch.full((40, 50), 7.0)
    assert torch.equal(law.sample(clean, 3), law.sample(clean, 3))
    assert float((law.sample(clean, 3) - law.sample(clean, 4)).abs().mean()) > 0.5
    assert torch.allclose(law.sample(clean + 100, 3) - law.sample(clean, 3), torch.tensor(100.0), atol=1e-4)
    assert torch.equal(clean, torch.full((40, 50), 7.0)), "the clean mosaic stays as it is"


@networks
@pytest.mark.parametrize("tile", [(0, 0, 30, 20), (7, 4, 21, 33), (16, 31, 1, 2), (3, 3, 44, 57)])
def test_a_tile_is_a_part_of_the_whole(
    which: str, tile: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    law, (top, left, height, width) = untrained(which), tile
    whole = law.noise((47, 60), 5)
    monkeypatch.setattr(learned, "TILE", 8)
    part = law.noise((height, width), 5, (top, left))
    assert part.shape == (height, width)
    assert torch.allclose(part, whole[top : top + height, left : left + width], atol=1e-4)


def test_tables_are_the_proxy() -> None:
    law = untrained("pnnp")
    bare = replace(law, levels=(replace(law.level, row_dn=0.0, column_dn=0.0),))
    x, y = (torch.from_numpy(learned.field(5, stream, (0, 0), (60, 60)))[None, None] for stream in (0, 1))
    with torch.no_grad():
        assert torch.allclose(bare.noise((60, 60), 5), law.network(x, y, 100.0)[0, 0], atol=1e-4)


@networks
def test_saved_and_opened_it_is_the_same_law(which: str, tmp_path: Path) -> None:
    law = untrained(which)
    law.save(tmp_path / "deep" / "law")
    again = learned.opened(tmp_path / "deep" / "law")
    assert again.describe() == law.describe()
    assert again.level == law.level
    assert torch.equal(again.noise((20, 30), 1), law.noise((20, 30), 1))


# Evidence


def test_what_repeats_in_all_frames_is_no_noise() -> None:
    """A strong pattern, and rounding to whole numbers, hide nothing of the known law."""
    pattern = 20 * seeds.normal_like(torch.empty(SIDE, SIDE), 3) + 5 * seeds.normal_like(torch.empty(1, SIDE), 4)
    found = learning.evidence(100.0, [(frame + pattern).round() for frame in darks(7)], 0)
    assert found.unit_dn == pytest.approx(READ, rel=0.03)
    assert found.row_dn == pytest.approx(ROW, rel=0.1)
    assert found.column_dn < 0.1 * ROW


def test_without_a_pattern_the_tails_of_few_frames_stay() -> None:
    """Half the difference of two frames would have half the excess kurtosis."""
    found = learning.evidence(100.0, darks(7, count=2), 0)
    one = stats.kurtosis((dark(7) - 512).numpy().ravel())
    assert stats.kurtosis(found.pixels.numpy().ravel()) > 0.8 * one


def test_rounding_does_not_widen() -> None:
    fine = [512 + 0.6 * seeds.normal_like(torch.empty(SIDE, SIDE), seed) for seed in range(1, 5)]
    rounded = learning.evidence(100.0, [frame.round().to(torch.uint16) for frame in fine], 0)
    assert rounded.unit_dn == pytest.approx(0.6, rel=0.06), "the rounded values spread 11 % wider"


# A known law is found again


def lines(frames: Tensor) -> tuple[float, float]:
    """Variance of row means, and covariance between those of even and of odd columns: other colours, same rows."""
    even, odd = frames[..., ::2].mean(2).flatten(), frames[..., 1::2].mean(2).flatten()
    return float(frames.mean(2).var()), float((even * odd).mean() - even.mean() * odd.mean())


def beside(frames: Tensor, lag: int) -> float:
    return float((frames[..., lag:] * frames[..., :-lag]).mean() / frames.var())


def drawn(law: LearnedRead, count: int = 12) -> Tensor:
    return torch.stack([law.sample(torch.zeros(SIDE, SIDE), 50 + seed) for seed in range(count)])


def agrees(made: Tensor, neighbour: float) -> None:
    truth = torch.stack(darks(99, count=12, neighbour=neighbour)) - 512
    off = (torch.quantile(made.flatten(), WANTED) - torch.quantile(truth.flatten(), WANTED)) / truth.std()
    assert float(off.abs().max()) < 0.1, f"quantiles, sigmas: {off}"
    pixels = READ**2 * (1 + neighbour) ** 2  # at frequency zero, which is what a mean has
    variance, covariance = lines(made)
    assert variance == pytest.approx(ROW**2 + pixels / SIDE, rel=0.2)
    assert covariance == pytest.approx(ROW**2, rel=0.2), "one offset per sensor row, whatever the colour"


def test_proxy_learns_the_known_law() -> None:
    told: list[str] = []
    law = learned.fitted(darks(7), "pnnp", 60, 1, told.append, steps=40)
    made = drawn(law)
    agrees(made, 0.0)
    assert law.kld_nats < 0.005
    assert float(law.variance(made).mean()) == pytest.approx(float(made.var()), rel=0.05)
    assert abs(float(made.mean())) < 0.05 * READ
    assert len(told) >= 5
    assert "6 dark frames" in law.describe()
    assert "DN" in law.describe()


def test_generator_learns_the_known_law_and_what_neighbours_share() -> None:
    """Pixels that lean on their neighbour of the same colour: a law of single pixels could not say this."""
    law = learned.fitted(darks(7, neighbour=NEIGHBOUR), "lrd", 60, 1, steps=60)
    made = drawn(law)
    agrees(made, NEIGHBOUR)
    assert beside(made, 2) == pytest.approx(NEIGHBOUR / (1 + NEIGHBOUR**2), abs=0.12)
    assert abs(beside(made, 1)) < 0.12
    assert float(law.variance(made).mean()) == pytest.approx(float(made.var()), rel=0.05)


def test_training_comes_closer_from_a_wrong_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution losses alone, without the first lesson."""
    monkeypatch.setattr(learning, "TOLD_STEPS", 0)
    monkeypatch.setattr(learning, "PROXY_SHAPE", (64, 128))
    monkeypatch.setattr(learning, "PROXY_RATE", 1e-2)
    short, long = (learned.fitted(darks(7, 2), "pnnp", 60, 1, steps=steps).kld_nats for steps in (1, 60))
    assert long < short / 2


def test_a_training_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "TOLD_STEPS", 20)
    law = LearnedRead.fit(darks(7, 2), "pnnp", minutes=0.001)
    assert law.frames == 2
    assert law.level.std_dn == pytest.approx(math.hypot(READ, ROW), rel=0.1)


def test_same_seed_same_law_and_isos_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "PROXY_SHAPE", (32, 64))
    monkeypatch.setattr(learning, "TOLD_STEPS", 50)
    loud = [512 + 4 * (frame - 512) for frame in darks(3, 2)]
    law, again = (learned.fitted({1600: loud, 100: darks(7, 2)}, "pnnp", 60, 1, steps=3) for _ in range(2))
    assert torch.equal(law.noise((30, 30), 1), again.noise((30, 30), 1))
    assert [level.iso for level in law.levels] == [100, 1600]
    quiet, middle, noisy = (float(law.at(iso).noise((200, 200), 2).std()) for iso in (100, 400, 1600))
    assert noisy / quiet == pytest.approx(4, rel=0.1)
    assert quiet * 1.2 < middle < noisy / 1.2
    with pytest.raises(UserError, match="ISO 100 to 1600"):
        law.at(3200)


# What the user can put right


def changed(change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    return [dark(1), change(dark(2))]


BAD = {
    "at least 2": [],
    "1 dark frame was given": [dark(1)],
    "differ in size (256×256 and 256×200)": changed(lambda frame: frame[:, :200]),
    "frames 1 and 2 are the same": [dark(1), dark(1)],
    "Dark frame 2 has 8 bits": changed(lambda frame: (frame - 500).to(torch.uint8)),
    "3×256×256": changed(lambda frame: frame.expand(3, -1, -1)),
    "side of 64": changed(lambda frame: frame[:40]),
    "no numbers": changed(lambda frame: frame * math.nan),
    "every value is 512": changed(lambda frame: torch.full_like(frame, 512)),
    "clipped": changed(lambda frame: frame.clamp(min=512)),
}


@pytest.mark.parametrize("words", list(BAD))
def test_bad_dark_frames_are_named_in_a_sentence(words: str) -> None:
    with pytest.raises(UserError) as caught:
        learned.fitted(BAD[words], "pnnp", 1)
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")


def test_bad_wishes_are_named_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pnnp or lrd"):
        learned.fitted(darks(1, 2), "gan")
    with pytest.raises(UserError, match="more than 0"):
        learned.fitted(darks(1, 2), "pnnp", 0)
    with pytest.raises(UserError, match="not a folder of learned noise"):
        learned.opened(tmp_path)


@pytest.mark.parametrize("name", [learned.LAW, learned.WEIGHTS])
def test_a_damaged_law_is_named_in_a_sentence(name: str, tmp_path: Path) -> None:
    untrained("lrd").save(tmp_path)
    (tmp_path / name).write_text("broken")
    with pytest.raises(UserError, match="damaged learned noise"):
        learned.opened(tmp_path)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_no_such_time(minutes: float) -> None:
    with pytest.raises(UserError, match="more than 0 are wanted"):
        LearnedRead.fit(darks(7, 2), "pnnp", minutes=minutes)
