"""Diffusion as pure functions: what a process does to a signal, how a sampler undoes it, both as in the papers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from denoise import seeds
from denoise.errors import UserError
from denoise.processes import Count, Noise
from denoise.processes.bridge import SBVE
from denoise.processes.ouve import OUVE
from denoise.processes.readings import Reading, score_from_clean
from denoise.processes.samplers import (
    BRIDGE_END,
    BridgeFlow,
    BridgeOde,
    BridgeSde,
    BridgeWalk,
    Flow,
    PredictorCorrector,
    Times,
    adaptive_flow,
    walked,
)

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "speech"
official = pytest.mark.skipif(not ORACLES.is_dir(), reason="the recordings of the official code are not here")

SHAPE = (1, 2, 24, 400)  # so many bins that means over them are close to the expectation
Process = OUVE | SBVE
PROCESSES = [OUVE(), OUVE(2.0, 0.1, 1.0), SBVE(), SBVE(2.1, 0.6)]


def planes(values: np.ndarray[Any, Any]) -> Tensor:
    """(…, 1, F, T) complex as (…, 2, F, T)."""
    found = torch.from_numpy(values)
    return torch.cat([found.real, found.imag], -3)


def relative(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max())


def noise_of(seed: int, shape: tuple[int, ...] = SHAPE) -> Noise:
    """Standard complex, a draw of its own for every number."""

    def draw(number: Count) -> Tensor:
        return seeds.normal(seed, seeds.positions(shape, int(number) * math.prod(shape))) * 0.5**0.5

    return draw


def at(time: float) -> Tensor:
    return torch.tensor(time)


def spread(values: Tensor) -> float:
    """Standard deviation of complex numbers."""
    return float(values.square().sum(1).mean().sqrt())


def known_score(process: OUVE, clean: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The score where the clean signal is certain."""
    return lambda x, t: score_from_clean(process, clean, x, y, t)


# Processes


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_begins_at_the_clean_signal(process: Process) -> None:
    clean, y = torch.full((1, 2, 2, 2), 0.3), torch.full((1, 2, 2, 2), -0.2)
    assert torch.allclose(process.mean(clean, y, at(0.0)), clean, atol=1e-6)
    assert float(process.std(at(0.0))) < 1e-3


@pytest.mark.parametrize("process", [SBVE(), SBVE(2.1, 0.6)])
def test_a_bridge_ends_at_the_noisy_signal(process: SBVE) -> None:
    clean, y = torch.full((1, 2, 2, 2), 0.3), torch.full((1, 2, 2, 2), -0.2)
    assert torch.allclose(process.mean(clean, y, at(1.0)), y, atol=1e-5)
    assert float(process.std(at(1.0))) < 2e-4
    assert torch.equal(process.prior(y, noise_of(0)), y)


@pytest.mark.parametrize("process", [OUVE(), OUVE(2.0, 0.1, 1.0), OUVE(0.7, 0.02, 0.9)])
@pytest.mark.parametrize("end", [0.2, 0.6, 1.0])
def test_many_small_steps_have_the_stated_mean_and_spread(process: OUVE, end: float) -> None:
    """The stochastic equation itself, from a clean 1 towards a noisy -1."""
    y, noise, steps = -torch.ones(SHAPE), noise_of(1), 200
    x, dt = torch.ones(SHAPE), end / steps
    for number in range(steps):
        t = at(end * (number + 0.5) / steps)
        x = x + process.drift(x, y) * dt + process.diffusion(t) * math.sqrt(dt) * noise(number)
    mean = process.mean(torch.ones(SHAPE), y, at(end))
    assert abs(float((x - mean).mean())) < 0.02
    assert spread(x - mean) == pytest.approx(float(process.std(at(end))), rel=0.02)


@pytest.mark.parametrize("time", [0.2, 0.5, 0.9])
def test_brownian_paths_that_end_at_the_noisy_signal_are_the_bridge(time: float) -> None:
    """Of paths without drift, those are taken whose end is pulled to y: x(t) - s(t)/s(1) (x(1) - y)."""
    process, noise = SBVE(), noise_of(2)
    clean, y = torch.full(SHAPE, 0.3), torch.full(SHAPE, -0.2)
    early = process.sigma(at(time))
    here = clean + early * noise(0)
    there = here + (process.sigma_end**2 - early**2).sqrt() * noise(1)
    bridge = here - early**2 / process.sigma_end**2 * (there - y)
    assert abs(float((bridge - process.mean(clean, y, at(time))).mean())) < 0.02
    assert spread(bridge - process.mean(clean, y, at(time))) == pytest.approx(float(process.std(at(time))), rel=0.02)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_item_of_a_batch_has_its_own_time(process: Process) -> None:
    clean, y = noise_of(3, (3, 2, 4, 5))(0), noise_of(3, (3, 2, 4, 5))(1)
    times = torch.tensor([0.1, 0.5, 0.9])
    together = process.mean(clean, y, times)
    for item, t in enumerate(times):
        assert torch.equal(together[item], process.mean(clean[item : item + 1], y[item : item + 1], t)[0])


# Schedules


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_steps_lead_from_one_to_zero(count: int) -> None:
    times = Times(count)
    assert float(times.at(0)) == 1
    assert float(times.at(count - 1)) == pytest.approx(0.03 if count > 1 else 1)
    whole = sum(float(times.size(number)) for number in range(count))
    assert whole == pytest.approx(1 if count > 1 else 0.03)
    assert sum(float(Times(count, even=True).size(number)) for number in range(count)) == pytest.approx(1)


def test_tensors_count_like_numbers() -> None:
    for number in range(4):
        for even in (False, True):
            one, other = Times(4, even=even), Times(torch.tensor(4), even=even)
            assert float(one.at(number)) == float(other.at(torch.tensor(number)))
            assert float(one.size(number)) == float(other.size(torch.tensor(number)))


# Samplers


@pytest.mark.parametrize(
    "sampler",
    [
        PredictorCorrector(corrections=0),
        PredictorCorrector("euler_maruyama", corrections=0),
        PredictorCorrector(corrector="ald", corrections=1),
        PredictorCorrector(corrector="langevin", corrections=1, snr=0.1),
        PredictorCorrector("none", "ald", 2),
        Flow(),
    ],
)
def test_a_known_score_leads_back_to_the_clean_signal(sampler: PredictorCorrector | Flow) -> None:
    process, noise, clean, y = OUVE(), noise_of(4), torch.full(SHAPE, 0.7), torch.full(SHAPE, 0.2)
    step = sampler.step(process, known_score(process, clean, y), y, Times(60))
    back = walked(step, process.prior(y, noise), 60, noise)
    assert abs(float((back - clean).mean())) < 0.05
    assert spread(back - clean) < 0.1


@pytest.mark.parametrize("sampler", [BridgeOde(), BridgeSde(), BridgeFlow(), BridgeWalk()])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_bridge_with_a_known_end_arrives_there(
    sampler: BridgeOde | BridgeSde | BridgeFlow | BridgeWalk, steps: int
) -> None:
    clean, y = torch.full(SHAPE, 0.7), torch.full(SHAPE, 0.2)
    step = sampler.step(SBVE(), lambda x, t: clean, y, Times(steps))
    assert relative(walked(step, y, steps, noise_of(5)), clean) < 0.02


@pytest.mark.parametrize("c", [0.4, 1e-5])
def test_few_steps_meet_the_network_where_it_was_trained(c: float) -> None:
    """On the mean way from y to the clean signal, asked at the time of each state, however little noise there is."""
    process, clean, y = SBVE(c=c, eps=1e-8 * c), torch.full(SHAPE, 0.7), torch.full(SHAPE, 0.2)

    def model(x: Tensor, t: Tensor) -> Tensor:
        assert relative(x, process.mean(clean, y, t)) < 1e-4
        return clean

    assert relative(walked(BridgeFlow().step(process, model, y, Times(4)), y, 4, noise_of(5)), clean) < 1e-3


def test_a_walk_meets_the_network_with_the_noise_of_its_training() -> None:
    process, clean, y = SBVE(), torch.full(SHAPE, 0.7), torch.full(SHAPE, 0.2)
    asked: list[float] = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t))
        assert abs(float((x - process.mean(clean, y, t)).mean())) < 0.02
        assert spread(x - process.mean(clean, y, t)) == pytest.approx(float(process.std(t)), rel=0.03, abs=1e-3)
        return clean

    walked(BridgeWalk().step(process, model, y, Times(5)), y, 5, noise_of(6))
    assert asked[0] == 1
    assert len(asked) == 5


def test_what_all_agree_on_stays() -> None:
    same = torch.full(SHAPE, 0.4)
    step = BridgeFlow().step(SBVE(c=1e-5, eps=1e-10), lambda x, t: same, same, Times(3))
    assert relative(walked(step, same, 3, noise_of(5)), same) < 1e-6


@pytest.mark.parametrize("stop", [5, 10, 15])
def test_half_way_a_stochastic_bridge_is_spread_as_stated(stop: int) -> None:
    process, clean, y, noise = SBVE(), torch.full(SHAPE, 0.7), torch.full(SHAPE, 0.2), noise_of(6)
    step = BridgeSde().step(process, lambda x, t: clean, y, Times(20))
    x = y
    for number in range(stop):
        _, x = step(x, number, noise)
    t = Times(21, BRIDGE_END).at(stop)
    assert abs(float((x - process.mean(clean, y, t)).mean())) < 0.02
    assert spread(x - process.mean(clean, y, t)) == pytest.approx(float(process.std(t)), rel=0.03)


def test_flow_and_stochastic_way_have_the_same_marginals() -> None:
    """A clean signal that is normal itself, so that the score is known: both ways draw from its law."""
    process, noise, y, middle, wide = OUVE(), noise_of(7), torch.full(SHAPE, 0.2), torch.full(SHAPE, 0.7), 0.3

    def deviation(t: Tensor) -> Tensor:
        return (process.std(t) ** 2 + (process.stays(t) * wide) ** 2).sqrt()

    def score(x: Tensor, t: Tensor) -> Tensor:
        return (process.mean(middle, y, t) - x) / deviation(t) ** 2

    x = process.mean(middle, y, at(1.0)) + deviation(at(1.0)) * noise(0)
    ways = (PredictorCorrector(corrections=0), PredictorCorrector(corrections=1, snr=0.2), Flow())
    found = [walked(way.step(process, score, y, Times(100)), x, 100, noise) for way in ways]
    exact, calls = adaptive_flow(process, score, y, x, last=1e-3, tolerance=1e-4)
    assert calls > 10
    for back in (*found, exact):
        assert float(back.mean()) == pytest.approx(0.7, abs=0.02)
        assert spread(back - 0.7) == pytest.approx(wide, rel=0.06)
    assert relative(found[2], exact) < 0.03


def test_the_last_draw_leaves_no_trace() -> None:
    process, y = OUVE(), torch.full(SHAPE, 0.2)
    step = PredictorCorrector(corrections=0).step(process, known_score(process, y, y), y, Times(3))
    asked: list[int] = []

    def noise(number: Count) -> Tensor:
        asked.append(int(number))
        return noise_of(8)(number) * (1 if int(number) < 3 else 1e6)

    assert walked(step, process.prior(y, noise), 3, noise).abs().max() < 10
    assert asked == [0, 1, 2, 3]


def test_a_walk_can_be_stopped() -> None:
    def stop(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walked(lambda x, number, noise: (x, x), torch.zeros(SHAPE), 5, noise_of(0), stop)


# Readings


@pytest.mark.parametrize("predicts", ["score_matching", "denoiser", "data_prediction"])
@pytest.mark.parametrize("scaling", ["1", "1/sigma", "1/t"])
def test_the_best_answer_has_no_error(predicts: str, scaling: str) -> None:
    """Whatever a network is asked for: reading the true answer leaves nothing to learn."""
    process, t = OUVE(), torch.tensor([0.2, 0.9])
    draw = noise_of(9, (2, 2, 3, 4))
    clean, y, z = draw(0), draw(1), draw(2)
    sigma, mean = process.std(t), process.mean(clean, y, t)
    x = mean + sigma[:, None, None, None] * z
    reading = Reading(predicts, scaling, c_out="1")
    wanted = {"score_matching": -z / sigma[:, None, None, None], "denoiser": mean, "data_prediction": clean}[predicts]
    divisor = {"1": torch.ones(2), "1/sigma": sigma, "1/t": t}[scaling]
    found = reading.read(wanted * divisor[:, None, None, None], x, t, sigma)
    assert float(reading.error_of(found, x, z, clean, mean, sigma).max()) < 1e-9


@pytest.mark.parametrize("wrong", [{"predicts": "noise"}, {"c_in": "2"}, {"weighting": "snr"}, {"error": "huber"}])
def test_unknown_readings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))} = .* is wanted"):
        Reading(**wrong)


# The authors' own code


@official
@pytest.mark.parametrize("name", ["16k", "48k", "other"])
def test_official_ouve(name: str) -> None:
    recorded = np.load(ORACLES / "sgmse" / f"sde_ouve_{name}.npz")
    process = OUVE(*(float(recorded[key]) for key in ("theta", "sigma_min", "sigma_max")))
    t, x, x0, y, score = (torch.from_numpy(recorded["t"]), *(planes(recorded[k]) for k in ("x", "x0", "y", "score")))
    found = {
        "drift": process.drift(x, y),
        "mean": process.mean(x0, y, t),
        "rev_sde_drift": process.reverse_drift(x, y, t, score),
        "ode_drift": process.flow(x, y, t, score),
        "prior": process.prior(y, lambda _: planes(recorded["prior_noise"])),
        "disc_f": process.drift(x, y) * float(recorded["dt"]),
        "rev_disc_f": process.reverse_drift(x, y, t, score) * float(recorded["dt"]),
    }
    assert {key: relative(value, planes(recorded[key])) for key, value in found.items()} == pytest.approx(
        dict.fromkeys(found, 0), abs=1e-6
    )
    for key, value in {"diffusion": process.diffusion(t), "std": process.std(t)}.items():
        assert relative(value, torch.from_numpy(recorded[key])) < 1e-6, key


@official
@pytest.mark.parametrize("name", ["sde_sbve", "sde_sbve_other"])
def test_official_bridge(name: str) -> None:
    """Near t = 1 the official float32 loses digits that ours keeps."""
    recorded = np.load(ORACLES / "sgmse" / f"{name}.npz")
    process = SBVE(*(float(recorded[key]) for key in ("k", "c", "eps")))
    t = torch.from_numpy(recorded["t"])
    assert relative(process.mean(planes(recorded["x0"]), planes(recorded["y"]), t), planes(recorded["mean"])) < 1e-5
    for key, value in {
        "diffusion": process.diffusion(t),
        "sigma_t": process.sigma(t),
        "std": process.std(t),
        "sigma_bar": process.sigma_bar(t),
    }.items():
        assert relative(value, torch.from_numpy(recorded[key])) < (2e-3 if "s" in key[:1] else 1e-5), key
    assert process.sigma_end == pytest.approx(float(recorded["sigma_T"]), rel=1e-6)
