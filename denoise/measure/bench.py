"""What every bench is told, and how the command finds one: `denoise bench NAME` calls `run` of bench_NAME.py."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from denoise.errors import UserError
from denoise.restorer import unknown

HERE = Path(__file__).resolve().parent
PREFIX = "bench_"

Row = dict[str, object]
"""One line of the table: text, whole numbers, floats or None; the first row's keys are the columns."""


def quiet(_: str) -> None:
    pass


@dataclass(frozen=True)
class Wish:
    """What the user asked of a bench; each takes from it what means something to it."""

    model: str | None = None  # None: the default of its kind, or all of them, as suits the bench
    engine: str = "torch"
    device: str = "auto"
    data: Path | None = None  # where its test data lies; None: where the bench itself looks for it
    limit: int | None = None  # at most so many files, for a quick look
    tell: Callable[[str], None] = quiet  # one line of progress, for people
    minutes: float | None = None  # of training, where it trains; None: as long as it needs


def benches() -> dict[str, str]:
    """Name and first sentence of every bench, read from their files and not by importing them."""
    paths = sorted(HERE.glob(f"{PREFIX}*.py"))
    return {path.stem.removeprefix(PREFIX): first_line(path) for path in paths}


def first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def rows_of(name: str, wish: Wish) -> Iterator[Row]:
    """The rows of that bench, each as soon as it is measured."""
    known = benches()
    if name not in known:
        raise UserError(unknown("bench", name, list(known), "there are"))
    run: Callable[[Wish], Iterable[Row]] = import_module(f"denoise.measure.{PREFIX}{name}").run
    yield from run(wish)
