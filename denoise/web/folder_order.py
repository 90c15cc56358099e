"""Many files that a visitor wants cleaned: one after the other, each with its own fate, and all results in one ZIP."""

from __future__ import annotations

import html
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from denoise.batch.file import Tick
from denoise.batch.folder import Watch, clean_all
from denoise.batch.journal import NAME as JOURNAL
from denoise.batch.plan import Failure, Plan, plan
from denoise.batch.recipe import Recipe
from denoise.errors import BadFile, Cancelled
from denoise.media.find import kind_of
from denoise.report import Outcome, Report, as_json, as_table
from denoise.web.limits import KINDS, refuse, refuse_many
from denoise.web.turns import turn
from denoise.web.words import table

POLL_S = 0.3
INBOX, OUTBOX = "in", "out"


@dataclass
class Row:
    """What is shown of one file."""

    bytes_: int
    state: str = "waits"
    share: float = 0.0

    def as_cells(self, name: str) -> dict[str, str]:
        going = f'<progress max="1" value="{self.share:.3f}" aria-label="{html.escape(name)}"></progress>'
        state = going if self.state == "works" else html.escape(self.state)
        return {"file": html.escape(name), "size": f"{self.bytes_ / 1e6:.2f} MB", "state": state}


@dataclass
class Queue(Watch):
    """Told by the run, looked at by the page."""

    stop: Tick  # raises Cancelled once that was asked for
    rows: dict[Path, Row] = field(default_factory=dict)
    now: Row | None = None
    said: str = ""

    def start(self, path: Path, size: int) -> None:
        self.now = self.rows.setdefault(path, Row(size))
        self.now.state = "works"

    def tick(self, share: float) -> None:
        self.stop(share)
        if self.now is not None:
            self.now.share = share

    def say(self, text: str) -> None:
        self.said = text

    def finish(self, outcome: Outcome) -> None:
        row = self.rows.setdefault(outcome.input, Row(0))
        row.state = f"{outcome.status}: {outcome.error}" if outcome.error else f"{outcome.status}, {told(outcome)}"

    def as_table(self) -> str:
        done = sum(row.state not in ("waits", "works") for row in self.rows.values())
        caption = f"{done} of {len(self.rows)} done. {self.said}"
        return table([row.as_cells(path.name) for path, row in self.rows.items()], caption)


def told(outcome: Outcome) -> str:
    return f"{outcome.seconds:.1f} s by {outcome.work.model}" if outcome.work else "there already"


@dataclass
class Folder:
    """Its files lie in a folder of their own, under the names that they were given."""

    place: Path
    recipe: Recipe
    residual: bool = False
    develop: str | None = None
    report: Report = field(default_factory=Report)
    trouble: Exception | None = None

    def run(self, paths: Iterable[Path], stop: Tick) -> Iterator[str]:
        """The table, again and again, until all is done; whoever no longer asks for it stops the work."""
        files = taken_in(list(paths), self.place / INBOX)
        leaving = threading.Event()

        def watched(share: float) -> None:
            stop(share)
            if leaving.is_set():
                raise Cancelled

        queue = Queue(watched, {path: Row(path.stat().st_size) for path in files})
        work = threading.Thread(target=self.clean, args=(files, queue), daemon=True)
        work.start()
        try:
            while work.is_alive():
                yield self.without_paths(queue.as_table())
                work.join(POLL_S)
            yield self.without_paths(queue.as_table())
        finally:
            leaving.set()
            work.join()

    def clean(self, files: list[Path], queue: Queue) -> None:
        try:
            planned = self.planned(files)
            self.report.waiting = len(planned.jobs) + len(planned.failures)
            with turn(queue.stop):
                self.work(planned, queue)
        except Cancelled:
            self.report.cancelled = True
        except Exception as trouble:  # told by whoever waits for it
            self.trouble = trouble

    def work(self, planned: Plan, queue: Queue) -> None:
        for outcome in clean_all(planned, self.recipe, queue):
            self.report.outcomes.append(outcome)
            self.report.waiting -= 1

    def planned(self, files: list[Path]) -> Plan:
        """What is too large for the page fails; the rest is planned as on the command line."""
        failures = [failure for path in files if (failure := refused(path))]
        fitting = [path for path in files if path not in {failure.path for failure in failures}]
        only, out = self.recipe.only, f"{self.place / OUTBOX}{os.sep}"
        raws = any(kind_of(path) == "raw" for path in fitting)
        found = plan(fitting, out, only=only, residual=self.residual, develop=self.develop if raws else None)
        return replace(found, failures=(*failures, *found.failures))

    def packed(self) -> Path:
        """The results and what is to be known of them. Nothing in there could be made smaller."""
        target = self.place / "cleaned.zip"
        report = replace(self.report, outcomes=[self.without_folders(one) for one in self.report.outcomes])
        results = sorted(path for path in (self.place / OUTBOX).rglob("*") if path.is_file() and path.name != JOURNAL)
        with ZipFile(target, "w", ZIP_STORED) as archive:
            for path in results:
                archive.write(path, path.relative_to(self.place / OUTBOX))
            archive.writestr("report.json", as_json(report.as_data()))
            archive.writestr("report.md", in_words(report))
        return target

    def without_folders(self, outcome: Outcome) -> Outcome:
        output = outcome.output and Path(outcome.output.name)
        notes = tuple(self.without_paths(note) for note in outcome.notes)
        error = outcome.error and self.without_paths(outcome.error)
        return replace(outcome, input=Path(outcome.input.name), output=output, notes=notes, error=error)

    def without_paths(self, text: str) -> str:
        for folder in (INBOX, OUTBOX):
            text = text.replace(f"{self.place / folder}/", "")
        return text


def refused(path: Path) -> Failure | None:
    """Files of no known kind are told so by the plan."""
    try:
        if kind_of(path):
            refuse(path, *KINDS)
    except BadFile as trouble:
        return Failure(path, str(trouble).removeprefix(f"{path}: "))
    return None


def taken_in(paths: list[Path], inbox: Path) -> list[Path]:
    """Each under its own name; of several with one name, the later ones are numbered."""
    refuse_many(paths)
    inbox.mkdir()
    found = []
    for path in paths:
        name, number = path.name, 2
        while (inbox / name).exists():
            name, number = f"{path.stem}-{number}{path.suffix}", number + 1
        os.link(path, inbox / name)
        found.append(inbox / name)
    return found


def in_words(report: Report) -> str:
    rows = [
        {
            "file": one.input.name,
            "result": one.output.name if one.output else "",
            "model": one.work.model if one.work else "",
            "seconds": round(one.seconds, 1),
            "notes": " ".join([*one.notes, one.error or ""]).strip(),
        }
        for one in report.outcomes
    ]
    when = time.strftime("%Y-%m-%d %H:%M")
    return f"# Cleaned by denoise, {when}\n\n{report.summary()}\n\n{as_table(rows) if rows else ''}\n"
