"""The iterations of IDF as one loop whose length is decided while it runs: the form that a graph can hold."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.networks import idf


class StopRule(Protocol):
    """Asked inside of the loop: it may not make tensors of its own, such as `torch.tensor(limits)`."""

    def signs(self, step: idf.Step) -> Tensor:
        """What it needs to remember of an iteration: (B, n)."""
        ...

    def settled(self, signs: Tensor, done: Tensor) -> Tensor:
        """Whether the iterations `done` so far are enough; `signs` (B, ≥ done, n) of each."""
        ...


class State(NamedTuple):
    """What one pair of iterations hands to the next. Every tensor keeps its shape."""

    done: Tensor  # iterations, ()
    more: Tensor  # whether another pair follows, ()
    image: Tensor  # (1, C, H, W)
    residual: Tensor  # what the last iteration took away
    statistics: Tensor  # (1, room, STATISTICS), zero where not done yet
    signs: Tensor  # (1, room, n), likewise


class Loop(nn.Module):
    """Pairs of a wide and a narrow step on one picture in normalised space.

    `rule` ends a picture that has no survey and no wished count, after `most` iterations at the latest.
    """

    def __init__(self, block: idf.Block, rule: StopRule, most: int, room: int) -> None:
        super().__init__()
        self.block, self.rule, self.most, self.room = block, rule, most, room

    def forward(self, image: Tensor, survey: Tensor, iterations: Tensor) -> tuple[Tensor, Tensor]:
        """The image, and the statistics of what was done: (1, iterations, STATISTICS).

        `survey` (1, n, STATISTICS) gives statistics and count; with n = 0 the picture is its own, and
        `iterations` is the count, 0 meaning as many as it needs.
        """
        rows = torch.ones_like(survey[0, :, 0], dtype=torch.int64).sum()
        known = rows > 0
        wished = torch.where(known, rows, iterations.to(torch.int64)).clamp(0, self.room)
        automatic = wished == 0
        count = torch.where(automatic, self.most, wished)
        given = F.pad(survey, (0, 0, 0, self.room)).index_select(1, torch.arange(self.room, device=survey.device))

        def follows(*state: Tensor) -> Tensor:
            return State(*state).more.clone()

        def pair(*state: Tensor) -> tuple[Tensor, ...]:
            after = self.pair(State(*state), given, known, count)
            stop = automatic & self.rule.settled(after.signs, after.done)
            return tuple(value.clone() for value in after._replace(more=(after.done < count) & ~stop))

        last = State(*torch.while_loop(follows, pair, tuple(self.start(image))))
        return last.image, last.statistics[:, : last.done.item()]

    def start(self, image: Tensor) -> State:
        blank = idf.Step(image, image.new_zeros(1, idf.TAPS, 1, 1), image.new_zeros(1, idf.STATISTICS))
        signs = self.rule.signs(blank)
        return State(
            done=torch.zeros((), dtype=torch.int64, device=image.device),
            more=torch.ones((), dtype=torch.bool, device=image.device),
            image=image.clone(),
            residual=torch.zeros_like(image),
            statistics=image.new_zeros(1, self.room, idf.STATISTICS),
            signs=image.new_zeros(1, self.room, signs.shape[1]),
        )

    def pair(self, state: State, given: Tensor, known: Tensor, count: Tensor) -> State:
        """Two iterations; the second is undone where the count is odd and ends between them."""
        wide = self.after(state, 2, given, known)
        narrow = self.after(wide, 1, given, known)
        both = narrow.done <= count
        return State(*(torch.where(both, new, old) for new, old in zip(narrow, wide, strict=True)))

    def after(self, state: State, dilation: int, given: Tensor, known: Tensor) -> State:
        """One iteration. The first of all has no residual, and so no gate."""
        ours = given.index_select(1, state.done.reshape(1))[:, 0]
        look = torch.where(known, ours[:, :-1], self.block.look(state.image, state.residual))
        gate = self.block.gca(look[:, 1:])
        gate = torch.where(state.done == 0, torch.ones_like(gate), gate)
        seen = self.block.seen(state.image, look[:, 0], gate, dilation)
        level = torch.where(known, ours[:, -1], idf.root_mean_square(seen))
        image, kernels = self.block.filtered(state.image, seen, level, dilation)
        step = idf.Step(image, kernels, torch.cat([look, level[:, None]], 1))
        return State(
            done=state.done + 1,
            more=state.more,
            image=image,
            residual=state.image - image,
            statistics=noted(state.statistics, state.done, step.statistics),
            signs=noted(state.signs, state.done, self.rule.signs(step)),
        )


def noted(rows: Tensor, number: Tensor, row: Tensor) -> Tensor:
    """`rows` (B, n, m) with that row replaced."""
    here = torch.arange(rows.shape[1], device=rows.device) == number
    return torch.where(here[None, :, None], row[:, None], rows)
