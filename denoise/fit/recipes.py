"""A recipe (recipe.toml in a model's folder) says how to train it again; this follows it."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from safetensors.torch import load_file, save
from torch import Tensor

from denoise import zoo
from denoise.errors import UserError
from denoise.fit.loop import LOG, Run, Schedule, Validate, train
from denoise.fit.pictures import Pairs, Photographs, validation_pairs
from denoise.measure.scores import psnr
from denoise.media.atomic import atomic
from denoise.methods.method import Method

RECIPE = "recipe.toml"
JUDGED = 6  # photographs under every validation law; more would cost more time than they tell


def recipe_of(card: zoo.Card) -> dict[str, Any]:
    try:
        return tomllib.loads((card.folder / RECIPE).read_text())
    except FileNotFoundError:
        raise UserError(f"{card.name} has no {RECIPE}: there is nothing to train.") from None


def train_model(
    card: zoo.Card, data: Path, minutes: float, tell: Callable[[str], None], runs: Path = Path("runs")
) -> Path:
    """Train on, from the card's weights or from where the last run stopped; the run's folder."""
    recipe = recipe_of(card)
    photographs = Photographs.of(data)
    pairs = Pairs(photographs, recipe["mix"], **recipe["data"])
    run = Run(zoo.method_of(card), runs / card.name, Schedule(**recipe["schedule"]))
    run.step = int(card.entries.get("steps", 0))
    train(run, pairs.at, judge(photographs), minutes, tell)
    curve(run.folder, run.folder / "curve.png")
    return run.folder


def judge(photographs: Photographs) -> Validate:
    """Mean PSNR of every validation law, each picture on its own."""
    sets = list(validation_pairs(photographs, JUDGED))

    def measure(method: Method) -> dict[str, float]:
        return {name: mean_psnr(method, noisy, clean) for name, noisy, clean in sets}

    return measure


def mean_psnr(method: Method, noisy: Tensor, clean: Tensor) -> float:
    scores = [psnr(truth.numpy(), method(one[None])[0].numpy()) for one, truth in zip(noisy, clean, strict=True)]
    return sum(scores) / len(scores)


def publish(folder: Path, card: zoo.Card) -> None:
    """Put the best weights of a run into the model's folder, in half precision, and their checksum on the card."""
    weights = {name: value.half().contiguous() for name, value in load_file(folder / zoo.WEIGHTS).items()}
    content = save(weights)
    with atomic(card.folder / zoo.WEIGHTS) as waiting:
        waiting.write_bytes(content)
    text = (card.folder / zoo.CARD).read_text()
    text = stated(text, "sha256", f'"{hashlib.sha256(content).hexdigest()}"')
    text = stated(text, "steps", str(best_step(folder)))
    with atomic(card.folder / zoo.CARD) as waiting:
        waiting.write_text(text)


def best_step(folder: Path) -> int:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return int(max(lines, key=lambda line: line["score"])["step"])


def stated(text: str, key: str, value: str) -> str:
    """The card with that top-level entry set; every other line as it was."""
    line = f"{key} = {value}"
    text, found = re.subn(rf"^{key} = .*$", line, text, count=1, flags=re.MULTILINE)
    if found:
        return text
    head, table, rest = text.partition("\n[")
    return f"{head.rstrip()}\n{line}\n" + (f"\n[{rest}" if table else "")


def curve(folder: Path, picture: Path) -> None:
    """The run's loss and scores over its steps, as a picture."""
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    names = [name for name in lines[-1] if name not in ("step", "loss", "score")]
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    steps = [line["step"] for line in lines]
    above.plot(steps, [line["loss"] for line in lines])
    above.set_ylabel("loss")
    for name in names:
        below.plot(steps, [line[name] for line in lines], label=name)
    below.set_ylabel("PSNR, dB")
    below.set_xlabel("step")
    below.legend(ncols=3)
    figure.savefig(picture, dpi=90)
