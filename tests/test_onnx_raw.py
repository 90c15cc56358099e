"""A graph for mosaics is told the noise, and what tells it measures as PyTorch does: YOND in either engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from raws import dng, mosaic
from shelf import denoise
from test_onnx import card_of, weights_of

from denoise import zoo
from denoise.methods.yond import Yond
from denoise.run import Options, restore_mosaic
from denoise.signals import SiteNoise

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="the exporter is not installed")

from denoise.onnx import export
from denoise.onnx.session import OnnxRestorer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> zoo.Card:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Yond(4)
        for weight in model.parameters():
            weight.data += 0.03 * torch.randn_like(weight)
    folder = tmp_path_factory.mktemp("models") / "tiny-raw"
    return card_of(folder, "yond", "width = 4", 'summary = "Tiny."\ndefault = true', weights_of(model))


@pytest.fixture(scope="module")
def ours(card: zoo.Card, tmp_path_factory: pytest.TempPathFactory) -> OnnxRestorer:
    return OnnxRestorer.opened(export.export_model(card, tmp_path_factory.mktemp("kit")), card, "cpu", 1)


@pytest.fixture(scope="module")
def theirs(card: zoo.Card) -> zoo.TorchRestorer:
    return zoo.TorchRestorer.of(card)


def test_the_noise_is_an_input_and_nothing_but_the_mosaic_comes_out(ours: OnnxRestorer) -> None:
    assert ours.inputs["survey"].shape == [1, 4, 4]
    assert [put.name for put in ours.session.get_outputs()] == ["restored"]


def test_the_noise_is_measured_alike(ours: OnnxRestorer, theirs: zoo.TorchRestorer) -> None:
    many = torch.stack([torch.from_numpy(np.random.default_rng(n).uniform(0.1, 0.6, (4, 64, 80))) for n in (0, 1)])
    found = ours.survey([many.float()])
    assert found.shape == (2, 4, 4)
    assert torch.allclose(found, theirs.survey([many.float()]), rtol=1e-3, atol=1e-9)
    assert not torch.equal(found[0], found[1])
    assert torch.allclose(ours(many.float()), theirs(many.float(), found), atol=1e-4)


@pytest.mark.parametrize("noise", [None, (SiteNoise(2e-4, 1e-5),) * 4])
@pytest.mark.parametrize("piece", [None, 64])
def test_the_runner_does_the_same(
    ours: OnnxRestorer, theirs: zoo.TorchRestorer, noise: tuple[SiteNoise, ...] | None, piece: int | None
) -> None:
    sites, options = mosaic(200, 260, "GBRG", noise=200), Options(0.7, piece=piece, knobs={"noise": 1.3})
    one, other = (restore_mosaic(sites, restorer, options, noise=noise) for restorer in (ours, theirs))
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 2  # of 15871
    assert np.abs(one.astype(int) - sites.photosites.astype(int)).max() > 100


def test_the_command_does_the_same(card: zoo.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(card.folder.parent))
    raw = dng(tmp_path / "in.dng")
    for engine in ("torch", "onnx"):
        done = denoise("clean", raw, "-o", tmp_path / f"{engine}.dng", "--engine", engine, "--model", "tiny-raw")
        assert done.exit_code == 0, done.stderr
    one, other = (sites_of(tmp_path / f"{engine}.dng") for engine in ("torch", "onnx"))
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 2


def sites_of(path: Path) -> np.ndarray:
    from denoise.media.raw import open_raw

    return open_raw(path).mosaic.photosites
