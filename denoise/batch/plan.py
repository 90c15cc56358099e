"""Which files are to be cleaned and where each result goes: decided, and refused, before anything is touched."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from denoise.errors import CANNOT_READ, TOO_LONG, UserError
from denoise.media.find import NAMES, files_below, kind_of, known, raw_ending, result_name, writable
from denoise.media.raw import RESULTS, is_mosaic
from denoise.signals import Kind

MARK = ".clean"  # of results that lie beside their input: voice.clean.wav
TAKEN = ".residual"  # of what was taken away, beside the result: voice.clean.residual.wav


@dataclass(frozen=True)
class Job:
    """One file to clean."""

    source: Path
    target: Path
    kind: Kind
    root: Path | None = None  # the folder that the results of this run go to; None: results lie beside inputs
    residual: bool = False  # whether what was taken away is written too

    @property
    def targets(self) -> tuple[Path, ...]:
        return (self.target, residual_of(self.target)) if self.residual else (self.target,)


@dataclass(frozen=True)
class Failure:
    """Something that was given and cannot be cleaned, and why."""

    path: Path
    why: str


@dataclass
class Found:
    """What one given path holds."""

    given: Path
    files: list[tuple[Path, Kind]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_alone: int = 0


@dataclass(frozen=True)
class Plan:
    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...]
    left_alone: int


def plan(
    paths: Sequence[Path],
    out: str | None = None,
    in_place: bool = False,
    only: Kind | None = None,
    residual: bool = False,
    develop: str | None = None,
) -> Plan:
    """The jobs for these files and folders. `only`: the kind that the chosen model is for."""
    if out is not None and in_place:
        raise UserError("--in-place writes over the inputs and -o writes elsewhere; choose one of the two.")
    if residual and in_place:
        raise UserError("--residual needs the noisy file, and --in-place writes over it; choose one of the two.")
    if out is not None:
        refuse_nesting(paths, Path(out))
    founds = [found_in(path, only) for path in paths]
    if develop is not None:
        refuse_developing(founds, develop, in_place, residual)
    place = placing(paths, out, in_place, develop)
    jobs = [replace(job, residual=residual) for found in founds for job in jobs_of(found, place)]
    jobs, unnamed = nameable(jobs)
    real = real_paths()
    jobs, results = without_results(unique(jobs, real))
    refuse_collisions(jobs, in_place, real)
    refuse_residuals(jobs)
    failures = [failure for found in founds for failure in found.failures]
    return Plan(tuple(jobs), (*failures, *unnamed), sum(found.left_alone for found in founds) + results)


# What is there


def found_in(path: Path, only: Kind | None = None) -> Found:
    try:
        return found_in_folder(path, only) if path.is_dir() else Found(path, [(path, kind_of_file(path, only))])
    except UserError as trouble:
        return Found(path, failures=[Failure(path, str(trouble))])
    except OSError as trouble:
        if trouble.errno not in CANNOT_READ:
            raise
        return Found(path, failures=[Failure(path, CANNOT_READ[trouble.errno])])


def is_folder(path: Path) -> bool:
    """Also asks of a path that must not be looked at: that is none."""
    return os.path.isdir(path)


def kind_of_file(path: Path, only: Kind | None) -> Kind:
    """The kind of a file that was named by itself, or the sentence that says why it cannot be cleaned."""
    if not path.exists():
        what = "a link to a file that is not there" if path.is_symlink() else "no such file or folder"
        raise UserError(f"{what}; check the path.")
    if not path.is_file():
        raise UserError("not a regular file; give a sound, a picture or a folder.")
    kind = kind_of(path)
    if kind is None:
        raise UserError(f"neither a sound nor a picture by its name; known are {known()}.")
    if only not in (None, kind):
        raise UserError(f"this is a {NAMES[kind]} and the chosen model is for another kind; try --model auto.")
    return kind


def found_in_folder(folder: Path, only: Kind | None) -> Found:
    found = Found(folder)

    def refused(place: Path, trouble: OSError) -> None:
        found.failures.append(Failure(place, f"this folder cannot be read ({trouble.strerror})."))

    for path in files_below(folder, refused):
        kind = kind_of(path)
        if kind is None or only not in (None, kind):
            found.left_alone += 1
        else:
            found.files.append((path, kind))
    if not found.files and not found.failures:
        wanted = f"no {NAMES[only]}" if only else "neither sound nor picture"
        found.failures.append(Failure(folder, f"{wanted} in this folder; give one that holds some."))
    return found


# Where the results go

Placing = Callable[[Path, Path], tuple[Path, Path | None]]
"""(the path that was given, the file found there) -> (its target, the folder of all results)."""


def placing(paths: Sequence[Path], out: str | None, in_place: bool, develop: str | None = None) -> Placing:
    if in_place:
        return lambda given, source: (unlinked(source), given if given != source else None)
    if out is None:
        return lambda given, source: (beside(source, develop), None)
    folder = Path(out)
    if is_one_file(paths, out):
        refuse_two_wishes(out, develop)
        return lambda given, source: (folder, None)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{out} is a file; several results need a folder: give another -o.")
    return lambda given, source: (folder / below(given, source, develop), folder)


def unlinked(source: Path) -> Path:
    return Path(os.path.realpath(source)) if source.is_symlink() else source


def below(given: Path, source: Path, develop: str | None = None) -> Path:
    place = Path(source.name) if given == source else source.relative_to(given)
    return place.with_name(result_name(source, develop=develop))


def beside(source: Path, develop: str | None = None) -> Path:
    return source.with_name(result_name(source, MARK, develop))


def residual_of(target: Path) -> Path:
    return target.with_name(f"{target.stem}{TAKEN}{target.suffix}")


def is_one_file(paths: Sequence[Path], out: str) -> bool:
    """Whether OUT names the result itself and not a folder for it."""
    target = Path(out)
    if len(paths) != 1 or is_folder(paths[0]) or target.is_dir() or out.endswith(("/", os.sep)) or not target.suffix:
        return False
    source = kind_of(paths[0])
    if source is not None and target.suffix.lower() not in writable(source):
        raise UserError(
            f"{paths[0]} is a {NAMES[source]} and {target.suffix} is no format for one; "
            f"choose one of {' '.join(sorted(writable(source)))} (or a folder, its name ending with /)."
        )
    return True


def jobs_of(found: Found, place: Placing) -> Iterator[Job]:
    for source, kind in found.files:
        target, root = place(found.given, source)
        yield Job(source, target, kind, root)


# What would go wrong


def nameable(jobs: Sequence[Job]) -> tuple[list[Job], list[Failure]]:
    """Without those whose results cannot have the names that they ought to have."""
    long = [job for job in jobs if any(too_long(target) for target in job.targets)]
    kept = [job for job in jobs if job not in long] if long else list(jobs)
    return kept, [Failure(job.source, f"its result would be {job.target.name}: {TOO_LONG}") for job in long]


def too_long(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as trouble:
        return trouble.errno == errno.ENAMETOOLONG
    return False


def refuse_developing(founds: Sequence[Found], develop: str, in_place: bool, residual: bool) -> None:
    raw_ending(develop)
    if not any(kind == "raw" for found in founds for _, kind in found.files):
        raise UserError("--develop is for camera raw files and there is none among the inputs; leave it out.")
    if in_place or residual:
        other = "--in-place" if in_place else "--residual"
        raise UserError(f"--develop makes another kind of file and {other} needs the same; choose one of the two.")


def refuse_residuals(jobs: Sequence[Job]) -> None:
    """What was taken away from a mosaic is another one."""
    for job in jobs:
        if job.kind == "raw" and job.residual and not is_mosaic(job.target):
            raise UserError(f"{job.target} is developed and --residual compares mosaics; give -o a name with .dng.")


def refuse_two_wishes(out: str, develop: str | None) -> None:
    if develop is not None and not out.lower().endswith(raw_ending(develop)):
        raise UserError(f"{out} is not what --develop {develop} makes; leave --develop out, the name says it.")


def refuse_nesting(paths: Sequence[Path], out: Path) -> None:
    """Results inside the input would be cleaned again by the next run."""
    for path in paths:
        inside, folder = out.resolve(), path.resolve()
        if is_folder(path) and inside != folder and inside.is_relative_to(folder):
            raise UserError(f"{out} lies inside {path}, so results would become inputs; choose -o outside of it.")


Real = Callable[[Path], str]


def real_paths() -> Real:
    """Where a path really leads; folders are looked up once, and most files are no links."""
    folder = cache(os.path.realpath)

    def real(path: Path) -> str:
        if path.is_symlink():
            return os.path.realpath(path)
        head, tail = os.path.split(path)
        return os.path.join(folder(head), tail)

    return real


def unique(jobs: Sequence[Job], real: Real) -> list[Job]:
    """Each file once, though it was named and its folder was too."""
    return list({(real(job.source), os.path.abspath(job.target)): job for job in jobs}.values())


def without_results(jobs: Sequence[Job]) -> tuple[list[Job], int]:
    """Leaves out what an earlier run laid beside an input of this one, and counts it."""
    cleaned = [result for job in jobs for result in results_beside(job)]
    results = {os.path.abspath(result) for target in cleaned for result in (target, residual_of(target))}
    kept = [job for job in jobs if os.path.abspath(job.source) not in results]
    return kept, len(jobs) - len(kept)


def results_beside(job: Job) -> list[Path]:
    """All that earlier runs may have made of it there."""
    if job.kind != "raw":
        return [beside(job.source)]
    return [beside(job.source, develop) for develop in (None, *RESULTS)]


def refuse_collisions(jobs: Sequence[Job], in_place: bool, real: Real) -> None:
    sources = {real(job.source): job.source for job in jobs}
    taken: dict[str, Path] = {}
    for job, target in [(each, target) for each in jobs for target in each.targets]:
        if not in_place:
            refuse_overwriting(job.source, target, sources.get(real(target)))
        place = os.path.abspath(target)
        if place in taken:
            raise UserError(f"{taken[place]} and {job.source} would both become {target}; clean them into two folders.")
        taken[place] = job.source


def refuse_overwriting(input: Path, target: Path, source: Path | None) -> None:
    if source is None and not (target.exists() and target.samefile(input)):
        return
    if source in (None, input):
        raise UserError(f"{input} would be both input and output; give another -o, or --in-place to write over it.")
    raise UserError(f"{target} would be written and is itself an input; give another -o.")
