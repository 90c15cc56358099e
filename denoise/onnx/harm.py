"""Which products of a network bear whole numbers of 8 bits: each is tried alone, and what that costs is measured.

A few do nearly all the harm: those nearest to the picture. Where a run takes too long to try each, as diffusions do,
those are taken whose signals are well above their rounding.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from denoise.onnx.precision import Observed, Seen, key_of, multiplying, whole
from denoise.onnx.verify import lost_db, noisy_again
from denoise.zoo import TorchRestorer

BUDGET_DB = 0.08  # harms add up, roughly
CLEAR_DB = 30.0  # above the rounding

Pairs = list[tuple[Tensor, Tensor]]
"""Noisy, and without that noise."""


def bearable(restorer: TorchRestorer, pieces: Sequence[Tensor], seen: Observed) -> Observed:
    """The ranges of those that are to be computed in whole numbers."""
    if restorer.facts.seeded:
        return {key: ranges for key, ranges in seen.items() if ranges.clear_db >= CLEAR_DB}
    modules = {key_of(module): module for module in multiplying(restorer.method)}
    pairs = [noisy_again(restorer, piece, seed=1) for piece in pieces]
    exact = errors_of(restorer, pairs)
    harms = {key: harm_db(restorer, modules[key], ranges, pairs, exact) for key, ranges in seen.items()}
    return {key: seen[key] for key in affordable(harms, {key: work_of(modules[key], seen[key]) for key in seen})}


def affordable(harms: dict[bytes, float], work: dict[bytes, float]) -> Iterator[bytes]:
    """Most work for least harm first, as long as the budget lasts."""
    left = BUDGET_DB
    for key in sorted(harms, key=lambda key: harms[key] / work[key]):
        if harms[key] <= left:
            left -= harms[key]
            yield key


def work_of(module: Any, ranges: Seen) -> float:
    """Multiplications, of what was seen of it."""
    return ranges.got.count * module.weight[0].numel()


def harm_db(restorer: TorchRestorer, module: Any, ranges: Seen, pairs: Pairs, exact: list[float]) -> float:
    """By how much PSNR changes by it alone: what one piece wins by chance, another loses."""
    with in_whole_numbers(module, ranges):
        errors = errors_of(restorer, pairs)
    return statistics.fmean(abs(lost_db(error, least)) for error, least in zip(errors, exact, strict=True))


def errors_of(restorer: TorchRestorer, pairs: Pairs) -> list[float]:
    return [float((restorer(noisy) - clean).square().mean()) for noisy, clean in pairs]


@contextmanager
def in_whole_numbers(module: Any, ranges: Seen) -> Iterator[None]:
    """As the graph will compute it."""
    exact = module.weight.data
    levels, scales = whole(exact.cpu().numpy(), 0)

    def put(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (ranges.put.rounded(given[0]), *given[1:])

    def got(_: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> Tensor:
        return ranges.got.rounded(result) if ranges.rounds_both else result

    handles = [module.register_forward_pre_hook(put), module.register_forward_hook(got)]
    module.weight.data = torch.from_numpy(levels * scales).to(exact)
    try:
        yield
    finally:
        module.weight.data = exact
        for handle in handles:
            handle.remove()
