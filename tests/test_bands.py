"""Diffusion over bands: the network, and StoRM with the fast network as its predictor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from denoise import seeds
from denoise.errors import UserError
from denoise.methods.sgmse import SGMSE, speaking
from denoise.methods.storm import StoRM
from denoise.methods.subband import Subband
from denoise.networks.bands import Bands, both_ways

TINY: dict[str, Any] = {"fine": 8, "width": 8, "depth": 2, "whole": 8}
FRAMES: dict[str, Any] = {"n_fft": 512, "hop": 256, "window": "sqrthann"}
BRIDGE: dict[str, Any] = {
    "spectrogram": FRAMES,
    "process": {"kind": "sbve"},
    "reading": {"predicts": "data_prediction", "c_out": "1"},
    "backbone": TINY | {"variant": "bands"},
    "steps": 2,
}


def shaken(made: nn.Module) -> nn.Module:
    """Weights that do something everywhere."""
    for number, weight in enumerate(made.parameters()):
        weight.data += 0.1 * seeds.normal_like(weight, number)
    return made.eval()


def network(**changes: Any) -> Bands:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = shaken(Bands(**TINY | {"inputs": 6} | changes))
    assert isinstance(made, Bands)
    return made


def storm(**changes: Any) -> StoRM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = shaken(StoRM(**BRIDGE | {"predictor": TINY | {"variant": "subband"}} | changes))
    assert isinstance(made, StoRM)
    return made


def spectra(frames: int, batch: int = 1, count: int = 6, seed: int = 0) -> Tensor:
    return 0.3 * seeds.normal_like(torch.zeros(batch, count, 257, frames), seed)


def sound(length: int = 6000, batch: int = 1, seed: int = 0) -> Tensor:
    tone = 0.2 * torch.sin(torch.arange(length) * 0.2) * torch.sin(torch.arange(length) * 5e-4).abs()
    return tone + 0.02 * seeds.normal_like(torch.zeros(batch, 1, length), seed)


# The network


@torch.no_grad()
def test_it_begins_as_the_last_spectrum() -> None:
    x = spectra(9)
    found = Bands(6, **TINY)(x, torch.tensor([0.5]))
    assert float((found - x[:, 4:]).square().mean()) < 0.1 * float(x.square().mean())


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 33])
def test_any_number_of_frames(frames: int) -> None:
    assert network()(spectra(frames), torch.tensor([0.5])).shape == (1, 2, 257, frames)


@torch.no_grad()
def test_every_item_is_on_its_own() -> None:
    net, x, t = network(), spectra(7, 3), torch.tensor([0.1, 0.5, 1.0])
    each = torch.cat([net(x[k : k + 1], t[k : k + 1]) for k in range(3)])
    assert float((net(x, t) - each).abs().max()) < 1e-5


@torch.no_grad()
def test_it_looks_both_ways_and_knows_the_time() -> None:
    net, x, t = network(), spectra(21), torch.tensor([0.5])
    usual = net(x, t)
    for moved, seen in ((0, 20), (20, 0)):
        other = x.clone()
        other[..., moved] += 1
        assert float((net(other, t) - usual)[..., seen].abs().max()) > 1e-6
    assert float((net(x, torch.tensor([0.9])) - usual).abs().max()) > 1e-3


def test_memories_of_both_directions_are_mirrors() -> None:
    """Turned round in time and with their channels exchanged, they are the same."""
    z, g = (seeds.normal_like(torch.zeros(11, 2, 6), seed) for seed in (1, 2))
    turned = both_ways(z.flip(0).roll(1, -1), g.flip(0).roll(1, -1)).flip(0).roll(-1, -1)
    assert torch.allclose(both_ways(z, g), turned, atol=1e-6)
    assert not torch.allclose(both_ways(z, g), both_ways(z.flip(0), g.flip(0)).flip(0), atol=1e-2)


def test_a_processor_can_do_it() -> None:
    with FlopCounterMode(display=False) as counted:
        Bands(6)(spectra(63), torch.tensor([0.5]))
    assert counted.get_total_flops() / 2 < 0.5e9  # multiplications for a second of sound


# As a predictor, the network of speech-fast


@torch.no_grad()
def test_without_steps_it_is_the_fast_network() -> None:
    """But for how the borders are filled, which it forgets."""
    model, fast = storm(), Subband(**TINY)
    fast.load_state_dict(model.denoiser_net.get_submodule("fast").state_dict())
    noisy = sound(16_000)
    difference = (model(noisy, steps=0) - fast.eval()(noisy)).abs()
    assert float(difference[..., 3000:-600].max()) < 1e-2 * float(noisy.abs().max())


def test_other_frames_are_refused() -> None:
    with pytest.raises(UserError, match="n_fft = 512"):
        storm(spectrogram=FRAMES | {"hop": 128})


@torch.no_grad()
def test_same_seed_same_sound_and_silence_stays() -> None:
    model = storm(sampler={"kind": "sde"})
    noisy = sound()
    one, same, other = (model(noisy, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not model(torch.zeros(1, 1, 3000)).any()


@pytest.mark.parametrize("made", [storm, lambda **more: SGMSE(**BRIDGE | more)])
def test_training_takes_the_loss_down(made: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = made(heard=0.02).train()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    clean = sound(8000, 4, 1)
    noisy, losses = clean + 0.1 * seeds.normal_like(clean, 5), []
    for step in range(16):
        loss = model.loss(noisy, clean, step % 4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


# What is heard


def test_what_is_heard_counts_whatever_the_level() -> None:
    model = SGMSE(**BRIDGE)
    clean = spectra(40, 2, 2)
    clean[0] *= 1e-2
    found = clean + 0.3 * clean.roll(1, 2)
    worse = model.heard_error(found, clean)
    assert float(worse.min()) > 0.05
    assert float(worse[0]) == pytest.approx(float(worse[1]), rel=0.5)
    assert float(model.heard_error(clean, clean).max()) < 1e-2


def test_nobody_speaks_in_silence() -> None:
    powers = torch.zeros(2, 5, 257)
    powers[0, 2:] = 2.0
    assert torch.equal(speaking(powers).flatten(), torch.tensor([514.0, torch.inf]))
    model = SGMSE(**BRIDGE)
    assert float(model.heard_error(spectra(40, 1, 2), torch.zeros(1, 2, 257, 40)).max()) < 1e-2
