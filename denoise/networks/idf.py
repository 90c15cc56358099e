"""Iterative dynamic filtering (Kim et al., ICCV 2025): one small block that predicts a 3×3 filter per pixel,
applied again and again to its own result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 9
CENTRE = 4
EPS = 1e-4
STATISTICS = 8  # per iteration: RMS of x, three means and three deviations of the residual, RMS of the features


@dataclass(frozen=True)
class Step:
    """What one application of the block yields."""

    image: Tensor  # (B, C, H, W)
    kernels: Tensor  # (B, 9, H, W), sum to almost one
    statistics: Tensor  # (B, STATISTICS), as used


def shifted(image: Tensor, dilation: int) -> list[Tensor]:
    """The nine neighbours of every pixel, row by row. Wide steps reflect at the border, narrow ones see zeros."""
    height, width = image.shape[-2:]
    mode = "reflect" if dilation > 1 else "constant"
    padded = F.pad(image, (dilation,) * 4, mode=mode)
    rows = [padded[..., top : top + height, :] for top in (0, dilation, 2 * dilation)]
    return [row[..., left : left + width] for row in rows for left in (0, dilation, 2 * dilation)]


def colour_correlation(image: Tensor, dilation: int) -> Tensor:
    """How alike every neighbour's colour is to the centre's: (B, 9, H, W), about -2..2."""
    deviation = image - image.mean(1, keepdim=True)
    spread = (deviation.square().sum(1, keepdim=True) / (image.shape[1] - 1)).sqrt()
    unit = deviation / (spread + EPS)
    return torch.cat([(unit * other).sum(1, keepdim=True) for other in shifted(unit, dilation)], 1)


def power_normalised(logits: Tensor, alpha: float) -> Tensor:
    """Positive filter weights; a power instead of the exponential keeps far outliers out (dim 1)."""
    power = logits.abs().pow(alpha)
    return power / (power.sum(1, keepdim=True) + EPS)


def plane_mean(values: Tensor) -> Tensor:
    """Of each plane, (B, C). Rows first: some engines add up in order, and lose digits over millions of terms."""
    return values.mean(3).mean(2)


def root_mean_square(values: Tensor) -> Tensor:
    return plane_mean(values.square()).mean(1).sqrt()


def rms_normalised(values: Tensor) -> Tensor:
    return values / (EPS + root_mean_square(values))[:, None, None, None]


def residual_moments(residual: Tensor) -> Tensor:
    """Means, then unbiased standard deviations, of each colour over the picture: (B, 2C)."""
    mean = plane_mean(residual)
    count = residual.shape[2] * residual.shape[3]
    variance = plane_mean((residual - mean[..., None, None]).square()) * count / (count - 1)
    return torch.cat([mean, variance.sqrt()], 1)


class GlobalStatistics(nn.Module):
    """Gates the features by what the last step took away over the whole picture."""

    def __init__(self, colours: int, hidden: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * colours, 2 * colours, 1, bias=False)
        self.attention = nn.Sequential(
            nn.Conv2d(2 * colours, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, hidden, 1, bias=False)
        )

    def forward(self, moments: Tensor) -> Tensor:
        mixed = self.conv(moments[..., None, None])
        return torch.sigmoid(self.attention(rms_normalised(mixed)))


class Block(nn.Module):
    """One step: features, correlations and the last residual's statistics give a filter for every pixel."""

    def __init__(self, colours: int = 3, hidden: int = 64, alpha: float = 3.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.feature_extractor = nn.Sequential(
            nn.Conv2d(colours, hidden, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
        )
        self.kernel_predictor = nn.Conv2d(hidden + TAPS, TAPS, 3, padding=1, bias=False)
        self.gca = GlobalStatistics(colours, hidden)

    def forward(self, image: Tensor, residual: Tensor | None, dilation: int, given: Tensor | None) -> Step:
        """`given` replaces the statistics of this piece by those of the whole picture."""
        look = self.look(image, residual) if given is None else given[:, :-1]
        gate = None if residual is None else self.gca(look[:, 1:])
        seen = self.seen(image, look[:, 0], gate, dilation)
        level = root_mean_square(seen) if given is None else given[:, -1]
        filtered, kernels = self.filtered(image, seen, level, dilation)
        return Step(filtered, kernels, torch.cat([look, level[:, None]], 1))

    def seen(self, image: Tensor, scale: Tensor, gate: Tensor | None, dilation: int) -> Tensor:
        """What the filters are predicted from: features and correlations, (B, hidden + 9, H, W)."""
        features = self.feature_extractor(image / (EPS + scale)[:, None, None, None])
        if gate is not None:
            features = features * gate
        return torch.cat([features, colour_correlation(image.detach(), dilation)], 1)

    def filtered(self, image: Tensor, seen: Tensor, level: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
        """The filtered image, and the filter of every pixel."""
        logits = (
            self.kernel_predictor(seen).float() / (EPS + level)[:, None, None, None]
        )  # nine planes, not all of `seen`
        kernels = power_normalised(logits, self.alpha)
        filtered = sum_of(kernels[:, tap : tap + 1] * part for tap, part in enumerate(shifted(image, dilation)))
        return filtered, kernels

    @staticmethod
    def look(image: Tensor, residual: Tensor | None) -> Tensor:
        scale = root_mean_square(image)[:, None]
        if residual is None:
            return torch.cat([scale, image.new_zeros(image.shape[0], STATISTICS - 2)], 1)
        return torch.cat([scale, residual_moments(residual)], 1)


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """The plain sum, without a tensor that holds all terms at once."""
    return reduce(torch.add, terms)


def dilation_at(iteration: int) -> int:
    return 1 if iteration % 2 else 2


class IDF(nn.Module):
    """The shared block, iterated. Images are in normalised space (mean colour is zero)."""

    def __init__(self, hidden: int = 64, alpha: float = 3.0) -> None:
        super().__init__()
        self.block = Block(3, hidden, alpha)

    def steps(
        self,
        image: Tensor,
        iterations: int,
        survey: Tensor | None = None,
        mixing: Sequence[Tensor | float] | None = None,
    ) -> list[Step]:
        """All iterations. `survey` (B, iterations, STATISTICS) freezes the statistics; `mixing` keeps that share."""
        done: list[Step] = []
        residual: Tensor | None = None
        for index in range(iterations):
            step = self.step(image, residual, index, survey)
            if mixing is not None:
                share = mixing[index]
                step = Step(share * image + (1 - share) * step.image, step.kernels, step.statistics)
            residual, image = image - step.image, step.image
            done.append(step)
        return done

    def step(self, image: Tensor, residual: Tensor | None, index: int, survey: Tensor | None) -> Step:
        given = None if survey is None else survey[:, index]
        step: Step = self.block(image, residual, dilation_at(index), given)
        return step

    def until(
        self, image: Tensor, most: int, settled: Callable[[list[Step]], bool], survey: Tensor | None = None
    ) -> list[Step]:
        """Pairs of a wide and a narrow step, until `settled` says so of what is done."""
        done: list[Step] = []
        residual: Tensor | None = None
        while len(done) < most and not (done and settled(done)):
            for _ in range(2):
                step = self.step(image, residual, len(done), survey)
                residual, image = image - step.image, step.image
                done.append(step)
        return done
