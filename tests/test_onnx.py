"""Graphs: what ONNX Runtime computes is what PyTorch computes, in one file, and nobody is told otherwise."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from shelf import denoise as denoise_command
from shelf import photo
from torch import Tensor, nn

import denoise
from denoise import seeds, zoo
from denoise.errors import UserError
from denoise.methods.idf import IDF
from denoise.methods.method import Method, find, method
from denoise.restorer import Knob, Restorer
from denoise.run import Options, restore_picture, restore_sound
from denoise.signals import Audio, Picture

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="the exporter is not installed")

from denoise.onnx import export, session, verify  # noqa: E402
from denoise.onnx.label import MAKERS, label, sources  # noqa: E402
from denoise.onnx.session import OnnxRestorer  # noqa: E402

pytestmark = pytest.mark.timeout(600)  # one graph is made of IDF, and a busy machine is slow at that
CLOSE = 1e-4


def card_of(folder: Path, made: str, network: str = "", more: str = "", weights: bytes = b"") -> zoo.Card:
    """A model folder around a method."""
    folder.mkdir(parents=True, exist_ok=True)
    stated = ""
    if weights:
        (folder / zoo.WEIGHTS).write_bytes(weights)
        stated = f'sha256 = "{hashlib.sha256(weights).hexdigest()}"\n'
    (folder / zoo.CARD).write_text(
        f'name = "{folder.name}"\nkind = "{find(made).kind}"\nmethod = "{made}"\nlicence = "MIT"\n{stated}{more}\n'
        f"[network]\n{network}\n"
    )
    return zoo.Card.of(folder)


def weights_of(model: nn.Module) -> bytes:
    return save({name: value.contiguous() for name, value in model.state_dict().items()})


def waves(height: int, width: int, seed: int = 0) -> Tensor:
    """Soft colours and noise, (1, 3, H, W) in 0..1.

    Clear of grey: there the direction of a colour, on which IDF's filters depend, is what rounding makes of it, and
    with weights that were never trained PyTorch itself is off by 0.001 after ten iterations.
    """
    at = torch.arange(height)[:, None] / 9 + torch.arange(width) / 13
    clean = torch.stack([0.7 - 0.2 * colour + 0.15 * torch.sin(at * (1 + colour / 4) + seed) for colour in range(3)])
    return (clean + 0.1 * seeds.normal_like(clean, seed)).clamp(0, 1)[None]


def apart(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


# Small methods, quick to export


@method("toy_blend")
class Blend(Method):
    """A convolution and a knob."""

    knobs = (Knob("amount", 0.5, 0, 1, 0.1, "How much of it."), Knob("unused", 0, 0, 3, 1, "Does nothing."))
    context = 1

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bias = bias

    def forward(self, noisy: Tensor, survey: Any = None, amount: Any = 0.5, unused: Any = 0.0) -> Tensor:
        restored: Tensor = noisy + amount * self.conv(noisy) + self.bias
        return restored


class Wrong(nn.Module):
    def __init__(self, inner: Blend) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, noisy: Tensor, amount: Tensor, unused: Tensor) -> Tensor:
        return self.inner(noisy, None, amount, unused) + 3e-4


@method("toy_liar")
class Liar(Blend):
    """Its graph is a little off."""

    def graph(self) -> nn.Module:
        return Wrong(self)


@method("toy_locked")
class Locked(Method):
    no_graph = "it is compiled for the processor"

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        return noisy


@method("toy_stubborn")
class Stubborn(Method):
    """Decides in Python by what is in the picture, which no graph can hold."""

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        return noisy * 2 if float(noisy.mean()) > 0.5 else noisy


@method("toy_dither")
class Dither(Method):
    """Noise that belongs to its place."""

    seeded = True

    def forward(self, noisy: Tensor, survey: Any = None, seed: Any = 0, top: Any = 0, left: Any = 0) -> Tensor:
        return 0.5 * noisy + 0.1 * seeds.normal(seed, seeds.located(noisy, top, left))


@method("toy_echo")
class Echo(Method):
    """Sound at any rate, all channels together."""

    kind = "audio"
    channels = None
    piece = 3000
    context = 1

    def forward(self, noisy: Tensor, survey: Any = None, rate: Any = 48000.0) -> Tensor:
        before = torch.nn.functional.pad(noisy, (1, 0))[..., :-1]
        return 0.5 * (noisy + before) * (rate / 48000.0) + 0.1 * noisy.mean(1, keepdim=True)


@method("toy_level")
class Level(Method):
    """Sound by its peak, which is that of all of it."""

    kind = "audio"
    channels = None
    rate = 8000
    piece = 3000
    surveys = True

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        return torch.stack([piece.abs().amax().view(1, 1) for piece in pieces]).amax(0)

    def forward(self, noisy: Tensor, survey: Any = None) -> Tensor:
        return noisy / (noisy.abs().amax() if survey is None else survey[:, :, None])

    def graph(self) -> nn.Module:
        return Levelled()


class Levelled(nn.Module):
    def forward(self, noisy: Tensor, survey: Tensor) -> tuple[Tensor, Tensor]:
        here = noisy.abs().flatten(1).amax(1, keepdim=True)
        return noisy / torch.where(survey > 0, survey, here)[:, :, None], torch.maximum(survey, here)


@pytest.fixture(scope="module")
def blend(tmp_path_factory: pytest.TempPathFactory) -> zoo.Card:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return card_of(tmp_path_factory.mktemp("models") / "blend", "toy_blend", weights=weights_of(Blend()))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return session.cache_folder()


# IDF with random weights


@pytest.fixture(scope="module")
def idf_card(tmp_path_factory: pytest.TempPathFactory) -> zoo.Card:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = weights_of(IDF(hidden=8))
    return card_of(tmp_path_factory.mktemp("models") / "idf-tiny", "idf", "hidden = 8\nenough = 3.0", weights=weights)


@pytest.fixture(scope="module")
def idf_graph(idf_card: zoo.Card, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export.export_model(idf_card, tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def ours(idf_card: zoo.Card, idf_graph: Path) -> OnnxRestorer:
    return OnnxRestorer.opened(idf_graph, idf_card, "cpu", 1)


@pytest.fixture(scope="module")
def theirs(idf_card: zoo.Card) -> zoo.TorchRestorer:
    return zoo.TorchRestorer.of(idf_card)


@pytest.mark.parametrize(("height", "width"), [(3, 3), (3, 90), (24, 31), (101, 67), (64, 128), (200, 7)])
def test_pictures_of_any_size(ours: OnnxRestorer, theirs: zoo.TorchRestorer, height: int, width: int) -> None:
    noisy = waves(height, width)
    assert apart(ours(noisy), theirs(noisy)) <= CLOSE


@pytest.mark.parametrize("count", range(1, 11))
def test_any_number_of_iterations(ours: OnnxRestorer, theirs: zoo.TorchRestorer, count: int) -> None:
    noisy = waves(37, 50, count)
    assert apart(ours(noisy, iterations=count), theirs(noisy, iterations=count)) <= CLOSE
    statistics = ours.survey([noisy], iterations=count)
    assert statistics.shape == (1, count, 8)
    assert apart(statistics, theirs.survey([noisy], iterations=count)) <= CLOSE


def test_each_picture_gets_the_iterations_that_it_needs(ours: OnnxRestorer, theirs: zoo.TorchRestorer) -> None:
    tint = waves(33, 40).mean((2, 3), keepdim=True)
    pictures = [tint + share * (waves(33, 40, seed) - tint) for seed, share in enumerate((0.02, 0.1, 0.3, 0.6, 1.0))]
    counts = [ours.survey([picture]).shape[1] for picture in pictures]
    assert counts == [theirs.survey([picture]).shape[1] for picture in pictures]
    assert len(set(counts)) > 1, "else this shows nothing"
    assert apart(ours(torch.cat(pictures)), theirs(torch.cat(pictures))) <= CLOSE


@pytest.mark.parametrize("count", [1, 4, 7, 10])
def test_a_survey_is_followed(ours: OnnxRestorer, theirs: zoo.TorchRestorer, count: int) -> None:
    noisy = waves(41, 30)
    survey = theirs.survey([0.3 * waves(64, 64, 1)], iterations=count)
    restored = ours(noisy, survey, iterations=3)
    assert apart(restored, theirs(noisy, survey, iterations=3)) <= CLOSE
    assert apart(restored, ours(noisy, iterations=count)) > 10 * CLOSE, "the survey is of another picture"


@pytest.mark.parametrize("iterations", [0, 3])
def test_the_runner_does_the_same_in_tiles(ours: OnnxRestorer, theirs: zoo.TorchRestorer, iterations: int) -> None:
    picture = Picture(waves(170, 230)[0].permute(1, 2, 0).contiguous().numpy(), 1.0)
    options = Options(piece=80, knobs={"iterations": iterations})
    shares: list[float] = []
    restored = restore_picture(picture, ours, options, shares.append)
    assert len(shares) > 4, "it was to be cut"
    assert np.abs(restored - restore_picture(picture, theirs, options)).max() <= CLOSE
    assert np.abs(restored - picture.pixels).max() > 0.05, "something was done"


def test_the_graph_is_one_file_that_says_what_it_is(idf_card: zoo.Card, idf_graph: Path, ours: OnnxRestorer) -> None:
    import onnx

    assert [path.name for path in idf_graph.parent.iterdir()] == ["idf-tiny.onnx"]
    content = idf_graph.read_bytes()
    assert onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]) is not None
    said = session.said_by(ours.session)
    assert said["name"] == "idf-tiny"
    assert said["licence"] == "MIT"
    assert said["sha256"] == idf_card.entries["sha256"]
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == int(said["opset"]) >= 18
    assert json.loads(said["facts"])["least"] == 3
    assert str(Path(denoise.__file__).parent).encode() not in content, "where it was made is nobody's business"


def test_inputs_are_named_and_sizes_are_free(ours: OnnxRestorer) -> None:
    shapes = {name: put.shape for name, put in ours.inputs.items()}
    assert shapes == {
        "noisy": [1, 3, "height", "width"],
        "survey": [1, "rows1", 8],
        "strength": [],
        "iterations": [],
    }


def test_the_file_says_what_each_input_is(ours: OnnxRestorer) -> None:
    said = session.said_by(ours.session)
    told = json.loads(said["inputs"])
    assert {name: put["shape"] for name, put in told.items()} == {name: put.shape for name, put in ours.inputs.items()}
    assert {put["type"] for put in told.values()} == {"float32"}
    assert {name: put["default"] for name, put in told.items() if "default" in put} == {"strength": 1, "iterations": 0}
    assert (told["iterations"]["low"], told["iterations"]["high"]) == (0, 10)
    assert {key: said[key] for key in ("kind", "rate", "multiple", "least", "precision")} == {
        "kind": "picture",
        "rate": "any",
        "multiple": "1",
        "least": "3",
        "precision": "fp32",
    }


def test_facts_are_those_of_the_other_engine(ours: OnnxRestorer, theirs: zoo.TorchRestorer) -> None:
    assert ours.facts == theirs.facts
    assert ours.engine == "onnx"


def test_strength_is_in_the_graph(ours: OnnxRestorer) -> None:
    noisy = waves(20, 30)
    none, half, full = (ours(noisy, strength=share, iterations=4) for share in (0, 0.5, 1))
    assert apart(none, noisy) <= 1e-6
    assert apart(half, (noisy + full) / 2) <= 1e-6
    assert apart(full, noisy) > 0.05


# Any method


@pytest.fixture(scope="module")
def blend_graph(blend: zoo.Card, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export.export_model(blend, tmp_path_factory.mktemp("kit"))


def test_a_knob_is_an_input(blend: zoo.Card, blend_graph: Path) -> None:
    made, other, noisy = OnnxRestorer.opened(blend_graph, blend, "cpu"), zoo.TorchRestorer.of(blend), waves(15, 22)
    for amount in (0.0, 0.5, 1.0):
        assert apart(made(noisy, amount=amount), other(noisy, amount=amount)) <= 1e-6
    assert apart(made(noisy), made(noisy, amount=0.5)) == 0
    assert apart(made(noisy), made(noisy, amount=1.0)) > 0.01
    with pytest.raises(TypeError, match="no input called amuont"):
        made(noisy, amuont=1.0)


def test_noise_belongs_to_its_seed_and_place(tmp_path: Path) -> None:
    card = card_of(tmp_path / "dither", "toy_dither")
    made = OnnxRestorer.opened(export.export_model(card, tmp_path), card, "cpu")
    picture = Picture(np.full((150, 170, 3), 0.5, np.float32), 1.0)

    def restored(restorer: Restorer, seed: int, piece: int) -> NDArray[Any]:
        return restore_picture(picture, restorer, Options(seed=seed, piece=piece))

    whole = restored(made, 9, 200)
    assert np.abs(whole - restored(made, 9, 64)).max() <= 1e-5
    assert np.abs(whole - restored(zoo.TorchRestorer.of(card), 9, 200)).max() <= 1e-5
    assert np.abs(whole - restored(made, 8, 200)).max() > 0.1


def test_sound_of_any_length_rate_and_number_of_channels(tmp_path: Path) -> None:
    card = card_of(tmp_path / "echo", "toy_echo")
    made = OnnxRestorer.opened(export.export_model(card, tmp_path), card, "cpu")
    for channels, length in ((1, 12_345), (2, 700), (5, 1)):
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, (channels, length)).astype(np.float32)
        sound = Audio.from_array(samples, 24_000)
        one, other = (
            np.concatenate(list(restore_sound(sound, restorer)), 1) for restorer in (made, zoo.TorchRestorer.of(card))
        )
        assert one.shape == samples.shape
        assert np.abs(one - other).max() <= 1e-6


def test_a_sound_in_many_blocks_has_one_survey(tmp_path: Path) -> None:
    card = card_of(tmp_path / "level", "toy_level")
    made = OnnxRestorer.opened(export.export_model(card, tmp_path), card, "cpu")
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 10_000)).astype(np.float32)
    sound = Audio.from_array(samples, 8000)
    restored = np.concatenate(list(restore_sound(sound, made)), 1)
    assert np.abs(restored - samples / np.abs(samples).max()).max() <= 1e-6


def test_a_graph_that_differs_is_refused_and_not_left_behind(tmp_path: Path) -> None:
    card = card_of(tmp_path / "liar", "toy_liar", weights=weights_of(Liar()))
    with pytest.raises(UserError, match=r"^liar: its ONNX graph differs from PyTorch by 3\.0e-04 of full scale"):
        export.export_model(card, tmp_path / "kit")
    assert list((tmp_path / "kit").iterdir()) == []


@pytest.mark.parametrize("error", [float("nan"), float("inf"), 1.1e-4])
def test_the_largest_difference_counts(
    blend: zoo.Card, blend_graph: Path, monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    found = iter([0.0, 0.0, error] + 100 * [0.0])
    monkeypatch.setattr(verify, "difference", lambda one, other: next(found))
    with pytest.raises(UserError, match="differs from PyTorch"):
        verify.verify(blend_graph, blend, zoo.TorchRestorer.of(blend))


def test_verification_sees_every_setting(blend: zoo.Card) -> None:
    facts = zoo.TorchRestorer.of(blend).facts
    assert list(verify.settings(facts)) == [{"amount": 0.5, "unused": 0.0}, {"amount": 0.6, "unused": 1.0}]
    assert list(verify.settings(replace(facts, seeded=True)))[1] == {
        "amount": 0.6,
        "unused": 1.0,
        "seed": 7,
        "top": 7,
        "left": 7,
    }


@pytest.mark.parametrize(
    ("made", "why"),
    [("toy_locked", "it is compiled for the processor"), ("toy_stubborn", "PyTorch cannot export it")],
)
def test_a_method_without_a_graph_says_so(tmp_path: Path, made: str, why: str) -> None:
    card = card_of(tmp_path / "model", made)
    with pytest.raises(UserError, match=rf"^model has no ONNX graph: {why}; use --engine torch\.$"):
        zoo.load(card, "onnx", "cpu")
    assert not list(tmp_path.rglob("*.onnx"))


# Where the graph comes from


@pytest.fixture
def written(blend_graph: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The graphs that were made. That takes seconds, so here one of the same network is signed anew."""
    import onnx

    names: list[str] = []

    def write(card: zoo.Card, target: Path, *_: object) -> None:
        graph = onnx.load(blend_graph)
        onnx.helper.set_model_props(graph, label(card, zoo.TorchRestorer.of(card).facts))
        target.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(graph, target)
        names.append(target.name)

    monkeypatch.setattr(export, "write_graph", write)
    return names


def another(folder: Path, network: str = "", more: str = "", seed: int = 1) -> zoo.Card:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return card_of(folder / "blend", "toy_blend", network, more, weights_of(Blend()))


def test_the_first_call_makes_the_graph_and_the_next_ones_take_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, noisy = another(tmp_path), waves(9, 9)
    first = zoo.load(card, "onnx", "cpu")
    (path,) = cache.iterdir()
    assert path.name.startswith("blend-")
    monkeypatch.setattr(export, "write_graph", lambda *_: pytest.fail("it is there already"))
    assert apart(zoo.load(card, "onnx", "cpu")(noisy), first(noisy)) == 0
    assert apart(first(noisy), zoo.load(card)(noisy)) <= 1e-6


@pytest.mark.parametrize("change", [{"seed": 2}, {"network": "bias = 0.25"}, {"more": "[facts]\npiece = 64"}])
def test_what_changes_the_result_makes_another_graph(tmp_path: Path, written: list[str], change: Any) -> None:
    OnnxRestorer.of(another(tmp_path), "cpu")
    OnnxRestorer.of(another(tmp_path, **change), "cpu")
    assert len(set(written)) == 2


def test_new_code_makes_another_graph(tmp_path: Path, written: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    OnnxRestorer.of(another(tmp_path), "cpu")
    monkeypatch.setattr(session, "code_digest", lambda: "0" * 64)
    OnnxRestorer.of(another(tmp_path), "cpu")
    assert len(set(written)) == 2


def test_words_in_the_card_make_none(tmp_path: Path, written: list[str]) -> None:
    OnnxRestorer.of(another(tmp_path), "cpu")
    told = OnnxRestorer.of(another(tmp_path, more='summary = "Told anew."'), "cpu")
    assert told.facts.card["summary"] == "Told anew."
    assert len(written) == 1


def test_the_code_is_read_and_not_its_version() -> None:
    folder = Path(denoise.__file__).parent
    read = {path.relative_to(folder).as_posix() for maker in MAKERS for path in sources(folder / maker)}
    assert {"seeds.py", "methods/idf.py", "networks/idf.py", "networks/idf_loop.py", "onnx/export.py"} <= read


def test_a_graph_in_the_models_folder_comes_first(tmp_path: Path, cache: Path, written: list[str]) -> None:
    card = another(tmp_path)
    export.write_graph(card, card.folder / session.GRAPH)
    assert OnnxRestorer.of(card, "cpu").graph == card.folder / session.GRAPH
    assert not cache.exists()


def test_a_graph_of_other_weights_is_passed_over(tmp_path: Path, cache: Path, written: list[str]) -> None:
    card = another(tmp_path)
    export.write_graph(card, card.folder / session.GRAPH)
    assert OnnxRestorer.of(another(tmp_path, seed=2), "cpu").graph.parent == cache


def test_a_broken_graph_is_named(tmp_path: Path, written: list[str]) -> None:
    made = OnnxRestorer.of(another(tmp_path), "cpu")
    made.graph.write_bytes(b"not a graph")
    with pytest.raises(UserError, match=r"blend-.*\.onnx: ONNX Runtime cannot read it .*; delete it"):
        OnnxRestorer.of(another(tmp_path), "cpu")


@pytest.mark.parametrize("package", ["onnxscript", "onnx"])
def test_a_missing_exporter_is_named(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"^blend: .*that needs {package}: pip install 'denoise-kit\[export\]'"):
        zoo.load(another(tmp_path), "onnx", "cpu")
    assert not cache.exists()


def test_a_missing_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"^--engine onnx needs ONNX Runtime: pip install 'denoise-kit\[cpu\]'"):
        zoo.load(another(tmp_path), "onnx", "cpu")


# What really does the work


def test_the_provider_is_the_one_that_runs(blend: zoo.Card, blend_graph: Path) -> None:
    made = OnnxRestorer.opened(blend_graph, blend, "cpu")
    assert made.providers == made.session.get_providers() == ["CPUExecutionProvider"]
    assert made.provider == "CPUExecutionProvider"
    assert made.device == "cpu"
    assert made.to("cpu") is made


def test_auto_names_what_it_got(blend: zoo.Card, blend_graph: Path) -> None:
    made = OnnxRestorer.opened(blend_graph, blend, "auto")
    assert session.PROVIDERS[made.device] == made.session.get_providers()[0]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnxruntime.InferenceSession

    def pretend(graph: Path, options: Any, providers: Iterable[str]) -> Any:
        return real(graph, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", pretend)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )


@pytest.mark.usefixtures("pretended")
def test_what_was_passed_over_is_said(blend: zoo.Card, blend_graph: Path) -> None:
    (note,) = OnnxRestorer.opened(blend_graph, blend, "auto").notes
    assert note.startswith("CUDAExecutionProvider does not work here: CPUExecutionProvider does the work")
    assert OnnxRestorer.opened(blend_graph, blend, "cpu").notes == ()


@pytest.mark.usefixtures("pretended")
def test_a_run_says_it_once(blend: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(blend.folder.parent))
    sources = [photo(tmp_path / name) for name in ("a.png", "b.png")]
    done = denoise_command("clean", *sources, "-o", tmp_path / "out", "--model", "blend", "--engine", "onnx")
    assert done.exit_code == 0, done.stderr
    assert " ".join(done.stderr.split()).count("CUDAExecutionProvider does not work here") == 1


def test_a_run_says_that_a_graph_is_made_first(
    blend: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(blend.folder.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, times in (("first.png", 1), ("again.png", 0)):
        done = denoise_command("clean", photo(tmp_path / name), "--model", "blend", "--engine", "onnx")
        assert done.exit_code == 0, done.stderr
        assert " ".join(done.stderr.split()).count("Making the ONNX graph of blend") == times


def test_bound_to_memory_it_computes_the_same(ours: OnnxRestorer) -> None:
    """As on a card, where what goes in and out stays."""
    noisy, survey = waves(33, 47), ours.survey([waves(64, 64, 1)], iterations=2)
    feeds = {name: ours.value(name, put, survey, {}) for name, put in ours.inputs.items() if name != "noisy"}
    bound, statistics = ours.bound(noisy, feeds)
    assert torch.equal(bound, ours(noisy, survey))
    assert torch.equal(statistics, ours.run(noisy, survey, {})[1])


def test_without_a_card_tensors_stay_where_they_are(ours: OnnxRestorer) -> None:
    assert ours.place == "cpu"


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_wished_on_the_command_line(tmp_path: Path, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        done = denoise_command("clean", photo(tmp_path / "a.png"), "-o", tmp_path / "out", "--threads", threads)
        assert done.exit_code == 0, done.stderr
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("pretended")
def test_a_gpu_that_does_not_work_is_refused(blend: zoo.Card, blend_graph: Path) -> None:
    with pytest.raises(UserError, match=r"^Device 'cuda' cannot be used by ONNX Runtime here"):
        OnnxRestorer.opened(blend_graph, blend, "cuda")
    assert OnnxRestorer.opened(blend_graph, blend, "auto").device == "cpu"
    with pytest.raises(UserError, match="Device 'cuda'"):
        OnnxRestorer.opened(blend_graph, blend, "cpu").to("cuda")


def test_a_gpu_that_is_not_there_is_refused(
    blend: zoo.Card, blend_graph: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if OnnxRestorer.opened(blend_graph, blend, "auto").device != "cpu":
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=r"^Device 'cuda' cannot be used by ONNX Runtime here"):
        OnnxRestorer.opened(blend_graph, blend, "cuda")
    assert capfd.readouterr() == ("", ""), "the sentence is all there is to say"


def test_an_unknown_device_is_refused(blend: zoo.Card, blend_graph: Path) -> None:
    with pytest.raises(UserError, match="Unknown device 'cdua'; did you mean cuda"):
        OnnxRestorer.opened(blend_graph, blend, "cdua")


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_of_pytorch_or_as_wished(blend: zoo.Card, blend_graph: Path, threads: int) -> None:
    def used(wish: int | None) -> int:
        made = OnnxRestorer.opened(blend_graph, blend, "cpu", wish)
        return int(made.session.get_session_options().intra_op_num_threads)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert used(None) == threads, "PyTorch follows OMP_NUM_THREADS"
        assert used(3) == 3
    finally:
        torch.set_num_threads(before)


class Failing:
    def __init__(self, real: Any, message: str) -> None:
        self.real, self.message = real, message

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def run(self, *_: object) -> None:
        raise onnxruntime.capi.onnxruntime_pybind11_state.Fail(self.message)


def test_a_lack_of_memory_is_told_as_such(blend: zoo.Card, blend_graph: Path) -> None:
    """The runner goes on in smaller pieces after a MemoryError."""
    made = OnnxRestorer.opened(blend_graph, blend, "cpu")
    made.session = Failing(made.session, "bfc_arena.cc Failed to allocate memory for requested buffer of size 9")
    with pytest.raises(MemoryError, match="requested buffer"):
        made(waves(9, 9))
    made.session = Failing(made.session, "something else")
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail, match="something else"):
        made(waves(9, 9))


# A whole diffusion in one graph


@pytest.mark.timeout(900)  # tracing it takes a minute on a free machine
def test_a_sampler_is_one_graph_and_draws_the_same_noise(tmp_path: Path) -> None:
    network = """
        rate = 16000
        steps = 3
        spectrogram = { n_fft = 62, hop = 16 }
        process = { kind = "sbve" }
        sampler = { kind = "sde" }
        reading = { predicts = "data_prediction", c_out = "1" }
        backbone = { variant = "ncsnpp_v2", nf = 8, ch_mult = [1, 2], num_res_blocks = 1, attention = [], local = true }
    """
    card = card_of(tmp_path / "bridge", "sgmse", network)
    torch.manual_seed(0)
    model = zoo.method_of(card)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.7 / weight[0].numel() ** 0.5)
    facts = zoo.facts_of(card, model)
    export.save(export.traced(model, facts), label(card, facts), tmp_path / "bridge.onnx")
    ours, theirs = OnnxRestorer.opened(tmp_path / "bridge.onnx", card, "cpu"), zoo.TorchRestorer(model, facts)
    for length, wishes in ((4000, {"steps": 2.0, "seed": 5}), (5001, {"steps": 4.0, "samples": 2.0, "start": 77.0})):
        noisy = verify.signal(facts, (length,), seed=1)
        one, other = (restorer(noisy, None, **wishes) for restorer in (ours, theirs))
        assert apart(one, other) <= 1e-4 * float(other.abs().max())
        assert apart(other, theirs(noisy, None, **wishes | {"seed": 6})) > 1e-2


# What a card may not say


@pytest.mark.parametrize(
    ("kind", "facts", "named"),
    [("audio", "[facts]\nrate = 16000", r"\[facts\] rate = 16000.*8000"), ("picture", "", "kind = 'picture'.*'audio'")],
)
def test_a_card_that_contradicts_its_network_is_refused(tmp_path: Path, kind: str, facts: str, named: str) -> None:
    folder = tmp_path / "level"
    folder.mkdir()
    (folder / zoo.CARD).write_text(f'name = "level"\nkind = "{kind}"\nmethod = "toy_level"\n{facts}\n')
    card = zoo.Card.of(folder)
    with pytest.raises(UserError, match=named):
        zoo.load(card)
