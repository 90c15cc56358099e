"""Whether `denoise fit` keeps what is better, and nothing else: pictures of which it never sees the clean ones.

Pages of print behind a scanner's grain, which no model here learnt from, and fit is told that paper is flat; and busy
test photographs, whose texture is easily taken for noise, with noise that the usual model knows. `kept` is what fit
says; the PSNR of the model it began as and of the fitted one, kept or not, are of all pictures, clean ones in hand.
--minutes is the time of each fitting, 10 where it is not said; --limit the number of pictures of each, at least 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from denoise import zoo
from denoise.fit import own_pictures
from denoise.fit.own_lessons import lesson_of
from denoise.fit.own_pictures import Taught
from denoise.measure.bench import Row, Wish
from denoise.measure.bench_pictures import DATA, Pair, Pixels, measured, noised, opened, restored, some
from denoise.noise.law import PictureLaw
from denoise.noise.picture_laws import Correlated, Gaussian, Poisson

MINUTES = 10.0
PAGES = 8
WIDTH, HEIGHT, MARGIN = 800, 1100, 90  # px
WORDS = ["the", "light", "of", "a", "lamp", "on", "paper", "shows", "letters", "and", "what", "noise", "lies", "over"]


def run(wish: Wish) -> Iterator[Row]:
    count = max(wish.limit or PAGES, 5)
    for name, law, flat, clean in cases(wish.data or DATA, count):
        pairs = [noised(picture, law, number) for number, picture in enumerate(clean())]
        wish.tell(f"{name}: {len(pairs)} pictures")
        yield {"pictures": f"{len(pairs)}, {name}", **fitted(pairs, flat, wish)}


def cases(data: Path, count: int) -> Iterator[tuple[str, PictureLaw, bool, Callable[[], list[Pixels]]]]:
    """Name, noise, whether fit is told that there are flat places, and the clean pictures."""

    def photographs() -> list[Pixels]:
        return [opened(path) for path in some(data / "test_cbsd68", count)]

    yield "print, grain 14", Correlated(14), True, lambda: [printed(number) for number in range(count)]
    yield "photographs, sigma 20", Gaussian(20), False, photographs
    yield "photographs, 30 photons", Poisson(30), False, photographs
    yield "photographs, grain 14", Correlated(14), False, photographs


def fitted(pairs: list[Pair], flat: bool, wish: Wish) -> Row:
    """As the command does it, up to the writing; the model is looked at whatever the verdict."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "noisy"
        folder.mkdir()
        for number, pair in enumerate(pairs):
            saved(pair.noisy, folder / f"{number}.png")
        order = own_pictures.Wish(folder, Path(place) / "fitted", wish.model, wish.minutes or MINUTES, flat=flat)
        card = own_pictures.start_of(order.start)
        method = zoo.method_of(card)
        facts = zoo.facts_of(card, method)
        before = measured(pairs, lambda pair: restored(zoo.TorchRestorer(method, facts), pair))
        lesson = lesson_of(own_pictures.pages_for(order, card, wish.tell), method, facts, order.seed)
        result = own_pictures.judged(lesson, Taught(method), card, order, wish.tell)
        after = measured(pairs, lambda pair: restored(zoo.TorchRestorer(method, facts), pair))
    noisy = measured(pairs, lambda pair: pair.noisy)
    return {
        "noise": lesson.noise,
        "start": card.name,
        "steps": result.steps,
        "estimated_before": round(result.before, 2),
        "estimated_after": round(result.after, 2),
        "kept": "yes" if result.folder else "no",
        "noisy_db": noisy["psnr_db"],
        "before_db": before["psnr_db"],
        "after_db": after["psnr_db"],
    }


def saved(pixels: Pixels, path: Path) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path)


def printed(number: int) -> Pixels:
    """A page of print, H×W×3."""
    from PIL import Image, ImageDraw, ImageFont

    dice = Random(number)
    page = Image.new("L", (WIDTH, HEIGHT), dice.randint(205, 225))
    size, ink, pen = dice.randint(18, 32), dice.randint(20, 80), ImageDraw.Draw(page)
    for top in range(MARGIN, HEIGHT - MARGIN - size, round(1.5 * size)):
        if dice.random() > 0.1:
            line = " ".join(dice.choices(WORDS, k=9))[: round(2 * (WIDTH - 2 * MARGIN) / size)]
            pen.text((MARGIN, top), line, ink, ImageFont.load_default(size))
    return np.repeat(np.asarray(page)[..., None], 3, 2)
