"""Live graphs: frame by frame, what the whole model computes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from shelf import denoise

from denoise import zoo
from denoise.methods.subband import HOP, Subband

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="the exporter is not installed")
onnx_ir = pytest.importorskip("onnx_ir", reason="the exporter is not installed")

from denoise.onnx import live  # noqa: E402
from denoise.onnx.runtime import session_on  # noqa: E402

SIZES = {"fine": 8, "width": 8, "depth": 2, "whole": 8}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> zoo.Card:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Subband(**SIZES)
        for weight in made.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
        content = save(dict(made.state_dict()))
    (folder / zoo.WEIGHTS).write_bytes(content)
    sizes = "\n".join(f"{name} = {size}" for name, size in SIZES.items())
    (folder / zoo.CARD).write_text(
        f'name = "tiny"\nkind = "audio"\nmethod = "subband"\nlicence = "MIT"\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n[network]\n{sizes}\n'
    )
    return zoo.Card.of(folder)


@pytest.fixture(scope="module")
def graph(card: zoo.Card) -> Path:
    return live.export_live(card, card.folder.parent)


class Again:
    """A graph that was made already: that takes seconds."""

    def __init__(self, graph: Path) -> None:
        self.model = onnx_ir.load(graph)

    def save(self, path: str, external_data: bool) -> None:
        onnx_ir.save(self.model, path)


@pytest.fixture
def quickly(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "traced", lambda *_: Again(graph))


def test_strength_mixes_in_what_came_in(card: zoo.Card, graph: Path) -> None:
    made = zoo.method_of(card).live()
    assert made is not None
    noisy = np.random.default_rng(0).normal(0, 0.1, 30 * HOP).astype(np.float32)
    session = session_on(graph, "cpu", 1)
    none, half, whole = (
        np.concatenate(list(live.frames_of(session, noisy, made, strength))) for strength in (0.0, 0.5, 1.0)
    )
    assert np.abs(none[made.late :] - noisy[: -made.late]).max() < 1e-6
    assert np.abs(half - (none + whole) / 2).max() < 1e-6
    assert np.abs(whole - none).max() > 1e-3


def test_the_file_says_how_to_call_it(card: zoo.Card, graph: Path) -> None:
    session = session_on(graph, "cpu", 1)
    said = session.get_modelmeta().custom_metadata_map
    assert (said["hop"], said["late"], said["licence"]) == (str(HOP), str(HOP), "MIT")
    state = json.loads(said["state"])
    inputs = {put.name: put.shape for put in session.get_inputs()}
    assert inputs == {"noisy": [1, HOP], "strength": [], **state}
    assert [put.name for put in session.get_outputs()] == ["restored", *(live.AFTER + name for name in state)]


@pytest.mark.usefixtures("quickly")
def test_a_graph_that_differs_is_not_left_behind(
    card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(live.ALLOWED_IN, "fp32", 1e-9)
    with pytest.raises(live.UserError, match="live graph differs"):
        live.export_live(card, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_must_see_more_is_refused(tmp_path: Path) -> None:
    refused = denoise("export", "spectral", "-o", tmp_path / "kit", "--live")
    assert refused.exit_code == 2
    assert "cannot work frame by frame" in refused.stderr
    assert not (tmp_path / "kit").exists()


@pytest.mark.usefixtures("quickly")
def test_halves_are_enough_and_eight_bits_are_not_tried(card: zoo.Card, tmp_path: Path) -> None:
    path = live.export_live(card, tmp_path, "fp16")
    assert path.name == "tiny-live-fp16.onnx"
    with pytest.raises(live.UserError, match="a live graph comes in fp32 or fp16"):
        live.export_live(card, tmp_path, "int8")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
