"""SGMSE: laws on a tiny network, and what the authors' own code computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from speech_oracles import (
    NETWORK,
    SAMPLER,
    TRANSFORM,
    config,
    model_of,
    official,
    planes,
    recorded,
    relative,
    replayed,
)
from torch import Tensor

from denoise import seeds
from denoise.errors import UserError
from denoise.methods.sgmse import SGMSE, plainly
from denoise.networks.ncsnpp import VARIANTS, NCSNpp, Shape, doubled, halved, sizes_of
from denoise.networks.spectrogram import TRANSFORMS, Spectrogram
from denoise.processes.samplers import PredictorCorrector, Times, adaptive_flow, walked
from denoise.restorer import Facts
from denoise.run import Options, restore_sound
from denoise.signals import Audio
from denoise.zoo import FROM_METHOD, TorchRestorer

TINY: dict[str, Any] = {"nf": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attention": [], "local": True}
SMALL_FRAMES = {"n_fft": 62, "hop": 16}
BRIDGE: dict[str, Any] = {
    "backbone": TINY | {"variant": "ncsnpp_v2"},
    "process": {"kind": "sbve"},
    "reading": {"predicts": "data_prediction", "c_out": "1"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "score": {"backbone": TINY},
    "flow": {"backbone": TINY, "sampler": {"kind": "ode"}},
    "clean": {"backbone": TINY, "reading": {"predicts": "data_prediction", "c_out": "1"}},
    "bridge-ode": BRIDGE,
    "bridge-sde": BRIDGE | {"sampler": {"kind": "sde"}},
}
every_setting = pytest.mark.parametrize("name", SETTINGS)


def tiny(name: str = "score", **changes: Any) -> SGMSE:
    """The same weights whatever the order of the tests, and no layer that begins at nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SGMSE(**{"spectrogram": SMALL_FRAMES, "steps": 3, "rate": 16_000} | SETTINGS[name] | changes)
        for weight in made.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.7 / weight[0].numel() ** 0.5)
    return made.eval()


def speech(length: int, channels: int = 1, seed: int = 0) -> Tensor:
    """(1, C, T): a tone that comes and goes, and noise."""
    time = torch.arange(length) / 16_000
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * time) * torch.sin(2 * torch.pi * 3 * time)
    return (tone + 0.02 * seeds.normal_like(torch.zeros(channels, length), seed))[None]


# Spectrograms


@pytest.mark.parametrize(
    "settings", [(510, 128, "hann"), (510, 256, "sqrthann"), (62, 16, "hann"), (1534, 384, "hann")]
)
@pytest.mark.parametrize("length", [1, 100, 1601])
@pytest.mark.parametrize("offset", [0, 5])
def test_a_spectrogram_leads_back_to_the_sound(settings: tuple[int, int, str], length: int, offset: int) -> None:
    frames = Spectrogram(*settings)
    sound = speech(length)[0]
    back = frames.synthesised(frames.analysed(sound, 2 + length // frames.hop, offset), length, offset)
    assert torch.allclose(back, sound, atol=2e-6)


@pytest.mark.parametrize("settings", [(510, 128), (62, 16)])
def test_it_is_the_transform_of_pytorch(settings: tuple[int, int]) -> None:
    frames, sound = Spectrogram(*settings), speech(1600)[0]
    known = torch.stft(sound, *settings, window=torch.hann_window(settings[0]), return_complex=True)
    assert relative(frames.analysed(sound, known.shape[-1]), planes(known[:, None].numpy())) < 1e-5


def test_a_piece_has_the_frames_of_the_whole() -> None:
    frames, sound, start = Spectrogram(62, 16), speech(800)[0], 163
    whole = frames.analysed(sound, 51)
    piece = frames.analysed(sound[:, start:], 20, start % 16)
    assert torch.allclose(piece[..., 3:], whole[..., start // 16 + 3 : start // 16 + 20], atol=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_compression_can_be_undone_and_keeps_the_phase(transform: str) -> None:
    frames = Spectrogram(62, 16, transform=transform)
    spectrum = frames.analysed(speech(800)[0], 50)
    small = frames.compressed(spectrum)
    assert torch.allclose(frames.expanded(small), spectrum, atol=1e-5)
    assert torch.allclose(torch.atan2(small[:, 1], small[:, 0]), torch.atan2(spectrum[:, 1], spectrum[:, 0]), atol=1e-3)
    assert not frames.compressed(torch.zeros(1, 2, 32, 3)).any()


# The network


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("levels", [(1, 2), (1, 1, 2, 2)])
@pytest.mark.parametrize("attention", [(), (1,), (0, 1)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_sizes_of_a_network_can_be_read_from_its_weights(
    variant: str, levels: tuple[int, ...], attention: tuple[int, ...], blocks: int
) -> None:
    shape = replace(VARIANTS[variant], nf=8, ch_mult=levels, attention=attention, num_res_blocks=blocks)
    known = sizes_of(NCSNpp(shape).state_dict())
    assert replace(shape, **known) == shape


@pytest.mark.parametrize(
    ("variant", "tensors", "parameters"),
    [("ncsnpp", 647, 65_590_822), ("ncsnpp_48k", 581, 64_739_854), ("ncsnpp_v2", 647, 65_590_822)],
)
def test_the_official_networks_have_their_official_size(variant: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        weights = list(NCSNpp(VARIANTS[variant]).parameters())
    assert len(weights) == tensors
    assert sum(weight.numel() for weight in weights) == parameters


@torch.no_grad()
def test_a_local_network_looks_a_bounded_distance() -> None:
    network = tiny().dnn
    x = seeds.normal_like(torch.zeros(1, 4, 32, 256), 0)
    far = x.clone()
    far[..., 128:] = 0
    time = torch.tensor([0.5])
    assert torch.allclose(network(x, time)[..., :64], network(far, time)[..., :64], atol=1e-5)
    assert not torch.allclose(network(x, time)[..., 120:], network(far, time)[..., 120:], atol=1e-2)


# The method


@every_setting
@torch.no_grad()
def test_the_same_seed_gives_the_same_again(name: str) -> None:
    model, noisy = tiny(name), speech(900)
    once, again, other = (model(noisy, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert torch.equal(once, other) != model.seeded
    assert once.shape == noisy.shape
    assert torch.isfinite(once).all()


@every_setting
@torch.no_grad()
def test_silence_stays_silent_and_the_level_is_kept(name: str) -> None:
    model, noisy = tiny(name), speech(900)
    assert not model(torch.zeros(2, 1, 900)).any()
    assert relative(model(1e-3 * noisy), 1e-3 * model(noisy)) < 1e-2


@every_setting
@torch.no_grad()
def test_one_alone_is_as_one_among_many(name: str) -> None:
    model, many = tiny(name), torch.cat([speech(900, 2), 0.2 * speech(900, 2, 5)])
    together, apart = model(many), torch.cat([model(one[None]) for one in many])
    assert float((together - apart).abs().max()) < 1e-5 * float(apart.abs().max().clamp(min=1))


@every_setting
@pytest.mark.parametrize("length", [1, 2, 15, 16, 33])
@torch.no_grad()
def test_any_length_keeps_its_shape(name: str, length: int) -> None:
    found = tiny(name)(speech(length), steps=1, start=5)
    assert found.shape == (1, 1, length)
    assert torch.isfinite(found).all()


@torch.no_grad()
def test_equal_channels_stay_equal() -> None:
    found = tiny()(speech(900).expand(1, 2, -1))
    assert torch.equal(found[:, 0], found[:, 1])


@torch.no_grad()
@pytest.mark.parametrize("name", ["score", "bridge-sde"])
def test_a_mean_of_draws_is_made_of_draws_that_differ_alike(name: str) -> None:
    model, noisy = tiny(name), speech(500)
    one, two, three = (count * model(noisy, samples=count, seed=5) for count in (1, 2, 3))
    first, second, third = one, two - one, three - two
    apart = [float((a - b).std()) for a, b in ((first, second), (second, third), (third, first))]
    assert min(apart) > 1e-2
    assert max(apart) < 1.5 * min(apart)


@pytest.mark.parametrize("name", ["score", "bridge-sde", "bridge-ode"])
def test_in_pieces_it_is_the_whole(name: str) -> None:
    """Through the runner: one peak for all pieces, frames and noise of the whole sound."""
    model = tiny(name)
    model.piece, model.context = 3000, 1500
    restorer = TorchRestorer(model, facts_of(model))
    noisy = speech(16_000, 2, 1)[0].numpy()
    audio = lambda: Audio.from_array(noisy, 16_000)  # noqa: E731
    whole, pieces = (
        np.concatenate(list(restore_sound(audio(), restorer, Options(seed=4, piece=piece))), 1)
        for piece in (10**6, 3000)
    )
    assert whole.shape == noisy.shape
    assert np.abs(pieces - whole).max() < 1e-3 * np.abs(whole).max()


def facts_of(model: SGMSE) -> Facts:
    return Facts("tiny", "audio", **{name: getattr(model, name) for name in FROM_METHOD})


@torch.no_grad()
def test_more_draws_are_steadier() -> None:
    model, noisy = tiny(), speech(500)
    apart = [float((model(noisy, samples=k, seed=1) - model(noisy, samples=k, seed=2)).std()) for k in (1, 8)]
    assert apart[1] < 0.6 * apart[0]


@pytest.mark.parametrize("rate", [16, 0, -16_000, 16_000.5, "16000", 1_000_000])
def test_a_wrong_rate_is_named(rate: Any) -> None:
    with pytest.raises(UserError, match="whole Hz from"):
        tiny(rate=rate)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"process": {"kind": "vp"}}, "Unknown process 'vp'"),
        ({"sampler": {"kind": "sde"}}, "Unknown sampler 'sde'"),
        ({"process": {"kind": "sbve"}}, "data_prediction"),
        ({"backbone": {"variant": "dcunet"}}, "Unknown variant"),
        ({"spectrogram": {"window": "boxcar"}}, "window"),
    ],
)
def test_settings_that_do_not_exist_are_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SGMSE(**wrong)


@every_setting
@pytest.mark.parametrize("start", [0, 7, 100])
@torch.no_grad()
def test_the_graph_computes_the_same(name: str, start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a plain loop: PyTorch would compile it for a while."""
    monkeypatch.setattr(torch, "while_loop", plainly)
    model, noisy = tiny(name), speech(700, 2)
    given = {
        "steps": torch.tensor(2.0),
        "samples": torch.tensor(2.0),
        "seed": torch.tensor(5),
        "start": torch.tensor(start),
    }
    there, peak = model.graph()(noisy, torch.zeros(1, 1), **given)
    here = model(noisy, steps=2, samples=2, seed=5, start=start)
    assert relative(there, here) < 1e-4
    assert torch.equal(peak, model.survey([noisy]))
    known, _ = model.graph()(noisy, 2 * peak, **given)
    assert relative(known, model(noisy, 2 * peak, steps=2, samples=2, seed=5, start=start)) < 1e-4


# Training


@every_setting
def test_training_takes_the_loss_down(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SGMSE(**{"spectrogram": SMALL_FRAMES} | SETTINGS[name])
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    noisy = torch.cat([speech(31 * 16, 1, seed) for seed in range(4)])
    clean = torch.cat([speech(31 * 16, 1, 0) for _ in range(4)]) - 0.02 * seeds.normal_like(torch.zeros(1, 31 * 16), 0)
    losses = []
    for step in range(15):
        loss = model.loss(noisy, clean, step % 5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])


def test_the_loss_of_a_step_is_always_the_same() -> None:
    model, noisy = tiny(), speech(31 * 16)
    one, again, other = (float(model.loss(noisy, 0.9 * noisy, step).detach()) for step in (1, 1, 2))
    assert one == again != other


def test_late_times_are_drawn_more_often_where_asked() -> None:
    like = torch.zeros(2000, 1, 1, 1)
    even, late = tiny().drawn(like, 3)[0], tiny(late=2.0).drawn(like, 3)[0]
    for times in (even, late):
        assert tiny().last < times.min() < 0.05
        assert 0.99 < times.max() <= 1
    assert abs(float((even > 0.75).float().mean()) - 0.25 / 0.97) < 0.03
    assert abs(float((late > 0.75).float().mean()) - (0.25 / 0.97) ** 0.5) < 0.03


def test_frames_beyond_the_sound_teach_nothing() -> None:
    model = tiny()
    x0, y, counts = model.compared(speech(500), speech(500))
    assert counts.sum() == 1 + 500 // 16
    assert not x0[..., counts == 0].any()
    assert not y[..., counts == 0].any()


# The authors' own code

SCORES = ("ncsnpp_small", "ncsnpp_48k_small", "ncsnpp_small_smooth_ode")
OBJECTIVES = ("m1_score_1overSigma", "v2_score_edm_pre", "v2_denoiser", "v2_denoiser_sigma2", "v2_denoiser_edmweight")
NETWORKS = (*SCORES, "ncsnpp_v2_sb_small", *OBJECTIVES)
WAVES = ("ncsnpp_small", "ncsnpp_48k_small", "ncsnpp_v2_sb_small")


def sgmse_of(case: str, **changes: Any) -> SGMSE:
    model = model_of(SGMSE, f"sgmse/{case}", **changes)
    assert isinstance(model, SGMSE)
    return model


@official
def test_official_resampling() -> None:
    told = {key: torch.from_numpy(value) for key, value in recorded("sgmse", "fir").items()}
    assert relative(halved(told["x"]), told["down"]) < 1e-6
    assert relative(doubled(told["x"]), told["up"]) < 1e-6


@official
@torch.no_grad()
@pytest.mark.parametrize("case", NETWORKS)
def test_official_networks(case: str) -> None:
    model, told = sgmse_of(case), recorded(f"sgmse/{case}", "forward")
    x, y, t = planes(told["x_t"]), planes(told["y"]), torch.from_numpy(told["t"])
    shown = model.reading.scaled(torch.cat([x, y], 1), model.process.std(t))
    assert relative(model.dnn(shown, t), planes(told["dnn_out"])) < NETWORK
    assert relative(model.read(model.dnn, x, y, t), planes(told["model_out"])) < NETWORK


@official
@torch.no_grad()
@pytest.mark.parametrize("case", NETWORKS)
def test_official_losses(case: str) -> None:
    """Half the squared errors of an item summed, averaged over the batch; per bin where clean speech is predicted."""
    model, told = sgmse_of(case), recorded(f"sgmse/{case}", "loss")
    x0, y, z, t = planes(told["x0"]), planes(told["y"]), planes(told["z"]), torch.from_numpy(told["t"])
    assert torch.allclose(torch.from_numpy(told["u"]) * (1 - model.last) + model.last, t)
    if case == "v2_denoiser_edmweight":  # whose official weights are those of the batch, by a slip: undone here
        sigma = model.process.std(t)
        weight = (sigma**2 + 0.01) / (sigma * 0.1) ** 2
        errors = model.errors(lambda x, at: model.read(model.dnn, x, y, at), x0, y, t, z).sum((1, 2))
        loss = weight.mean() * (errors / weight).sum()
    else:
        errors = model.errors(lambda x, at: model.read(model.dnn, x, y, at), x0, y, t, z)
        loss = errors.mean() if model.reading.predicts == "data_prediction" else errors.sum((1, 2)).mean()
    assert float(loss) == pytest.approx(float(told["loss"]), rel=NETWORK)


@official
@torch.no_grad()
@pytest.mark.parametrize("case", SCORES)
@pytest.mark.parametrize("corrector", ["none", "ald", "langevin"])
def test_official_predictor_corrector(case: str, corrector: str) -> None:
    steps = 4 if case == "ncsnpp_small" else 3
    told = recorded(f"sgmse/{case}", f"pc_{corrector}_N{steps}_c1")
    corrections = 0 if corrector == "none" else 1
    compare_walk(
        case, told, PredictorCorrector(corrector="ald" if corrections == 0 else corrector, corrections=corrections)
    )


@official
@torch.no_grad()
def test_official_predictor_and_two_corrections() -> None:
    compare_walk("ncsnpp_small", recorded("sgmse/ncsnpp_small", "pc_ald_N4_c2"), PredictorCorrector(corrections=2))


def compare_walk(case: str, told: dict[str, Any], sampler: PredictorCorrector) -> None:
    model, noise = sgmse_of(case), replayed(told["noise"])
    y, steps = planes(told["y"]), int(told["N"])
    end, network = model.guided(y)
    times = Times(steps, float(told["t_eps"]))
    found = walked(sampler.step(model.process, network, end, times), model.process.prior(end, noise), steps, noise)
    assert relative(found, planes(told["x"])) < SAMPLER


@official
@torch.no_grad()
def test_official_flow() -> None:
    model, told = sgmse_of("ncsnpp_small_smooth_ode"), recorded("sgmse/ncsnpp_small_smooth_ode", "ode")
    y, network = model.guided(planes(told["y"]))
    start = model.process.prior(y, replayed(told["noise"]))
    found, calls = adaptive_flow(model.process, network, y, start, float(told["t_eps"]), float(told["rtol"]))
    assert relative(found, planes(told["x"])) < SAMPLER
    assert calls == int(told["nfe"])


@official
@torch.no_grad()
@pytest.mark.parametrize("kind", ["ode", "sde"])
def test_official_bridge(kind: str) -> None:
    model = sgmse_of("ncsnpp_v2_sb_small", sampler={"kind": kind})
    told = recorded("sgmse/ncsnpp_v2_sb_small", f"sb_{kind}_N5")
    found = model.sampled(planes(told["y"]), int(told["N"]), 1, replayed(told["noise"]), plainly)
    assert relative(model.spectrogram.compressed(found), planes(told["x"])) < SAMPLER


@official
@pytest.mark.parametrize("case", WAVES)
def test_official_spectrograms(case: str) -> None:
    model, told = sgmse_of(case, padding="zeros"), recorded(f"sgmse/{case}", "stft")
    sound = torch.from_numpy(told["wav"]) / float(told["norm"])
    raw = model.spectrogram.analysed(sound, told["stft_raw"].shape[-1])
    assert relative(raw, planes(told["stft_raw"][:, None])) < TRANSFORM
    assert relative(model.spectrogram.compressed(raw), planes(told["compressed"])) < TRANSFORM
    model.dnn.multiple = 64  # the authors fill up to it whatever the network
    assert relative(model.spectra(sound), planes(told["padded"])) < TRANSFORM
    model.padding = "reflect"
    assert relative(model.spectra(sound), planes(told["padded_reflect"])) < TRANSFORM
    expanded = model.spectrogram.expanded(planes(told["padded"]))
    back = model.spectrogram.synthesised(expanded, sound.shape[1])[0]
    assert relative(back, torch.from_numpy(told["back"])) < TRANSFORM


@official
@torch.no_grad()
@pytest.mark.parametrize("case", WAVES)
def test_official_enhancement(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way from sound to sound, with the recorded noise."""
    model, told = sgmse_of(case, padding="zeros"), recorded(f"sgmse/{case}", "enhance")
    monkeypatch.setattr(SGMSE, "frame_multiple", 64)
    monkeypatch.setattr(SGMSE, "noise", lambda *_: replayed(told["noise"]))
    found = model(torch.from_numpy(told["wav"])[None], steps=int(told["N"]))
    assert relative(found[0, 0], torch.from_numpy(told["out"])) < SAMPLER


@official
def test_official_settings_are_read() -> None:
    model = sgmse_of("ncsnpp_48k_small")
    assert model.rate == config("sgmse/ncsnpp_48k_small")["sr"] == 48_000
    assert isinstance(Shape(), type(model.dnn.shape))
    assert model.spectrogram.exponent == 0.667
    assert model.process.theta == 2.0
