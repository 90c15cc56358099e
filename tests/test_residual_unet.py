"""The plain U-Net of residual blocks."""

from __future__ import annotations

import pytest
import torch

from denoise.networks.residual_unet import Block, ResidualUNet


def silent(leak: float) -> Block:
    """A block of which no channel is ever positive."""
    block = Block(4, leak)
    block.first.weight.data = -block.first.weight.data.abs()
    return block


@pytest.mark.parametrize(("leak", "learns"), [(0.0, False), (0.1, True)])
def test_a_channel_that_is_never_positive_learns_only_through_a_leak(leak: float, learns: bool) -> None:
    block = silent(leak)
    block(torch.rand(1, 4, 8, 8)).square().sum().backward()
    assert block.first.weight.grad is not None
    assert bool(block.first.weight.grad.any()) is learns


@torch.no_grad()
def test_every_block_leaks_as_is_asked_for() -> None:
    network = ResidualUNet(3, 3, (8, 16), leak=0.25)
    assert {part.leak for part in network.modules() if isinstance(part, Block)} == {0.25}
    assert {part.leak for part in ResidualUNet(3, 3, (8, 16)).modules() if isinstance(part, Block)} == {0.0}


@torch.no_grad()
@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_without_biases_it_scales_with_its_input(leak: float) -> None:
    network, x = ResidualUNet(3, 3, (8, 16), bias=False, leak=leak), torch.rand(1, 3, 16, 16) - 0.5
    torch.nn.init.normal_(network.tail.weight)
    assert torch.allclose(network(3 * x), 3 * network(x), rtol=1e-3, atol=1e-4)
    assert float(network(x).abs().max()) > 0
