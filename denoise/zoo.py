"""A model is a folder: a card (model.toml) and, where the method has any, weights. This finds and loads them."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from denoise.errors import UserError
from denoise.restorer import Facts, Restorer, unknown
from denoise.signals import Kind

if TYPE_CHECKING:
    from torch import Tensor

    from denoise.methods.method import Method

Engine = Literal["torch", "onnx", "int8"]  # int8: ONNX Runtime in whole numbers of 8 bits
ENGINES: tuple[Engine, ...] = get_args(Engine)
PRECISION = {"onnx": "fp32", "int8": "int8"}  # of the graph
HERE = Path(__file__).resolve().parent
PACKED = HERE / "_samples"
SAMPLES = PACKED if PACKED.is_dir() else HERE.parent / "samples"  # in a wheel, or in the checkout
CARD = "model.toml"
WEIGHTS = "weights.safetensors"
WHAT: dict[Kind, str] = {"audio": "sounds", "picture": "pictures", "raw": "camera raw files"}
FROM_METHOD = tuple(field.name for field in fields(Facts) if field.name not in ("name", "kind", "card"))


@dataclass(frozen=True)
class Card:
    """What model.toml says; the folder holds the rest."""

    folder: Path
    entries: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.entries["name"])

    @property
    def kind(self) -> Kind:
        kind: Kind = self.entries["kind"]
        return kind

    @property
    def weights(self) -> Path | None:
        return self.folder / WEIGHTS if "sha256" in self.entries else None

    @classmethod
    def of(cls, folder: Path) -> Card:
        path = folder / CARD
        try:
            entries = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise UserError(f"{folder}: no {CARD} in it; a model folder holds one.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
            raise UserError(f"{path}: not valid TOML ({fault}); correct it.") from None
        missing = [key for key in ("name", "kind", "method") if key not in entries]
        if missing:
            raise UserError(f"{path}: {' and '.join(missing)} missing; a card states name, kind and method.")
        return cls(folder, entries)


def shelves() -> list[Path]:
    """Where models are looked for, first come first: a wish, the checkout, the wheel, the user's own."""
    wished = os.environ.get("DENOISE_MODELS")
    candidates = [Path(wished)] if wished else []
    candidates += [HERE.parent / "models", HERE / "_models", own_shelf()]
    return [shelf for shelf in candidates if shelf.is_dir()]


def own_shelf() -> Path:
    """The user's own models: imported checkpoints and fitted networks."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "denoise" / "models"


def own_cache() -> Path:
    """What can be made anew from the models and the code."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "denoise"


def cards() -> dict[str, Card]:
    """Every model there is, by name."""
    found: dict[str, Card] = {}
    for shelf in shelves():
        for path in sorted(shelf.glob(f"*/{CARD}")):
            card = Card.of(path.parent)
            found.setdefault(card.name, card)
    return found


def find(name: str) -> Card:
    """The model of that name, or in that folder."""
    if Path(name).is_dir() and (Path(name) / CARD).exists():
        return Card.of(Path(name))
    known = cards()
    if name not in known:
        raise UserError(unknown("model", name, list(known), "there are"))
    return known[name]


def default_for(kind: Kind) -> Card:
    """The model that `auto` means for this kind of signal."""
    fitting = [card for card in cards().values() if card.kind == kind]
    if not fitting:
        raise UserError(f"No model for {WHAT[kind]} here; `denoise models` lists what there is.")
    return next((card for card in fitting if card.entries.get("default")), fitting[0])


def load(name: str | Card, engine: Engine = "torch", device: str = "auto") -> Restorer:
    """A restorer ready to be called."""
    card = name if isinstance(name, Card) else find(name)
    if engine == "torch":
        from denoise.devices import chosen

        return TorchRestorer.of(card).to(chosen(device))
    from denoise.onnx.session import OnnxRestorer

    session: Restorer = OnnxRestorer.of(card, device, PRECISION[engine])
    return session


def engine_named(name: str) -> Engine:
    for engine in ENGINES:
        if name == engine:
            return engine
    raise UserError(unknown("engine", name, list(ENGINES), "there are"))


def method_of(card: Card) -> Method:
    """The network with its weights, as a module (for training, export and inspection)."""
    method = without_weights(card)
    if card.weights is not None:
        method.load_state_dict(weights_of(card))
    return method.eval()


def without_weights(card: Card) -> Method:
    """The network as it is before it has learnt anything: enough to know its facts."""
    from denoise.methods.method import find as find_method

    made = find_method(str(card.entries["method"]))
    try:
        return made(**card.entries.get("network", {}))
    except TypeError as fault:
        raise UserError(f"{card.folder / CARD}: [network] does not suit {made.__name__}: {fault}.") from None


def weights_of(card: Card) -> dict[str, Tensor]:
    """The weights, in float32, after their checksum was compared."""
    from safetensors.torch import load

    path = card.folder / WEIGHTS
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; fetch the model folder again.") from None
    found, stated = hashlib.sha256(content).hexdigest(), card.entries["sha256"]
    if found != stated:
        raise UserError(f"{path}: checksum {found[:12]}… is not the card's {stated[:12]}…; fetch it again.")
    return {name: value.float() for name, value in load(content).items()}


def facts_of(card: Card, method: Method) -> Facts:
    """The method's facts, with what the card says of them taking precedence."""
    overrides = dict(card.entries.get("facts", {}))
    refuse_untrue(card, "kind", card.kind, method.kind)
    refuse_untrue(card, "[facts] rate", overrides.get("rate", method.rate), method.rate)
    facts = {key: getattr(method, key) for key in FROM_METHOD} | overrides
    return Facts(name=card.name, kind=card.kind, card=card.entries, **facts)


def refuse_untrue(card: Card, what: str, said: object, true: object) -> None:
    """What a network is made for is no matter of choice."""
    if said != true:
        raise UserError(
            f"{card.folder / CARD}: {what} = {said!r}, but its network is made for {true!r}; correct the card."
        )


class TorchRestorer:
    """A method with weights, run by PyTorch."""

    engine: Engine = "torch"

    def __init__(self, method: Method, facts: Facts, device: str = "cpu") -> None:
        self.method, self.facts, self.device = method.to(device), facts, device

    @classmethod
    def of(cls, card: Card) -> TorchRestorer:
        method = method_of(card)
        return cls(method, facts_of(card, method))

    def to(self, device: str) -> TorchRestorer:
        return TorchRestorer(self.method, self.facts, device)

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor:
        import torch

        with torch.inference_mode():
            restored: Tensor = self.method(noisy, survey, **knobs)
        return restored

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        import torch

        with torch.inference_mode():
            return self.method.survey(pieces, **knobs)

    def noise_map(self, noisy: Tensor) -> Tensor | None:
        """Where a picture is noisy, as the model measures it; None where it measures nothing."""
        import torch

        with torch.inference_mode():
            return self.method.noise_map(noisy.to(self.device))


def every_restorer(engine: Engine = "torch") -> Iterator[Restorer]:
    for card in cards().values():
        yield load(card, engine, "cpu")
