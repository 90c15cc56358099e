"""The pictures that a model is fitted to: which of a folder can teach it, tiles of them, and what their noise is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from denoise.errors import BadFile, UserError
from denoise.media.find import files_below, kind_of
from denoise.noise.patches import Patches, seen
from denoise.noise.picture_level import PictureNoise, estimate
from denoise.signals import Picture

LEAST_SIDE, MOST_SIDE = 128, 256  # px of a tile
MOST_PAGES, MOST_TILES = 40, 9  # of all pages, and of one, evenly chosen
FEWEST_TILES = 4
CLEAN = 1 / 255  # sigma, of the range that a picture uses

Tell = Callable[[str], None]
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Page:
    """One picture of the user's: tiles of it, and its noise."""

    name: str
    tiles: Tensor  # (T, C, side, side), white is 1
    noise: PictureNoise
    patches: Patches | None


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
    """Those whose noise can be measured speak for the others."""
    judged = [is_clean(page) for page in pages]
    clean = [page for page, found in zip(pages, judged, strict=True) if found]
    if 2 * len(clean) > len(pages) - judged.count(None):
        sigma = max(page.noise.sigma or 0.0 for page in clean)
        raise UserError(
            f"{folder}: {len(clean)} of {len(pages)} pictures are clean already (sigma at most {sigma:.1f} of 255 in "
            "their flat parts); nothing needs doing."
        )
    if sum(len(page.tiles) for page in pages) - sum(len(page.tiles) for page in clean) < FEWEST_TILES:
        raise UserError(f"{folder}: too few of its {len(pages)} pictures are noisy to learn from them; add noisy ones.")


def refuse_struck(folder: Path, pages: Sequence[Page], better: str | None) -> None:
    """More of such noise cannot be drawn, and its error not be told, by what follows from variances."""
    struck = [page.noise.struck for page in pages if page.noise.struck]
    if 2 * len(struck) > len(pages):
        instead = f"; {better} is made for that: `denoise clean --model {better}`" if better else ""
        raise UserError(
            f"{folder}: {len(struck)} of {len(pages)} pictures have salt and pepper on {100 * min(struck):.2g} to "
            f"{100 * max(struck):.2g} % of their samples, which is not learnt this way{instead}."
        )


def is_clean(page: Page) -> bool | None:
    """Beside what the picture uses of its range: twelve bits in a file of sixteen look dark, and not clean. None: its
    noise cannot be measured."""
    values = page.tiles.flatten()
    values = values[:: max(1, len(values) // 1_000_000)]
    low, high = (float(values.quantile(share)) for share in (0.001, 0.999))
    if high == low:
        return True
    if page.noise.sigma is None:
        return None
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
