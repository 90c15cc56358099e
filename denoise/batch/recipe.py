"""How the files of a run are to be cleaned: the user's wishes, and the restorers that they lead to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from denoise import zoo
from denoise.errors import UserError
from denoise.report import Work
from denoise.restorer import Facts, Restorer, unknown
from denoise.signals import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from denoise.batch.own_camera import OwnCamera
    from denoise.run import Options

AUTO = "auto"
LARGEST_SEED = 2**63 - 1  # what compiled code counts to
MOST_PASSES = 8  # as many ways as a picture can be turned and mirrored
MAKING = "Making the ONNX graph of {}, which is done once: seconds, or for a diffusion some minutes."
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    model: str = AUTO  # a name, a folder, or auto: the default model of each kind
    engine: str = "torch"
    device: str = AUTO
    strength: float = 1.0
    seed: int = 0
    knobs: Mapping[str, str] = field(default_factory=dict)  # as they were typed
    camera: Path | None = None  # the user's own, for raw files
    passes: int = 1  # over a picture, each of it turned or mirrored another way

    def __post_init__(self) -> None:
        zoo.engine_named(self.engine)
        if not 0 <= self.strength <= 1:
            raise UserError(f"Strength {self.strength:g} is out of range: choose from 0 to 1.")
        refuse_seed(self.seed)
        if not 1 <= self.passes <= MOST_PASSES:
            raise UserError(f"Passes {self.passes} is out of range: choose from 1 to {MOST_PASSES}.")
        if self.camera and not self.camera.is_file():
            raise UserError(f"{self.camera}: there is no such calibration; make it with `denoise noise fit`.")

    @property
    def only(self) -> Kind | None:
        """The one kind of file it is for, where a model was named."""
        return None if self.model == AUTO else zoo.find(self.model).kind

    def card(self, kind: Kind) -> zoo.Card:
        return zoo.default_for(kind) if self.model == AUTO else zoo.find(self.model)

    def signature(self, kind: Kind) -> str:
        """The same for the same result: everything that changes one, and nothing else."""
        card = self.card(kind)
        means = [card.name, card.entries.get("sha256"), self.strength, self.seed, self.turned(kind)]
        means += [f"{self.passes} passes"] if self.passes > 1 and kind == "picture" else []
        struck = self.card_for_struck(kind)
        means += [struck.entries.get("sha256")] if struck else []
        means += [hashlib.sha256(self.camera.read_bytes()).hexdigest()] if self.camera and kind == "raw" else []
        return hashlib.sha256(json.dumps(means).encode()).hexdigest()[:16]

    def card_for_struck(self, kind: Kind) -> zoo.Card | None:
        """Of the model that pictures with salt and pepper get, where all was left to us."""
        better = self.card(kind).entries.get("struck")
        ours = self.model == AUTO and self.passes == 1 and not self.turned(kind)
        return zoo.cards().get(better["model"]) if ours and better else None

    def turned(self, kind: Kind) -> list[tuple[str, str]]:
        """The knobs of its model that stand elsewhere than usual, and where."""
        if not self.knobs:
            return []
        facts = self.facts(kind)
        usual = {knob.name: knob.default for knob in facts.knobs}
        values = parsed(self.knobs, facts)
        return sorted((name, f"{value:.12g}") for name, value in values.items() if value != usual[name])

    def facts(self, kind: Kind) -> Facts:
        """Of its model, without loading it."""
        card = self.card(kind)
        return zoo.facts_of(card, zoo.without_weights(card))


def refuse_seed(seed: int) -> None:
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"Seed {seed} is out of range: choose a whole number from 0 to {LARGEST_SEED}.")


@dataclass(frozen=True)
class Ready:
    """A restorer that is loaded and the options it is run with."""

    restorer: Restorer
    options: Options
    work: Work
    camera: OwnCamera | None = None
    notes: tuple[str, ...] = ()  # on what does the work
    for_struck: Callable[[], Ready] | None = None  # what is better for a picture with salt and pepper, loaded if needed

    @property
    def share_taken(self) -> float | None:
        """Of the noise; nobody knows it where a knob was turned."""
        facts = self.restorer.facts
        turned = facts.settings(self.options.knobs) != facts.settings({})
        return None if turned else self.options.strength


def ready(recipe: Recipe, kinds: Iterable[Kind], say: Say | None = None) -> dict[Kind, Ready]:
    """What cleans each kind. A knob is given to the models that have it; one that none has is refused."""
    restorers = {kind: loaded(recipe, kind, say) for kind in kinds}
    check_knobs(recipe, [restorer.facts for restorer in restorers.values()])
    return {kind: readied(recipe, kind, restorer, say) for kind, restorer in restorers.items()}


def prepared(recipe: Recipe, kind: Kind, say: Say | None = None) -> Ready:
    """What cleans one of several kinds, once the knobs of all are checked."""
    return readied(recipe, kind, loaded(recipe, kind, say), say)


def check_knobs(recipe: Recipe, models: Sequence[Facts]) -> None:
    """One that none of these models has, or a value that one of them does not take, is refused; so are passes."""
    known = {knob.name for facts in models for knob in facts.knobs}
    for name in recipe.knobs:
        if name not in known:
            raise UserError(unknown("knob", name, sorted(known), f"{' and '.join(facts.name for facts in models)} has"))
    for facts in models:
        parsed(recipe.knobs, facts)
    if recipe.passes > 1 and not any(facts.takes_passes for facts in models):
        names = " and ".join(facts.name for facts in models)
        raise UserError(
            f"{recipe.passes} passes are for pictures, by models without chance, and {names} is none; leave them out."
        )


def parsed(knobs: Mapping[str, str], facts: Facts) -> dict[str, float]:
    """Those that this model has."""
    own = {knob.name: knob for knob in facts.knobs}
    return {name: own[name].parse(text) for name, text in knobs.items() if name in own}


def loaded(recipe: Recipe, kind: Kind, say: Say | None) -> Restorer:
    card = recipe.card(kind)
    engine = zoo.engine_named(recipe.engine)
    if engine != "torch":
        from denoise.onnx.session import to_be_made

        if say and to_be_made(card, zoo.PRECISION[engine]):
            say(MAKING.format(card.name))
    return zoo.load(card, engine, recipe.device)


def readied(recipe: Recipe, kind: Kind, restorer: Restorer, say: Say | None = None) -> Ready:
    from denoise.run import Options

    turned = parsed(recipe.knobs, restorer.facts)
    work = Work(
        model=restorer.facts.name,
        model_sha256=recipe.card(kind).entries.get("sha256"),
        engine=recipe.engine,
        device=named(restorer, "device") or "cpu",
        provider=named(restorer, "provider"),
        seed=recipe.seed,
        strength=recipe.strength,
        passes=recipe.passes if restorer.facts.takes_passes else 1,
        knobs=restorer.facts.settings(turned),
    )
    options = Options(recipe.strength, recipe.seed, turned, passes=work.passes)
    notes = getattr(restorer, "notes", ())
    return Ready(restorer, options, work, own_camera(recipe, kind), notes, ready_for_struck(recipe, kind, say))


def ready_for_struck(recipe: Recipe, kind: Kind, say: Say | None) -> Callable[[], Ready] | None:
    card = recipe.card_for_struck(kind)
    return cache(lambda: prepared(replace(recipe, model=card.name), kind, say)) if card else None


def own_camera(recipe: Recipe, kind: Kind) -> OwnCamera | None:
    if recipe.camera is None or kind != "raw":
        return None
    from denoise.batch.own_camera import OwnCamera

    return OwnCamera.of(recipe.camera)


def named(restorer: Any, fact: str) -> str | None:
    value = getattr(restorer, fact, None)
    return None if value is None else str(value)


def knobs_of(settings: Iterable[str]) -> dict[str, str]:
    """`knob=value` texts as a mapping."""
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise UserError(f"--set {name}{equals}{value}: knob=value is wanted, as in --set floor=-20.")
    return {name.strip(): value.strip() for name, _, value in pairs}
