"""What a paper's method is in this house: a network that restores, and the loss that trains it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from denoise.errors import UserError
from denoise.restorer import Knob
from denoise.signals import Kind

REGISTRY: dict[str, type[Method]] = {}
Official = tuple[dict[str, Any], dict[str, Tensor]]
By = Callable[[Tensor, Tensor], Tensor]
"""(signal, survey) -> restored, by whatever engine."""


@dataclass(frozen=True)
class Live:
    """`frame(noisy, strength, **state)` -> (restored, *state): so many samples (1, hop), `late` ones behind."""

    frame: nn.Module
    state: dict[str, Tensor]  # before the first frame
    hop: int
    late: int


class Method(nn.Module):
    """`forward(noisy, survey=None, **knobs)` restores one padded batch; the class attributes become Facts."""

    kind: ClassVar[Kind] = "picture"
    rate: int | None = None
    channels: int | None = 3
    multiple: int = 1
    least: int = 1
    context: int | None = 0
    piece: int = 512
    bound: float = 1e-5
    surveys: bool = False
    seeded: bool = False
    placed: bool = False
    knobs: tuple[Knob, ...] = ()
    no_graph: ClassVar[str] = ""  # why there is no ONNX graph of it, in words; "": there is one
    measures: ClassVar[bool] = False  # its survey takes more than tensors: each engine makes it by `measured`

    def graph(self) -> nn.Module:
        """The same for one item, in tensors only: `forward(noisy, **controls)` -> restored.

        Controls are the knobs and, where they apply, rate, seed and place, all without axes. A method that
        surveys is also given `survey` and answers (restored, survey); no rows in it mean that none is known.
        What it answers for a further piece of a sound is the survey of all pieces so far. The axes of a survey
        between the first and the last may have any length. One that `measures` is told its survey each time and
        answers with what it restored alone.
        """
        return self

    def live(self) -> Live | None:
        """For a signal that comes in bit by bit; None where the method has to see more of it."""
        return None

    def noise_map(self, noisy: Tensor) -> Tensor | None:
        """Standard deviations of the noise, of 255, (B, n, h, w); None where the method measures none."""
        return None

    @property
    def core(self) -> nn.Module:
        """What training spends its time in; it is compiled for it."""
        return self

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        """One row of statistics for each signal of the batch; one that `measures` looks at all of them at once."""
        if not self.measures:
            raise NotImplementedError(f"{type(self).__name__} asks for no survey")
        (sheets,) = pieces
        return torch.cat([self.measured(sheet, self) for sheet in sheets.split(1)])

    @staticmethod
    def measured(signal: Tensor, restored: By) -> Tensor:
        """The survey of one signal, by what is restored when others are tried."""
        raise NotImplementedError("a method that measures says how")

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} cannot be trained")

    @classmethod
    def from_official(cls, state: dict[str, Tensor], around: Mapping[str, Any]) -> Official | None:
        """(constructor arguments, our state) of the paper's own checkpoint, or None where it is not one."""
        return None


Made = TypeVar("Made", bound=type[Method])


def method(name: str) -> Callable[[Made], Made]:
    """Make a class known under the name that model.toml uses."""

    def register(made: Made) -> Made:
        REGISTRY[name] = made
        return made

    return register


def find(name: str) -> type[Method]:
    """The class of that name; its module is `denoise.methods.<name>` unless it is known already."""
    if name not in REGISTRY:
        try:
            import_module(f"denoise.methods.{name}")
        except ModuleNotFoundError as missing:
            if missing.name != f"denoise.methods.{name}":
                raise
            raise UserError(f"Unknown method {name!r}: there is no denoise/methods/{name}.py.") from None
    return REGISTRY[name]
