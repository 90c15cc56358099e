"""A picture model fitted to the user's own noisy pictures, without a clean one among them.

Some pictures are kept aside. On them the error of both models is estimated, and only a better one is written.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Self

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from denoise import zoo
from denoise.checkpoint import toml_value
from denoise.devices import chosen
from denoise.errors import UserError
from denoise.fit.loop import Run, Schedule, Scores, train
from denoise.fit.own_lessons import Lesson, lesson_of
from denoise.fit.own_pages import Page, Tell, pages_of, refuse_clean, refuse_struck
from denoise.methods.method import Method
from denoise.noise.patches import CERTAIN

BETTER = 0.99  # of the error before: more is no gain
MOST_PARTS = 0.75  # of those kept aside; a smaller majority may be chance, or noise measured as too strong
DOUBTS = (-1, 1)  # the noise may be weaker or stronger than it was measured
MOST_TAKEN = 1.25  # times what was taken away before, where noise cannot be told from texture
NO_BETTER = "Not better for certain: nothing is written; clean with"
DOUBTED = (
    "Better, unless texture was taken for noise: nothing is written. If your pictures have places with nothing on them "
    "but noise, as paper or an empty background, say --flat; else clean with"
)
ON_HIS_WORD = ", flat places being flat on their owner's word"
SCHEDULE = Schedule(rate=3e-4, warm_up=30, average=0.99, fall=0.4, weight_decay=0.0)


@dataclass(frozen=True)
class Wish:
    folder: Path
    out: Path
    start: str | None = None  # the model that it begins as; None: the usual one for pictures
    minutes: float = 20.0
    seed: int = 0
    device: str = "auto"
    flat: bool = False  # there are places with nothing on them but noise, its owner says


@dataclass(frozen=True)
class Result:
    """What came of it; `folder` is None where the model was no better."""

    folder: Path | None
    start: str
    pictures: int
    held_back: str
    noise: str
    taught_by: str
    judged_by: str
    before: float  # of 255, root of the estimated mean squared error
    after: float
    parts_better: int
    parts: int
    steps: int
    minutes: float
    seed: int
    doubted: bool  # better if the noise was measured well, which only its owner can tell

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"kept": self.folder is not None, "folder": self.folder and str(self.folder)}

    def as_text(self) -> str:
        judged = (
            f"Estimated error on {self.held_back} kept aside ({self.judged_by}): {self.start} {self.before:.2f}, "
            f"fitted {self.after:.2f} of 255; better in {self.parts_better} of {self.parts} parts."
        )
        if not self.after:
            return f"{judged}\nThe noise is weaker than it was measured, so neither can be judged: nothing is written."
        if self.folder is None:
            return f"{judged}\n{DOUBTED if self.doubted else NO_BETTER} {self.start} as it is."
        return f"{judged}\nWritten: {self.folder}; use it with `denoise clean PICTURE --model {self.folder}`."


def fit(wish: Wish, tell: Tell) -> Result:
    """Writes a model folder where that is better than the model it began as."""
    if wish.out.exists():
        raise UserError(f"{wish.out} is there already; give another -o, or take it away first.")
    card = start_of(wish.start)
    pages = pages_for(wish, card, tell)
    refuse_place(wish.out)
    method = zoo.method_of(card)
    lesson = lesson_of(pages, method, zoo.facts_of(card, method), wish.seed)
    tell(lesson.describe())
    return judged(lesson, Taught(method), card, wish, tell)


def pages_for(wish: Wish, card: zoo.Card, tell: Tell) -> list[Page]:
    pages = pages_of(wish.folder, tell)
    refuse_struck(wish.folder, pages, card.entries.get("struck", {}).get("model"))
    refuse_clean(wish.folder, pages)
    return [replace(page, patches=page.patches and page.patches.trusted()) for page in pages] if wish.flat else pages


def start_of(name: str | None) -> zoo.Card:
    card = zoo.find(name) if name else zoo.default_for("picture")
    if card.kind != "picture":
        raise UserError(f"{card.name} is for {zoo.WHAT[card.kind]}; name with --from a model for pictures.")
    if not any(True for _ in zoo.method_of(card).parameters()):
        raise UserError(f"{card.name} learns nothing: it has no weights; name with --from a model that has some.")
    return card


# Training and judging


class Taught(Method):
    """Any restorer of pictures, taught by what is asked for in some of the pixels."""

    def __init__(self, restorer: Method) -> None:
        super().__init__()
        self.restorer = restorer

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        restored: Tensor = self.restorer(noisy)
        return restored

    @property
    def core(self) -> nn.Module:
        return self.restorer.core

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """Squared error where something is asked for, of that of doing nothing there: weak noise counts as strong."""
        known = clean.isfinite()
        left, before = (torch.where(known, one - clean, 0).square().sum((1, 2, 3)) for one in (self(noisy), noisy))
        return (left / before.clamp(min=1e-9)).mean()


@dataclass(frozen=True)
class Judgement:
    """Of one model, on what was kept aside."""

    errors: Tensor  # of every part
    doubted: list[Tensor]  # the same, were the noise weaker or stronger
    taken: float

    @classmethod
    def of(cls, lesson: Lesson, method: Method) -> Self:
        return cls(lesson.errors(method), [lesson.errors(method, doubts) for doubts in DOUBTS], lesson.taken(method))


def is_better(after: Judgement, before: Judgement, masks: bool) -> bool:
    """However wrong the noise was measured; and behind masks, where texture counts as noise, not by taking more."""
    if not is_better_as_measured(after, before):
        return False
    if not all(is_smaller(one, other) for one, other in zip(after.doubted, before.doubted, strict=True)):
        return False
    return not masks or after.taken <= MOST_TAKEN * before.taken


def is_better_as_measured(after: Judgement, before: Judgement) -> bool:
    enough = 0 < of_255(after.errors) < BETTER * of_255(before.errors)
    return enough and is_smaller(after.errors, before.errors)


def is_smaller(after: Tensor, before: Tensor) -> bool:
    """On the mean, and in most parts."""
    return of_255(after) < of_255(before) and int((after < before).sum()) >= MOST_PARTS * len(after)


def judged(lesson: Lesson, method: Taught, card: zoo.Card, wish: Wish, tell: Tell) -> Result:
    """The model is trained; it is written where it is better on what was kept aside."""
    with torch.no_grad():
        before = Judgement.of(lesson, method)
        steps = trained(lesson, method, wish, tell)
        after = Judgement.of(lesson, method.eval())
    result = verdict(lesson, card, wish, steps, before, after)
    if result.folder is not None:
        write(result.folder, card, method.restorer, result)
    return result


@torch.enable_grad()
def trained(lesson: Lesson, method: Taught, wish: Wish, tell: Tell) -> int:
    """The method takes on the best weights that were seen; the number of steps."""

    def validate(now: Method) -> Scores:
        return {"estimated_mse": of_255(lesson.errors(now))}

    with TemporaryDirectory() as folder:
        run = Run(method, Path(folder), SCHEDULE, chosen(wish.device))
        train(run, lesson.at, validate, wish.minutes, tell, lambda scores: -scores["estimated_mse"])
        method.to("cpu").load_state_dict(load_file(Path(folder) / zoo.WEIGHTS))
    return run.step


def verdict(lesson: Lesson, card: zoo.Card, wish: Wish, steps: int, before: Judgement, after: Judgement) -> Result:
    kept = is_better(after, before, lesson.masks)
    return Result(
        folder=wish.out if kept else None,
        start=card.name,
        pictures=lesson.pictures,
        held_back=lesson.kept_aside,
        noise=lesson.noise,
        taught_by=lesson.taught_by,
        judged_by=lesson.judged_by + (ON_HIS_WORD if wish.flat else ""),
        before=math.sqrt(max(of_255(before.errors), 0.0)),
        after=math.sqrt(max(of_255(after.errors), 0.0)),
        parts_better=int((after.errors < before.errors).sum()),
        parts=len(after.errors),
        steps=steps,
        minutes=wish.minutes,
        seed=wish.seed,
        doubted=not kept and lesson.doubt > CERTAIN and is_better_as_measured(after, before),
    )


def of_255(errors: Tensor) -> float:
    """Mean of squared errors, of 255²."""
    return float(errors.mean()) * 255**2


# The model


def refuse_place(out: Path) -> None:
    """Before the work, and not after it."""
    parent = next(place for place in (out.parent, *out.parent.resolve().parents) if place.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"Cannot write {out}: {parent} is no folder that can be written to; give another -o.")


def write(out: Path, card: zoo.Card, restorer: Method, result: Result) -> None:
    """The whole folder or nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        content = save({name: value.contiguous() for name, value in restorer.state_dict().items()})
        (draft / zoo.WEIGHTS).write_bytes(content)
        (draft / zoo.CARD).write_text(card_text(out.name, card, hashlib.sha256(content).hexdigest(), result))
        (draft / "README.md").write_text(readme(out, card, result))
        draft.chmod(0o755)
        draft.rename(out)
    except OSError as trouble:
        raise UserError(f"Cannot write {out} ({trouble.strerror}); give another -o.") from None
    finally:
        rmtree(draft, ignore_errors=True)


def card_text(name: str, card: zoo.Card, digest: str, result: Result) -> str:
    before = card.entries.get("trained_on", f"what {card.name} was trained on")
    entries = {
        "name": name,
        "kind": card.kind,
        "method": card.entries["method"],
        "summary": f"{card.name}, fitted to {result.pictures} noisy pictures of its owner.",
        "licence": card.entries.get("licence", "not stated"),
        "sha256": digest,
        "trained_on": f"{before}; then the owner's own pictures",
    }
    fitted = {key: value for key, value in result.as_data().items() if key not in ("folder", "kept", "doubted")}
    tables = {"network": card.entries.get("network"), "facts": card.entries.get("facts"), "fitted": fitted}
    text = lines_of(entries)
    return text + "".join(f"\n[{title}]\n{lines_of(table)}" for title, table in tables.items() if table)


def lines_of(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {quoted(value)}\n" for key, value in table.items())


def quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else toml_value(value)


def readme(out: Path, card: zoo.Card, result: Result) -> str:
    return f"""# {out.name}

{card.name}, fitted to {result.pictures} noisy pictures by `denoise fit` without a clean one: {result.steps} steps,
{result.minutes:g} minutes, seed {result.seed}.

**For** pictures with the noise of these: {result.noise}. **Not for** others: {card.name} itself knows more kinds.

**Taught by** {result.taught_by}.

**Judged** on {result.held_back} kept aside, by {result.judged_by}, root of the estimated mean squared error, of 255:
{card.name} {result.before:.2f}, this one {result.after:.2f}; better in {result.parts_better} of {result.parts} parts.

Use it: `denoise clean PICTURE --model {out}`.
"""
