"""AdamW, alone or with Muon for the inner weights: its steps take longer, and lead further at first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEAST = 16  # rows and columns; smaller matrices stay with AdamW, as heads and tails do


class Optimiser:
    """Muon makes every direction of a matrix's step equally long; to it, a convolution is a matrix of one row for each
    channel that comes out, or goes into a transposed one. Its steps are as large as AdamW's, so that one rate suits
    both."""

    def __init__(self, module: nn.Module, rate: float, weight_decay: float, muon: bool = False) -> None:
        weights = list(module.parameters())
        inner = [weight for weight in weights if muon and is_inner(weight)]
        outer = [weight for weight in weights if all(weight is not one for one in inner)]
        self.inner = [(weight, nn.Parameter(weight.detach().view(len(weight), -1))) for weight in inner]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(outer, lr=rate, weight_decay=weight_decay, fused=True)
        ]
        if inner:
            matrices = [matrix for _, matrix in self.inner]
            self.parts.append(
                torch.optim.Muon(matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            )

    def step(self, rate: float) -> None:
        for weight, matrix in self.inner:
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def is_inner(weight: Tensor) -> bool:
    return weight.ndim > 1 and min(len(weight), weight[0].numel()) >= LEAST
