"""A restorer is a callable plus its facts; every face, runner and exporter reads the facts and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

from denoise.errors import UserError
from denoise.signals import Kind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Knob:
    """One number a user may turn. The command line and the web page are made from these."""

    name: str
    default: float
    low: float
    high: float
    step: float
    help: str
    choices: tuple[str, ...] = ()
    """Names for the values 0, 1, 2… where the knob is a choice and not a quantity."""

    def parse(self, text: str) -> float:
        if text in self.choices:
            return float(self.choices.index(text))
        try:
            value = float(text)
        except ValueError:
            wanted = " or ".join(self.choices) or f"a number from {self.low:g} to {self.high:g}"
            raise UserError(f"Knob {self.name} = {text!r}: {wanted} is wanted.") from None
        return self.check(value)

    def check(self, value: float) -> float:
        if not self.low <= value <= self.high:
            raise UserError(f"Knob {self.name} = {value:g} is out of range: choose from {self.low:g} to {self.high:g}.")
        return value


@dataclass(frozen=True)
class Facts:
    """Everything the rest of the program may know about a restorer."""

    name: str
    kind: Kind
    rate: int | None = None  # Hz it works at, audio only; None: any, and samples are then counted at 48 kHz
    channels: int | None = None  # what it takes in one go; None: any number, seen together
    multiple: int = 1  # sides are padded up to a multiple of this
    least: int = 1  # and at least to this
    context: int | None = 0  # how far an output looks, each side; None: the whole signal
    piece: int = 512  # side of a tile in pixels, or length of a chunk in samples, that suits it
    bound: float = 1e-5  # how far chunked and whole may differ at most, of full scale
    surveys: bool = False  # wants whole-signal statistics before the first piece
    seeded: bool = False  # draws random numbers: same seed, same result
    placed: bool = False  # wants to know where in the signal a piece begins; what is seeded always does
    knobs: tuple[Knob, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)  # licence, paper, trained_on, scores…

    @property
    def wants_place(self) -> bool:
        return self.placed or self.seeded

    @property
    def takes_passes(self) -> bool:
        """Whether it can see its signal turned and mirrored; the colours of a mosaic stand in one way only."""
        return self.kind == "picture" and not self.wants_place

    def settings(self, given: Mapping[str, float]) -> dict[str, float]:
        """All knobs with their values, the given ones checked."""
        known = {knob.name: knob for knob in self.knobs}
        for name in given:
            if name not in known:
                raise UserError(unknown("knob", name, list(known), f"{self.name} has"))
        return {name: knob.check(float(given.get(name, knob.default))) for name, knob in known.items()}


class Restorer(Protocol):
    """`noisy` is one padded batch, (B, C, T) or (B, C, H, W); the answer has the same shape.

    Of a mosaic it is the four planes R, G1, G2, B of its cells R G over G B: black is 0, white is 1, nothing is cut.
    """

    @property
    def facts(self) -> Facts: ...

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor: ...

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        """Statistics of the whole signal, to be handed to every piece; called when `facts.surveys`.

        Of a sound, `pieces` are all of it in order; of a picture, the whole or a fair sample sheet of it. That of a
        mosaic is its noise, (1, 4, 3): shot, read and bias of R, G1, G2 and B; who knows them need not ask.
        Where the items of a batch need surveys of different lengths, they are put `together`.
        """
        ...

    def to(self, device: str) -> Restorer: ...


def together(surveys: Sequence[Tensor]) -> Tensor:
    """Surveys (1, n, m) of several signals as one; the rows that one has less than another are no numbers."""
    import torch

    most = max(survey.shape[1] for survey in surveys)
    missing = ((survey, most - survey.shape[1]) for survey in surveys)
    return torch.cat([torch.nn.functional.pad(survey, (0, 0, 0, rows), value=math.nan) for survey, rows in missing])


def own(survey: Tensor) -> Tensor:
    """The survey (1, …) of one signal, without rows that are only there for others."""
    absent = survey.isnan()
    return survey[:, ~absent[0].flatten(1).all(1)] if bool(absent.any()) else survey


def unknown(what: str, name: str, known: list[str], there: str = "there") -> str:
    """The sentence for a name that does not exist, with the nearest one that does."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"{there}: {', '.join(known) or 'none'}."
    return f"Unknown {what} {name!r}; {hint}"
