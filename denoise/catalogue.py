"""The models in words: a row for the list, a page for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from denoise.zoo import Card

MEGABYTE = 1_000_000
NAMES = {"audio": "sound"}


def row_of(card: Card) -> dict[str, object]:
    facts = card.entries
    return {
        "model": card.name,
        "for": NAMES.get(card.kind, card.kind),
        "default": "yes" if facts.get("default") else "",
        "method": facts["method"],
        "MB": megabytes(card),
        "licence": facts.get("licence", "not stated"),
        "scores": ", ".join(f"{name} {value}" for name, value in headline(facts.get("scores", {}))),
        "summary": facts.get("summary", ""),
    }


def megabytes(card: Card) -> float | None:
    """Of its weights, where it has any."""
    path = card.weights
    return path.stat().st_size / MEGABYTE if path is not None and path.is_file() else None


def headline(scores: Mapping[str, object], most: int = 3) -> Iterator[tuple[str, object]]:
    """The first few numbers of the card's table of scores, however deep it is."""
    numbers = [(name, value) for name, value in flat(scores) if isinstance(value, (int, float))]
    yield from numbers[:most]


def flat(table: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name} ")
        else:
            yield f"{before}{name}", value


def story_of(card: Card) -> str:
    """The card in words, the knobs of its method, and what its README says."""
    facts = [f"{name}: {value}" for name, value in flat(card.entries)]
    knobs = [f"  --set {line}" for line in knob_lines(card)]
    readme = card.folder / "README.md"
    story = ["", readme.read_text(encoding="utf-8").strip()] if readme.is_file() else []
    return "\n".join([*facts, f"folder: {card.folder}", "knobs:" if knobs else "knobs: none", *knobs, *story])


def knob_lines(card: Card) -> Iterator[str]:
    from denoise.methods.method import find

    for knob in find(str(card.entries["method"])).knobs:
        wanted = "|".join(knob.choices) or f"{knob.low:g}..{knob.high:g}"
        usual = knob.choices[int(knob.default)] if knob.choices else f"{knob.default:g}"
        yield f"{knob.name}={wanted} (usually {usual}): {knob.help}"
