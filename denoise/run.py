"""One signal through one restorer: plan, cut, restore, blend, strength. Files and prints are elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise.above_band import lost_at_the_top
from denoise.blend import Span, in_chunks, mirrored, spans, stitch
from denoise.errors import BadFile, UserError
from denoise.noise.impulses import struck
from denoise.resample import at_rate, resampled
from denoise.restorer import Facts, Restorer
from denoise.signals import Audio, Cells, Mosaic, Noise, Picture, Samples

NOMINAL_RATE = 48_000  # Hz in which restorers that work at any rate count their samples
FADE_PX = 16
FADE_SECONDS = 0.02
PLACES = {3: ("start",), 4: ("top", "left")}  # where a batch begins, by its number of axes
Way = tuple[int, int]
"""Quarter turns of a picture, and whether it is mirrored before."""
WAYS: Sequence[Way] = ((0, 0), (2, 0), (0, 1), (2, 1), (1, 0), (3, 0), (1, 1), (3, 1))  # a pass each
LEAST_PIECE = 64  # smaller than this, memory is not what is missing
SHEET_TILE = 128  # px
SHEET_TILES = 6  # each way, in the sample sheet of a large picture
LESS = 0.25  # share of the variance that a file states, from which it has been denoised since
STATED = "The noise is what the file states."
MEASURED = "The file states far more noise than there is; it was measured."
STRUCK = "There is salt and pepper in it; {model} is made for that: --model {model}."
DARK = "Nearly all of it has less than {light:.1%} of white's light; {model} is made for that: --model {model}."

Tick = Callable[[float], None]
"""Told the share that is done, 0 to 1; may raise Cancelled."""


@dataclass(frozen=True)
class Options:
    strength: float = 1.0
    seed: int = 0
    knobs: Mapping[str, float] = field(default_factory=dict)
    piece: int | None = None  # a smaller piece than the restorer asks for
    passes: int = 1  # over a picture, each of it turned or mirrored another way; what counts is their mean

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UserError(f"Strength {self.strength:g} is out of range: choose from 0 to 1.")
        if not 1 <= self.passes <= len(WAYS):
            raise UserError(f"Passes {self.passes} is out of range: choose from 1 to {len(WAYS)}.")


def ignore(_: object) -> None:
    pass


class Careful:
    """A restorer on its device; out of memory, it goes on in smaller pieces, then on the CPU, and says so."""

    def __init__(self, restorer: Restorer, options: Options, say: Callable[[str], None] = ignore) -> None:
        self.restorer, self.say = restorer, say
        self.facts = restorer.facts
        self.knobs = self.facts.settings(options.knobs)
        if self.facts.seeded:
            self.knobs["seed"] = options.seed
        self.ways = ways_of(self.facts, options.passes)
        self.limit: float = math.inf

    @property
    def device(self) -> str:
        return str(getattr(self.restorer, "device", "cpu"))

    @property
    def place(self) -> str:
        """Where it wants its tensors, if that is not its device."""
        return str(getattr(self.restorer, "place", self.device))

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **extra: float) -> Tensor:
        """One batch (B, C, T) or (B, C, H, W), of any size."""
        dim = max(range(2, noisy.ndim), key=lambda axis: noisy.shape[axis])
        if noisy.shape[dim] > self.limit:
            return self.halves(noisy, dim, survey, **extra)
        try:
            return self.once(noisy, survey, **extra)
        except (MemoryError, RuntimeError) as trouble:
            if not out_of_memory(trouble):
                raise
        self.retreat(noisy.shape[dim])
        return self(noisy, survey, **extra)

    def once(self, noisy: Tensor, survey: Tensor | None, **extra: float) -> Tensor:
        padded = padded_to(noisy, self.facts.multiple, self.facts.least)
        known = None if survey is None else survey.to(self.place)
        seen = padded.to(self.place)

        def once_over(way: Way) -> Tensor:
            """Turned with its padding, a network that halves it sees the same halves from the other end too."""
            return turned_back(self.restorer(turned(seen, *way), known, **self.knobs, **extra).to("cpu"), *way)

        restored = reduce(torch.add, map(once_over, self.ways)) / len(self.ways)
        if not bool(torch.isfinite(restored).all()):
            raise UserError(f"{self.facts.name} gave numbers that are not finite; nothing was written.")
        return restored[tuple(slice(size) for size in noisy.shape)]

    def retreat(self, size: int) -> None:
        if size // 2 >= LEAST_PIECE:
            self.limit = size // 2
            self.say(f"Memory ran out; going on in pieces of {self.limit:g}.")
        elif self.device != "cpu":
            self.restorer, self.limit = self.restorer.to("cpu"), math.inf
            self.say("Memory of the device ran out even for small pieces; going on on the CPU.")
        else:
            raise UserError("Memory ran out even for small pieces; close other programs and try again.")

    def halves(self, noisy: Tensor, dim: int, survey: Tensor | None, **extra: float) -> Tensor:
        """As two or more pieces along `dim`; they share one survey and keep their places in the signal."""
        limit, multiple = int(self.limit), self.facts.multiple
        context = min(self.facts.context or 0, limit // 4)
        piece = limit - 2 * context - (multiple - 1)
        if self.facts.surveys and survey is None:
            middle = noisy.narrow(dim, (noisy.shape[dim] - limit) // 2, limit)
            survey = self.survey(lambda: [middle], **extra)

        def part(piece: Tensor, start: int) -> Tensor:
            return self(piece, survey, **moved(extra, PLACES[noisy.ndim][dim - 2], start))

        return in_chunks(part, noisy, piece, FADE_PX, context, dim, multiple)

    def survey(self, pieces: Callable[[], Iterable[Tensor]], **extra: float) -> Tensor:
        """Statistics of the whole signal; where the device has too little memory for them, on the CPU."""
        try:
            there = (piece.to(self.place) for piece in pieces())
            return self.restorer.survey(there, **self.knobs, **extra)
        except (MemoryError, RuntimeError) as trouble:
            if not out_of_memory(trouble):
                raise
        self.retreat(0)
        return self.survey(pieces, **extra)


def ways_of(facts: Facts, passes: int) -> Sequence[Way]:
    if passes > 1 and not facts.takes_passes:
        raise UserError(f"{facts.name} takes one pass only; several are for pictures, by models without chance.")
    return WAYS[:passes]


def turned(picture: Tensor, quarters: int, mirrored: int) -> Tensor:
    """(…, H, W)."""
    upright = picture.flip(-1) if mirrored else picture
    return torch.rot90(upright, quarters, (-2, -1)) if quarters else upright


def turned_back(picture: Tensor, quarters: int, mirrored: int) -> Tensor:
    upright = torch.rot90(picture, -quarters, (-2, -1)) if quarters else picture
    return upright.flip(-1) if mirrored else upright


def out_of_memory(trouble: BaseException) -> bool:
    if isinstance(trouble, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "allocate memory" in str(trouble) or "out of memory" in str(trouble).lower()


def moved(extra: Mapping[str, float], place: str, by: int) -> dict[str, float]:
    """The same, for a piece that begins so much later."""
    return {name: value + by if name == place else value for name, value in extra.items()}


def padded_to(noisy: Tensor, multiple: int, least: int) -> Tensor:
    """Sides continued to a multiple, and to the least side that works."""
    wanted = [math.ceil(max(size, least) / multiple) * multiple for size in noisy.shape[2:]]
    return noisy if wanted == list(noisy.shape[2:]) else mirrored(noisy, wanted)


def blended(noisy: Tensor, restored: Tensor, strength: float) -> Tensor:
    return restored if strength == 1 else noisy + strength * (restored - noisy)


def finite(samples: Tensor) -> Tensor:
    if not bool(torch.isfinite(samples).all()):
        raise BadFile("It holds values that are not numbers (NaN or infinite); save it again without them.")
    return samples


# Pictures


def restore_picture(
    picture: Picture,
    restorer: Restorer,
    options: Options | None = None,
    tick: Tick = ignore,
    say: Callable[[str], None] = ignore,
) -> Samples:
    """The restored pixels, in the picture's own type; a large picture is worked on in tiles."""
    options = options or Options()
    careful = Careful(restorer, options, say)
    speak_of_impulses(picture, careful)
    out = np.empty_like(picture.pixels)
    top = 0
    for band in picture_bands(picture, careful, options, tick):
        out[top : top + band.shape[1]] = picture.quantise(band)
        top += band.shape[1]
    return out


def speak_of_impulses(picture: Picture, careful: Careful) -> None:
    """Where the card names another model for what is black or white out of nowhere."""
    better = careful.facts.card.get("struck")
    if better and struck(picture):
        careful.say(STRUCK.format(model=better["model"]))


def picture_bands(
    picture: Picture | Cells, careful: Careful, options: Options, tick: Tick, survey: Tensor | None = None
) -> Iterator[Tensor]:
    """Finished rows (C, h, W), in order."""
    facts = careful.facts
    context, piece = reach(facts, options, max(picture.height, picture.width))
    rows = spans(picture.height, piece, FADE_PX)
    columns = spans(picture.width, piece, FADE_PX)
    alone = len(rows) * len(columns) * options.passes == 1
    if survey is None and facts.surveys and not alone:
        survey = picture_survey(picture, careful)

    def tile(row: Span, column: Span) -> Tensor:
        top, bottom = row.widened(context, picture.height, facts.multiple)
        left, right = column.widened(context, picture.width, facts.multiple)
        noisy = finite(picture.region(slice(top, bottom), slice(left, right)))
        place = {"top": top, "left": left} if facts.wants_place else {}
        restored = in_colours(careful, noisy, survey, place)
        kept = (..., slice(row.start - top, row.stop - top), slice(column.start - left, column.stop - left))
        return blended(noisy, restored, options.strength)[kept]

    def band(number: int, row: Span) -> Tensor:
        tiles: list[tuple[Span, Tensor]] = []
        for index, column in enumerate(columns):
            tiles.append((column, tile(row, column)))
            tick((number + (index + 1) / len(columns)) / len(rows))
        return torch.cat(list(stitch(tiles, -1)), -1)

    return stitch(((row, band(number, row)) for number, row in enumerate(rows)), dim=1)


def in_colours(careful: Careful, noisy: Tensor, survey: Tensor | None, place: Mapping[str, float]) -> Tensor:
    """(C, H, W) through a restorer that wants another number of colours."""
    restored = careful(coloured(noisy, careful.facts), survey, **place)
    if noisy.shape[0] == 1:
        return restored[0].mean(0, keepdim=True)
    return restored[:, 0] if careful.facts.channels == 1 else restored[0]


def coloured(picture: Tensor, facts: Facts) -> Tensor:
    """(C, H, W) as a batch of what the restorer takes: grey as equal colours, or every colour on its own."""
    wanted, channels = facts.channels, picture.shape[0]
    if wanted is None or wanted == channels:
        return picture[None]
    if channels == 1:
        return picture.expand(wanted, -1, -1)[None]
    if wanted == 1:
        return picture[:, None]
    raise UserError(f"{facts.name} wants {wanted} colours; this picture has {channels}.")


def picture_survey(picture: Picture | Cells, careful: Careful) -> Tensor:
    """The restorer's statistics of a sheet of samples, spread evenly over the picture."""
    sheet = coloured(finite(sample_sheet(picture)), careful.facts)
    return careful.survey(lambda: [sheet])


def sample_sheet(picture: Picture | Cells) -> Tensor:
    """Up to 6×6 tiles, evenly spread, side by side in one small picture (C, H, W)."""
    strips = [
        torch.cat([picture.region(rows, columns) for columns in spread(picture.width)], 2)
        for rows in spread(picture.height)
    ]
    return torch.cat(strips, 1)


def spread(length: int) -> list[slice]:
    """Six evenly spread stretches, or everything where that is not more."""
    if length <= SHEET_TILES * SHEET_TILE:
        return [slice(0, length)]
    starts = [round(index * (length - SHEET_TILE) / (SHEET_TILES - 1)) for index in range(SHEET_TILES)]
    return [slice(start, start + SHEET_TILE) for start in starts]


def reach(facts: Facts, options: Options, length: int, scale: float = 1) -> tuple[int, int]:
    """How far around it a piece looks and how long it is; one piece if everything must be seen at once."""
    if facts.context is None:
        return 0, max(options.piece or length, LEAST_PIECE)
    return math.ceil(facts.context * scale), max(options.piece or math.ceil(facts.piece * scale), LEAST_PIECE)


# Raw


def restore_mosaic(
    mosaic: Mosaic,
    restorer: Restorer,
    options: Options | None = None,
    tick: Tick = ignore,
    say: Callable[[str], None] = ignore,
    noise: Noise | None = None,
) -> Samples:
    """The restored photosites, as the mosaic counts them; `noise`: where it is known, it is not measured."""
    options = options or Options()
    careful = Careful(restorer, options, say)
    refuse_mosaic(mosaic, careful.facts, noise)
    cells, out = Cells(mosaic), np.empty_like(mosaic.photosites)
    survey = noise_survey(cells, careful, noise) if careful.facts.surveys else None
    if survey is not None:
        speak_of_the_dark(survey, careful)
    top = 0
    for band in picture_bands(cells, careful, options, tick, survey):
        cells.put(band, top, out)
        top += band.shape[1]
    return out


def refuse_mosaic(mosaic: Mosaic, facts: Facts, noise: Noise | None) -> None:
    if not mosaic.is_bayer:
        raise UserError(
            f"{facts.name} knows Bayer sensors only, as every model here does, and this is an X-Trans mosaic; develop "
            "it with another program and clean the picture."
        )
    if noise is not None and not facts.surveys:
        raise UserError(f"{facts.name} cannot be told what the noise is; leave that out, or choose another --model.")


def noise_survey(cells: Cells, careful: Careful, noise: Noise | None) -> Tensor:
    """Of the noise that is known, or that the file states; less is believed to have been taken away since then. A file
    does not state how far its black is off. Even a small mosaic is measured as a whole, for its padding is none."""
    from denoise.noise.flat_areas import usual_variance

    stated = noise or cells.mosaic.noise
    if stated is None:
        return picture_survey(cells, careful)
    told = told_noise(stated, sample_sheet(cells))
    if noise is not None:
        return told
    measured = picture_survey(cells, careful)
    if float(usual_variance(measured)) > LESS * float(usual_variance(told)):
        careful.say(STATED)
        return torch.cat([told[..., :2], measured[..., 2:]], -1)
    careful.say(MEASURED)
    return measured


def speak_of_the_dark(survey: Tensor, careful: Careful) -> None:
    """Where the card names another model for files that are darker than this one's."""
    darker = careful.facts.card.get("darker")
    if darker and float(survey[..., 3].max()) < darker["than"]:
        careful.say(DARK.format(light=darker["than"], model=darker["model"]))


def told_noise(noise: Noise, sheet: Tensor) -> Tensor:
    """As the survey that a restorer of raw makes of a mosaic, whose sheet (4, h, w) tells how much light there is:
    (1, 4, 4), of each colour shot, read and bias, and that light."""
    from denoise.noise.flat_areas import light_of

    light = light_of(sheet[None])
    return torch.tensor([[(*colour, light) for colour in noise]], dtype=torch.float32)


# Sound


def restore_sound(
    audio: Audio,
    restorer: Restorer,
    options: Options | None = None,
    tick: Tick = ignore,
    say: Callable[[str], None] = ignore,
) -> Iterator[NDArray[np.float32]]:
    """Finished blocks (channels, n), in order: as long in all as the input, to the sample."""
    options = options or Options()
    careful = Careful(restorer, options, say)
    if careful.facts.rate in (None, audio.rate):
        return (block.numpy() for block in pieces_of(audio, careful, options, tick, blended) if block.shape[-1])
    return through_another_rate(audio, careful, options, tick)


def through_another_rate(audio: Audio, careful: Careful, options: Options, tick: Tick) -> Iterator[NDArray[np.float32]]:
    """Only what is taken away is resampled; what lies above the restorer's band fades as the top of that band does."""
    rate = careful.facts.rate or audio.rate
    heard = (block.numpy() for block in pieces_of(at_rate(audio, rate), careful, options, tick, told))
    window = Window(audio, round(careful.facts.piece * audio.rate / rate))
    channels, start = audio.channels, 0
    for block in resampled(heard, rate, audio.rate):
        stop = min(start + block.shape[1], audio.length)  # rounded up twice, it may be a sample longer
        if stop > start:
            noisy = window.read(start, stop).numpy()
            change, low, share = np.split(block[:, : stop - start], (channels, 2 * channels))
            above = noisy - low if audio.rate > rate else np.zeros_like(noisy)
            yield (noisy + change - share * above).astype(np.float32)
        start = stop


def told(noisy: Tensor, restored: Tensor, strength: float) -> Tensor:
    """What a higher rate needs to know: the change, what was heard, and the share that the top of the band lost."""
    return torch.cat([strength * (restored - noisy), noisy, strength * lost_at_the_top(noisy, restored)])


Mixing = Callable[[Tensor, Tensor, float], Tensor]
"""(noisy, restored, strength) -> what is kept of a piece."""


def pieces_of(audio: Audio, careful: Careful, options: Options, tick: Tick, mixing: Mixing) -> Iterator[Tensor]:
    """The sound through a restorer that works at its rate, piece by piece, blended where they meet."""
    facts = careful.facts
    scale = 1 if facts.rate else audio.rate / NOMINAL_RATE
    context, piece = reach(facts, options, audio.length, scale)
    cuts = spans(audio.length, piece, round(FADE_SECONDS * audio.rate))
    extra = {} if facts.rate else {"rate": float(audio.rate)}
    survey = sound_survey(audio, careful, piece, extra) if facts.surveys else None
    window = Window(audio, piece)

    def pieces() -> Iterator[tuple[Span, Tensor]]:
        for number, cut in enumerate(cuts):
            start, stop = cut.widened(context, audio.length)
            noisy = window.read(start, stop)
            place = {"start": start} if facts.wants_place else {}
            restored = in_voices(careful, noisy, survey, extra | place)
            kept = slice(cut.start - start, cut.stop - start)
            yield cut, mixing(noisy, restored, options.strength)[:, kept]
            tick((number + 1) / len(cuts))

    return stitch(pieces())


def in_voices(careful: Careful, noisy: Tensor, survey: Tensor | None, extra: Mapping[str, float]) -> Tensor:
    """(C, T) through a restorer that takes all channels together, or each on its own."""
    restored = careful(voiced(noisy, careful.facts), survey, **extra)
    return restored[:, 0] if careful.facts.channels == 1 else restored[0]


def voiced(sound: Tensor, facts: Facts) -> Tensor:
    """(C, T) as a batch of what the restorer takes."""
    if facts.channels == 1:
        return sound[:, None]
    if facts.channels in (None, sound.shape[0]):
        return sound[None]
    raise UserError(f"{facts.name} wants {facts.channels} channels; this sound has {sound.shape[0]}.")


def sound_survey(audio: Audio, careful: Careful, piece: int, extra: Mapping[str, float]) -> Tensor:
    """The restorer's statistics of all blocks, in order."""

    def blocks() -> Iterator[Tensor]:
        for block in audio.blocks(piece):
            yield voiced(finite(torch.from_numpy(block)), careful.facts)

    return careful.survey(blocks, **extra)


class Window:
    """Reads any stretch of a stream, as long as each begins no earlier than the one before."""

    def __init__(self, audio: Audio, block: int) -> None:
        self.blocks = audio.blocks(block)
        self.held = torch.zeros(audio.channels, 0)
        self.start = 0

    def read(self, start: int, stop: int) -> Tensor:
        self.held, self.start = self.held[:, start - self.start :], start
        parts = [self.held]
        have = self.held.shape[1]
        while have < stop - start:
            block = next(self.blocks, None)
            if block is None:
                raise BadFile(f"It ends after {start + have} samples, before the length that it states.")
            parts.append(finite(torch.from_numpy(np.ascontiguousarray(block, dtype=np.float32))))
            have += block.shape[1]
        self.held = torch.cat(parts, 1)
        return self.held[:, : stop - start]
