"""Scores of files on disk, against clean originals where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import BadFile, UserError
from denoise.media.find import NAMES, files_below, kind_of
from denoise.signals import Audio, Kind, Picture

MARK = ".clean"  # voice.clean.wav is measured against voice.wav
NEEDS = {"pesq": "pesq", "dnsmos": "speechmos"}  # packages that not every machine can install

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """A file to be measured and its clean original; the error says why there is none."""

    path: Path
    reference: Path | None = None
    error: str | None = None


@dataclass(frozen=True)
class Signal:
    """All of a file in memory: pages of a picture (C×H×W, white is 1), or one sound (C×T)."""

    kind: Kind
    parts: tuple[Values, ...]
    rate: int | None = None
    whites: tuple[float, ...] = ()  # of float pictures, what was taken for white


def signal_of(path: Path) -> Signal:
    kind = kind_of(path)
    if kind == "picture":
        from denoise.media.picture import open_picture

        file = open_picture(path)
        pages = [file.page(number).picture for number in range(file.pages)]
        whites = tuple(page.white for page in pages if page.is_float)
        return Signal(kind, tuple(planes(page) for page in pages), whites=whites)
    if kind == "audio":
        from denoise.media.sound import open_sound

        audio = open_sound(path).audio
        return Signal(kind, (whole(audio),), audio.rate)
    if kind == "raw":
        from denoise.media.raw import as_picture

        return Signal("picture", (planes(as_picture(path)),))
    raise BadFile(f"{path}: neither a sound nor a picture by its name.")


def planes(picture: Picture) -> Values:
    return picture.pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(picture.white)


def whole(audio: Audio) -> Values:
    return np.concatenate([np.zeros((audio.channels, 0), np.float32), *audio.blocks(audio.rate)], axis=1)


def scored(path: Path, reference: Path | None, names: Sequence[str]) -> dict[str, float]:
    """Every score that there is for this file, by name; of several pages the mean."""
    from denoise.measure.scores import SCORES, measured

    signal = signal_of(path)
    clean = signal_of(reference) if reference else None
    if clean is not None:
        check_alike(signal, clean)
        signal = in_white_of(signal, clean)
    fitting = [name for name in names if SCORES[name].kind == signal.kind]
    others = clean.parts if clean else (None,) * len(signal.parts)
    rows = [
        measured(signal.kind, part, other, signal.rate, fitting)
        for part, other in zip(signal.parts, others, strict=True)
    ]
    both = [kind_of(each) for each in (path, reference) if each]
    return means(rows) | (mosaic_scores(path, reference) if reference and both == ["raw", "raw"] else {})


def mosaic_scores(path: Path, reference: Path) -> dict[str, float]:
    """PSNR of the photosites themselves, black 0 and white 1, as they are before anything is developed."""
    from denoise.measure.scores import psnr
    from denoise.media.raw import open_raw
    from denoise.signals import Cells

    ours, theirs = open_raw(path), open_raw(reference)
    if ours.cfa != theirs.cfa:
        raise BadFile(f"a mosaic of {ours.layout} here and of {theirs.layout} in the reference; both must be alike.")
    cells = [Cells(raw.mosaic) for raw in (theirs, ours)]
    one, other = (each.region(slice(0, each.height), slice(0, each.width)).numpy() for each in cells)
    return {"raw_psnr": psnr(one, other)}


def check_alike(signal: Signal, clean: Signal) -> None:
    if signal.kind != clean.kind:
        raise BadFile(f"this is a {NAMES[signal.kind]} and its reference is a {NAMES[clean.kind]}.")
    if signal.rate != clean.rate:
        raise BadFile(f"{signal.rate} Hz here and {clean.rate} Hz in the reference; resample one of them.")
    ours, theirs = ([part.shape for part in each.parts] for each in (signal, clean))
    if ours != theirs:
        raise BadFile(f"{sizes(ours)} here and {sizes(theirs)} in the reference; both must be of one size.")


def in_white_of(signal: Signal, clean: Signal) -> Signal:
    """No float file states its white: the reference says for both what it is."""
    if not signal.whites or len(signal.whites) != len(clean.whites):
        return signal
    scales = [np.float32(mine / true) for mine, true in zip(signal.whites, clean.whites, strict=True)]
    return replace(signal, parts=tuple(part * scale for part, scale in zip(signal.parts, scales, strict=True)))


def sizes(shapes: Sequence[tuple[int, ...]]) -> str:
    pages = f"{len(shapes)} pages of " if len(shapes) > 1 else ""
    return pages + "×".join(str(side) for side in shapes[0])


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every score over the rows that have it as a finite number; infinite where none is finite."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: mean([row[name] for row in rows if name in row]) for name in names}


def mean(values: Sequence[float]) -> float:
    usable = [value for value in values if np.isfinite(value)]
    if usable:
        return float(np.mean(usable))
    return float("inf") if float("inf") in values else float("nan")


@dataclass(frozen=True)
class Measured:
    """One row of the table, or why there is none."""

    path: Path
    reference: Path | None
    scores: dict[str, float]
    error: str | None = None

    def as_data(self) -> dict[str, Any]:
        reference = None if self.reference is None else str(self.reference)
        return {"file": str(self.path), "reference": reference, **self.scores, "error": self.error}


Track = Callable[[Sequence[Pair]], Iterable[Pair]]


def measure_files(
    paths: Sequence[Path], reference: Path | None, say: Callable[[str], None], track: Track = iter
) -> list[Measured]:
    """A row for every file; a bad file never stops the rest. `track` is told how far it is by what it hands on."""
    todo = list(pairs(paths, reference))
    names = usable_scores(say)
    return [measured_pair(pair, names) for pair in track(todo)]


def measured_pair(pair: Pair, names: Sequence[str]) -> Measured:
    if pair.error is not None:
        return Measured(pair.path, None, {}, pair.error)
    try:
        return Measured(pair.path, pair.reference, scored(pair.path, pair.reference, names))
    except (UserError, OSError) as trouble:
        return Measured(pair.path, pair.reference, {}, str(trouble).removeprefix(f"{pair.path}: "))


def usable_scores(say: Callable[[str], None]) -> list[str]:
    """The scores whose packages are there; what is left out is said."""
    from denoise.measure.scores import SCORES

    missing = {name: NEEDS[name] for name in SCORES if name in NEEDS and find_spec(NEEDS[name]) is None}
    for name, package in missing.items():
        say(f"{name} is left out: it needs the package {package} (pip install 'denoise-kit[scores]').")
    return [name for name in SCORES if name not in missing]


# Which file belongs to which


def pairs(paths: Sequence[Path], reference: Path | None) -> Iterator[Pair]:
    if reference is not None and not reference.exists():
        raise UserError(f"{reference}: no such file or folder; give the clean originals as --reference.")
    for given in paths:
        yield from (paired(given, path, reference) for path in media(given))


def media(given: Path) -> list[Path]:
    if not given.exists():
        raise UserError(f"{given}: no such file or folder; check the path.")
    if not given.is_dir():
        return [given]

    def refused(place: Path, trouble: OSError) -> None:
        raise UserError(f"{place}: this folder cannot be read ({trouble.strerror}).")

    found = [path for path in files_below(given, refused) if kind_of(path)]
    if not found:
        raise UserError(f"{given}: neither sound nor picture in this folder.")
    return found


def paired(given: Path, path: Path, reference: Path | None) -> Pair:
    if reference is None or reference.is_file():
        return Pair(path, reference)
    wanted = path.relative_to(given) if given.is_dir() else Path(path.name)
    found = original(reference, wanted, path)
    other = "other " if (reference / wanted).exists() else ""
    error = f"no {other}{wanted} in {reference}, nor one of that name in another format."
    return Pair(path, found, None if found else error)


def original(reference: Path, wanted: Path, measured: Path) -> Path | None:
    """The file of that name, of that name without the mark of a result, or of either in another format. What is
    measured is no original of itself."""
    stems = dict.fromkeys((wanted.stem, wanted.stem.removesuffix(MARK)))
    exact = [reference / wanted.with_name(name) for stem in stems for name in (stem + wanted.suffix, stem)]
    folder = reference / wanted.parent
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    other = [path for stem in stems for path in entries if path.stem == stem and kind_of(path) == kind_of(wanted)]
    return next((path for path in (*exact, *other) if path.is_file() and not path.samefile(measured)), None)
