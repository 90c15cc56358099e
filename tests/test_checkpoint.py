"""Other people's checkpoints: their weights come in, their code stays out."""

from __future__ import annotations

import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from denoise import checkpoint, zoo
from denoise.errors import UserError
from denoise.methods.idf import IDF, OFFICIAL_MEAN, OFFICIAL_STD

OFFICIAL = Path(__file__).parents[2] / "shared" / "oracles" / "image" / "idf"


@pytest.fixture(autouse=True)
def own_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return zoo.own_shelf()


def official_state(hidden: int = 8) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = IDF(hidden=hidden).state_dict()
    return {key.replace("network.", "model."): value for key, value in state.items()}


@pytest.fixture
def lightning_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Saved as the papers' trainers do: with configuration objects of classes that are not here."""
    module = types.ModuleType("somebodys_config")
    made = type("DictConfig", (), {"__module__": "somebodys_config"})
    module.DictConfig = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebodys_config", module)
    config = made()
    config.content = {"depth": 3}
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    path = tmp_path / "official.ckpt"
    content = {
        "state_dict": OrderedDict(official_state()),
        "hyper_parameters": config,
        "optimizer_states": [optimiser.state_dict()],
        "epoch": 3,
    }
    torch.save(content, path)
    return path


def test_tensors_come_in_as_they_were_saved(tmp_path: Path) -> None:
    base = torch.arange(24.0)
    held = {
        "view": base.view(4, 6).t()[1:3],
        "half": torch.ones(3, dtype=torch.float16),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.eye(2)),
    }
    torch.save(held, tmp_path / "held.pt")
    found = checkpoint.read(tmp_path / "held.pt")
    assert set(found) == set(held)
    for name, value in held.items():
        assert torch.equal(found[name], value)
        assert found[name].dtype == value.dtype


def test_classes_of_unknown_code_become_inert(lightning_file: Path) -> None:
    found = checkpoint.read(lightning_file)
    assert isinstance(found["hyper_parameters"], checkpoint.Inert)
    assert found["hyper_parameters"].state == {"content": {"depth": 3}}
    assert found["epoch"] == 3


def test_an_imported_network_restores_like_the_original(lightning_file: Path) -> None:
    folder = checkpoint.import_official(lightning_file, "mine")
    restorer = zoo.load("mine")
    method = IDF(OFFICIAL_MEAN, OFFICIAL_STD, hidden=8)
    method.load_state_dict({key.replace("model.", "network."): v for key, v in official_state().items()})
    picture = torch.rand(1, 3, 12, 17)
    with torch.no_grad():
        assert torch.equal(restorer(picture, iterations=4), method(picture, iterations=4))
    assert folder.parent == zoo.own_shelf()


class Evil:
    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("function", [os.system, eval, exec, open, __import__, torch.load, pickle.loads])
def test_a_file_that_asks_to_run_something_is_refused(tmp_path: Path, function: object) -> None:
    mark = tmp_path / "mark"
    torch.save({"state_dict": official_state(), "trap": Evil(function, f"touch {mark}")}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match="refused"):
        checkpoint.import_official(tmp_path / "evil.ckpt", "evil")
    assert not mark.exists()
    assert not zoo.own_shelf().exists()


def test_a_tensor_that_reaches_outside_its_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "far.pt"
    torch.save({"w": torch.arange(4.0)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    index = next(name for name in parts if name.endswith("data.pkl"))
    parts[index] = parts[index].replace(b"K\x04\x85", b"K\x7f\x85")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match="outside"):
        checkpoint.read(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not a zip"])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="not a PyTorch checkpoint"):
        checkpoint.import_official(tmp_path / "x.ckpt", "x")


def test_a_zip_without_an_index_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
        archive.writestr("hello", "there")
    with pytest.raises(UserError, match="damaged"):
        checkpoint.read(tmp_path / "x.ckpt")


def test_another_architecture_is_told_by_its_keys(tmp_path: Path) -> None:
    save_file({"encoder.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"encoder\.0\.weight"):
        checkpoint.import_official(tmp_path / "other.safetensors", "other")
    state = official_state()
    state["model.block.kernel_predictor.weight"] = torch.zeros(9, 17, 5, 5)
    save_file(state, tmp_path / "wide.safetensors")
    with pytest.raises(UserError, match="kernel_predictor"):
        checkpoint.import_official(tmp_path / "wide.safetensors", "wide")


def test_names_that_are_taken_or_leave_the_shelf_are_refused(lightning_file: Path) -> None:
    checkpoint.import_official(lightning_file, "mine")
    for name in ("mine", "../mine", "", "a/b", ".hidden"):
        with pytest.raises(UserError):
            checkpoint.import_official(lightning_file, name)


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the papers' recorded tensors are not here")
def test_the_released_weights_import_and_denoise_as_recorded() -> None:
    checkpoint.import_official(OFFICIAL / "idf_g_15.safetensors", "released")
    recorded = load_file(OFFICIAL / "idf_g_15_trace.safetensors")
    restored = zoo.load("released")(recorded["noisy01"], iterations=10)
    assert torch.allclose(restored, recorded["denoised01"], atol=1e-4)
