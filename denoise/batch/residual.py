"""What was taken out of a file, as a file of its own: to be listened to, or looked at around a middle grey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from denoise.batch.plan import Job, residual_of
from denoise.signals import Audio, Block, Picture, Samples, regrouped

FRAMES = 65_536  # samples at once
MIDDLE = 0.5  # of white: nothing was taken away


def write_residual(job: Job) -> Path:
    """Made from the two files themselves, so that it is what really went."""
    target = residual_of(job.target)
    {"picture": picture_residual, "audio": sound_residual, "raw": raw_residual}[job.kind](job, target)
    return target


def sound_residual(job: Job, target: Path) -> None:
    from denoise.media.sound import open_sound, save

    noisy, clean = open_sound(job.source), open_sound(job.target)
    save(target, noisy, differences(noisy.audio, clean.audio))


def differences(noisy: Audio, clean: Audio) -> Iterator[Block]:
    pairs = zip(*(regrouped(sound.blocks(FRAMES), FRAMES) for sound in (noisy, clean)), strict=True)
    return (before - after for before, after in pairs)


def picture_residual(job: Job, target: Path) -> None:
    from denoise.media.picture import open_picture, save

    with open_picture(job.source) as noisy, open_picture(job.target) as clean:
        pages = ((noisy.page(n).picture, clean.page(n).picture) for n in range(noisy.pages))
        with closing(pages):
            save(target, noisy, (around_grey(before, after) for before, after in pages))


def raw_residual(job: Job, target: Path) -> None:
    """Another mosaic."""
    from denoise.media.raw import open_raw, save

    noisy, clean = open_raw(job.source), open_raw(job.target)
    middle = round(MIDDLE * (max(noisy.mosaic.black) + noisy.white))
    change = noisy.photosites.astype(np.int32) - clean.photosites
    save(target, noisy, np.clip(change + middle, 0, np.iinfo(np.uint16).max).astype(np.uint16))


def around_grey(before: Picture, after: Picture) -> Samples:
    change = before.pixels / np.float32(before.white) - after.pixels / np.float32(after.beside(before).white)
    values = (change + np.float32(MIDDLE)) * np.float32(before.white)
    if not before.is_float:
        values = np.clip(np.rint(values), 0, before.white)
    return values.astype(before.pixels.dtype)
