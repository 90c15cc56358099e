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
from shelf import denoise, tone
from speech_oracles import NETWORK, ORACLES, planes, recorded, relative
from speech_oracles import official as speech_official

from denoise import checkpoint, zoo
from denoise.errors import UserError
from denoise.methods.idf import IDF, OFFICIAL_MEAN, OFFICIAL_STD
from denoise.methods.method import Method
from denoise.methods.sgmse import SGMSE
from denoise.methods.storm import CONDITIONS, StoRM
from denoise.networks.ncsnpp import NCSNpp, shaped
from denoise.processes.bridge import SBVE
from denoise.processes.ouve import OUVE

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


# SGMSE and StoRM: files of a Lightning trainer, read by the command

TINY = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1}
SAID = {
    "backbone": "ncsnpp", "sde": "ouve", "theta": 1.7, "sigma_min": 0.04, "sigma_max": 0.4, "N": 20, "sr": 16000,
    "n_fft": 62, "hop_length": 16, "spec_factor": 0.2, "spec_abs_exponent": 0.6, "t_eps": 0.04, "lr": 1e-4,
}  # fmt: skip


def network(seed: int, **shape: object) -> NCSNpp:
    """Tiny, with weights of its own everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = NCSNpp(shaped("ncsnpp", {"attention": (), **TINY, **shape}))
        for weight in made.parameters():
            torch.nn.init.normal_(weight, std=0.1)
    return made


def lightning(
    path: Path,
    networks: dict[str, NCSNpp],
    said: dict[str, object] | None,
    more: dict[str, torch.Tensor] | None = None,
    **around: object,
) -> Path:
    """As the papers' code saves it: a class of theirs among the settings, the running average without names.

    `more` goes into the state; what is empty there goes out of it.
    """
    module = types.ModuleType("sgmse.data_module")
    module.SpecsDataModule = type("SpecsDataModule", (), {"__module__": "sgmse.data_module"})  # type: ignore[attr-defined]
    state = OrderedDict(
        (f"{prefix}.{name}", value) for prefix, net in networks.items() for name, value in net.state_dict().items()
    )
    state |= more or {}
    kept = OrderedDict((name, value) for name, value in state.items() if value.numel())
    content = {"epoch": 3, "pytorch-lightning_version": "2.6.0", "state_dict": kept, "optimizer_states": []} | around
    if said is not None:
        content["hyper_parameters"] = said | {"data_module_cls": module.SpecsDataModule}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "sgmse", types.ModuleType("sgmse"))
        patch.setitem(sys.modules, "sgmse.data_module", module)
        torch.save(content, path)
    return path


def average_of(*networks: NCSNpp, frozen: bool = True) -> dict[str, object]:
    kept = [value for net in networks for name, value in net.named_parameters() if frozen or name != "all_modules.0.W"]
    return {"decay": 0.999, "num_updates": 3, "shadow_params": kept, "collected_params": None}


def imported(path: Path, name: str = "mine") -> Method:
    told = denoise("import", path, "--name", name)
    assert told.exit_code == 0, told.output
    assert str(zoo.own_shelf() / name) in told.output.replace("\n", "")
    return zoo.method_of(zoo.find(name))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_the_running_average_is_what_is_imported(tmp_path: Path) -> None:
    raw, average = network(1), network(2)
    model = imported(lightning(tmp_path / "a.ckpt", {"dnn": raw}, SAID, ema=average_of(average)))
    assert isinstance(model, SGMSE)
    assert same_weights(model.dnn, average)
    assert (model.rate, model.steps, model.last) == (16_000, 20, 0.04)
    assert (model.spectrogram.n_fft, model.spectrogram.factor, model.spectrogram.exponent) == (62, 0.2, 0.6)
    assert model.process == OUVE(1.7, 0.04, 0.4)


def test_in_files_saved_while_evaluating_it_is_the_average_still(tmp_path: Path) -> None:
    """There the state holds the average, and the weights in training lie aside."""
    raw, average = network(1), network(2)
    ema = average_of(average) | {"collected_params": list(raw.parameters())}
    model = imported(lightning(tmp_path / "a.ckpt", {"dnn": average}, SAID, ema=ema))
    assert isinstance(model, SGMSE)
    assert same_weights(model.dnn, average)


def test_an_average_without_the_frozen_tensors_is_read_as_well(tmp_path: Path) -> None:
    raw, average = network(1), network(2)
    model = imported(lightning(tmp_path / "a.ckpt", {"dnn": raw}, SAID, ema=average_of(average, frozen=False)))
    assert isinstance(model, SGMSE)
    average.load_state_dict({"all_modules.0.W": raw.state_dict()["all_modules.0.W"]}, strict=False)
    assert same_weights(model.dnn, average)


def test_an_average_of_another_length_is_told(tmp_path: Path) -> None:
    ema = {"shadow_params": [torch.zeros(1)] * 3}
    told = denoise("import", lightning(tmp_path / "a.ckpt", {"dnn": network(1)}, SAID, ema=ema), "--name", "mine")
    assert told.exit_code == 2
    assert "running average holds 3 tensors" in told.output.replace("\n", " ")


def test_a_file_with_weights_of_a_measure_is_read(tmp_path: Path) -> None:
    """A bridge trained with PESQ in its loss: two tensors more, which the average does not hold."""
    raw, average = network(1), network(2)
    said = SAID | {"backbone": "ncsnpp_v2", "sde": "sbve", "loss_type": "data_prediction", "sampler_type": "ode"}
    more = {"pesq_loss.fbank": torch.ones(3, 4), "pesq_loss.abs_thresh_power": torch.ones(3)}
    path = lightning(tmp_path / "a.ckpt", {"dnn": raw}, said | {"k": 2.6, "c": 0.4}, more, ema=average_of(average))
    model = imported(path)
    assert isinstance(model, SGMSE)
    assert same_weights(model.dnn, average)
    assert isinstance(model.process, SBVE)
    assert model.reading.predicts == "data_prediction"
    assert not model.seeded


def test_what_an_old_file_does_not_say_is_as_it_was_then(tmp_path: Path) -> None:
    model = imported(lightning(tmp_path / "a.ckpt", {"dnn": network(1)}, {"backbone": "ncsnpp", "loss_type": "mse"}))
    assert isinstance(model, SGMSE)
    assert model.process == OUVE(1.5, 0.05, 0.5)
    assert (model.spectrogram.n_fft, model.spectrogram.hop, model.spectrogram.factor) == (510, 128, 0.15)
    assert (model.rate, model.steps, model.last) == (16_000, 30, 0.03)
    assert model.dnn.shape.centered
    wide = imported(
        lightning(tmp_path / "b.ckpt", {"dnn": network(1, pyramids=False)}, {"backbone": "ncsnpp_48k"}), "wide"
    )
    assert isinstance(wide, SGMSE)
    assert (wide.rate, wide.spectrogram.n_fft, wide.spectrogram.hop) == (48_000, 1534, 384)
    assert wide.dnn.shape.divided == "after"


def test_a_file_without_settings_is_taken_as_the_first_paper_s(tmp_path: Path) -> None:
    model = imported(lightning(tmp_path / "a.ckpt", {"dnn": network(1)}, None))
    assert isinstance(model, SGMSE)
    assert same_weights(model.dnn, network(1))


@pytest.mark.parametrize(("condition", "inputs"), [("both", 6), ("noisy", 4), ("post_denoiser", 4)])
def test_both_networks_of_storm_come_in(tmp_path: Path, condition: str, inputs: int) -> None:
    plain = {"inputs": 2, "conditional": False, "divided": "never"}
    raw = {"denoiser_net": network(1, **plain), "score_net": network(2, inputs=inputs)}
    average = (network(3, **plain), network(4, inputs=inputs))
    said = SAID | {"condition": condition, "sde_n": 1000, "weighting_denoiser_to_score": 0.3}
    model = imported(lightning(tmp_path / "a.ckpt", raw, said, ema=average_of(*average)))
    assert isinstance(model, StoRM)
    assert model.score_net is not None
    assert same_weights(model.denoiser_net, average[0])
    assert same_weights(model.score_net, average[1])
    assert model.sees == CONDITIONS[condition]
    assert model.joint == 0.3
    assert model.even
    assert not model.denoiser_net.shape.centered
    assert not model.score_net.shape.centered


def test_one_network_of_storm_comes_in(tmp_path: Path) -> None:
    said = SAID | {"sde_n": 1000, "input_channels": 2, "discriminative": True}
    alone = network(1, inputs=2, conditional=False, divided="never")
    predictor = imported(lightning(tmp_path / "a.ckpt", {"dnn": alone}, said), "predictor")
    assert isinstance(predictor, StoRM)
    assert predictor.score_net is None
    score = imported(lightning(tmp_path / "b.ckpt", {"dnn": network(1)}, SAID | {"sde_n": 1000}), "score")
    assert isinstance(score, SGMSE)
    assert not score.dnn.shape.centered
    assert score.even


def test_an_imported_model_cleans_a_file(tmp_path: Path) -> None:
    imported(lightning(tmp_path / "a.ckpt", {"dnn": network(1)}, SAID, ema=average_of(network(2))))
    noisy = tone(tmp_path / "noisy.wav")
    told = denoise("clean", noisy, "-o", tmp_path / "out", "--model", "mine", "--set", "steps=2")
    assert told.exit_code == 0, told.output
    assert (tmp_path / "out" / "noisy.wav").exists()


def test_a_lightning_file_that_asks_to_run_something_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    said = SAID | {"trap": Evil(os.system, f"touch {mark}")}
    told = denoise("import", lightning(tmp_path / "evil.ckpt", {"dnn": network(1)}, said), "--name", "evil")
    assert told.exit_code == 2
    assert "refused" in told.output
    assert "Traceback" not in told.output
    assert not mark.exists()
    assert not zoo.own_shelf().exists()


@pytest.mark.parametrize(
    ("fault", "part", "size"),
    [("missing", "GroupNorm_0", 0), ("unknown", "Gate", 3), ("of another size", "GroupNorm_0", 3)],
)
def test_another_architecture_is_told_in_one_sentence(tmp_path: Path, fault: str, part: str, size: int) -> None:
    key = f"dnn.all_modules.4.{part}.weight"
    path = lightning(tmp_path / "other.ckpt", {"dnn": network(1)}, SAID, {key: torch.ones(size)})
    told = denoise("import", path, "--name", "other")
    sentence = told.output.replace("\n", "").replace(" ", "")
    assert told.exit_code == 2
    assert f"{fault.replace(' ', '')}:{key}" in sentence
    assert "Traceback" not in told.output
    assert not zoo.own_shelf().exists()


def test_a_network_of_another_kind_under_the_same_name_is_told(tmp_path: Path) -> None:
    torch.save({"state_dict": {"dnn.encoder.0.weight": torch.zeros(3)}}, tmp_path / "dcunet.ckpt")
    told = denoise("import", tmp_path / "dcunet.ckpt", "--name", "other")
    assert told.exit_code == 2
    assert "dnn.encoder.0.weight" in told.output.replace("\n", "")


def test_a_wrong_rate_in_a_card_is_told(tmp_path: Path) -> None:
    folder = Path(lightning(tmp_path / "a.ckpt", {"dnn": network(1)}, SAID)).parent
    imported(folder / "a.ckpt")
    card = zoo.own_shelf() / "mine" / zoo.CARD
    card.write_text(card.read_text().replace("rate = 16000", "rate = 16"))
    told = denoise("clean", tone(tmp_path / "noisy.wav"), "-o", tmp_path / "out", "--model", "mine")
    assert told.exit_code == 2
    assert "Rate 16: whole Hz" in told.output.replace("\n", " ")


@speech_official
@torch.no_grad()
def test_the_official_file_of_sgmse_imports() -> None:
    model = imported(ORACLES / "ckpt" / "sgmse_vb_small.ckpt", "vb")
    assert isinstance(model, SGMSE)
    told = recorded("ckpt", "sgmse_vb_small_expected")
    x, y, t = planes(told["x_t"]), planes(told["y"]), torch.from_numpy(told["t"])
    assert relative(model.read(model.dnn, x, y, t), planes(told["out_ema"])) < NETWORK


@speech_official
@torch.no_grad()
def test_the_official_file_of_storm_imports() -> None:
    model = imported(ORACLES / "ckpt" / "storm_small.ckpt", "storm")
    assert isinstance(model, StoRM)
    assert model.score_net is not None
    told = recorded("ckpt", "storm_small_expected")
    x, y, t = planes(told["x_t"]), planes(told["y"]), torch.from_numpy(told["t"])
    predicted = model.predicted(y)
    assert relative(predicted, planes(told["denoised_ema"])) < NETWORK
    score = model.read(model.score_net, x, model.beside(y, predicted), t)
    assert relative(score, planes(told["score_ema"])) < NETWORK


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the papers' recorded tensors are not here")
def test_the_released_weights_import_and_denoise_as_recorded() -> None:
    checkpoint.import_official(OFFICIAL / "idf_g_15.safetensors", "released")
    recorded = load_file(OFFICIAL / "idf_g_15_trace.safetensors")
    restored = zoo.load("released")(recorded["noisy01"], iterations=10)
    assert torch.allclose(restored, recorded["denoised01"], atol=1e-4)
