"""A picture model fitted to the user's own noisy pictures, without a clean one among them.

What the noise of a picture is, its flat places show. More of the same noise is drawn from there: the model sees the
picture with some of it added, and is asked for the picture with the opposite of it taken on (recorrupted to
recorrupted, Pang et al., CVPR 2021). Both are of the same clean picture, and what is wrong with the one says nothing
of what is wrong with the other; also where noise is in grains of many pixels, for then so is what is drawn.

Where too little is flat, pixels are masked (Noise2Void, Krull et al., CVPR 2019): each is replaced by another one
near it, and what was there is asked for; with as many of their neighbours as their noise has in common with them.

Some pictures are kept aside. On them the error of both models is estimated, and only a better one is written.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from shutil import rmtree
from statistics import mean
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from denoise import zoo
from denoise.checkpoint import toml_value
from denoise.devices import chosen
from denoise.errors import BadFile, UserError
from denoise.fit.loop import Run, Schedule, Scores, train
from denoise.media.find import files_below, kind_of
from denoise.methods.method import Method
from denoise.noise.patches import Patches, seen
from denoise.noise.picture_level import PictureNoise, estimate
from denoise.restorer import Facts
from denoise.run import coloured
from denoise.signals import Picture

LEAST_SIDE, MOST_SIDE = 128, 256  # px of a tile
MOST_PAGES, MOST_TILES = 40, 9  # of all pages, and of one, evenly chosen
FEWEST_TILES = 4
FEWEST_PAGES = 5  # fewer are divided into tiles, and every fourth tile is kept aside
ASIDE = 4  # every so many
JUDGED = 8  # tiles
CLEAN = 1 / 255  # sigma, of the range that a picture uses

CROP, BATCH = 64, 4
COLOURS = 3  # of every picture, for a model that takes any number
RECORRUPTED = (0.3, 0.8)  # how much of the noise is added, of what is there
PROBE = 0.25  # of the noise, by which the error is estimated
BRIGHTNESS = 7  # px over which brightness is averaged
MASKED = 0.06  # share of the pixels
MASKINGS = 4  # of every part that is judged
MOST_GRAIN, DEPENDENT = 4, 0.2  # px, and correlation, of what a model takes away
BETTER = 0.99  # of the error before: more is no gain
MOST_PARTS = 0.75  # of those kept aside; a smaller majority may be chance, or noise measured as too strong
SCHEDULE = Schedule(rate=3e-4, warm_up=30, average=0.99, fall=0.4, weight_decay=0.0)

Tell = Callable[[str], None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Wish:
    folder: Path
    out: Path
    start: str | None = None  # the model that it begins as; None: the usual one for pictures
    minutes: float = 20.0
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Page:
    """One picture of the user's: tiles of it, and its noise."""

    name: str
    tiles: Tensor  # (T, C, side, side), white is 1
    noise: PictureNoise
    patches: Patches | None


@dataclass(frozen=True)
class Result:
    """What came of it; `folder` is None where the model was no better."""

    folder: Path | None
    start: str
    pictures: int
    held_back: str
    noise: str
    taught_by: str
    judged_by: str
    before: float  # of 255, root of the estimated mean squared error
    after: float
    parts_better: int
    parts: int
    steps: int
    minutes: float
    seed: int

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"kept": self.folder is not None, "folder": self.folder and str(self.folder)}

    def as_text(self) -> str:
        judged = (
            f"Estimated error on {self.held_back} kept aside ({self.judged_by}): {self.start} {self.before:.2f}, "
            f"fitted {self.after:.2f} of 255; better in {self.parts_better} of {self.parts} parts."
        )
        if not self.after:
            return f"{judged}\nThe noise is weaker than it was measured, so neither can be judged: nothing is written."
        if self.folder is None:
            return f"{judged}\nNo better than {self.start}: nothing is written; clean with {self.start} as it is."
        return f"{judged}\nWritten: {self.folder}; use it with `denoise clean PICTURE --model {self.folder}`."


def fit(wish: Wish, tell: Tell) -> Result:
    """Writes a model folder where that is better than the model it began as."""
    if wish.out.exists():
        raise UserError(f"{wish.out} is there already; give another -o, or take it away first.")
    card = start_of(wish.start)
    pages = pages_of(wish.folder, tell)
    refuse_clean(wish.folder, pages)
    refuse_place(wish.out)
    method = zoo.method_of(card)
    lesson = lesson_of(pages, method, zoo.facts_of(card, method), wish.seed)
    tell(lesson.describe())
    return judged(lesson, Taught(method), card, wish, tell)


def start_of(name: str | None) -> zoo.Card:
    card = zoo.find(name) if name else zoo.default_for("picture")
    if card.kind != "picture":
        raise UserError(f"{card.name} is for {zoo.WHAT[card.kind]}; name with --from a model for pictures.")
    if not any(True for _ in zoo.method_of(card).parameters()):
        raise UserError(f"{card.name} learns nothing: it has no weights; name with --from a model that has some.")
    return card


# Pictures


def pages_of(folder: Path, tell: Tell) -> list[Page]:
    """The pictures to learn from, or so many of them, evenly chosen."""
    sources = list(opened(files_of(folder), tell))
    refuse_mixture(folder, sources)
    large = [source for source in sources if min(source.size) >= LEAST_SIDE]
    if len(large) < len(sources) and large:
        tell(f"{len(sources) - len(large)} pictures below {LEAST_SIDE} px a side are left out.")
    chosen_ones = evenly(large, MOST_PAGES)
    if len(chosen_ones) < len(large):
        tell(f"{len(chosen_ones)} of {len(large)} pictures are looked at, evenly chosen.")
    refuse_little(folder, sources, sum(tiles_in(*source.size) for source in chosen_ones))
    return list(pages_in(chosen_ones, tell))


@dataclass(frozen=True)
class Source:
    """A page of a file that is not decoded yet."""

    path: Path
    index: int
    name: str
    size: tuple[int, int]  # px
    depth: str


def files_of(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; name the one that holds your noisy pictures.")

    def refused(place: Path, trouble: OSError) -> None:
        raise UserError(f"{place} cannot be read ({trouble.strerror}); change its permissions.")

    found = [path for path in files_below(folder, refused) if kind_of(path) == "picture"]
    if not found:
        raise UserError(f"{folder}: no pictures in it; name a folder of noisy PNG, JPEG, TIFF… to learn from.")
    return found


def opened(paths: Sequence[Path], tell: Tell) -> Iterator[Source]:
    from denoise.media.picture import open_picture

    faults: list[BadFile] = []
    for path in paths:
        try:
            with open_picture(path) as file:
                headers = [(index, file.header(index)) for index in range(file.pages)]
        except BadFile as fault:
            tell(f"Left out: {fault}")
            faults.append(fault)
            continue
        for index, header in headers:
            name = f"{path.name}, page {index + 1}" if len(headers) > 1 else path.name
            yield Source(path, index, name, (header.height, header.width), header.depth)
    if len(faults) == len(paths):
        raise faults[0]


def refuse_mixture(folder: Path, sources: Sequence[Source]) -> None:
    """Other depths are other steps and mostly other cameras."""
    depths = {source.depth: source.name for source in reversed(sources)}
    if len(depths) > 1:
        examples = " and ".join(f"{depth} ({name})" for depth, name in sorted(depths.items()))
        raise UserError(f"{folder} mixes {examples} pictures; put those of one kind into a folder of their own.")


def refuse_little(folder: Path, sources: Sequence[Source], tiles: int) -> None:
    if tiles >= FEWEST_TILES:
        return
    count = "one picture" if len(sources) == 1 else f"{len(sources)} pictures"
    height, width = max(source.size for source in sources)
    what_then = "a single picture is best cleaned as it is: `denoise clean`" if len(sources) == 1 else "add more"
    raise UserError(
        f"{folder}: {count} of at most {width} × {height} px are too little to learn from; {what_then}, or give "
        f"one of at least {2 * LEAST_SIDE} × {2 * LEAST_SIDE} px."
    )


def refuse_clean(folder: Path, pages: Sequence[Page]) -> None:
    clean = [page for page in pages if is_clean(page)]
    if 2 * len(clean) > len(pages):
        sigma = max(page.noise.sigma or 0.0 for page in clean)
        raise UserError(
            f"{folder}: {len(clean)} of {len(pages)} pictures are clean already (sigma at most {sigma:.1f} of 255 in "
            "their flat parts); nothing needs doing."
        )
    if sum(len(page.tiles) for page in pages) - sum(len(page.tiles) for page in clean) < FEWEST_TILES:
        raise UserError(f"{folder}: too few of its {len(pages)} pictures are noisy to learn from them; add noisy ones.")


def is_clean(page: Page) -> bool:
    """Beside what the picture uses of its range: twelve bits in a file of sixteen look dark, and not clean."""
    if page.noise.sigma is None:
        return False
    values = page.tiles.flatten()
    values = values[:: max(1, len(values) // 1_000_000)]
    low, high = (float(values.quantile(share)) for share in (0.001, 0.999))
    return page.noise.sigma / 255 < CLEAN * max(high - low, 1e-6)


def pages_in(sources: Sequence[Source], tell: Tell) -> Iterator[Page]:
    """Those that can be decoded; where there are none, what is wrong with the first."""
    faults: list[BadFile] = []
    for source in sources:
        try:
            yield page_of(source)
        except BadFile as fault:
            tell(f"Left out: {fault}")
            faults.append(fault)
    if len(faults) == len(sources):
        raise faults[0]


def page_of(source: Source) -> Page:
    from denoise.media.picture import open_picture

    with open_picture(source.path) as file:
        picture = file.page(source.index).picture
        noise, tiles = estimate(picture), tiles_of(picture)
    return Page(source.name, tiles, noise, seen(tiles, noise))


def side_of(height: int, width: int) -> int:
    return max(LEAST_SIDE, min(MOST_SIDE, min(height, width) // 2))


def tiles_in(height: int, width: int) -> int:
    side = side_of(height, width)
    return (height // side) * (width // side)


def tiles_of(picture: Picture) -> Tensor:
    """Squares that do not overlap, evenly spread: (T, C, side, side)."""
    side = side_of(picture.height, picture.width)
    rows, columns = picture.height // side, picture.width // side
    tops, lefts = (
        [at * length // count for at in range(count)]
        for length, count in ((picture.height, rows), (picture.width, columns))
    )
    places = evenly([(top, left) for top in tops for left in lefts], MOST_TILES)
    cuts = [(slice(top, top + side), slice(left, left + side)) for top, left in places]
    return torch.stack([picture.region(*cut) for cut in cuts])


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]


# Lessons


@dataclass(frozen=True, eq=False)
class Part:
    """A tile (C, side, side) and the noise of its picture."""

    tile: Tensor
    patches: Patches | None


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learnt from and what it is judged by; what both are made of is a function of the seed alone."""

    training: list[Part]
    aside: list[Part]
    facts: Facts
    pictures: int
    kept_aside: str
    grain: int  # px after which noise says nothing of its neighbours
    noise: str
    masks: bool  # because the noise of too few pictures could be measured
    seed: int

    @property
    def taught_by(self) -> str:
        if not self.masks:
            return "more of the same noise, drawn from the pictures' flat places"
        around = f" with all that lie less than {self.grain} px from them" if self.grain > 1 else ""
        return f"masked pixels{around}"

    @property
    def judged_by(self) -> str:
        return "masked pixels" if self.masks else "SURE, noise as measured in flat places"

    def describe(self) -> str:
        grain = f"in grains of {self.grain} px" if self.grain > 1 else "independent from pixel to pixel"
        what = f"{self.pictures} pictures, {self.noise}, {grain}"
        return f"{what}; taught by {self.taught_by}; {self.kept_aside} kept aside."

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """(what is shown, what is asked for); nothing is asked for where that is not a number."""
        dice = Random(f"{self.seed}/{step}")
        pairs = [self.pair(dice) for _ in range(BATCH)]
        shown, asked = (torch.cat([coloured(one, self.facts) for one in side]) for side in zip(*pairs, strict=True))
        return shown, asked

    def pair(self, dice: Random) -> tuple[Tensor, Tensor]:
        part = dice.choice(self.training)
        crop = Part(cropped(part.tile, fitting(CROP, self.facts), dice), part.patches)
        shown, asked = self.masked(crop, dice) if self.masks else recorrupted(crop, dice)
        return turned(shown, asked, dice)

    def masked(self, part: Part, dice: Random) -> tuple[Tensor, Tensor]:
        hidden, seen_there = holes(part.tile, self.grain, dice)
        return hidden, torch.where(seen_there, part.tile, math.nan)

    def errors(self, method: Method) -> Tensor:
        """Estimated mean squared error of every part kept aside; with masks, of what is behind these and its noise."""
        parts = [centre(part, fitting(LEAST_SIDE, self.facts)) for part in evenly(self.aside, JUDGED)]
        if self.masks:
            return torch.stack([self.behind_masks(method, part, number) for number, part in enumerate(parts)])
        first = 1000 * self.seed
        return torch.stack([unbiased(method, part, self.facts, first + number) for number, part in enumerate(parts)])

    def behind_masks(self, method: Method, part: Part, number: int) -> Tensor:
        dice = Random(f"{self.seed}/aside/{number}")
        shown, asked = zip(*(self.masked(part, dice) for _ in range(MASKINGS)), strict=True)
        restored = torch.cat([method(coloured(one, self.facts)) for one in shown])
        wanted = torch.cat([coloured(one, self.facts) for one in asked])
        return (restored - wanted).square().nanmean()


def lesson_of(pages: Sequence[Page], method: Method, facts: Facts, seed: int) -> Lesson:
    noisy = [page for page in pages if not is_clean(page)]
    known = [page for page in noisy if page.patches is not None]
    masks = sum(len(page.tiles) for page in known) < FEWEST_TILES
    used = noisy if masks else known
    training, aside, kept_aside = divided(used, seed)
    grains = [page.patches.grain for page in known if page.patches is not None and page.patches.coarse]
    grain = round(mean(grains)) if 2 * len(grains) > len(known) else 1
    if masks:
        grain = grain_of_residual(method, facts, aside)
    coloured_facts = replace(facts, channels=facts.channels or COLOURS)
    return Lesson(training, aside, coloured_facts, len(used), kept_aside, grain, noise_of(known), masks, seed)


def noise_of(known: Sequence[Page]) -> str:
    """In words, over all pictures."""
    sigmas = [page.patches.sigma for page in known if page.patches is not None]
    if not sigmas:
        return "whose noise cannot be measured (too little of them is flat)"
    return f"noise of sigma {mean(sigmas):.1f} of 255 ({min(sigmas):.1f} to {max(sigmas):.1f})"


def divided(pages: Sequence[Page], seed: int) -> tuple[list[Part], list[Part], str]:
    """Whole pictures are kept aside, or of few ones some tiles of each."""
    if len(pages) >= FEWEST_PAGES:
        kept = [index % ASIDE == seed % ASIDE for index in range(len(pages))]
        training = [part for page, aside in zip(pages, kept, strict=True) for part in parts_of(page) if not aside]
        aside_parts = [part for page, aside in zip(pages, kept, strict=True) for part in parts_of(page) if aside]
        return training, aside_parts, f"{sum(kept)} pictures"
    parts = [part for page in pages for part in parts_of(page)]
    training = [part for index, part in enumerate(parts) if index % ASIDE != seed % ASIDE]
    aside_parts = [part for index, part in enumerate(parts) if index % ASIDE == seed % ASIDE]
    return training, aside_parts, f"{len(aside_parts)} parts of them"


def parts_of(page: Page) -> list[Part]:
    return [Part(tile, page.patches) for tile in page.tiles]


def unbiased(method: Method, part: Part, facts: Facts, seed: int) -> Tensor:
    """Stein's unbiased risk estimate, for noise of any grain: |f(y) - y|² - |n|² + 2 n·(∂f/∂y) n."""
    noise = drawn(part, seed)
    given, probe = coloured(part.tile, facts), coloured(PROBE * noise, facts)
    response = (method(given + probe) - method(given - probe)) / 2
    return (method(given) - given).square().mean() + ((2 * response - probe) * probe).mean() / PROBE**2


def recorrupted(part: Part, dice: Random) -> tuple[Tensor, Tensor]:
    noise, share = drawn(part, dice.randrange(1 << 31)), dice.uniform(*RECORRUPTED)
    return part.tile + share * noise, part.tile - noise / share


def drawn(part: Part, seed: int) -> Tensor:
    """Noise like that of the tile; how bright it is, its own noise must not say."""
    if part.patches is None:
        raise ValueError("the noise of this picture is not known")
    return part.patches.drawn(blurred(part.tile), seed)


def blurred(tile: Tensor) -> Tensor:
    return F.avg_pool2d(tile, BRIGHTNESS, 1, BRIGHTNESS // 2, count_include_pad=False)


def holes(tile: Tensor, grain: int, dice: Random) -> tuple[Tensor, Tensor]:
    """With pixels, and those less than a grain from them, replaced by others near them; and which pixels these are."""
    height, width = tile.shape[1:]
    generator = torch.Generator().manual_seed(dice.randrange(1 << 31))
    reach = 2 * grain - 1
    centres = (torch.rand(1, height, width, generator=generator) < MASKED / reach**2).float()
    hidden = F.max_pool2d(centres, reach, 1, reach // 2) > 0
    away = dice.choice([(reach, 0), (-reach, 0), (0, reach), (0, -reach)])
    return torch.where(hidden, torch.roll(tile, away, (1, 2)), tile), centres.bool()


def grain_of_residual(method: Method, facts: Facts, parts: Sequence[Part]) -> int:
    """Pixels after which what the model takes away has nothing in common with itself."""
    with torch.no_grad():
        given = [coloured(centre(part, fitting(LEAST_SIDE, facts)).tile, facts) for part in evenly(parts, 4)]
        taken = torch.cat([one - method(one) for one in given])
    return next((lag for lag in range(1, MOST_GRAIN) if alike(taken, lag) < DEPENDENT), MOST_GRAIN)


def alike(planes: Tensor, lag: int) -> float:
    """Correlation of pixels so far apart in a row or a column."""
    rows = (planes[..., lag:, :] * planes[..., :-lag, :]).mean()
    columns = (planes[..., lag:] * planes[..., :-lag]).mean()
    return float((rows + columns) / (2 * planes.square().mean()).clamp(min=1e-12))


def cropped(tile: Tensor, side: int, dice: Random) -> Tensor:
    top, left = dice.randrange(tile.shape[1] - side + 1), dice.randrange(tile.shape[2] - side + 1)
    return tile[:, top : top + side, left : left + side]


def centre(part: Part, side: int) -> Part:
    top, left = ((length - side) // 2 for length in part.tile.shape[1:])
    return Part(part.tile[:, top : top + side, left : left + side], part.patches)


def fitting(side: int, facts: Facts) -> int:
    """About that side, as the model takes it."""
    return max(side, facts.least) // facts.multiple * facts.multiple


def turned(shown: Tensor, asked: Tensor, dice: Random) -> tuple[Tensor, Tensor]:
    both = torch.rot90(torch.stack([shown, asked]), dice.randrange(4), (2, 3))
    one, other = both.flip(3) if dice.random() < 0.5 else both
    return one, other


# Training and judging


class Taught(Method):
    """Any restorer of pictures, taught by what is asked for in some of the pixels."""

    def __init__(self, restorer: Method) -> None:
        super().__init__()
        self.restorer = restorer

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        restored: Tensor = self.restorer(noisy)
        return restored

    @property
    def core(self) -> nn.Module:
        return self.restorer.core

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """Squared error where something is asked for, of that of doing nothing there: weak noise counts as strong."""
        known = clean.isfinite()
        left, before = (torch.where(known, one - clean, 0).square().sum((1, 2, 3)) for one in (self(noisy), noisy))
        return (left / before.clamp(min=1e-9)).mean()


def judged(lesson: Lesson, method: Taught, card: zoo.Card, wish: Wish, tell: Tell) -> Result:
    """The model is trained; it is written where it is better on what was kept aside."""
    with torch.no_grad():
        before = lesson.errors(method)
        steps = trained(lesson, method, wish, tell)
        after = lesson.errors(method.eval())
    result = verdict(lesson, card, wish, steps, before, after)
    if result.folder is not None:
        write(result.folder, card, method.restorer, result)
    return result


@torch.enable_grad()
def trained(lesson: Lesson, method: Taught, wish: Wish, tell: Tell) -> int:
    """The method takes on the best weights that were seen; the number of steps."""

    def validate(now: Method) -> Scores:
        return {"estimated_mse": of_255(lesson.errors(now))}

    with TemporaryDirectory() as folder:
        run = Run(method, Path(folder), SCHEDULE, chosen(wish.device))
        train(run, lesson.at, validate, wish.minutes, tell, lambda scores: -scores["estimated_mse"])
        method.to("cpu").load_state_dict(load_file(Path(folder) / zoo.WEIGHTS))
    return run.step


def verdict(lesson: Lesson, card: zoo.Card, wish: Wish, steps: int, before: Tensor, after: Tensor) -> Result:
    better = int((after < before).sum())
    kept = 0 < of_255(after) < BETTER * of_255(before) and better >= MOST_PARTS * len(after)
    return Result(
        folder=wish.out if kept else None,
        start=card.name,
        pictures=lesson.pictures,
        held_back=lesson.kept_aside,
        noise=lesson.noise,
        taught_by=lesson.taught_by,
        judged_by=lesson.judged_by,
        before=math.sqrt(max(of_255(before), 0.0)),
        after=math.sqrt(max(of_255(after), 0.0)),
        parts_better=better,
        parts=len(after),
        steps=steps,
        minutes=wish.minutes,
        seed=wish.seed,
    )


def of_255(errors: Tensor) -> float:
    """Mean of squared errors, of 255²."""
    return float(errors.mean()) * 255**2


# The model


def refuse_place(out: Path) -> None:
    """Before the work, and not after it."""
    parent = next(place for place in (out.parent, *out.parent.resolve().parents) if place.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"Cannot write {out}: {parent} is no folder that can be written to; give another -o.")


def write(out: Path, card: zoo.Card, restorer: Method, result: Result) -> None:
    """The whole folder or nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        content = save({name: value.contiguous() for name, value in restorer.state_dict().items()})
        (draft / zoo.WEIGHTS).write_bytes(content)
        (draft / zoo.CARD).write_text(card_text(out.name, card, hashlib.sha256(content).hexdigest(), result))
        (draft / "README.md").write_text(readme(out, card, result))
        draft.chmod(0o755)
        draft.rename(out)
    except OSError as trouble:
        raise UserError(f"Cannot write {out} ({trouble.strerror}); give another -o.") from None
    finally:
        rmtree(draft, ignore_errors=True)


def card_text(name: str, card: zoo.Card, digest: str, result: Result) -> str:
    before = card.entries.get("trained_on", f"what {card.name} was trained on")
    entries = {
        "name": name,
        "kind": card.kind,
        "method": card.entries["method"],
        "summary": f"{card.name}, fitted to {result.pictures} noisy pictures of its owner.",
        "licence": card.entries.get("licence", "not stated"),
        "sha256": digest,
        "trained_on": f"{before}; then the owner's own pictures",
    }
    fitted = {key: value for key, value in result.as_data().items() if key not in ("folder", "kept")}
    tables = {"network": card.entries.get("network"), "facts": card.entries.get("facts"), "fitted": fitted}
    text = lines_of(entries)
    return text + "".join(f"\n[{title}]\n{lines_of(table)}" for title, table in tables.items() if table)


def lines_of(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {quoted(value)}\n" for key, value in table.items())


def quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else toml_value(value)


def readme(out: Path, card: zoo.Card, result: Result) -> str:
    return f"""# {out.name}

{card.name}, fitted to {result.pictures} noisy pictures by `denoise fit` without a clean one: {result.steps} steps,
{result.minutes:g} minutes, seed {result.seed}.

**For** pictures with the noise of these: {result.noise}. **Not for** others: {card.name} itself knows more kinds.

**Taught by** {result.taught_by}.

**Judged** on {result.held_back} kept aside, by {result.judged_by}, root of the estimated mean squared error, of 255:
{card.name} {result.before:.2f}, this one {result.after:.2f}; better in {result.parts_better} of {result.parts} parts.

Use it: `denoise clean PICTURE --model {out}`.
"""
