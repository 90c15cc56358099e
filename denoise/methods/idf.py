"""IDF: iterative dynamic filtering (Kim et al., ICCV 2025, arXiv 2508.19649)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from denoise.methods.method import Method, Official, method
from denoise.networks import idf
from denoise.networks.idf_loop import Loop, StopRule
from denoise.restorer import Knob, own, together

OFFICIAL_MEAN = (0.36187348, 0.4361255, 0.4335091)  # as the released weights know them: blue first
OFFICIAL_STD = (0.19088039, 0.19967876, 0.21309015)
ALMOST_NOTHING = 1.2  # of 255
SOMETHING = 0.6  # of 255
GROWTH = 1.8  # times more is found by the second, narrow step where the noise is coarse
DONE = 2e-5  # mean squared error below which a picture counts as done (47 dB)


@method("idf")
class IDF(Method):
    """A filter of 3×3 pixels, predicted for every pixel and applied up to ten times."""

    least = 3  # the wide step reflects two pixels at the border
    piece = 448
    context = 30  # px: ten iterations reach three or four pixels each, the last of them faintly
    surveys = True
    knobs = (Knob("iterations", 0, 0, 10, 1, "How often the filter is applied; 0: as often as the picture needs."),)

    def __init__(
        self,
        mean: tuple[float, float, float] = (0.43, 0.43, 0.43),
        std: tuple[float, float, float] = (0.2, 0.2, 0.2),
        hidden: int = 64,
        alpha: float = 3.0,
        most: int = 10,
        enough: float = 2.0,
    ) -> None:
        super().__init__()
        self.network = idf.IDF(hidden, alpha)
        scale = 0.5 / torch.tensor(std)
        self.most = most
        self.settling: StopRule = Worthless(enough, tuple((255 / scale).tolist()))
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("bias", (-torch.tensor(mean) * scale)[:, None, None], persistent=False)
        self.scale: Tensor
        self.bias: Tensor

    def normalised(self, picture: Tensor) -> Tensor:
        return picture * self.scale + self.bias

    def pictured(self, values: Tensor) -> Tensor:
        return (values - self.bias) / self.scale

    def every_iteration(self, noisy: Tensor, iterations: int) -> list[Tensor]:
        """The picture after each iteration."""
        return [self.pictured(step.image) for step in self.network.steps(self.normalised(noisy), iterations)]

    def forward(self, noisy: Tensor, survey: Tensor | None = None, iterations: float = 0) -> Tensor:
        if noisy.shape[0] > 1 and (survey is not None or not iterations):  # every picture goes as far as it needs
            known = [None] * len(noisy) if survey is None else list(survey.expand(len(noisy), -1, -1).split(1))
            return torch.cat([self(picture[None], one) for picture, one in zip(noisy, known, strict=True)])
        rows = None if survey is None else own(survey)
        given = int(iterations) if rows is None else rows.shape[1]
        steps = self.run(self.normalised(noisy), given, rows)
        return self.pictured(steps[-1].image).clamp(0, 1)

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        """The statistics of every iteration that this picture needs: (1, iterations, STATISTICS)."""
        (whole,) = pieces
        runs = (self.run(self.normalised(one), int(knobs.get("iterations", 0)), None) for one in whole.split(1))
        return together([torch.stack([step.statistics for step in steps], 1) for steps in runs])

    def run(self, image: Tensor, iterations: int, survey: Tensor | None) -> list[idf.Step]:
        """That many iterations, or as many as the picture needs where none are asked for."""
        if iterations:
            return self.network.steps(image, iterations, survey)
        return self.network.until(image, self.most, self.settled, survey)

    def settled(self, steps: list[idf.Step]) -> bool:
        signs = torch.stack([self.settling.signs(step) for step in steps], 1)
        return bool(self.settling.settled(signs, torch.tensor(len(steps))))

    def graph(self) -> nn.Module:
        return Graph(self)

    @property
    def core(self) -> nn.Module:
        return self.network.block

    @classmethod
    def from_official(cls, state: dict[str, Tensor], around: Mapping[str, Any]) -> Official | None:
        ours = {f"network.{key.removeprefix('model.')}": value.float() for key, value in state.items()}
        if not all(key.startswith("network.block.") for key in ours):
            return None
        hidden = int(ours["network.block.gca.attention.0.weight"].shape[0])
        return {"mean": OFFICIAL_MEAN, "std": OFFICIAL_STD, "hidden": hidden}, ours

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """Logarithmic error after every second iteration: each may be the last."""
        images = self.every_iteration(noisy, iterations_at(step))[1::2]
        errors = torch.stack([squared_error(image, clean) for image in images])
        return (errors + usual_error(squared_error(noisy, clean))).log().mean()


def squared_error(image: Tensor, clean: Tensor) -> Tensor:
    return (image - clean).square().mean((1, 2, 3))


def usual_error(noise: Tensor) -> Tensor:
    """What a photograph is left with after noise of that power. Added to the error of a crop, it keeps flat crops,
    which count for little in a whole photograph, from counting for most of the logarithm."""
    return 0.02 * noise.pow(0.62) + DONE


@dataclass(frozen=True)
class Worthless:
    """Another pair is not worth its while: what the last wide step took away, weighed with what the first one
    did, is small. Strong noise is worth going on for; weak noise is gone before the picture is smoothed too.
    Coarse noise, of which the first step finds almost nothing and the second more, is gone on with to the end."""

    enough: float  # geometric mean of the two, of 255
    levels: tuple[float, ...]  # of 255, per unit of each normalised colour

    def signs(self, step: idf.Step) -> Tensor:
        """Spread of what the iteration before took away: (B, 1), of 255."""
        spreads = step.statistics[:, 4:7].unbind(1)
        squares = [(spread * level).square() for spread, level in zip(spreads, self.levels, strict=True)]
        return (idf.sum_of(squares) / len(squares)).sqrt()[:, None]

    def settled(self, signs: Tensor, done: Tensor) -> Tensor:
        last, first = signs.index_select(1, (done - 1).reshape(1)), signs[:, 1:2]
        second = signs.index_select(1, (done - 1).clamp(max=2).reshape(1))
        found = second > (GROWTH * first).clamp(min=SOMETHING)
        coarse = (first < ALMOST_NOTHING) & (found | (done < 3))
        return (coarse.logical_not() & ((last * first).sqrt() < self.enough)).all()


@dataclass(frozen=True)
class Settling:
    """The paper's rule: the mean weight of the filters' centre has stopped changing from pair to pair."""

    threshold: float = 0.015

    def signs(self, step: idf.Step) -> Tensor:
        return idf.plane_mean(step.kernels[:, idf.CENTRE : idf.CENTRE + 1])

    def settled(self, signs: Tensor, done: Tensor) -> Tensor:
        now, before = (signs.index_select(1, (done - ago).clamp(min=0).reshape(1)) for ago in (1, 3))
        return (done >= 4) & ((now - before).abs().mean() < self.threshold)


class Graph(nn.Module):
    """IDF for one picture, with the number of iterations decided while it runs."""

    def __init__(self, whole: IDF) -> None:
        super().__init__()
        (iterations,) = whole.knobs
        self.whole = whole
        self.loop = Loop(whole.network.block, whole.settling, whole.most, int(iterations.high))

    def forward(self, noisy: Tensor, survey: Tensor, iterations: Tensor) -> tuple[Tensor, Tensor]:
        image, statistics = self.loop(self.whole.normalised(noisy), survey, iterations)
        return self.whole.pictured(image).clamp(0, 1), statistics


def iterations_at(step: int) -> int:
    """Short chains first: they are cheap, and what they learn carries over."""
    if step < 10_000:
        return 4
    if step < 15_000:
        return 6
    return 4 + 2 * (step % 4)
