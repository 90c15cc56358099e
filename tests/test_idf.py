"""IDF: what the network computes, compared with the authors' own code, and how its iterations are counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from denoise import seeds
from denoise.methods.idf import IDF, OFFICIAL_MEAN, OFFICIAL_STD, Settling
from denoise.networks import idf

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "image" / "idf"
CLOSE = 1e-5
HALTS_AT = 0.015  # the paper's threshold

Tensors = dict[str, Tensor]


def near(one: Tensor, other: Tensor, within: float = CLOSE) -> bool:
    return one.shape == other.shape and float((one - other).detach().abs().max()) <= within


def waves(height: int, width: int, seed: int = 0) -> Tensor:
    """Soft colours and noise, (1, 3, H, W) in 0..1."""
    at = torch.arange(height)[:, None] / 9 + torch.arange(width) / 13
    clean = torch.stack([0.5 + 0.3 * torch.sin(at * (1 + colour / 4) + seed) for colour in range(3)])
    return (clean + 0.1 * seeds.normal_like(clean, seed)).clamp(0, 1)[None]


def untrained(threshold: float = HALTS_AT) -> IDF:
    """Fixed weights whatever the order of the tests, and the paper's rule for the number of iterations."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ruled(IDF(hidden=8), threshold)


def ruled(model: IDF, threshold: float = HALTS_AT) -> IDF:
    model.settling = Settling(threshold)
    return model.eval()


# Laws of the filter


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(3, 3), (5, 8), (17, 4)])
def test_neighbours_are_those_of_a_convolution(height: int, width: int, dilation: int) -> None:
    image = waves(height, width)
    padded = torch.nn.functional.pad(image, (dilation,) * 4, mode="reflect" if dilation > 1 else "constant")
    for tap, part in enumerate(idf.shifted(image, dilation)):
        kernel = torch.eye(9)[tap].reshape(1, 1, 3, 3).expand(3, -1, -1, -1)
        assert near(part, torch.nn.functional.conv2d(padded, kernel, dilation=dilation, groups=3), 1e-7)


def test_moments_are_means_and_unbiased_deviations() -> None:
    residual = torch.cat([waves(5, 8), 2 * waves(5, 8, 1)]) - 0.3
    deviation, mean = torch.std_mean(residual, (2, 3), correction=1)
    assert near(idf.residual_moments(residual), torch.cat([mean, deviation], 1), 1e-6)


@torch.no_grad()
def test_every_pixel_becomes_a_mean_of_its_neighbourhood() -> None:
    model, image = untrained(), waves(20, 30)
    for step in model.network.steps(model.normalised(image), 4):
        assert (step.kernels >= 0).all()
        assert (step.kernels.sum(1) <= 1 + 1e-6).all()
    restored = model(image)
    assert (restored >= 0).all()
    assert (restored <= 1).all()


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 4, 7])
def test_its_own_survey_changes_nothing(count: int) -> None:
    model, image = untrained(), waves(24, 33)
    survey = model.survey([image], iterations=count)
    assert survey.shape == (1, count, idf.STATISTICS)
    assert near(model(image, survey), model(image, iterations=count), 1e-6)


@torch.no_grad()
def test_anothers_survey_changes_the_result() -> None:
    model, image = untrained(), waves(24, 33)
    survey = model.survey([0.2 * waves(24, 33, 1)], iterations=4)
    assert not near(model(image, survey), model(image, iterations=4), 1e-3)


@torch.no_grad()
def test_every_picture_of_a_batch_decides_for_itself() -> None:
    model = untrained(0.003)
    pictures = [waves(20, 20), 0.3 * waves(20, 20, 3)]
    counts = [model.survey([picture]).shape[1] for picture in pictures]
    assert counts[0] != counts[1], "else this shows nothing"
    assert near(model(torch.cat(pictures)), torch.cat([model(picture) for picture in pictures]), 1e-6)


def test_a_threshold_ends_the_iterations() -> None:
    image = waves(24, 33)
    counts = [untrained(threshold).survey([image]).shape[1] for threshold in (0.0, 0.003, 1.0)]
    assert counts[0] == 10
    assert counts[2] == 4, "the first that can be compared with a pair before it"
    assert counts == sorted(counts, reverse=True)


# The same as a loop


@pytest.fixture
def plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch compiles a loop for a quarter of a minute before it runs it; what it does is this."""

    def while_loop(follows: Callable[..., Tensor], body: Callable[..., Any], state: tuple[Tensor, ...]) -> Any:
        while bool(follows(*state)):
            state = body(*state)
        return state

    monkeypatch.setattr(torch, "while_loop", while_loop)


@torch.no_grad()
def looped(model: IDF, image: Tensor, survey: Tensor | None, iterations: float) -> tuple[Tensor, Tensor]:
    known = image.new_zeros(1, 0, idf.STATISTICS) if survey is None else survey
    found: tuple[Tensor, Tensor] = model.graph()(image, known, torch.tensor(iterations))
    return found


@torch.no_grad()
@pytest.mark.usefixtures("plain_loop")
@pytest.mark.parametrize(("height", "width"), [(3, 3), (12, 31), (33, 20)])
@pytest.mark.parametrize("count", range(11))
def test_the_loop_does_what_the_steps_do(height: int, width: int, count: int) -> None:
    model, image = untrained(0.003), waves(height, width, count)
    restored, statistics = looped(model, image, None, count)
    assert near(restored, model(image, iterations=count), 1e-6)
    assert near(statistics, model.survey([image], iterations=count), 1e-6)


@torch.no_grad()
@pytest.mark.usefixtures("plain_loop")
@pytest.mark.parametrize("count", range(1, 11))
def test_the_loop_follows_a_survey_to_its_end(count: int) -> None:
    model, image = untrained(), waves(12, 31)
    survey = model.survey([waves(40, 40, 1)], iterations=count)
    restored, statistics = looped(model, image, survey, 3)
    assert near(restored, model(image, survey), 1e-6)
    assert near(statistics, survey, 0)


@pytest.mark.usefixtures("plain_loop")
@pytest.mark.parametrize("threshold", [0.0, 0.003, 1.0])
def test_the_loop_stops_where_the_steps_stop(threshold: float) -> None:
    model, image = untrained(threshold), waves(24, 33)
    _, statistics = looped(model, image, None, 0)
    assert near(statistics, model.survey([image]).detach(), 1e-6)


# The authors' own code

official = pytest.mark.skipif(not ORACLES.is_dir(), reason="the recordings of the official code are not here")


def oracle(name: str) -> Tensors:
    return load_file(ORACLES / f"{name}.safetensors")


def cases() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ORACLES / "config.json").read_text())["cases"]
    return found


def random_network() -> idf.IDF:
    network = idf.IDF()
    network.load_state_dict(oracle("random_weights"))
    return network.eval()


def released(name: str) -> IDF:
    """A checkpoint of the authors, with the paper's rule for the number of iterations."""
    found = IDF.from_official(oracle(name), {})
    assert found is not None
    arguments, state = found
    model = IDF(**arguments)
    model.load_state_dict(state)
    return ruled(model)


@official
def test_official_normalisations() -> None:
    units = oracle("units")
    assert near(idf.rms_normalised(units["rms_in"]), units["rms_out"])
    for alpha in (2, 3):
        assert near(idf.power_normalised(units["pow_in"], alpha), units[f"pow_out_alpha{alpha}"])


@official
def test_official_correlation() -> None:
    """The recorded patches do not overlap: each becomes a block of 3×3 pixels, and block centres are compared."""
    units = oracle("units")
    taps = units["corr_in"].reshape(2, 3, 3, 3, 4, 5)
    image = taps.permute(0, 1, 4, 2, 5, 3).reshape(2, 3, 12, 15)
    assert near(idf.colour_correlation(image, 1)[..., 1::3, 1::3], units["corr_out"])


def compare_steps(steps: list[idf.Step], image: Tensor, trace: Tensors) -> None:
    for index, step in enumerate(steps):
        told = f"iter{index:02d}"
        assert near(step.image, trace[f"{told}.out"]), told
        assert near(image - step.image, trace[f"{told}.residual"]), told
        assert near(step.kernels, trace[f"{told}.kernels"], 1e-4), told
        assert near(step.kernels[:, idf.CENTRE].mean((1, 2)), trace[f"{told}.mean_centre"]), told
        image = step.image


def compare_insides(block: idf.Block, image: Tensor, trace: Tensors) -> None:
    """Features, gate, correlations and logits of the iterations whose insides were recorded."""
    residual: Tensor | None = None
    recorded = sum(name.endswith(".fem") for name in trace)
    assert recorded >= 2, "one without a gate and one with it"
    for index in range(recorded):
        told, dilation = f"iter{index:02d}", idf.dilation_at(index)
        look = block.look(image, residual)
        gate = None if residual is None else block.gca(look[:, 1:])
        seen = block.seen(image, look[:, 0], gate, dilation)
        level = idf.rms_normalised(seen)
        assert near(block.seen(image, look[:, 0], None, dilation)[:, :-9], trace[f"{told}.fem"]), told
        assert near(seen[:, -9:], trace[f"{told}.corr"]), told
        assert gate is None or near(gate, trace[f"{told}.gsm_gate"]), told
        assert near(level[:, :4], trace[f"{told}.kpm_in_first4"]), told
        assert near(block.kernel_predictor(level), trace[f"{told}.kpm_out"]), told
        residual, image = image - trace[f"{told}.out"], trace[f"{told}.out"]


@official
@torch.no_grad()
def test_official_trace_of_random_weights() -> None:
    network, trace = random_network(), oracle("random_trace")
    steps = network.steps(trace["input"], cases()["random_trace"]["iters"])
    assert near(steps[-1].image, trace["output"])
    compare_steps(steps, trace["input"], trace)
    compare_insides(network.block, trace["input"], trace)


@official
@torch.no_grad()
def test_official_mixing_of_input_and_output() -> None:
    variants = oracle("random_variants")
    shares = cases()["random_variants"]["alpha_schedule"]
    steps = random_network().steps(variants["input"], len(shares), mixing=shares)
    assert near(steps[-1].image, variants["out_alpha_schedule6"])


@official
@torch.no_grad()
def test_official_stop_of_random_weights() -> None:
    """The authors decide for the whole batch at once."""
    variants, case = oracle("random_variants"), cases()["random_variants"]
    steps = random_network().until(variants["input"], 10, ruled(IDF()).settled)
    assert len(steps) == case["adaptive_iters"]
    assert near(steps[-1].image, variants["out_adaptive"])
    assert changes(steps) == pytest.approx(case["adaptive_losses"], abs=1e-6)


def changes(steps: list[idf.Step]) -> list[float]:
    """Of the mean weight of the centre, from pair to pair."""
    centres = [step.kernels[:, idf.CENTRE].mean((1, 2)) for step in steps[1::2]]
    return [float((now - before).abs().mean()) for before, now in pairwise(centres)]


@official
def test_official_step_of_training() -> None:
    network, recorded = random_network(), oracle("random_train_step")
    steps = network.steps(recorded["input"], len(recorded["alphas"]), mixing=list(recorded["alphas"]))
    loss = (steps[-1].image - recorded["target"]).abs().mean()
    loss.backward()
    assert near(steps[-1].image, recorded["pred"])
    assert near(loss[None], recorded["loss"], 1e-6)
    gradients = {f"grad.{name}": weight.grad for name, weight in network.named_parameters()}
    assert gradients.keys() == {name for name in recorded if name.startswith("grad.")}
    for name, gradient in gradients.items():
        assert gradient is not None
        assert near(gradient, recorded[name], 1e-4 * float(recorded[name].abs().max())), name


@official
@torch.no_grad()
@pytest.mark.parametrize("name", ["idf_g_15", "idf_gp"])
def test_released_weights(name: str) -> None:
    model, trace = released(name), oracle(f"{name}_trace")
    assert near(model.normalised(trace["noisy01"]), trace["net_input"], 1e-6)
    steps = model.network.steps(trace["net_input"], cases()[name]["iters"])
    assert near(steps[-1].image, trace["net_output"])
    compare_steps(steps, trace["net_input"], trace)
    compare_insides(model.network.block, trace["net_input"], trace)
    assert near(model(trace["noisy01"], iterations=10), trace["denoised01"])


@official
@torch.no_grad()
@pytest.mark.parametrize("name", ["idf_g_15", "idf_gp"])
def test_released_weights_stop_where_the_authors_code_stops(name: str) -> None:
    model, trace, case = released(name), oracle(f"{name}_trace"), cases()[name]
    steps = model.run(trace["net_input"], 0, None)
    assert len(steps) == case["adaptive_iters"]
    assert changes(steps) == pytest.approx(case["adaptive_losses"], abs=1e-6)
    assert near(model(trace["noisy01"]), trace["denoised01_adaptive"])


@official
@pytest.mark.usefixtures("plain_loop")
def test_the_loop_with_released_weights() -> None:
    trace = oracle("idf_g_15_trace")
    restored, _ = looped(released("idf_g_15"), trace["noisy01"], None, 0)
    assert near(restored, trace["denoised01_adaptive"])


@official
def test_the_recorded_normalisation_is_ours() -> None:
    norm = json.loads((ORACLES / "config.json").read_text())["norm"]
    assert pytest.approx(norm["mean"], abs=1e-7) == OFFICIAL_MEAN
    assert pytest.approx(norm["std"], abs=1e-7) == OFFICIAL_STD
