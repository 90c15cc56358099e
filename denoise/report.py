"""What a run did, as data: one outcome per file, totals, the exit code, and tables for people."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["cleaned", "skipped", "failed"]

DONE, WRONG_USE, SOME_FAILED, CANCELLED = 0, 2, 3, 130


@dataclass(frozen=True)
class Work:
    """With what a file was cleaned: enough to do it again."""

    model: str
    model_sha256: str | None  # None: the method has no weights
    engine: str
    device: str
    provider: str | None  # of ONNX Runtime, as the session names it
    seed: int
    strength: float
    passes: int
    knobs: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    input: Path
    status: Status
    output: Path | None = None
    kind: str | None = None
    work: Work | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    effect: Mapping[str, float | None] = field(default_factory=dict)  # what the cleaning did, in numbers
    error: str | None = None

    def as_data(self) -> dict[str, Any]:
        data = asdict(self) | {"input": str(self.input), "output": self.output and str(self.output)}
        data |= data.pop("work") or dict.fromkeys(Work.__dataclass_fields__)
        return data


@dataclass
class Report:
    outcomes: list[Outcome] = field(default_factory=list)
    left_alone: int = 0  # files that are neither sound nor picture, or results of an earlier run
    cancelled: bool = False
    waiting: int = 0  # files that a cancelled run did not come to, or not to the end of

    @property
    def counts(self) -> Counter[str]:
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def tells_more(self) -> bool:
        """Whether a summary says anything that the line of a single file does not."""
        return self.cancelled or len(self.outcomes) != 1 or self.left_alone > 0 or self.counts["skipped"] > 0

    @property
    def exit_code(self) -> int:
        """2 when every input was wrong, 3 when some were and others were not."""
        if self.cancelled:
            return CANCELLED
        failed = self.counts["failed"]
        if not failed:
            return DONE
        return WRONG_USE if failed == len(self.outcomes) else SOME_FAILED

    def as_data(self) -> dict[str, Any]:
        totals: dict[str, float] = {status: self.counts[status] for status in ("cleaned", "skipped", "failed")}
        totals |= {"left_alone": self.left_alone, "waiting": self.waiting}
        totals |= {"seconds": sum(outcome.seconds for outcome in self.outcomes)}
        return {
            "files": [outcome.as_data() for outcome in self.outcomes],
            "totals": totals,
            "cancelled": self.cancelled,
        }

    def summary(self) -> str:
        """One line: what was done and what was not."""
        named = {"cleaned": "cleaned", "skipped": "skipped (there already)", "failed": "failed"}
        parts = [f"{self.counts[status]} {words}" for status, words in named.items() if self.counts[status]]
        parts += [f"{self.left_alone} left alone"] if self.left_alone else []
        parts += [f"{self.waiting} not begun or not finished"] if self.waiting else []
        stop = "Cancelled, nothing half-written: " if self.cancelled else ""
        return f"{stop}{', '.join(parts) or 'nothing to do'}."


def as_json(data: object) -> str:
    """JSON that every reader takes: what is not a number becomes null, infinity becomes the word."""
    return json.dumps(_plain(data), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{value}"
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return value.item() if hasattr(value, "item") else str(value)


def as_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a table that reads well and can be pasted into Markdown."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[shown(row.get(column)) for column in columns] for row in rows]
    numeric = [all(_number(row.get(column)) for row in rows) for column in columns]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    rule = [f"{'-' * (width - number)}{':' * number}" for width, number in zip(widths, numeric, strict=True)]
    return "\n".join(_line(line, widths, numeric) for line in [columns, rule, *cells])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if number else cell.ljust(width)
        for cell, width, number in zip(cells, widths, right, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def shown(value: object) -> str:
    """A cell: floats with as many places as they deserve."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"
