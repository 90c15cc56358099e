"""A recipe (recipe.toml in a model's folder) says how to train it again; this follows it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save

from denoise import zoo
from denoise.atomic import atomic
from denoise.devices import chosen
from denoise.errors import UserError
from denoise.fit.loop import Batches, Run, Schedule, Score, Scores, Validate, mean, notes_in, train
from denoise.fit.pictures import USUAL, Pairs, Photographs, validation_pairs
from denoise.measure.scores import mean_psnr, measured
from denoise.methods.method import Method
from denoise.restorer import unknown

if TYPE_CHECKING:
    from denoise.fit.speech import Case

RECIPE = "recipe.toml"
JUDGED = 6  # photographs under every validation law; more would cost more time than they tell
CLEAN_ENOUGH = 45.0  # dB that clean pictures need have against themselves: doing nothing is not worth more
HEARD = 24  # mixtures of voices and noise
DARK = "dark raw"  # lessons whose noise is that of a camera

Recipe = dict[str, Any]


def recipe_of(card: zoo.Card) -> Recipe:
    try:
        return tomllib.loads((card.folder / RECIPE).read_text())
    except FileNotFoundError:
        raise UserError(f"{card.name} has no {RECIPE}: there is nothing to train.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{card.folder / RECIPE}: is not TOML ({error}); mend it.") from None


@dataclass(frozen=True)
class Lessons:
    """What there is to learn from, and how it is judged."""

    batches: Batches
    validate: Validate
    score: Score = mean
    unit: str = "PSNR, dB"  # of the curves
    rounds: int = 1
    renew: Validate | None = None  # between two rounds: other lessons, by what the model can do by then


@dataclass(frozen=True)
class Material:
    """Where the training data lie: one folder of all, or one of voices and one of noise, or one of noisy pictures."""

    root: Path | None = None
    speech: Path | None = None
    noise: Path | None = None
    camera: Path | None = None  # the user's own, whose noise alone is to be learnt
    noisy: Path | None = None

    def folder(self, *names: str) -> Path | None:
        """The first of these that is in the root."""
        if self.root is None:
            return None
        return next((self.root / name for name in names if (self.root / name).is_dir()), None)


def train_model(
    card: zoo.Card,
    data: Material | Path,
    minutes: float,
    tell: Callable[[str], None],
    runs: Path = Path("runs"),
    device: str = "auto",
) -> Path:
    """Train on, from the card's weights or from where the last run stopped; the run's folder."""
    recipe = recipe_of(card)
    material = data if isinstance(data, Material) else Material(data)
    wanted = str(recipe.get("lessons", card.kind))
    if material.camera is not None and wanted != DARK:
        raise UserError(
            f"{card.name} learns of no camera's noise, so that --camera has no meaning here; to tell a raw model your "
            f"camera, give it to `denoise clean --camera`."
        )
    lessons = lessons_named(wanted)(recipe, material, runs, tell)
    run = Run(begun(card, recipe), runs / named(card, material.camera), Schedule(**recipe["schedule"]), chosen(device))
    run.step = int(card.entries.get("steps", 0))
    for _ in in_rounds(run, lessons, minutes, tell):
        pass
    curve(run.folder, run.folder / "curve.png", lessons.unit)
    return run.folder


def named(card: zoo.Card, camera: Path | None) -> str:
    """What is trained on one camera is another model."""
    return card.name if camera is None else f"{card.name}-{camera.stem}"


def in_rounds(run: Run, lessons: Lessons, minutes: float, tell: Callable[[str], None]) -> Iterator[Scores]:
    """So many minutes in all; what was found out between two rounds is answered at the end of the second."""
    for number in range(lessons.rounds):
        found: Scores = {}
        if lessons.renew is not None and (number or run.resume()):
            found = run.averaged(lessons.renew)
            tell(f"round {number + 1}: " + ", ".join(f"{name} {value:.1f}" for name, value in found.items()))
        train(run, lessons.batches, lessons.validate, minutes / lessons.rounds, tell, lessons.score)
        yield found


def begun(card: zoo.Card, recipe: Recipe) -> Method:
    """The card's network; where it has no weights yet, some of its parts may begin as another model."""
    method = zoo.method_of(card)
    if card.weights is None:
        for part, name in recipe.get("begin", {}).items():
            method.get_submodule(part).load_state_dict(zoo.method_of(zoo.find(name)).state_dict())
    return method


# Pictures


def of_pictures(recipe: Recipe, material: Material, runs: Path, tell: Callable[[str], None]) -> Lessons:
    photographs = photographs_in(material)
    batches = Pairs(photographs, recipe["mix"], **recipe["data"]).at
    return Lessons(batches, judge(photographs, recipe.get("judged_by", USUAL)), picture_score)


def of_noisy_pictures(recipe: Recipe, material: Material, runs: Path, tell: Callable[[str], None]) -> Lessons:
    """Photographs that are made noisy before anything is learnt of them."""
    from denoise.fit import noisy_pictures

    photographs = photographs_in(material)
    families = {name: noisy_pictures.Family(**family) for name, family in recipe["families"].items()}
    crops = noisy_pictures.NoisyCrops(photographs, families, **recipe["data"])
    return Lessons(crops.at, noisy_pictures.judge(photographs, JUDGED))


def of_unpaired(recipe: Recipe, material: Material, runs: Path, tell: Callable[[str], None]) -> Lessons:
    """Clean photographs, and noisy pictures of other things."""
    from denoise.fit.unpaired import unpaired

    noisy, clean = material.noisy or material.folder("noisy"), material.folder("clean") or material.root
    if noisy is None or clean is None:
        raise UserError(
            "Clean photographs and noisy pictures are wanted: name their folders with --data and --noisy, "
            "or with --data one that holds clean/ and noisy/."
        )
    settings = dict(recipe["data"])
    rounds = int(settings.pop("rounds", 3))
    lessons = unpaired(clean, noisy, tell=tell, **settings)
    return Lessons(lessons.at, lessons.judge, rounds=rounds, renew=lessons.renew)


def of_raw(recipe: Recipe, material: Material, runs: Path, tell: Callable[[str], None]) -> Lessons:
    """Photographs as if they had never been developed."""
    from denoise.fit import raw

    photographs = photographs_in(material)
    return Lessons(raw.RawPairs(photographs, **recipe["data"]).at, raw.judge(photographs, JUDGED))


def of_dark_raw(recipe: Recipe, material: Material, runs: Path, tell: Callable[[str], None]) -> Lessons:
    """The same in far too little light. Whatever law it learns, it is judged by the whole one."""
    from denoise.fit import dark_raw

    law = recipe.get("law", dark_raw.FULL)
    camera = dark_raw.cameras_of(recipe.get("cameras"), law, material.camera)
    judged_by = dark_raw.cameras_of(dark_raw.JUDGES, dark_raw.FULL, material.camera)
    photographs = photographs_in(material)
    pairs = dark_raw.DarkPairs(photographs, camera, **recipe["data"])
    return Lessons(pairs.at, dark_raw.judge(photographs, judged_by, JUDGED))


def photographs_in(material: Material) -> Photographs:
    if material.root is None:
        raise UserError("Clean photographs are wanted: name their folder with --data.")
    return Photographs.of(material.root)


def picture_score(scores: Scores) -> float:
    return mean({name: min(value, CLEAN_ENOUGH) if name == "clean" else value for name, value in scores.items()})


def judge(photographs: Photographs, noises: Sequence[str] = USUAL) -> Validate:
    """Mean PSNR of every validation law, each picture on its own."""
    sets = list(validation_pairs(photographs, JUDGED, names=noises))

    def measure(method: Method) -> dict[str, float]:
        return {name: mean_psnr(clean, (method(one[None])[0] for one in noisy)) for name, noisy, clean in sets}

    return measure


# Sound


def of_sound(recipe: Recipe, material: Material, runs: Path, tell: Callable[[str], None]) -> Lessons:
    from denoise.fit import speech

    voices = material.speech or material.folder("speech_train", "speech")
    noises = material.noise or material.folder("noise_train", "noise")
    if voices is None or noises is None:
        raise UserError(
            "Voices and noise are wanted: name two folders with --speech and --noise, "
            "or with --data one that holds speech/ and noise/."
        )
    cache = runs / "cache"
    voice = speech.divided(
        speech.Sounds.of(voices, cache, tell, recipe.get("voices")), speech.SPEECH_ASIDE, speech.voice_of
    )
    noise = speech.divided(
        speech.Sounds.of(noises, cache, tell, recipe.get("noises")), speech.NOISE_ASIDE, speech.place_of
    )
    echoes = material.folder("rir/train_sim", "rooms")
    if echoes is None:
        tell("No impulse responses of rooms (rooms/): trained without echo.")
    rooms = speech.rooms_of(echoes) if echoes else []
    training, validation = (
        speech.Mixtures(one, other, rooms, recipe["mix"], **recipe["data"])
        for one, other in zip(voice, noise, strict=True)
    )
    judged = heard(speech.cases(validation, HEARD), recipe.get("judged", {}))
    return Lessons(training.at, judged, speech_score, "PESQ, SI-SDR / 10 dB, STOI")


def heard(cases: list[Case], knobs: Mapping[str, float]) -> Validate:
    """Mean scores of what is kept aside; PESQ only where it is installed."""
    names = [name for name in ("pesq", "si_sdr", "stoi") if name != "pesq" or find_spec("pesq")]

    def measure(method: Method) -> Scores:
        rows = [
            measured(
                "audio",
                method(torch.from_numpy(case.noisy)[None, None], **knobs)[0].numpy(),
                case.clean[None],
                16_000,
                names,
            )
            for case in cases
        ]
        means = {name: mean_of([row[name] for row in rows]) for name in names}
        return means | {"si_sdr": means["si_sdr"] / 10}

    return measure


def mean_of(values: Iterable[float]) -> float:
    """Of those that have a meaning; 0 where none has."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / max(len(known), 1)


def speech_score(scores: Scores) -> float:
    return sum(scores.values())


Teach = Callable[[Recipe, Material, Path, Callable[[str], None]], Lessons]
LESSONS: dict[str, Teach] = {
    "picture": of_pictures,
    "audio": of_sound,
    "raw": of_raw,
    "noisy pictures": of_noisy_pictures,
    DARK: of_dark_raw,
    "unpaired noise": of_unpaired,
}


def lessons_named(name: str) -> Teach:
    """By the kind of a model, or as its recipe calls them."""
    if name not in LESSONS:
        raise UserError(f"{RECIPE}: {unknown('lessons', name, list(LESSONS))}")
    return LESSONS[name]


# Results


def publish(folder: Path, card: zoo.Card) -> None:
    """Put the best weights of a run into the model's folder, in half precision, and their checksum on the card."""
    weights = {name: value.half().contiguous() for name, value in load_file(folder / zoo.WEIGHTS).items()}
    content = save(weights)
    with atomic(card.folder / zoo.WEIGHTS) as waiting:
        waiting.write_bytes(content)
    text = (card.folder / zoo.CARD).read_text()
    text = stated(text, "sha256", f'"{hashlib.sha256(content).hexdigest()}"')
    text = stated(text, "steps", str(best_step(folder)))
    with atomic(card.folder / zoo.CARD) as waiting:
        waiting.write_text(text)


def own_copy(card: zoo.Card, camera: Path) -> zoo.Card:
    """A folder among the user's own models for what is trained on one camera; scores of the original are no longer
    true, and it is nobody's default."""
    folder = zoo.own_shelf() / named(card, camera)
    folder.mkdir(parents=True, exist_ok=True)
    text = (card.folder / zoo.CARD).read_text()
    head, *tables = re.split(r"(?m)^(?=\[)", text)
    head = re.sub(r"(?m)^(default|steps|sha256) = .*\n", "", head)
    text = "".join([head, *(table for table in tables if not table.startswith("[scores"))])
    text = stated(stated(text, "name", json.dumps(folder.name)), "begun_as", json.dumps(card.name))
    (folder / zoo.CARD).write_text(text)
    (folder / RECIPE).write_bytes((card.folder / RECIPE).read_bytes())
    return zoo.Card.of(folder)


def best_step(folder: Path) -> int:
    lines = notes_in(folder)
    return int(max(lines, key=lambda line: line["score"])["step"])


def stated(text: str, key: str, value: str) -> str:
    """The card with that top-level entry set; every other line as it was."""
    line = f"{key} = {value}"
    head, table, rest = text.partition("\n[")
    head, found = re.subn(rf"^{key} = .*$", line, head, count=1, flags=re.MULTILINE)
    if found:
        return head + table + rest
    return f"{head.rstrip()}\n{line}\n" + (f"\n[{rest}" if table else "")


def curve(folder: Path, picture: Path, unit: str = "PSNR, dB") -> None:
    """The run's loss and scores over its steps, as a picture."""
    lines = notes_in(folder)
    names = [name for name in lines[-1] if name not in ("step", "loss", "score")]
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    steps = [line["step"] for line in lines]
    above.plot(steps, [line["loss"] for line in lines])
    above.set_ylabel("loss")
    for name in names:
        below.plot(steps, [line[name] for line in lines], label=name)
    below.set_ylabel(unit)
    below.set_xlabel("step")
    below.legend(ncols=3)
    figure.savefig(picture, dpi=90)
