"""All files of a plan, one after the other: what is done is skipped, and one bad file never stops the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from denoise.batch.file import clean_file, sentence, taken_away
from denoise.batch.journal import Journal, Standing
from denoise.batch.plan import Job, Plan
from denoise.batch.recipe import Ready, Recipe, check_knobs, prepared
from denoise.errors import Cancelled, UserError
from denoise.report import Outcome
from denoise.signals import Kind

OUTDATED = "The result there was made from another input or with other settings; --overwrite makes it anew."
UNKNOWN = "How results that are there already were made is not known here; --overwrite makes them anew."


class Watch:
    """Told how a run goes on; this one keeps it to itself. `tick` may raise Cancelled."""

    def begin(self, total_bytes: int) -> None: ...

    def start(self, path: Path, size: int) -> None: ...

    def tick(self, share: float) -> None: ...

    def say(self, text: str) -> None: ...

    def finish(self, outcome: Outcome) -> None: ...


def clean_all(plan: Plan, recipe: Recipe, watch: Watch, overwrite: bool = False) -> Iterator[Outcome]:
    """The outcome of each file as soon as there is one; nothing is loaded where nothing is to be done."""
    journal = Journal()
    kinds = {job.kind for job in plan.jobs}
    if recipe.camera and "raw" not in kinds:
        raise UserError(f"--camera {recipe.camera} is for camera raw files, and there are none; leave it out.")
    lacking = without_model(recipe, kinds)
    signatures = signed(recipe, sorted(kinds - lacking.keys()))
    jobs = [job for job in plan.jobs if job.kind in signatures]
    standings = {job: "new" if overwrite else standing(journal, job, signatures[job.kind]) for job in jobs}
    waiting = [job for job, state in standings.items() if state == "new"]
    restorers = {kind: prepared(recipe, kind, watch.say) for kind in sorted({job.kind for job in waiting})}
    for note in dict.fromkeys(note for made in restorers.values() for note in made.notes):
        watch.say(note)
    if "unknown" in standings.values():
        watch.say(UNKNOWN)
    watch.begin(sum(size_of(job.source) for job in waiting))
    for failure in plan.failures:
        yield told(watch, Outcome(failure.path, "failed", error=failure.why))
    for job in plan.jobs:
        if job.kind in lacking:
            yield told(watch, Outcome(job.source, "failed", None, job.kind, error=lacking[job.kind]))
    for job, state in standings.items():
        if state != "new":
            yield told(watch, skipped(job, state))
    for job in waiting:
        watch.start(job.source, size_of(job.source))
        outcome = attempt(job, restorers[job.kind], watch)
        yield told(watch, recorded(journal, job, signatures[job.kind], outcome))


def without_model(recipe: Recipe, kinds: set[Kind]) -> dict[Kind, str]:
    """The kinds that no model is for, and why. The others still come."""
    lacking: dict[Kind, str] = {}
    for kind in kinds:
        try:
            recipe.card(kind)
        except UserError as trouble:
            if len(kinds) == 1:
                raise
            lacking[kind] = str(trouble)
    return lacking


def signed(recipe: Recipe, kinds: list[Kind]) -> dict[Kind, str]:
    """The signature of each kind, once the knobs are found to suit their models."""
    if (recipe.knobs or recipe.passes > 1) and kinds:
        check_knobs(recipe, [recipe.facts(kind) for kind in kinds])
    return {kind: recipe.signature(kind) for kind in kinds}


def told(watch: Watch, outcome: Outcome) -> Outcome:
    watch.finish(outcome)
    return outcome


def standing(journal: Journal, job: Job, signature: str) -> Standing:
    try:
        return journal.standing(job, signature)
    except OSError:  # its reading will fail again, and then be told
        return "new"


def skipped(job: Job, state: Standing) -> Outcome:
    """There already; a residual that is not is made of the two files."""
    if state == "outdated":
        return Outcome(job.source, "skipped", job.target, job.kind, notes=(OUTDATED,))
    if all(target.exists() for target in job.targets):
        return Outcome(job.source, "skipped", job.target, job.kind)
    try:
        return Outcome(job.source, "skipped", job.target, job.kind, notes=(taken_away(job),))
    except Exception as trouble:  # as where it is cleaned
        return Outcome(job.source, "failed", None, job.kind, error=sentence(trouble))


def attempt(job: Job, ready: Ready, watch: Watch) -> Outcome:
    """Cleaned, or failed with a sentence; only the wish to stop goes through."""
    said: list[str] = []

    def say(text: str) -> None:
        if text not in said:  # by another page
            said.append(text)
            watch.say(text)

    begun = time.perf_counter()
    try:
        done = clean_file(job, ready, watch.tick, say)
    except Cancelled:
        raise
    except Exception as trouble:  # whatever a decoder does with a damaged file, the others still come
        seconds = time.perf_counter() - begun
        why = sentence(trouble)
        return Outcome(job.source, "failed", None, job.kind, ready.work, seconds, tuple(said), error=why)
    seconds = time.perf_counter() - begun
    notes = (*said, *done.notes)
    return Outcome(job.source, "cleaned", job.target, job.kind, done.work, seconds, notes, done.effect)


def recorded(journal: Journal, job: Job, signature: str, outcome: Outcome) -> Outcome:
    """Into the journal with it; where that cannot be written, the result is there all the same."""
    if outcome.status != "cleaned":
        return outcome
    try:
        journal.add(job, signature)
    except OSError as trouble:
        note = f"The journal could not be written ({trouble.strerror}); the result is there."
        return replace(outcome, notes=(*outcome.notes, note))
    return outcome


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
