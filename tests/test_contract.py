"""What every model of the zoo promises, whatever it is. A new model is visited without a line here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from raws import MODELS
from torch import Tensor

from denoise import zoo
from denoise.errors import BadFile, UserError
from denoise.methods.method import find as method_named
from denoise.onnx.session import no_graph
from denoise.restorer import Facts, Restorer
from denoise.run import LEAST_PIECE, Options, restore_mosaic, restore_picture, restore_sound
from denoise.signals import Audio, Mosaic, Picture, quartered, whole
from denoise.zoo import Card

pytestmark = pytest.mark.timeout(1500)  # s: making a graph takes its time on a busy machine
SHIPPED = Path(zoo.HERE).parent / "models"
MEGABYTE = 1_000_000
ENGINES_AGREE = 1e-4  # of full scale
LEVELS = 2  # 255ths a constant picture may be off
SILENT = 1e-4  # of full scale
SIDES = range(1, 34)


def on(shelf: Path) -> dict[str, Card]:
    cards = (Card.of(path.parent) for path in sorted(shelf.glob("*/model.toml")))
    return {card.name: card for card in cards}


CARDS = on(SHIPPED) | on(MODELS)  # toys too: there may be a kind that no shipped model is for


RUNS = [(name, "torch") for name in CARDS] + [(name, "onnx") for name, card in CARDS.items() if not no_graph(card)]
every_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)


@cache
def loaded(name: str, engine: zoo.Engine) -> Restorer:
    return zoo.load(CARDS[name], engine, "cpu")


@pytest.fixture(scope="module", params=RUNS, ids=["-".join(run) for run in RUNS])
def restorer(request: pytest.FixtureRequest) -> Restorer:
    return given(*request.param)


def given(name: str, engine: zoo.Engine) -> Restorer:
    if engine == "onnx":
        pytest.importorskip("onnxruntime", reason="no ONNX Runtime here")
        pytest.importorskip("onnxscript", reason="graphs are made by onnxscript, which is not here")
    return loaded(name, engine)


# Signals that suit a model


def rate_of(facts: Facts) -> int:
    return facts.rate or 16_000


def channels_of(facts: Facts, wish: int) -> int:
    return facts.channels or wish


def signal(facts: Facts, sides: Sequence[int], seed: int = 0) -> NDArray[np.float32]:
    """Something to see or hear, with noise: (C, T) about ±0.5, or (C, H, W) within 0..1; of a mosaic the cells."""
    dice = np.random.default_rng(seed)
    channels = channels_of(facts, 3 if facts.kind == "picture" else 2)
    way = np.add.reduce(np.meshgrid(*(np.arange(side) / (11 + axis) for axis, side in enumerate(sides)), indexing="ij"))
    waves = np.stack([np.sin(way * (1 + 0.1 * channel) + seed) for channel in range(channels)])
    noisy = 0.3 * waves + 0.05 * dice.standard_normal(waves.shape)
    middle = 0.0 if facts.kind == "audio" else 0.5
    return np.clip(noisy + middle, middle - 0.5, middle + 0.5).astype(np.float32)


def restored(
    restorer: Restorer,
    noisy: NDArray[Any],
    options: Options | None = None,
    tick: Callable[[float], None] = lambda _: None,
) -> NDArray[Any]:
    """A whole signal, channels first, through the runner."""
    if restorer.facts.kind == "audio":
        audio = Audio.from_array(noisy, rate_of(restorer.facts))
        return np.concatenate(list(restore_sound(audio, restorer, options, tick)), 1)
    if restorer.facts.kind == "raw":
        mosaic = Mosaic(whole(noisy), "RGGB", (0.0,) * 4, 1.0)
        return quartered(restore_mosaic(mosaic, restorer, options, tick))
    picture = Picture(np.ascontiguousarray(noisy.transpose(1, 2, 0)), 1.0)
    return restore_picture(picture, restorer, options, tick).transpose(2, 0, 1)


def sides_of(facts: Facts, count: int) -> tuple[int, ...]:
    """A signal of about that many pixels across, or twenty times as many samples."""
    return (20 * count + 1,) if facts.kind == "audio" else (count, count * 5 // 4 + 1)


def direct(restorer: Restorer, batch: Tensor, **knobs: float) -> Tensor:
    """One call as the runner makes it, with sides that suit the model."""
    facts = restorer.facts
    given: dict[str, float] = {**facts.settings({}), **knobs}
    if facts.kind == "audio" and not facts.rate:
        given["rate"] = float(rate_of(facts))
    if facts.seeded:
        given |= {"seed": 3}
    if facts.wants_place:
        given |= dict.fromkeys(("start",) if facts.kind == "audio" else ("top", "left"), 0)
    places = {name: value for name, value in given.items() if name not in ("seed", "start", "top", "left")}
    survey = restorer.survey([batch], **places) if facts.surveys else None
    return restorer(batch, survey, **given)


def batch_of(facts: Facts, count: int) -> Tensor:
    least = max(40, facts.least)
    side = -(-least // facts.multiple) * facts.multiple
    sides = (side * 20,) if facts.kind == "audio" else (side, side + facts.multiple)
    return torch.stack([torch.from_numpy(signal(facts, sides, seed)) for seed in range(count)])


# The cards


def test_there_are_models_for_pictures_and_for_sound() -> None:
    assert {card.kind for card in CARDS.values()} >= {"picture", "audio"}


@every_card
def test_a_card_is_complete(card: Card) -> None:
    assert card.folder.name == card.name
    assert card.kind in ("audio", "picture", "raw")
    assert card.entries["licence"]
    assert str(card.entries["summary"]).endswith(".")
    assert issubclass(method_named(str(card.entries["method"])), torch.nn.Module)
    assert (card.weights is not None) == (card.folder / zoo.WEIGHTS).exists()
    for better in ("darker", "struck", "not_a_voice"):
        assert card.entries.get(better, {"model": card.name})["model"] in CARDS


@every_card
def test_weights_are_small_and_are_those_of_the_card(card: Card, tmp_path: Path) -> None:
    if card.weights is None:
        pytest.skip(f"{card.name} has no weights")
    assert card.weights.stat().st_size <= 20 * MEGABYTE
    assert zoo.weights_of(card)
    broken = shutil.copytree(card.folder, tmp_path / card.name)
    content = bytearray((broken / zoo.WEIGHTS).read_bytes())
    content[-1] ^= 1
    (broken / zoo.WEIGHTS).write_bytes(content)
    with pytest.raises(UserError, match="checksum"):
        zoo.load(Card.of(broken), "torch", "cpu")


def test_the_shelf_says_where_its_code_is() -> None:
    told = (SHIPPED / "README.md").read_text()
    for card in on(SHIPPED).values():
        line = next(line for line in told.splitlines() if f"({card.name}/README.md)" in line)
        module = method_named(str(card.entries["method"])).__module__
        assert f"`{module.rpartition('.')[2]}.py`" in line, card.name


def test_all_weights_together_stay_small() -> None:
    assert sum(card.weights.stat().st_size for card in CARDS.values() if card.weights) <= 60 * MEGABYTE


def test_each_kind_has_at_most_one_default() -> None:
    defaults = [card.kind for card in CARDS.values() if card.entries.get("default")]
    assert len(defaults) == len(set(defaults))


# The facts


def test_facts_are_those_of_the_card(restorer: Restorer) -> None:
    facts = restorer.facts
    assert facts.card["summary"]
    assert facts.kind == facts.card["kind"]
    assert facts.multiple >= 1
    assert facts.least >= 1
    assert 0 < facts.bound <= 0.02
    assert facts.rate is None or facts.kind == "audio"
    assert facts.context is None or facts.piece > 2 * facts.context, "most of a piece would be thrown away"


def test_knobs_are_sound(restorer: Restorer) -> None:
    names = [knob.name for knob in restorer.facts.knobs]
    assert len(names) == len(set(names))
    assert not {"strength", "seed", "rate", "start", "top", "left", "survey"} & set(names)
    for knob in restorer.facts.knobs:
        assert knob.low <= knob.default <= knob.high
        assert knob.low < knob.high
        assert 0 < knob.step <= knob.high - knob.low
        assert knob.help.strip()
        assert not knob.choices or (knob.low, knob.high) == (0, len(knob.choices) - 1)


# The laws


@pytest.mark.parametrize("side", SIDES)
def test_any_small_size_keeps_its_shape(restorer: Restorer, side: int) -> None:
    sides = (side,) if restorer.facts.kind == "audio" else (side, 34 - side)
    noisy = signal(restorer.facts, sides)
    clean = restored(restorer, noisy)
    assert clean.shape == noisy.shape
    assert clean.dtype == np.float32
    assert np.isfinite(clean).all()


def test_other_numbers_of_channels_keep_their_shape(restorer: Restorer) -> None:
    for channels in (1, 2) if restorer.facts.kind == "audio" else (1, 3):
        if restorer.facts.kind == "picture" or restorer.facts.channels in (None, 1, channels):
            noisy = np.repeat(signal(restorer.facts, sides_of(restorer.facts, 30))[:1], channels, 0)
            assert restored(restorer, noisy).shape == noisy.shape


def test_it_makes_a_difference(restorer: Restorer) -> None:
    noisy = signal(restorer.facts, sides_of(restorer.facts, 60))
    assert np.abs(restored(restorer, noisy) - noisy).mean() > 1e-3


def test_one_alone_is_as_one_among_many(restorer: Restorer) -> None:
    many = batch_of(restorer.facts, 3)
    together = direct(restorer, many)
    apart = torch.cat([direct(restorer, one[None]) for one in many])
    assert together.shape == many.shape
    assert together.dtype == torch.float32
    assert (together - apart).abs().max() < 1e-4


def test_the_input_is_not_written_to(restorer: Restorer) -> None:
    batch = batch_of(restorer.facts, 2)
    before = batch.clone()
    direct(restorer, batch)
    assert torch.equal(batch, before)


def test_the_same_seed_gives_the_same_again(restorer: Restorer) -> None:
    noisy = signal(restorer.facts, sides_of(restorer.facts, 50))
    once, again, other = (restored(restorer, noisy, Options(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert np.array_equal(once, other) != restorer.facts.seeded


def test_silence_stays_silent_and_a_constant_stays_near(restorer: Restorer) -> None:
    facts = restorer.facts
    sides = sides_of(facts, 70)
    if facts.kind == "audio":
        silence = np.zeros((channels_of(facts, 2), *sides), np.float32)
        assert np.abs(restored(restorer, silence)).max() < SILENT
        return
    for level in (0.0, 0.25, 0.6, 1.0):
        flat = np.full((channels_of(facts, 3), *sides), level, np.float32)
        assert np.abs(restored(restorer, flat) - level).max() < LEVELS / 255


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(restorer: Restorer, bad: float) -> None:
    noisy = signal(restorer.facts, sides_of(restorer.facts, 20))
    noisy[0, -1] = bad
    with pytest.raises(BadFile, match="not numbers"):
        restored(restorer, noisy)


def test_in_pieces_it_is_the_whole_within_the_bound(restorer: Restorer) -> None:
    """In at least four pieces; the bound is the one that the facts promise, of full scale."""
    facts = restorer.facts
    if facts.context is None:
        pytest.skip(f"{facts.name} sees the whole signal at once")
    piece = smaller_piece(facts)
    sides = (3 * piece + 101,) if facts.kind == "audio" else (piece + facts.context + 70, piece + 33)
    noisy, told = signal(facts, sides), list[float]()
    whole = restored(restorer, noisy, Options(piece=10**9))
    pieces = restored(restorer, noisy, Options(piece=piece), told.append)
    assert len(told) >= 4
    assert np.abs(pieces - whole).max() <= facts.bound


@pytest.mark.parametrize(("name", "engine"), [run for run in RUNS if CARDS[run[0]].kind == "picture"])
def test_passes_in_pieces_are_the_whole_within_the_bound(name: str, engine: zoo.Engine) -> None:
    restorer = given(name, engine)
    if not restorer.facts.takes_passes:
        pytest.skip(f"{name} draws by place, and takes one pass only")
    piece = smaller_piece(restorer.facts)
    noisy = signal(restorer.facts, (piece + 70, piece + 33))
    whole, pieces = (restored(restorer, noisy, Options(piece=size, passes=3)) for size in (10**9, piece))
    assert np.abs(pieces - whole).max() <= restorer.facts.bound
    assert not np.array_equal(whole, restored(restorer, noisy, Options(piece=10**9)))


def smaller_piece(facts: Facts) -> int:
    if facts.kind != "audio":
        return max(LEAST_PIECE, min(facts.piece, 96))
    scale = 1.0 if facts.rate else rate_of(facts) / 48_000
    return int(max(LEAST_PIECE, min(facts.piece * scale, rate_of(facts))))


def test_strength_is_linear(restorer: Restorer) -> None:
    noisy = signal(restorer.facts, sides_of(restorer.facts, 40))
    none, some, all_ = (restored(restorer, noisy, Options(strength=strength)) for strength in (0, 0.3, 1))
    assert np.array_equal(none, noisy)
    assert np.allclose(some, noisy + 0.3 * (all_ - noisy), atol=1e-6)


def test_every_knob_works_to_its_ends(restorer: Restorer) -> None:
    noisy = signal(restorer.facts, sides_of(restorer.facts, 24))
    for knob in restorer.facts.knobs:
        for value in (knob.low, knob.high):
            clean = restored(restorer, noisy, Options(knobs={knob.name: value}))
            assert np.isfinite(clean).all(), f"{knob.name} = {value}"
            assert np.abs(clean).max() < 3, f"{knob.name} = {value}"


def test_every_knob_does_something(restorer: Restorer) -> None:
    noisy = signal(restorer.facts, sides_of(restorer.facts, 60))
    for knob in restorer.facts.knobs:
        low, high = (restored(restorer, noisy, Options(knobs={knob.name: value})) for value in (knob.low, knob.high))
        assert not np.array_equal(low, high), knob.name


@pytest.mark.parametrize("name", [name for name, engine in RUNS if engine == "onnx"])
def test_engines_agree(name: str) -> None:
    pytest.importorskip("onnxruntime", reason="no ONNX Runtime here")
    pytest.importorskip("onnxscript", reason="graphs are made by onnxscript, which is not here")
    here, there = loaded(name, "torch"), loaded(name, "onnx")
    noisy = signal(here.facts, sides_of(here.facts, 83))
    assert np.abs(restored(here, noisy) - restored(there, noisy)).max() <= ENGINES_AGREE


# A new model is one module and one folder


MODULE = '''
from denoise.methods.method import Method, method
from denoise.restorer import Knob
import torch


@method("paper_of_tomorrow")
class PaperOfTomorrow(Method):
    """Multiplies by what it has learnt."""

    channels = None
    knobs = (Knob("times", 1, 1, 4, 1, "How often."),)

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor([start]))

    def forward(self, noisy, survey=None, times=1.0):
        return noisy * self.factor**times
'''

CARD = """
name = "tomorrow"
kind = "picture"
method = "paper_of_tomorrow"
summary = "Halves."
licence = "MIT"
sha256 = "{sha256}"

[network]
start = 3.0

[facts]
piece = 100
"""


@pytest.fixture
def tomorrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One module where the methods are, one folder where the models are."""
    import hashlib
    import sys

    from safetensors.torch import save_file

    import denoise.methods
    from denoise.methods.method import REGISTRY

    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "paper_of_tomorrow.py").write_text(MODULE)
    folder = tmp_path / "models" / "tomorrow"
    folder.mkdir(parents=True)
    save_file({"factor": torch.tensor([0.5])}, folder / zoo.WEIGHTS)
    digest = hashlib.sha256((folder / zoo.WEIGHTS).read_bytes()).hexdigest()
    (folder / zoo.CARD).write_text(CARD.format(sha256=digest))
    monkeypatch.setattr(denoise.methods, "__path__", [*denoise.methods.__path__, str(tmp_path / "methods")])
    monkeypatch.setenv("DENOISE_MODELS", str(tmp_path / "models"))
    yield tmp_path
    REGISTRY.pop("paper_of_tomorrow", None)
    sys.modules.pop("denoise.methods.paper_of_tomorrow", None)


def test_a_new_model_is_found_loaded_and_run(tomorrow: Path) -> None:
    assert "tomorrow" in zoo.cards()
    assert set(on(SHIPPED)) <= set(zoo.cards())
    restorer = zoo.load("tomorrow", device="cpu")
    assert restorer.facts.piece == 100
    assert restorer.facts.knobs[0].name == "times"
    picture = Picture(np.full((150, 210, 3), 200, np.uint8), 255)
    assert (restore_picture(picture, restorer) == 100).all()
    assert (restore_picture(picture, restorer, Options(knobs={"times": 2})) == 50).all()


def test_the_commands_know_a_new_model(tomorrow: Path) -> None:
    from PIL import Image
    from typer.testing import CliRunner

    from denoise.cli import app

    listed = CliRunner().invoke(app, ["models"])
    assert listed.exit_code == 0
    assert "tomorrow" in listed.stdout
    assert "--set times" in CliRunner().invoke(app, ["models", "tomorrow"]).stdout
    Image.new("RGB", (40, 30), (200, 100, 50)).save(tomorrow / "photo.png")
    words = ["clean", str(tomorrow / "photo.png"), "-o", str(tomorrow / "out"), "--model", "tomorrow"]
    assert CliRunner().invoke(app, [*words, "--set", "times=2"]).exit_code == 0
    with Image.open(tomorrow / "out" / "photo.png") as image:
        assert image.getpixel((7, 9)) == (50, 25, 12)


def test_a_new_model_gets_a_graph(tomorrow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="no ONNX Runtime here")
    pytest.importorskip("onnxscript", reason="graphs are made by onnxscript, which is not here")
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tomorrow / "cache"))
    picture = Picture(np.full((31, 47, 3), 200, np.uint8), 255)
    assert (restore_picture(picture, zoo.load("tomorrow", "onnx", "cpu")) == 100).all()
