"""The small speech network: causal, alike at every level, the same in pieces, and never a sound out of silence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from denoise.methods.subband import BLOCK, FRAME, HOP, RATE, Subband, ratio_db
from denoise.networks.subband import BANDS, BINS, Network, running_mean

BUDGET = 105e6  # multiplications a second of sound


def small(seed: int = 3) -> Subband:
    """Weights of some size, so that everything counts."""
    torch.manual_seed(seed)
    method = Subband(fine=8, width=8, depth=2, whole=6)
    with torch.no_grad():
        for weight in method.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return method.eval()


def voice(length: int, seed: int = 1, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 1, length, generator=generator)


def call(method: Subband, noisy: Tensor) -> Tensor:
    with torch.inference_mode():
        restored: Tensor = method(noisy)
    return restored


# Laws


@given(length=st.integers(1, 3 * FRAME + 7))
def test_any_length_is_kept(length: int) -> None:
    assert call(small(), voice(length)).shape == (1, 1, length)


def test_silence_stays_silence_to_the_bit() -> None:
    assert not call(small(), torch.zeros(2, 1, 5000)).any()


@pytest.mark.parametrize("gain", [1e-4, 0.03, 30.0])
def test_a_gain_passes_through(gain: float) -> None:
    noisy, method = voice(9000), small()
    assert torch.allclose(call(method, gain * noisy), gain * call(method, noisy), atol=2e-4 * gain)


def test_what_comes_later_changes_nothing_earlier_than_a_frame() -> None:
    noisy, method = voice(20 * HOP), small()
    other = noisy.clone()
    other[..., 12 * HOP :] = voice(8 * HOP, seed=9)
    before, after = call(method, noisy), call(method, other)
    assert torch.equal(before[..., : 11 * HOP], after[..., : 11 * HOP])
    assert not torch.allclose(before[..., 12 * HOP :], after[..., 12 * HOP :], atol=1e-4)


@pytest.mark.parametrize("hops", [1, 3])
def test_as_it_comes_in_it_is_the_same_as_all_at_once(hops: int) -> None:
    noisy, method = voice(24 * HOP, batch=2), small()
    state, parts = None, []
    with torch.inference_mode():
        for part in noisy[:, 0].split(hops * HOP, 1):
            restored, state = method.going_on(part, state)
            parts.append(restored)
    live, whole = torch.cat(parts, 1), call(method, noisy)[:, 0]
    assert torch.allclose(live[:, HOP:], whole[:, :-HOP], atol=1e-6), "one hop late, and nothing else"


def test_in_blocks_it_is_the_same_as_whole() -> None:
    noisy, method = voice(2 * BLOCK + 4711, batch=2), small()
    with torch.enable_grad():
        whole = method(noisy).detach()
    assert torch.allclose(call(method, noisy), whole, atol=1e-6)


def test_what_is_kept_between_pieces_has_always_the_same_shape() -> None:
    method = small()
    first = method.silence(torch.zeros(1, HOP))
    _, then = method.going_on(voice(4 * HOP)[:, 0])
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in then.items()}


def test_untrained_it_lets_everything_through() -> None:
    torch.manual_seed(0)
    noisy = voice(8000)
    assert ratio_db(call(Subband(), noisy)[:, 0], noisy[:, 0]) > 15


def test_sounds_in_a_batch_do_not_hear_each_other() -> None:
    noisy, method = voice(6000, batch=3), small()
    together = call(method, noisy)
    apart = torch.cat([call(method, one[None]) for one in noisy])
    assert torch.allclose(together, apart, atol=1e-5)


def test_after_minutes_it_works_as_at_the_beginning() -> None:
    """Ninety seconds of one noise: no memory drifts."""
    method, second = small(), voice(RATE)[:, 0]
    state, levels = None, []
    with torch.inference_mode():
        for _ in range(90):
            restored, state = method.going_on(second[:, : RATE // HOP * HOP], state)
            levels.append(float(restored.square().mean()))
    assert max(levels[10:]) < 1.05 * min(levels[10:])


def test_a_long_silence_does_not_make_what_follows_different() -> None:
    method, noisy = small(), voice(8 * RATE)
    late = torch.cat([torch.zeros(1, 1, 40 * HOP), noisy], -1)
    now, then = call(method, noisy)[..., -RATE:], call(method, late)[..., -RATE:]
    assert (now - then).abs().max() < 0.02


# What it is made of


def test_it_is_small_enough() -> None:
    assert multiplications(Subband()) < BUDGET


def multiplications(method: Subband) -> float:
    """A second: every matrix, as often as it is used in a frame; not the transform, which is a fast one."""
    total = 0.0

    def count(layer: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, torch.nn.Linear)
        total += output.numel() * layer.in_features

    hooks = [layer.register_forward_hook(count) for layer in method.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.inference_mode():
        method.network(torch.zeros(125, 1, HOP + 1, 3))
    for hook in hooks:
        hook.remove()
    return total / 2


def test_every_bin_is_in_one_band_and_gets_filters_of_its_own() -> None:
    assert BINS == HOP
    network = Network(fine=4, width=4, depth=1, whole=4, taps=3)
    filters, _ = network(torch.randn(5, 2, HOP + 1, 3))
    assert filters.shape == (5, 2, HOP + 1, 3, 2)
    assert torch.equal(filters[:, :, -1], filters[:, :, -2])
    assert network.bands == BANDS // 2


def test_a_running_mean_is_the_recursion_that_it_says() -> None:
    share, value, h = torch.rand(7, 2, 3), torch.randn(7, 2, 3), torch.randn(2, 3)
    found = running_mean(share, value, h)
    for t in range(7):
        h = (1 - share[t]) * h + share[t] * value[t]
        assert torch.allclose(found[t], h, atol=1e-6)


def test_a_running_mean_is_learnt_through() -> None:
    inputs = [torch.rand(5, 2, 3), torch.randn(5, 2, 3), torch.randn(2, 3)]
    inputs = [part.double().requires_grad_() for part in inputs]
    assert torch.autograd.gradcheck(running_mean, inputs)


def test_the_matrix_of_a_graph_is_the_fast_transform() -> None:
    model, frames = Subband(), torch.randn(3, 2, FRAME)
    spectra = model.transformed(frames)
    assert torch.allclose((frames @ model.fourier).unflatten(-1, (-1, 2)), spectra, atol=1e-4)
    assert torch.allclose(spectra.flatten(-2) @ model.inverse, frames, atol=1e-5)


# What is learnt


def test_too_little_is_worse_than_too_much() -> None:
    method, clean = small(), voice(8000)[:, 0]
    assert method.distance(clean, clean) < method.distance(1.2 * clean, clean) < method.distance(0.8 * clean, clean)


def test_silent_targets_and_silent_inputs_give_gradients_that_are_numbers() -> None:
    method = small().train()
    loss = method.loss(torch.cat([voice(4000), torch.zeros(1, 1, 4000)]), torch.zeros(2, 1, 4000), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(weight.grad).all() for weight in method.parameters() if weight.grad is not None)


def test_every_weight_is_learnt() -> None:
    method = small().train()
    method.loss(voice(16000), voice(16000, seed=2), 0).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in method.parameters())


def test_a_silent_piece_has_no_ratio_and_a_perfect_one_the_best() -> None:
    clean = torch.stack([torch.zeros(500), torch.ones(500)])
    ratios = ratio_db(clean.clone(), clean)
    assert ratios[0] == 0
    assert ratios[1] == pytest.approx(30, abs=0.01)
