"""The training loop: resumes to the step, keeps an average of the weights, ends its learning rate in time.

The rate is constant and falls only in the last part of the time given, from a state that is kept: the
next run resumes from there, so that no time is lost to a rate that has already fallen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torch._dynamo
from safetensors.torch import save_file
from torch import Tensor

from denoise.errors import UserError
from denoise.fit.optimiser import Optimiser
from denoise.methods.method import Method

LOG = "log.jsonl"
WORTH_COMPILING = 10  # minutes; it takes one or two
Batches = Callable[[int], tuple[Tensor, Tensor]]
Scores = dict[str, float]
Validate = Callable[[Method], Scores]
Score = Callable[[Scores], float]


def mean(scores: Scores) -> float:
    """The one number by which the best weights are chosen, where nothing else is said."""
    return sum(scores.values()) / len(scores)


@dataclass(frozen=True)
class Schedule:
    rate: float = 5e-4
    warm_up: int = 300  # steps
    clip: float = 1.0  # gradient norm
    average: float = 0.999  # of the weights, per step
    fall: float = 0.25  # last share of the time, in which the rate falls to nothing
    weight_decay: float = 1e-5
    muon: bool = False  # for the inner weights, instead of AdamW

    def factor(self, step: int, spent: float) -> float:
        """Of the rate, `spent` being the share of the time that is gone."""
        return min(1.0, (step + 1) / self.warm_up) * min(1.0, max(0.0, (1 - spent) / self.fall))


class Run:
    """One model in training: everything that must survive an interruption."""

    def __init__(self, method: Method, folder: Path, schedule: Schedule, device: str = "cpu") -> None:
        self.method, self.folder, self.schedule, self.device = method.to(device), folder, schedule, device
        self.optimiser = Optimiser(self.method, schedule.rate, schedule.weight_decay, schedule.muon)
        self.average = {name: value.detach().clone() for name, value in method.state_dict().items()}
        self.step = 0
        self.half = device == "cuda" or (device == "cpu" and halves_are_faster())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be made a folder ({error.strerror}); put away what is there, or go elsewhere."
            ) from error

    @property
    def state_file(self) -> Path:
        return self.folder / "state.pt"

    def save(self) -> None:
        state = {
            "weights": self.method.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        waiting = self.state_file.with_suffix(".new")
        torch.save(state, waiting)
        waiting.replace(self.state_file)

    def resume(self) -> bool:
        if not self.state_file.exists():
            return False
        try:
            state: dict[str, Any] = torch.load(self.state_file, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError) as error:
            raise UserError(f"{self.state_file}: is damaged; delete it to begin again.") from error
        self.method.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.step = state["average"], state["step"]
        return True

    def advance(self, noisy: Tensor, clean: Tensor, factor: float) -> float:
        """One step; the loss before it."""
        noisy, clean = noisy.to(self.device), clean.to(self.device)
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=self.half):
            loss = self.method.loss(noisy, clean, self.step)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.schedule.clip)
        if torch.isfinite(norm):
            self.optimiser.step(self.schedule.rate * factor)
        self.method.zero_grad()
        self.step += 1
        self.follow()
        return float(loss.detach())

    def follow(self) -> None:
        keep = min(self.schedule.average, (1 + self.step) / (10 + self.step))
        for name, value in self.method.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def averaged(self, measure: Validate) -> Scores:
        """Scores of the averaged weights, on the CPU; the weights in training stay as they are."""
        kept = {name: value.clone() for name, value in self.method.state_dict().items()}
        self.method.load_state_dict(self.average)
        self.method.eval().to("cpu")
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            scores = measure(self.method)
        self.method.train().to(self.device)
        self.method.load_state_dict(kept)
        return scores


def halves_are_faster() -> bool:
    """Whether the processor multiplies bfloat16: three times as fast with AMX, 1.6 times without."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def train(
    run: Run,
    batches: Batches,
    validate: Validate,
    minutes: float,
    tell: Callable[[str], None],
    score: Score = mean,
) -> None:
    """Train for that long; `weights.safetensors` in the run's folder is the best average seen."""
    run.resume()
    if minutes > WORTH_COMPILING:
        torch._dynamo.config.suppress_errors = True  # without a C++ compiler it runs as it is, only slower
        run.method.core.compile()
    begin, best, noted, saved, total = time.monotonic(), best_of(run.folder), time.monotonic(), False, 0.0
    first = run.step
    while (spent := (time.monotonic() - begin) / (60 * minutes)) < 1:
        if spent > 1 - run.schedule.fall and not saved:
            run.save()
            saved = True
        total += run.advance(*batches(run.step), run.schedule.factor(run.step, spent))
        if time.monotonic() - noted > min(600, 6 * minutes):
            best = note(run, validate, total / (run.step - first), best, tell, score)
            first, total, noted = run.step, 0.0, time.monotonic()
            if not saved:
                run.save()
    if run.step > first:
        note(run, validate, total / (run.step - first), best, tell, score)


def best_of(folder: Path) -> float:
    return max((float(line["score"]) for line in notes_in(folder)), default=float("-inf"))


def notes_in(folder: Path) -> list[dict[str, Any]]:
    """What was written down so far; one that was cut off does not count, and the next, in the same line, does."""
    log, notes = folder / LOG, []
    for line in log.read_text().splitlines() if log.exists() else ():
        with suppress(json.JSONDecodeError):
            notes.append(json.loads(line[max(0, line.rfind("{")) :]))
    return notes


def note(
    run: Run, validate: Validate, loss: float, best: float, tell: Callable[[str], None], score: Score = mean
) -> float:
    """Write down where we are; keep the weights if they are the best so far."""
    scores = run.averaged(validate)
    reached = score(scores)
    line = {"step": run.step, "loss": loss, "score": reached} | scores
    with (run.folder / LOG).open("a") as log:
        log.write(json.dumps(line) + "\n")
    tell(" ".join(f"{name} {value:.3f}" for name, value in line.items()))
    if reached > best:
        save_file(run.average, run.folder / "weights.safetensors")
    return max(reached, best)
