"""One file cleaned: opened, restored as a stream, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from denoise.batch.plan import Job
from denoise.batch.recipe import Ready
from denoise.batch.residual import write_residual
from denoise.errors import CANNOT_READ, UserError
from denoise.report import Work
from denoise.signals import Kind, Picture, Samples

if TYPE_CHECKING:
    from denoise.measure.effect import Effect, MosaicEffect, Onlooker, PictureEffect, SoundEffect
    from denoise.media.picture import PictureFile

Tick = Callable[[float], None]
Say = Callable[[str], None]

SILENT = "It is all silent: there was nothing to clean."
NOT_A_VOICE = "Is it music, or anything but a voice? {model} is made for that: --model {model}."
STRUCK = "There is salt and pepper in it: {model} cleans it, which is made for that."
MOSAIC = (
    "Its pixels look like those of a camera's raw mosaic, which is no picture: cleaned as one it loses its colours; "
    "give the camera's own file, or a DNG."
)


@dataclass(frozen=True)
class Done:
    """What is to be known about a file that was cleaned."""

    work: Work
    notes: tuple[str, ...]  # for people
    effect: Effect  # what the cleaning did, in numbers


class Choice:
    """What cleans a file: the model that was asked for, or where none was the one that suits what is found in it."""

    def __init__(self, ready: Ready) -> None:
        self.ready = ready

    def suiting(self, picture: Picture, say: Say) -> Ready:
        from denoise.noise.impulses import struck

        if self.ready.for_struck and struck(picture):
            self.ready = self.ready.for_struck()
            say(STRUCK.format(model=self.ready.work.model))
        return self.ready


def clean_file(job: Job, ready: Ready, tick: Tick, say: Say) -> Done:
    """Writes the result and gives back what is to be known about it."""
    with no_empty_folders(job.target.parent):
        done = CLEANERS[job.kind](job, ready, tick, say)
    if not job.residual:
        return done
    return replace(done, notes=(*done.notes, taken_away(job)))


def taken_away(job: Job) -> str:
    """Writes it, and says where."""
    return f"What was taken away: {write_residual(job)}"


def clean_picture(job: Job, ready: Ready, tick: Tick, say: Say) -> Done:
    from denoise.measure.effect import Onlooker
    from denoise.media import picture
    from denoise.media.frames import is_mosaic

    if is_mosaic(job.source):
        say(MOSAIC)
    seen, choice = Onlooker(), Choice(ready)
    with picture.open_picture(job.source) as source:
        notes = picture.save(job.target, source, restored_pages(source, choice, tick, say, seen))
    return done(choice.ready.work, source.notes, notes, seen.effect)


def done(
    work: Work, before: Iterable[str], after: Iterable[str], effect: SoundEffect | PictureEffect | MosaicEffect
) -> Done:
    notes = dict.fromkeys([*before, *after, *effect.lines()])  # each once
    return Done(work, tuple(notes), effect.as_data())


def restored_pages(source: PictureFile, choice: Choice, tick: Tick, say: Say, seen: Onlooker) -> Iterator[Samples]:
    """All by the model that suits the first."""
    from denoise.batch.estimate import tell_if_slow
    from denoise.run import restore_picture

    for number in range(source.pages):
        page = source.page(number).picture
        if number == 0:
            ready = choice.suiting(page, say)
            tell_if_slow(page, ready, say, source.pages)
        part = share(tick, number, source.pages)
        restored = restore_picture(page, ready.restorer, ready.options, part, say)
        seen.add(page, restored)
        yield restored


def share(tick: Tick, number: int, of: int) -> Tick:
    return lambda done: tick((number + done) / of)


def clean_sound(job: Job, ready: Ready, tick: Tick, say: Say) -> Done:
    from denoise.batch.estimate import tell_if_slow
    from denoise.measure.effect import Listener
    from denoise.media import sound
    from denoise.run import restore_sound

    source = sound.open_sound(job.source)
    tell_if_slow(source.audio, ready, say)
    heard = Listener(source.audio)
    restored = restore_sound(heard.audio, ready.restorer, ready.options, tick, say)
    notes = sound.save(job.target, source, heard.written(restored))
    cleaned = done(ready.work, source.notes, [*notes, *([SILENT] if heard.silent else [])], heard.effect)
    other = ready.restorer.facts.card.get("not_a_voice")
    if other and heard.effect.is_much:
        return replace(cleaned, notes=(*cleaned.notes, NOT_A_VOICE.format(model=other["model"])))
    return cleaned


def clean_raw(job: Job, ready: Ready, tick: Tick, say: Say) -> Done:
    from denoise.measure.effect import mosaic_effect
    from denoise.media import raw
    from denoise.run import restore_mosaic

    raw.refuse_ending(job.target)
    source = raw.open_raw(job.source)
    mosaic, noise = ready.camera.told(source) if ready.camera else (source.mosaic, None)
    found = restore_mosaic(mosaic, ready.restorer, ready.options, tick, say, noise)
    if ready.camera:  # of the fixed pattern, too, stays what is not to be taken away
        found = found + (1 - ready.options.strength) * (source.photosites - mosaic.photosites)
    restored = source.mosaic.counted(found)
    notes = raw.save(job.target, source, restored, ready.share_taken)
    return done(ready.work, source.notes, notes, mosaic_effect(source.mosaic, restored))


CLEANERS: dict[Kind, Callable[[Job, Ready, Tick, Say], Done]] = {
    "picture": clean_picture,
    "audio": clean_sound,
    "raw": clean_raw,
}


@contextmanager
def no_empty_folders(folder: Path) -> Iterator[None]:
    """Folders that were made for a result go again when there is none."""
    fresh = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty: another result lies there
            for place in fresh:
                place.rmdir()
        raise


def sentence(trouble: Exception) -> str:
    """Why this file could not be cleaned, for the person whose file it is."""
    if isinstance(trouble, UserError):
        return str(trouble)
    if isinstance(trouble, OSError) and trouble.errno in CANNOT_READ:
        return CANNOT_READ[trouble.errno]
    if isinstance(trouble, MemoryError):
        return "memory ran out; close other programs and try again."
    return f"it could not be cleaned ({type(trouble).__name__}: {trouble}); is it damaged?"
