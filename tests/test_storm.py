"""StoRM: laws on two tiny networks, and what the authors' own code computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from speech_oracles import NETWORK, SAMPLER, TRANSFORM, model_of, official, planes, recorded, relative, replayed
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from denoise import seeds, zoo
from denoise.errors import UserError
from denoise.methods.method import Method
from denoise.methods.sgmse import SGMSE, SpectralDiffusion, plainly
from denoise.methods.storm import CONDITIONS, StoRM
from denoise.networks.ncsnpp import NCSNpp
from denoise.processes.samplers import PredictorCorrector, Times, adaptive_flow, walked

TINY: dict[str, Any] = {"nf": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attention": [], "local": True}
BRIDGE: dict[str, Any] = {
    "backbone": TINY | {"variant": "ncsnpp_v2"},
    "process": {"kind": "sbve"},
    "reading": {"predicts": "data_prediction", "c_out": "1"},
}


def tiny(**changes: Any) -> StoRM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = StoRM(
            **{"spectrogram": {"n_fft": 62, "hop": 16}, "steps": 3, "predictor": TINY, "backbone": TINY} | changes
        )
        for weight in made.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.7 / weight[0].numel() ** 0.5)
    return made.eval()


def noisy_of(length: int = 900, channels: int = 1, seed: int = 0) -> Tensor:
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(length) / 16_000)
    return (tone + 0.05 * seeds.normal_like(torch.zeros(channels, length), seed))[None]


@pytest.mark.parametrize("condition", CONDITIONS)
@torch.no_grad()
def test_without_steps_the_prediction_is_the_result(condition: str) -> None:
    model, noisy = tiny(condition=condition), noisy_of()
    alone = tiny(alone=True)
    alone.denoiser_net.load_state_dict(model.denoiser_net.state_dict())
    assert torch.equal(model(noisy, steps=0), alone(noisy))
    assert torch.equal(model(noisy, steps=0, seed=1), model(noisy, steps=0, seed=2))
    assert not torch.allclose(model(noisy, steps=1), model(noisy, steps=0), atol=1e-3)


@pytest.mark.parametrize("changes", [{}, BRIDGE, BRIDGE | {"sampler": {"kind": "sde"}}, {"alone": True}])
@torch.no_grad()
def test_the_laws_of_sound(changes: dict[str, Any]) -> None:
    model, noisy = tiny(**changes), noisy_of(channels=2)
    once, again, other = (model(noisy, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert torch.equal(once, other) != model.seeded
    assert once.shape == noisy.shape
    assert not model(torch.zeros(1, 2, 900)).any()
    assert relative(model(1e-3 * noisy, seed=1), 1e-3 * once) < 1e-2


@torch.no_grad()
def test_the_knob_begins_at_no_steps() -> None:
    assert [knob.low for knob in tiny().knobs] == [0, 1]
    assert tiny(alone=True).knobs == ()


def test_an_unknown_condition_is_named() -> None:
    with pytest.raises(UserError, match="both, noisy, post_denoiser"):
        tiny(condition="clean")


def test_a_frozen_predictor_learns_nothing() -> None:
    for frozen in (False, True):
        model = tiny(frozen=frozen)
        model.loss(noisy_of(31 * 16), 0.8 * noisy_of(31 * 16), 0).backward()
        learns = [weight.grad is not None and bool(weight.grad.any()) for weight in model.denoiser_net.parameters()]
        assert any(learns) != frozen


@pytest.mark.parametrize("changes", [{}, BRIDGE, {"alone": True, "predictor_error": "mae"}])
def test_training_takes_the_loss_down(changes: dict[str, Any]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Method = StoRM(
            **{"spectrogram": {"n_fft": 62, "hop": 16}, "predictor": TINY, "backbone": TINY} | changes
        )
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    noisy = torch.cat([noisy_of(31 * 16, 1, seed) for seed in range(4)])
    losses = []
    for step in range(15):
        loss = model.loss(noisy, 0.9 * noisy.mean(0, keepdim=True).expand(4, -1, -1), step % 5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])


# The authors' own code

PAIRS = ("storm_both", "storm_post_denoiser")


def storm_of(case: str, **changes: Any) -> StoRM:
    model = model_of(StoRM, f"storm/{case}", **changes)
    assert isinstance(model, StoRM)
    return model


def score_only() -> SGMSE:
    model = model_of(SGMSE, "storm/score_only")
    assert isinstance(model, SGMSE)
    return model


def score_of(model: StoRM, x: Tensor, y: Tensor, predicted: Tensor, t: Tensor) -> Tensor:
    assert model.score_net is not None
    return model.read(model.score_net, x, model.beside(y, predicted), t)


@official
@torch.no_grad()
@pytest.mark.parametrize("case", PAIRS)
def test_official_networks(case: str) -> None:
    model, told = storm_of(case), recorded(f"storm/{case}", "forward")
    x, y, t = planes(told["x_t"]), planes(told["y"]), torch.from_numpy(told["t"])
    predicted = model.predicted(y)
    assert relative(predicted, planes(told["denoised"])) < NETWORK
    assert relative(score_of(model, x, y, predicted, t), planes(told["score"])) < NETWORK
    assert relative(-score_of(model, x, y, predicted, t), planes(told["score_net_out"])) < NETWORK


@official
@torch.no_grad()
def test_official_networks_on_their_own() -> None:
    told, model = recorded("storm/score_only", "forward"), score_only()
    found = model.read(model.dnn, planes(told["x_t"]), planes(told["y"]), torch.from_numpy(told["t"]))
    assert relative(found, planes(told["score"])) < NETWORK
    assert relative(-found, planes(told["dnn_out"])) < NETWORK
    told = recorded("storm/denoiser_only", "forward")
    assert relative(storm_of("denoiser_only").predicted(planes(told["y"])), planes(told["denoised"])) < NETWORK


@official
@torch.no_grad()
@pytest.mark.parametrize("case", PAIRS)
def test_official_joint_losses(case: str) -> None:
    """Sums over the whole batch."""
    model, told = storm_of(case), recorded(f"storm/{case}", "loss")
    x0, y, z, t = planes(told["x0"]), planes(told["y"]), planes(told["z"]), torch.from_numpy(told["t"])
    predicted = model.predicted(y)
    close = {"rel": NETWORK}
    assert float(model.predictor_errors(predicted, x0).sum()) == pytest.approx(float(told["loss_denoiser"]), **close)
    assert float(model.score_errors(x0, y, predicted, t, z).sum()) == pytest.approx(float(told["loss_score"]), **close)
    assert float(model.both_errors(x0, y, t, z).sum()) == pytest.approx(float(told["loss"]), **close)


@official
@torch.no_grad()
def test_official_losses_of_one_network() -> None:
    """Sums over bins, averaged over the batch."""
    told, model = recorded("storm/score_only", "loss"), score_only()
    x0, y, z, t = planes(told["x0"]), planes(told["y"]), planes(told["z"]), torch.from_numpy(told["t"])
    loss = model.errors(lambda x, at: model.read(model.dnn, x, y, at), x0, y, t, z).sum((1, 2)).mean()
    assert float(loss) == pytest.approx(float(told["loss"]), rel=NETWORK)
    told = recorded("storm/denoiser_only", "loss")
    x0, y = planes(told["x0"]), planes(told["y"])
    loss = storm_of("denoiser_only").both_errors(x0, y, y, y).sum((1, 2)).mean()
    assert float(loss) == pytest.approx(float(told["loss"]), rel=NETWORK)


@official
@torch.no_grad()
@pytest.mark.parametrize("case", [*PAIRS, "score_only"])
@pytest.mark.parametrize("corrector", ["none", "ald", "langevin"])
def test_official_predictor_corrector(case: str, corrector: str) -> None:
    if (case, corrector) == ("score_only", "langevin"):
        pytest.skip("not recorded")
    model = score_only() if case == "score_only" else storm_of(case)
    told = recorded(f"storm/{case}", f"pc_{corrector}_N3_c1")
    way = PredictorCorrector(corrections=0) if corrector == "none" else PredictorCorrector(corrector=corrector)
    noise, steps = replayed(told["noise"]), int(told["N"])
    end, network = model.guided(planes(told["y"]))
    if "y_denoised" in told:
        assert relative(end, planes(told["y_denoised"])) < NETWORK
    step = way.step(model.process, network, end, Times(steps, float(told["t_eps"]), even=model.even))
    found = walked(step, model.process.prior(end, noise), steps, noise)
    assert relative(found, planes(told["x"])) < SAMPLER


@official
@torch.no_grad()
@pytest.mark.parametrize(("case", "name"), [("score_only", "ode"), *((case, "ode_extension") for case in PAIRS)])
def test_official_flow_and_its_last_step(case: str, name: str) -> None:
    """The probability flow, and then the noise-free mean of one predictor step of size 1/N."""
    model = score_only() if case == "score_only" else storm_of(case)
    told = recorded(f"storm/{case}", name)
    end, network = model.guided(planes(told["y"]))
    start, last = model.process.prior(end, replayed(told["noise"])), float(told["t_eps"])
    x, calls = adaptive_flow(model.process, network, end, start, last, float(told["rtol"]))
    t = torch.tensor(last)
    found = x - model.process.reverse_drift(x, end, t, network(x, t)) / int(told["N"])
    assert relative(found, planes(told["x"])) < SAMPLER
    assert calls == int(told["nfe"])


@official
@pytest.mark.parametrize("case", [*PAIRS, "score_only", "denoiser_only"])
def test_official_spectrograms(case: str) -> None:
    model = score_only() if case == "score_only" else storm_of(case)
    told = recorded(f"storm/{case}", "stft")
    sound = torch.from_numpy(told["wav"]) / float(told["norm"])
    raw = model.spectrogram.analysed(sound, told["stft_raw"].shape[-1])
    assert relative(raw, planes(told["stft_raw"][:, None])) < TRANSFORM
    assert relative(model.spectrogram.compressed(raw), planes(told["compressed"])) < TRANSFORM
    assert relative(model.spectra(sound), planes(told["padded"])) < TRANSFORM
    back = model.spectrogram.synthesised(model.spectrogram.expanded(planes(told["padded"])), sound.shape[1])[0]
    assert relative(back, torch.from_numpy(told["back"])) < TRANSFORM


@official
@torch.no_grad()
@pytest.mark.parametrize("case", [*PAIRS, "score_only", "denoiser_only"])
def test_official_enhancement(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = SGMSE if case == "score_only" else StoRM
    model = model_of(kind, f"storm/{case}", sampler={"corrector": "ald", "corrections": 1})
    told = recorded(f"storm/{case}", "enhance")
    monkeypatch.setattr(kind, "frame_multiple", 64)
    monkeypatch.setattr(kind, "noise", lambda *_: replayed(told["noise"]))
    found = model(torch.from_numpy(told["wav"])[None], steps=int(told["N"]))
    assert relative(found[0, 0], torch.from_numpy(told["out"])) < SAMPLER


@official
@torch.no_grad()
def test_the_runner_of_several_draws_uses_each_draw_once() -> None:
    """Two draws need twice the recorded numbers, in order."""
    model, told = storm_of("storm_post_denoiser"), recorded("storm/storm_post_denoiser", "pc_none_N3_c1")
    model.sampler = PredictorCorrector(corrections=0)
    asked: list[int] = []

    def noise(number: Any) -> Tensor:
        asked.append(int(number))
        return replayed(told["noise"])(int(number) % 4)

    found = model.sampled(planes(told["y"]), 3, 2, noise, plainly)
    assert relative(model.spectrogram.compressed(found), planes(told["x"])) < SAMPLER
    assert set(asked) == set(range(8))


# Sizes of our own

SPEECH_16K = """
name = "{method}-speech"
kind = "audio"
method = "{method}"

[network]
steps = 5
process = {{ kind = "sbve" }}
reading = {{ predicts = "data_prediction", c_out = "1" }}
spectrogram = {{ n_fft = 510, hop = 256, window = "sqrthann" }}

[network.backbone]
variant = "ncsnpp_v2"
nf = 24
ch_mult = [1, 2, 2, 2]
num_res_blocks = 1
attention = []
local = true
"""
PREDICTOR = """
[network.predictor]
nf = 16
ch_mult = [1, 2, 3, 4]
num_res_blocks = 1
attention = []
local = true
"""


@pytest.mark.parametrize("name", ["sgmse", "storm"])
def test_small_networks_come_from_a_card_and_are_cheap(name: str, tmp_path: Path) -> None:
    """At most 3 billion multiplications per call and second of sound."""
    (tmp_path / "model.toml").write_text(SPEECH_16K.format(method=name) + (PREDICTOR if name == "storm" else ""))
    with torch.device("meta"):
        model = zoo.method_of(zoo.Card.of(tmp_path))
    assert isinstance(model, SpectralDiffusion)
    assert model.local
    assert sum(weight.numel() for weight in model.parameters()) * 2 < 20e6, "as half floats, in bytes"
    seconds = 64 * model.spectrogram.hop / 16_000
    for network in (part for part in model.modules() if isinstance(part, NCSNpp)):
        x = torch.zeros(1, network.shape.inputs, 256, 64, device="meta")
        with FlopCounterMode(display=False) as counted:
            network(x, torch.ones(1, device="meta"))
        assert counted.get_total_flops() / 2 / seconds < 3e9
