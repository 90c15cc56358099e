"""Speed of PyTorch and of ONNX Runtime (fp32, fp16, int8 where they are exact enough), on the CPU, in one run.

Every model that has a graph, or --model. Engines take turns, and the fastest of several runs counts: other programs
only make one slower. --limit is the number of runs, of which a slow model has fewer: a minute is enough. --data
calibrates int8. The last row of a default model is from the start of a process to its first result: Python with PyTorch
and all of ours, or with ONNX Runtime alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from denoise import zoo
from denoise.errors import UserError
from denoise.measure.bench import Row, Wish
from denoise.measure.first_result import seconds_until
from denoise.onnx.export import export_model
from denoise.onnx.pieces import pieces_for
from denoise.onnx.precision import PRECISIONS
from denoise.onnx.session import OnnxRestorer, no_graph
from denoise.onnx.verify import signal
from denoise.restorer import Facts, Restorer
from denoise.zoo import Card

RUNS = 5
ENOUGH_S = 60.0  # of a row
SIZES = {"audio": ((16_000,), (160_000,)), "picture": ((256, 256), (512, 512)), "raw": ((128, 128), (256, 256))}


def run(wish: Wish) -> Iterator[Row]:
    for card in cards_of(wish):
        with TemporaryDirectory(prefix="denoise-bench-") as folder:
            engines: dict[str, Restorer] = {"torch": zoo.TorchRestorer.of(card)}
            for precision in PRECISIONS:
                made = made_graph(card, precision, Path(folder), wish)
                engines |= {precision: made} if made else {}
            for size in SIZES[card.kind]:
                yield row_of(card, size, engines, wish.limit or RUNS)
            if card.entries.get("default"):
                yield first_row(card, engines, wish.limit or RUNS)


def cards_of(wish: Wish) -> list[Card]:
    if wish.model:
        return [zoo.find(wish.model)]
    return [card for card in zoo.cards().values() if not no_graph(card)]


def made_graph(card: Card, precision: str, folder: Path, wish: Wish) -> Restorer | None:
    """None, and why is told, where it is not exact enough."""
    try:
        pieces = pieces_for(card, wish.data) if precision == "int8" else []
        return OnnxRestorer.opened(export_model(card, folder, precision, pieces), card, "cpu")
    except UserError as why:
        wish.tell(str(why))
        return None


def row_of(card: Card, size: tuple[int, ...], engines: dict[str, Restorer], runs: int) -> Row:
    """Seconds, and how many times as fast as PyTorch each is."""
    facts = engines["torch"].facts
    noisy = signal(facts, size, seed=1)
    settings = known_settings(engines["torch"], noisy)
    seconds = fastest({name: restoring(made, noisy, settings) for name, made in engines.items()}, runs)
    return row_from(card, sized(noisy, facts), seconds)


def first_row(card: Card, engines: dict[str, Restorer], runs: int) -> Row:
    """From nothing; a survey of its own is part of it."""
    shape = signal(engines["torch"].facts, SIZES[card.kind][0], seed=1).shape
    seconds = {"torch": seconds_until("by_torch", card.folder, *shape, runs=runs)}
    for precision, made in engines.items():
        if isinstance(made, OnnxRestorer):
            seconds[precision] = seconds_until("by_graph", made.graph, *shape, runs=runs)
    return row_from(card, "first result", seconds)


def row_from(card: Card, size: str, seconds: dict[str, float]) -> Row:
    row: Row = {"model": card.name, "size": size, "torch_s": round(seconds["torch"], 4)}
    for precision in PRECISIONS:
        taken = seconds.get(precision)
        row[f"{precision}_s"] = None if taken is None else round(taken, 4)
        row[f"{precision}_faster"] = None if taken is None else round(seconds["torch"] / taken, 2)
    return row


def known_settings(restorer: Restorer, noisy: Tensor) -> tuple[Tensor | None, dict[str, float]]:
    """The same survey for all, so that they do the same work."""
    knobs = restorer.facts.settings({})
    return restorer.survey([noisy], **knobs) if restorer.facts.surveys else None, knobs


def restoring(
    restorer: Restorer, noisy: Tensor, settings: tuple[Tensor | None, dict[str, float]]
) -> Callable[[], object]:
    survey, knobs = settings
    return lambda: restorer(noisy, survey, **knobs)


def fastest(works: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Once to warm up, and then so many times, or until it is enough."""
    found = {name: float("inf") for name in works}
    for work in works.values():
        work()
    begun = time.perf_counter()
    for _ in range(runs):
        for name, work in works.items():
            found[name] = min(found[name], taken_by(work))
        if time.perf_counter() - begun > ENOUGH_S:
            break
    return found


def taken_by(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def sized(noisy: Tensor, facts: Facts) -> str:
    if facts.kind == "audio":
        return f"{noisy.shape[-1] / (facts.rate or 48_000):g} s"
    return "×".join(str(side) for side in noisy.shape[2:])
