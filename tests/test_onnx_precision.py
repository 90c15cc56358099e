"""Graphs with shorter numbers: smaller, near enough, or refused with the number that was measured."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from shelf import denoise
from test_onnx import card_of, waves, weights_of
from torch import Tensor, nn

from denoise import seeds, zoo
from denoise.errors import UserError
from denoise.methods.method import Method, method
from denoise.restorer import Facts

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="the exporter is not installed")

from denoise.measure.first_result import seconds_until  # noqa: E402
from denoise.onnx import export, harm, precision, verify  # noqa: E402
from denoise.onnx.pieces import SIDE, pieces_of  # noqa: E402
from denoise.onnx.session import OnnxRestorer, said_by  # noqa: E402

pytestmark = pytest.mark.timeout(600)
SMOOTH = torch.full((9,), 1 / 9).reshape(1, 1, 3, 3)


@method("toy_smooth")
class SmoothTwice(Method):
    """Two convolutions, as a network has them."""

    context = 2

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate") for _ in range(2))
        for conv in (self.first, self.second):
            conv.weight.data = torch.eye(3)[:, :, None, None] * SMOOTH + 0.001 * torch.randn(3, 3, 3, 3)

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        restored: Tensor = self.second(torch.relu(self.first(noisy)))
        return restored


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> zoo.Card:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = weights_of(SmoothTwice())
    return card_of(tmp_path_factory.mktemp("models") / "smooth", "toy_smooth", weights=weights)


@pytest.fixture(scope="module")
def graphs(card: zoo.Card, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kit")
    pieces = [waves(64, 80, seed) for seed in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harm, "BUDGET_DB", math.inf)
        return {kind: export.export_model(card, folder, kind, pieces) for kind in precision.PRECISIONS}


def kinds_of(graph: Path) -> set[int]:
    return {weights.data_type for weights in onnx.load(graph).graph.initializer if len(weights.dims) == 4}


def test_names_and_labels_say_it(graphs: dict[str, Path], card: zoo.Card) -> None:
    assert [path.name for path in graphs.values()] == ["smooth.onnx", "smooth-fp16.onnx", "smooth-int8.onnx"]
    for kind, path in graphs.items():
        assert said_by(OnnxRestorer.opened(path, card, "cpu").session)["precision"] == kind


def test_weights_are_as_short_as_was_asked_for(graphs: dict[str, Path]) -> None:
    kinds = onnx.TensorProto
    assert {kind: kinds_of(path) for kind, path in graphs.items()} == {
        "fp32": {kinds.FLOAT},
        "fp16": {kinds.FLOAT16},
        "int8": {kinds.INT8},
    }
    for path in graphs.values():
        graph = onnx.load(path)
        onnx.checker.check_model(graph, full_check=True)
        assert {put.type.tensor_type.elem_type for put in [*graph.graph.input, *graph.graph.output]} == {kinds.FLOAT}


@pytest.mark.parametrize(("kind", "apart"), [("fp16", 5e-3), ("int8", 2e-2)])
def test_they_are_near_at_any_size(graphs: dict[str, Path], card: zoo.Card, kind: str, apart: float) -> None:
    short, exact = OnnxRestorer.opened(graphs[kind], card, "cpu"), zoo.TorchRestorer.of(card)
    for height, width in ((17, 90), (64, 64), (101, 3)):
        off = float((short(waves(height, width)) - exact(waves(height, width))).abs().max())
        assert 0 < off < apart


def test_the_runtime_computes_in_whole_numbers(graphs: dict[str, Path], tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(graphs["int8"], options, providers=["CPUExecutionProvider"])
    done = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert done.count("QLinearConv") == 2
    assert "Conv" not in done
    shipped = [node.op_type for node in onnx.load(graphs["int8"]).graph.node]
    assert shipped.count("Conv") == 2, "graphs are not optimised for one runtime"


def test_products_in_loops_are_shortened_too(tmp_path: Path) -> None:
    import onnx_ir as ir

    weights = np.array([[0.5, 0.25], [0.125, 0.5]], np.float32)
    text = """<ir_version: 9, opset_import: ["" : 18]>
    thrice (float[2,2] x) => (float[2,2] y) <float[2,2] w = {0.5, 0.25, 0.125, 0.5}, int64 n = {3}, bool go = {1}> {
        y = Loop(n, go, x) <body = body (int64 i, bool more, float[2,2] h) => (bool on, float[2,2] g) {
            on = Identity(more)
            g = MatMul(h, w)
        }>
    }"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    assert precision.halved(model) == 1
    ir.save(model, tmp_path / "loop.onnx")
    x = np.array([[1, 2], [3, 4]], np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "loop.onnx", providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": x})[0], x @ weights @ weights @ weights, rtol=2e-3)


def test_what_rounding_would_harm_stays(card: zoo.Card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(harm, "BUDGET_DB", -1.0)
    with pytest.raises(UserError, match=r"^smooth: nothing in it can be computed in int8; use another precision, or"):
        export.export_model(card, tmp_path / "kit", "int8", [waves(64, 80)])
    assert not list((tmp_path / "kit").iterdir())


class Uneven(Method):
    """The first convolution does no harm in whole numbers; the second sees large numbers beside the small ones that
    count."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 3, 1, bias=False)
        weight = torch.cat([torch.eye(3), 1000 * torch.eye(3)])
        self.first.weight.data = weight[:, :, None, None]
        self.second.weight.data = torch.cat([torch.eye(3), torch.zeros(3, 3)], 1)[:, :, None, None]

    def forward(self, noisy: Tensor, survey: Tensor | None = None) -> Tensor:
        restored: Tensor = self.second(self.first(noisy - 0.5)) + 0.5
        return restored


def tried(method: Method) -> tuple[zoo.TorchRestorer, list[Tensor], precision.Observed]:
    restorer, pieces = zoo.TorchRestorer(method, Facts("tried", "picture")), [waves(64, 64)]
    return restorer, pieces, export.observed(restorer, pieces)


def test_what_does_harm_stays_and_the_rest_does_not() -> None:
    """Rounded, what comes out of the first and goes into the second is all one number."""
    restorer, pieces, seen = tried(SmoothTwice())
    assert harm.bearable(restorer, pieces, seen)
    restorer, pieces, seen = tried(Uneven())
    assert not harm.bearable(restorer, pieces, seen)


def test_what_one_piece_wins_by_chance_makes_up_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer, _, seen = tried(SmoothTwice())
    ((key, ranges), *_) = seen.items()
    first = restorer.method.get_submodule("first")
    assert precision.key_of(first) == key
    monkeypatch.setattr(harm, "errors_of", lambda *_: [1.0, 4.0])
    found = harm.harm_db(restorer, first, ranges, [], [2.0, 2.0])
    assert found == pytest.approx(10 * math.log10(2)), "half of the error in one piece and twice in another"


def test_most_work_for_least_harm_comes_first() -> None:
    harms, work = {b"a": 0.0, b"b": 0.05, b"c": 0.05, b"d": 1.0}, {b"a": 1.0, b"b": 1.0, b"c": 9.0, b"d": 1e6}
    assert list(harm.affordable(harms, work)) == [b"a", b"c"]


def test_a_trial_leaves_no_trace() -> None:
    restorer, pieces, seen = tried(SmoothTwice())
    before = restorer(pieces[0])
    first = restorer.method.get_submodule("first")
    with harm.in_whole_numbers(first, seen[precision.key_of(first)]):
        assert not torch.equal(restorer(pieces[0]), before)
    assert torch.equal(restorer(pieces[0]), before)


def test_what_is_tried_is_what_the_graph_computes(
    card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harm, "BUDGET_DB", math.inf)
    restorer, pieces = zoo.TorchRestorer.of(card), [waves(64, 80)]
    graph = OnnxRestorer.opened(export.export_model(card, tmp_path, "int8", pieces), card, "cpu")
    seen, (first, second) = export.observed(restorer, pieces), precision.multiplying(restorer.method)
    exact = restorer(pieces[0])
    with (
        harm.in_whole_numbers(first, seen[precision.key_of(first)]),
        harm.in_whole_numbers(second, seen[precision.key_of(second)]),
    ):
        rounded = restorer(pieces[0])
    assert (graph(pieces[0]) - rounded).abs().mean() < 0.2 * (rounded - exact).abs().mean()


def test_what_is_never_used_is_left_alone() -> None:
    method = SmoothTwice()
    method.second = nn.Identity()  # type: ignore[assignment]
    method.unused = nn.Conv2d(3, 3, 1)  # type: ignore[attr-defined]
    assert len(tried(method)[2]) == 1


def test_a_diffusion_is_not_tried_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer, pieces, seen = tried(SmoothTwice())
    drawn = zoo.TorchRestorer(restorer.method, Facts("drawn", "picture", seeded=True))
    assert set(harm.bearable(drawn, pieces, seen)) == set(seen)
    monkeypatch.setattr(harm, "CLEAR_DB", 1000.0)
    assert not harm.bearable(drawn, pieces, seen)


def test_ranges_are_those_that_were_seen() -> None:
    seen = precision.Range()
    seen.see(torch.tensor([0.5, 2.0]))
    seen.see(torch.tensor([-0.5]))
    assert (seen.low, seen.high, int(seen.zero)) == (-0.5, 2.0, 51)
    noise = precision.Range()
    noise.see(seeds.uniform_like(torch.zeros(100_000), 0) - 0.5)
    assert noise.clear_db == pytest.approx(20 * math.log10(255), abs=0.1), "one part in 255, evenly spread"


# As an engine


@pytest.fixture
def eight(card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnnxRestorer:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loaded = zoo.load(card, "int8")
    assert isinstance(loaded, OnnxRestorer)
    return loaded


def test_an_engine_of_whole_numbers_is_made_once_beside_the_other(
    eight: OnnxRestorer, card: zoo.Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (eight.engine, eight.device) == ("int8", "cpu")
    assert said_by(eight.session)["precision"] == "int8"
    assert zoo.load(card, "onnx", "cpu").engine == "onnx"
    monkeypatch.setattr(export, "write_graph", lambda *_: pytest.fail("it is there already"))
    assert len(list(eight.graph.parent.iterdir())) == 2
    assert zoo.load(card, "int8", "cpu").engine == "int8"


def test_it_is_near_and_not_the_same(eight: OnnxRestorer, card: zoo.Card) -> None:
    apart = (eight(waves(50, 60)) - zoo.load(card, device="cpu")(waves(50, 60))).abs().max()
    assert 0 < apart < 2e-2


def test_whole_numbers_are_for_processors(card: zoo.Card) -> None:
    with pytest.raises(UserError, match="--engine int8 is for processors, not for cuda"):
        zoo.load(card, "int8", "cuda")


def test_another_engine_is_refused() -> None:
    with pytest.raises(UserError, match="Unknown engine 'int4'; did you mean int8"):
        zoo.engine_named("int4")


# What is refused


def test_a_graph_in_halves_that_differs_is_refused(
    card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "HALF_ALLOWED", 1e-9)
    with pytest.raises(
        UserError, match=r"differs from PyTorch by \d\.\de-0[3-5] .* 1e-09 is allowed.*--precision fp32"
    ):
        export.export_model(card, tmp_path, "fp16")
    assert not list(tmp_path.iterdir())


def test_a_graph_in_whole_numbers_that_loses_is_refused(
    card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "LOSS_ALLOWED_DB", -5.0)
    with pytest.raises(UserError, match=r"^smooth: in int8 it loses -?\d\.\d\d dB, and -5\.0 dB is allowed"):
        export.export_model(card, tmp_path, "int8", [waves(64, 80)])
    assert not list(tmp_path.iterdir())


class Off:
    """A blur, or the same with an error."""

    def __init__(self, error: float) -> None:
        self.error, self.facts = error, Facts("off", "picture")

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor:
        clean = nn.functional.avg_pool2d(noisy, 5, 1, 2)
        return clean + self.error * seeds.normal_like(clean, 99)


def test_the_loss_is_that_of_the_peak_signal_to_noise_ratio() -> None:
    pieces = [waves(60, 70, seed) for seed in range(2)]
    assert verify.loss_db(Off(0), Off(0), pieces) == 0
    noisy, clean = verify.noisy_again(Off(0), pieces[0], verify.FRESH)
    before = float((Off(0)(noisy) - clean).square().mean())
    found = verify.loss_db(Off(before**0.5), Off(0), pieces[:1])
    assert found == pytest.approx(10 * math.log10(2), abs=0.2), "as much error again"
    assert verify.loss_db(Off(math.nan), Off(0), pieces) == math.inf


def test_noise_is_put_back_where_it_was() -> None:
    piece = waves(60, 70)
    piece[..., :30, :] = Off(0)(piece)[..., :30, :]
    noisy, clean = verify.noisy_again(Off(0), piece, 1)
    assert torch.allclose((noisy - clean).abs(), (piece - clean).abs().clamp(min=verify.LEAST_NOISE), atol=1e-6)
    assert 0.4 < float((noisy > clean).float().mean()) < 0.6
    assert not torch.equal(noisy, verify.noisy_again(Off(0), piece, 2)[0])


def test_another_precision_is_refused(card: zoo.Card, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown precision 'int4'; did you mean int8"):
        export.export_model(card, tmp_path, "int4")


# Pieces


def test_pieces_are_of_the_model_s_kind_and_size(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (300, 100, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "deep" / "a.png")
    soundfile.write(tmp_path / "b.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, 2)), 48_000)
    (piece,) = pieces_of(tmp_path, Facts("p", "picture", channels=3, multiple=8))
    assert piece.shape == (1, 3, SIDE, 104)
    assert torch.equal(piece[0, :, :, :100], torch.from_numpy(pixels[54:246].transpose(2, 0, 1) / np.float32(255)))
    voices = pieces_of(tmp_path, Facts("s", "audio", rate=16_000, channels=1))
    assert [voice.shape for voice in voices] == [(1, 1, 16_000)] * 2
    with pytest.raises(UserError, match="no raw file in it to calibrate with; name a folder with --calibrate"):
        pieces_of(tmp_path, Facts("r", "raw", channels=4))


def test_the_command_does_it(card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(card.folder.parent))
    (tmp_path / "mine").mkdir()
    words = ["export", "smooth", "-o", tmp_path / "kit", "--precision", "int8", "--calibrate", tmp_path / "mine"]
    refused = denoise(*words)
    assert refused.exit_code == 2
    assert "no picture in it to calibrate with" in refused.stderr
    picture = (255 * waves(90, 90)[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "mine" / "a.png")
    done = denoise(*words)
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in (tmp_path / "kit").iterdir()] == ["smooth-int8.onnx"]


def test_golden_vectors_allow_what_the_precision_does(
    card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(card.folder.parent))
    done = denoise("export", "smooth", "-o", tmp_path, "--precision", "fp16", "--golden")
    assert done.exit_code == 0, done.stderr
    golden = json.loads((tmp_path / "smooth-fp16.golden.json").read_text())
    assert golden["tolerance"] == verify.HALF_ALLOWED
    noisy, restored = (arrays_of(part) for part in (golden["noisy"], golden["cases"][0]["restored"]))
    made = OnnxRestorer.opened(tmp_path / "smooth-fp16.onnx", card, "cpu")(torch.from_numpy(noisy)).numpy()
    assert 0 < np.abs(made - restored).max() <= golden["tolerance"]


def arrays_of(part: dict[str, str]) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(part["data"]), "<f4").reshape(part["shape"]).copy()


def test_what_would_be_ignored_is_refused(card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(card.folder.parent))
    for words in (["--calibrate", tmp_path], ["--calibrate", tmp_path, "--precision", "fp16"]):
        done = denoise("export", "smooth", "-o", tmp_path / "kit", *words)
        assert done.exit_code == 2
        assert "--calibrate finds the ranges of --precision int8" in done.stderr
    done = denoise("export", "smooth", "-o", tmp_path / "kit", "--precision", "int8", "--golden")
    assert done.exit_code == 2
    assert "--golden is for fp32 and fp16" in done.stderr
    assert not (tmp_path / "kit").exists()


def test_the_first_result_is_waited_for(graphs: dict[str, Path], card: zoo.Card) -> None:
    shape = (1, 3, 20, 30)
    assert 0 < seconds_until("by_graph", graphs["int8"], *shape, runs=1) < 60
    with pytest.raises(UserError, match=r"by_graph nowhere\.onnx 1 3 20 30 failed: .*NO_SUCHFILE"):
        seconds_until("by_graph", "nowhere.onnx", *shape, runs=1)


def test_the_bench_compares_what_is_exact_enough(
    card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(card.folder.parent))
    monkeypatch.setattr(verify, "HALF_ALLOWED", 1e-9)
    Image.fromarray((255 * waves(90, 90)[0].permute(1, 2, 0).numpy()).astype(np.uint8)).save(tmp_path / "a.png")
    done = denoise("bench", "onnx", "--model", "smooth", "--limit", 1, "--data", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["model"], row["size"]) for row in rows] == [("smooth", "256×256"), ("smooth", "512×512")]
    for row in rows:
        assert row["fp16_s"] is row["fp16_faster"] is None
        for kind in ("fp32", "int8"):
            assert row[f"{kind}_faster"] == pytest.approx(row["torch_s"] / row[f"{kind}_s"], rel=0.3)
    assert "smooth: its ONNX graph differs" in done.stderr


# One size


def test_a_graph_for_one_size(card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(card.folder.parent))
    done = denoise("export", "smooth", "-o", tmp_path, "--static", "40x56")
    assert done.exit_code == 0, done.stderr
    made = OnnxRestorer.opened(tmp_path / "smooth-40x56.onnx", card, "cpu")
    assert made.inputs["noisy"].shape == [1, 3, 40, 56]
    assert float((made(waves(40, 56)) - zoo.TorchRestorer.of(card)(waves(40, 56))).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("size", "why"),
    [("40", "wants HEIGHTxWIDTH, multiples of 1"), ("0x40", "at least 1"), ("40xw", "as in 480x640")],
)
def test_another_size_is_refused(
    card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str, why: str
) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(card.folder.parent))
    refused = denoise("export", "smooth", "-o", tmp_path, "--static", size)
    assert refused.exit_code == 2
    assert why in refused.stderr
    assert not list(tmp_path.iterdir())
