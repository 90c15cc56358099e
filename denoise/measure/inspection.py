"""What a file is, how noisy it is, which model would clean it, and how long that would take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from denoise import zoo
from denoise.errors import BadFile, UserError
from denoise.media.find import kind_of, known
from denoise.signals import Audio, Kind, Mosaic, Picture

if TYPE_CHECKING:
    from denoise.noise.frame import Frame
    from denoise.restorer import Restorer

PROBE_SECONDS = 5.0  # of sound, for the estimate of time
NOT_BAYER = "noise unknown: it is measured in mosaics with a 2 × 2 colour filter only"
PROBE_PX = 256  # side, of a picture


@dataclass(frozen=True)
class Inspection:
    path: Path
    kind: Kind
    what: str  # "PNG, 640×480, 8 bit…"
    noise: str  # in words, with physical units
    level: dict[str, Any] = field(default_factory=dict)  # the same as numbers
    model: str | None = None
    seconds_to_clean: float | None = None
    device: str | None = None

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}

    def as_text(self) -> str:
        lines = [str(self.path), f"  what   {self.what}", f"  noise  {self.noise}"]
        if self.model:
            about = "" if self.seconds_to_clean is None else f", about {spoken(self.seconds_to_clean)} on {self.device}"
            lines.append(f"  model  {self.model}{about}")
        return "\n".join(lines)


def inspect_file(path: Path) -> Inspection:
    from denoise.media.frames import is_mosaic

    if path.is_dir():
        raise BadFile(f"{path}: a folder; give a file inside it.")
    if not path.is_file():
        raise BadFile(f"{path}: no such file; check the path.")
    if path.suffix.lower() == ".toml":
        raise UserError(
            f"{path}: no sound and no picture; what it tells of a camera shows `denoise noise show {path}`."
        )
    kind = kind_of(path)
    if kind == "raw":
        return inspect_raw(path)
    if is_mosaic(path):
        return inspect_mosaic(path)
    if kind is None:
        raise BadFile(f"{path}: neither a sound nor a picture by its name; known are {known()}.")
    return inspect_picture(path) if kind == "picture" else inspect_sound(path)


def inspect_picture(path: Path) -> Inspection:
    from denoise.media.picture import open_picture
    from denoise.noise.picture_level import estimate

    source = open_picture(path)
    picture = source.page(0).picture
    level = estimate(picture)
    card, restorer = suggested("picture", level.struck)
    seconds = picture_seconds(picture, restorer) * source.pages
    return Inspection(
        path, "picture", source.describe(), level.describe(), as_numbers(level), card, seconds, device_of(restorer)
    )


def inspect_mosaic(path: Path) -> Inspection:
    from denoise.media.frames import read_frame

    frame = read_frame(path)
    return Inspection(path, "raw", frame.describe(), *noise_of(frame))


def inspect_raw(path: Path) -> Inspection:
    from denoise.media.frames import frame_of
    from denoise.media.raw import open_raw

    raw = open_raw(path)
    known = noise_of(frame_of(raw)) if len(raw.cfa) == 4 else (NOT_BAYER, {})
    found = Inspection(path, "raw", raw.describe(), *known)
    if len(raw.cfa) != 4 or not any(card.kind == "raw" for card in zoo.cards().values()):
        return found
    card, restorer = suggested("raw")
    return replace(found, model=card, seconds_to_clean=mosaic_seconds(raw.mosaic, restorer), device=device_of(restorer))


def noise_of(frame: Frame) -> tuple[str, dict[str, Any]]:
    """In words and in numbers."""
    from denoise.noise.blind_mosaic import estimate
    from denoise.noise.calibration import step_of
    from denoise.noise.camera import in_tile

    black = in_tile(frame.black_dn or (0.0,) * 4, frame.cfa or "RGGB")
    level = estimate(frame.photosites, black.ravel().tolist(), frame.highest_dn, step_of([frame.photosites]))
    noise = level.describe()
    if frame.black_dn is None and level.offset_dn is not None:
        noise += "; the file tells no black level, so that it is counted from 0"
    return noise, as_numbers(level)


def inspect_sound(path: Path) -> Inspection:
    from denoise.media.sound import open_sound
    from denoise.noise.sound_level import describe_noise

    source = open_sound(path)
    level = describe_noise(source.audio)
    card, restorer = suggested("audio")
    seconds = sound_seconds(source.audio, restorer)
    return Inspection(
        path, "audio", source.describe(), level.describe(), as_numbers(level), card, seconds, device_of(restorer)
    )


def suggested(kind: Kind, struck: float = 0.0) -> tuple[str, Restorer]:
    """The usual one, or which its card names for salt and pepper."""
    card = zoo.default_for(kind)
    if struck and "struck" in card.entries:
        card = zoo.find(card.entries["struck"]["model"])
    return card.name, zoo.load(card)


def device_of(restorer: Restorer) -> str:
    return str(getattr(restorer, "device", "cpu"))


def as_numbers(level: Any) -> dict[str, Any]:
    return asdict(level) if is_dataclass(level) and not isinstance(level, type) else dict(vars(level))


def picture_seconds(picture: Picture, restorer: Restorer) -> float:
    """Measured on a part from the middle, in proportion to the area."""
    from denoise.run import restore_picture

    part = tuple(middle(side, PROBE_PX) for side in (picture.height, picture.width))
    probe = Picture(picture.pixels[part], picture.white)
    seconds = timed(lambda: restore_picture(probe, restorer))
    return seconds * (picture.height * picture.width) / (probe.height * probe.width)


def mosaic_seconds(mosaic: Mosaic, restorer: Restorer) -> float:
    """The same; the part begins with a whole tile."""
    from denoise.run import restore_mosaic

    parts = (middle(side, 2 * PROBE_PX) for side in (mosaic.height, mosaic.width))
    rows, columns = (slice(part.start // 2 * 2, part.stop) for part in parts)
    probe = replace(mosaic, photosites=mosaic.photosites[rows, columns])
    seconds = timed(lambda: restore_mosaic(probe, restorer))
    return seconds * mosaic.photosites.size / probe.photosites.size


def sound_seconds(audio: Audio, restorer: Restorer) -> float:
    """Measured on its beginning, in proportion to the length."""
    from denoise.run import restore_sound

    probe = Audio.from_array(beginning(audio, round(PROBE_SECONDS * audio.rate)), audio.rate)
    seconds = timed(lambda: list(restore_sound(probe, restorer)))
    return seconds * audio.length / probe.length


def beginning(audio: Audio, length: int) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    for block in blocks_until(audio, length):
        parts.append(block)
    return np.concatenate(parts, 1)


def blocks_until(audio: Audio, length: int) -> Iterator[NDArray[np.float32]]:
    have = 0
    for block in audio.blocks(length):
        yield block[:, : length - have]
        have += block.shape[1]
        if have >= length:
            return


def middle(length: int, wanted: int) -> slice:
    size = min(length, wanted)
    start = (length - size) // 2
    return slice(start, start + size)


def timed(work: Any) -> float:
    """Seconds of a second call: the first one also loads and compiles."""
    work()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def spoken(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
