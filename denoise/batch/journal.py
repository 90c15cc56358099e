"""What was made from what, so that a run that was stopped goes on where it was and old results are known as such.

One line per result in a hidden file in the folder of results. Without it everything works; only the difference
between an up-to-date result and one made with other settings is then not known.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from denoise.batch.plan import Job

NAME = ".denoise-journal.jsonl"
Standing = Literal["new", "done", "outdated", "unknown"]


@dataclass(frozen=True)
class Print:
    """A file's content: size and time tell most changes, the checksum settles the rest."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Print:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, checksum(path))

    def is_of(self, path: Path) -> bool:
        status = path.stat()
        if status.st_size != self.size:
            return False
        return status.st_mtime_ns == self.mtime_ns or checksum(path) == self.sha256


@dataclass(frozen=True)
class Entry:
    recipe: str
    source: Print  # as it lies there after the run: cleaned in place, that is the result


def checksum(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class Journal:
    """The journals of all result folders of a run, each read when it is first asked for."""

    def __init__(self) -> None:
        self.known: dict[Path, dict[str, Entry]] = {}

    def standing(self, job: Job, recipe: str) -> Standing:
        in_place = job.source.samefile(job.target) if job.target.exists() else False
        if not job.target.is_file():
            return "new"
        entry = self.entry(job)
        if entry is None:
            return "new" if in_place else "unknown"
        if not entry.source.is_of(job.source):
            return "new" if in_place else "outdated"
        return "done" if entry.recipe == recipe else "outdated"

    def entry(self, job: Job) -> Entry | None:
        if job.root is None:
            return None
        if job.root not in self.known:
            self.known[job.root] = dict(read(job.root / NAME))
        return self.known[job.root].get(place(job, job.root))

    def add(self, job: Job, recipe: str) -> None:
        """Says that the result is there; one write, so that lines of parallel runs do not mix."""
        if job.root is None:
            return
        entry = Entry(recipe, Print.of(job.source))
        line = json.dumps({"output": place(job, job.root), **asdict(entry)}) + "\n"
        handle = os.open(job.root / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
        self.known.setdefault(job.root, {})[place(job, job.root)] = entry


def place(job: Job, root: Path) -> str:
    return os.path.relpath(os.path.realpath(job.target), os.path.realpath(root))


def read(path: Path) -> Iterator[tuple[str, Entry]]:
    """The entries, the newest of a name last; lines that were cut off or are foreign are passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        entry = parsed(line)
        if entry is not None:
            yield entry


def parsed(line: bytes) -> tuple[str, Entry] | None:
    try:
        fields: dict[str, Any] = json.loads(line)
        return fields["output"], Entry(fields["recipe"], Print(**fields["source"]))
    except (ValueError, KeyError, TypeError):
        return None
