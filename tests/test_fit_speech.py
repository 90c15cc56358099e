"""Training on sound: what can be learnt from and what cannot, what is kept aside, mixtures that come back the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save

from denoise import zoo
from denoise.errors import UserError
from denoise.fit import recipes
from denoise.fit.loop import LOG, Run, Schedule
from denoise.fit.recipes import Material
from denoise.fit.speech import (
    EARLY_S,
    MADE,
    NOISE_ASIDE,
    NOMINAL,
    RATE,
    SPEECH_ASIDE,
    Mixtures,
    Room,
    Sounds,
    active_power,
    cases,
    divided,
    place_of,
    power,
    rooms_of,
    voice_of,
)
from denoise.methods.subband import Subband

RECIPE = """
[data]
batch = 2
seconds = 0.4
[mix]
room = 0.3
babble = 0.2
[schedule]
rate = 1e-3
warm_up = 1
"""
CARD = """
name = "small"
kind = "audio"
method = "subband"
licence = "MIT"

[network]
fine = 4
width = 4
depth = 1
whole = 4
"""


def tone(seconds: float, hertz: float, rate: int = RATE) -> np.ndarray:
    """Syllables of a voice with overtones."""
    at = np.arange(int(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * k * at) / k for k in range(1, 8))
    return 0.1 * wave * np.clip(np.sin(2 * np.pi * 2 * at), 0.02, 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    dice = np.random.default_rng(0)
    for voice in range(15):
        for index in range(2):
            put(root / "speech" / f"voice{voice}" / f"{index}.wav", tone(2.0, 100 + 10 * voice + index))
    for place in range(12):
        for index in range(2):
            put(root / "noise" / "street" / f"place{place}x_0{index}.wav", 0.1 * dice.standard_normal(RATE))
    for room in range(3):
        echo = dice.standard_normal(3000) * np.exp(-np.arange(3000) / 600) * 0.1
        echo[40] = 1.0
        put(root / "rooms" / f"{room}.wav", echo)
    return root


def put(path: Path, sound: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.astype(np.float32), rate, subtype="FLOAT")


def sounds(data: Path, tmp_path: Path, name: str = "speech") -> Sounds:
    return Sounds.of(data / name, tmp_path, quiet)


def quiet(_: str) -> None:
    pass


def mixtures(data: Path, tmp_path: Path, **shares: float) -> Mixtures:
    speech, noise = sounds(data, tmp_path), sounds(data, tmp_path, "noise")
    return Mixtures(speech, noise, rooms_of(data / "rooms"), shares, batch=3, seconds=0.5)


# What can be learnt from


def test_recordings_come_back_as_they_are(data: Path, tmp_path: Path) -> None:
    found = sounds(data, tmp_path)
    assert len(found.recordings) == 30
    assert found.seconds == pytest.approx(60)
    one = found.recordings[3]
    original, _ = soundfile.read(data / "speech" / one.name)
    assert np.abs(found.read(one, 100, 5000) - original[100:5100]).max() < 1e-4
    assert one.power == pytest.approx(active_power(torch.from_numpy(original)[None].float(), RATE), rel=1e-3)


def test_decoded_once_they_are_only_opened(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sounds(data, tmp_path)
    monkeypatch.setattr("denoise.fit.speech.usable", None)
    assert sounds(data, tmp_path).recordings == first.recordings


def test_files_that_teach_nothing_are_named_and_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    put(folder / "good.wav", tone(1, 150))
    put(folder / "telephone.wav", tone(1, 150, 8000), 8000)
    put(folder / "silent.wav", np.zeros(RATE))
    put(folder / "blip.wav", tone(0.1, 150))
    (folder / "broken.wav").write_bytes(b"RIFF nothing")
    (folder / "notes.txt").write_text("not a sound")
    told: list[str] = []
    found = Sounds.of(folder, tmp_path / "store", told.append)
    assert [one.name for one in found.recordings] == ["good.wav"]
    assert len(told) == 4
    for name, reason in {"telephone": "8000 Hz", "silent": "Silence", "blip": "0.10 s", "broken": ""}.items():
        assert any(f"{name}.wav" in sentence and reason in sentence for sentence in told)
    again: list[str] = []
    Sounds.of(folder, tmp_path / "store", again.append)
    assert again == told, "said every time"


def test_a_folder_with_nothing_usable_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "own" / "telephone.wav", tone(1, 150, 8000), 8000)
    with pytest.raises(UserError, match="no usable sound"):
        Sounds.of(tmp_path / "own", tmp_path / "store", quiet)
    with pytest.raises(UserError, match="no such folder"):
        Sounds.of(tmp_path / "elsewhere", tmp_path / "store", quiet)


def test_other_rates_and_channels_become_one_channel_at_16_khz(tmp_path: Path) -> None:
    stereo = np.stack([tone(1, 150, 44100), np.zeros(44100)], 1)
    put(tmp_path / "own" / "music.wav", stereo, 44100)
    found = Sounds.of(tmp_path / "own", tmp_path / "store", quiet)
    assert found.seconds == pytest.approx(1, abs=1e-3)
    assert power(found.read(found.recordings[0], 0, RATE)) == pytest.approx(power(stereo.mean(1)), rel=0.01)


# What is kept aside


def test_a_voice_is_trained_on_or_kept_aside_never_both(data: Path, tmp_path: Path) -> None:
    training, validation = divided(sounds(data, tmp_path), SPEECH_ASIDE, voice_of)
    voices = [{voice_of(one.name) for one in part.recordings} for part in (training, validation)]
    assert voices[0]
    assert voices[1]
    assert not voices[0] & voices[1]
    assert len(training.recordings) + len(validation.recordings) == 30


def test_pieces_of_one_noise_stay_together(data: Path, tmp_path: Path) -> None:
    assert place_of("street/place1x_01.wav") == place_of("street/place1x_00.wav")
    training, validation = divided(sounds(data, tmp_path, "noise"), NOISE_ASIDE, place_of)
    places = [{place_of(one.name) for one in part.recordings} for part in (training, validation)]
    assert places[1]
    assert not places[0] & places[1]


def test_where_one_voice_has_all_recordings_some_of_them_are_kept_aside(tmp_path: Path) -> None:
    for index in range(12):
        put(tmp_path / "own" / f"{index}.wav", tone(1, 100 + index))
    training, validation = divided(Sounds.of(tmp_path / "own", tmp_path / "store", quiet), SPEECH_ASIDE, voice_of)
    assert len(validation.recordings) == 1
    assert len(training.recordings) == 11


def test_one_recording_is_too_few(tmp_path: Path) -> None:
    put(tmp_path / "own" / "one.wav", tone(1, 100))
    with pytest.raises(UserError, match="Too few"):
        divided(Sounds.of(tmp_path / "own", tmp_path / "store", quiet), SPEECH_ASIDE, voice_of)


def test_weights_say_which_voices_are_heard_more(data: Path, tmp_path: Path) -> None:
    found = replace(sounds(data, tmp_path), weights={"voice3": 1000.0})
    dice = np.random.default_rng(0)
    drawn = [voice_of(found.draw(dice).name) for _ in range(50)]
    assert drawn.count("voice3") > 40


# Mixtures


def test_a_batch_is_a_function_of_seed_and_step(data: Path, tmp_path: Path) -> None:
    everything = dict.fromkeys(["room", "babble", "swelling", "narrow", "late", "clipped", "drift", *MADE], 0.3)
    one, two = mixtures(data, tmp_path, **everything), mixtures(data, tmp_path, **everything)
    for step in range(6):
        noisy, clean = one.at(step)
        again = two.at(step)
        assert noisy.shape == clean.shape == (3, 1, RATE // 2)
        assert noisy.dtype == clean.dtype == torch.float32
        assert torch.equal(noisy, again[0])
        assert torch.equal(clean, again[1])
        assert torch.isfinite(noisy).all()
    assert not torch.equal(one.at(0)[0], one.at(1)[0])
    assert not torch.equal(one.at(0)[0], replace(one, seed=1).at(0)[0])


def test_voices_are_at_one_level_and_noise_around_the_ratios_asked_for(data: Path, tmp_path: Path) -> None:
    source = replace(mixtures(data, tmp_path), batch=100)
    noisy, clean = source.at(0)
    ratios = 10 * torch.log10(NOMINAL**2 / (noisy - clean).square().mean((1, 2)))
    assert -5.1 < ratios.min() < 2
    assert 12 < ratios.max() < 20.1
    assert clean.square().mean().sqrt() == pytest.approx(NOMINAL, rel=0.3)


def test_without_noise_the_noisy_is_the_clean(data: Path, tmp_path: Path) -> None:
    noisy, clean = mixtures(data, tmp_path, quiet=1.0).at(0)
    assert torch.equal(noisy, clean)


def test_where_nobody_speaks_the_clean_is_silence(data: Path, tmp_path: Path) -> None:
    noisy, clean = mixtures(data, tmp_path, nobody=1.0).at(0)
    assert not clean.any()
    assert noisy.any()


def test_a_recording_may_begin_with_nothing(data: Path, tmp_path: Path) -> None:
    noisy, clean = mixtures(data, tmp_path, late=1.0).at(2)
    for one, other in zip(noisy[:, 0], clean[:, 0], strict=True):
        begin = int(one.nonzero()[0])
        assert not other[:begin].any()


@pytest.mark.parametrize("name", list(MADE))
def test_made_noises_have_the_length_and_are_no_silence(name: str) -> None:
    noise = MADE[name](np.random.default_rng(1), 9000)
    assert noise.shape == (9000,)
    assert np.isfinite(noise).all()
    assert noise.any()


def test_a_room_begins_with_the_direct_sound_and_its_early_part_ends() -> None:
    impulse = np.zeros(8000, np.float32)
    impulse[100], impulse[300], impulse[100 + 2000] = 0.5, 0.2, 0.1
    room = Room.of(impulse)
    assert room.whole[0] == room.early[0] == 1
    assert room.whole[200] == room.early[200] == pytest.approx(0.4)
    assert room.whole[2000] == pytest.approx(0.2)
    assert len(room.early) <= EARLY_S * RATE


def test_a_silent_impulse_response_is_named(tmp_path: Path) -> None:
    put(tmp_path / "dead.wav", np.zeros(4000))
    with pytest.raises(UserError, match=r"dead\.wav"):
        rooms_of(tmp_path)


def test_validation_is_the_same_every_time(data: Path, tmp_path: Path) -> None:
    source = mixtures(data, tmp_path)
    once, again = cases(source, 6, 1.0), cases(replace(source, seed=5), 6, 1.0)
    assert len(once) == 6
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(once, again, strict=True))
    assert all(not np.array_equal(case.noisy, case.clean) for case in once)


@pytest.mark.parametrize(("share", "roomy"), [(0.2, 1), (0.9, 4), (1.0, 5)])
def test_validation_is_in_rooms_as_often_as_training(data: Path, tmp_path: Path, share: float, roomy: int) -> None:
    source = mixtures(data, tmp_path)
    dry, wet = (cases(replace(source, shares={"room": room}), 5, 1.0) for room in (0.0, share))
    assert sum(not np.array_equal(a.noisy, b.noisy) for a, b in zip(dry, wet, strict=True)) == roomy


# Training


def method() -> Subband:
    torch.manual_seed(0)
    return Subband(fine=4, width=4, depth=1, whole=4)


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(data: Path, tmp_path: Path) -> None:
    batches = mixtures(data, tmp_path / "store").at
    whole = Run(method(), tmp_path / "whole", Schedule())
    for _ in range(4):
        whole.advance(*batches(whole.step), 1.0)
    first = Run(method(), tmp_path / "cut", Schedule())
    for _ in range(2):
        first.advance(*batches(first.step), 1.0)
    first.save()
    second = Run(Subband(fine=4, width=4, depth=1, whole=4), tmp_path / "cut", Schedule())
    assert second.resume()
    for _ in range(2):
        second.advance(*batches(second.step), 1.0)
    for name, value in whole.method.state_dict().items():
        assert torch.equal(value, second.method.state_dict()[name])


def test_steps_make_the_loss_smaller(data: Path, tmp_path: Path) -> None:
    run = Run(method(), tmp_path / "run", Schedule(rate=1e-2, warm_up=1))
    noisy, clean = mixtures(data, tmp_path).at(0)
    losses = [run.advance(noisy, clean, 1.0) for _ in range(20)]
    assert min(losses[-3:]) < losses[0] - 0.03


@pytest.mark.parametrize("own", [False, True], ids=["one folder", "two folders of one's own"])
def test_a_recipe_is_followed_and_its_result_published(
    data: Path, tmp_path: Path, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "HEARD", 2)
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(CARD)
    (folder / "recipe.toml").write_text(RECIPE)
    material = Material(speech=data / "speech", noise=data / "noise") if own else Material(data)
    told: list[str] = []
    card = zoo.Card.of(folder)
    run = recipes.train_model(card, material, 0.02, told.append, tmp_path / "runs")
    assert any("without echo" in sentence for sentence in told) == own
    lines = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    assert {"si_sdr", "stoi", "score"} <= set(lines[-1])
    recipes.publish(run, card)
    restored = zoo.load(zoo.Card.of(folder), device="cpu")(torch.rand(1, 1, 4000))
    assert torch.isfinite(restored).all()


def test_folders_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "model.toml").write_text(CARD)
    (folder / "recipe.toml").write_text(RECIPE)
    with pytest.raises(UserError, match="--speech and --noise"):
        recipes.train_model(zoo.Card.of(folder), tmp_path, 0.02, quiet, tmp_path / "runs")


def test_parts_may_begin_as_another_model(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """StoRM's predictor begins as the fast network, and is judged with the steps that the recipe names."""
    monkeypatch.setattr(recipes, "HEARD", 2)
    fast = method()
    content = save(dict(fast.state_dict()))
    first, second = tmp_path / "models" / "small", tmp_path / "models" / "two"
    for folder in (first, second):
        folder.mkdir(parents=True)
    (first / "weights.safetensors").write_bytes(content)
    sizes = "{ fine = 4, width = 4, depth = 1, whole = 4 }"
    digest = hashlib.sha256(content).hexdigest()
    (first / "model.toml").write_text(CARD.replace("[network]", f'sha256 = "{digest}"\n[network]'))
    (second / "model.toml").write_text(f"""
        name = "two"
        kind = "audio"
        method = "storm"
        [network]
        frozen = true
        joint = 0.0
        steps = 3
        predictor = {sizes.replace("{", '{ variant = "subband",')}
        backbone = {sizes.replace("{", '{ variant = "bands",')}
        process = {{ kind = "sbve" }}
        spectrogram = {{ n_fft = 512, hop = 256, window = "sqrthann" }}
        reading = {{ predicts = "data_prediction", c_out = "1" }}
    """)
    (second / "recipe.toml").write_text(RECIPE + '[begin]\n"denoiser_net.fast" = "small"\n[judged]\nsteps = 1\n')
    monkeypatch.setenv("DENOISE_MODELS", str(tmp_path / "models"))
    run = recipes.train_model(zoo.Card.of(second), data, 0.02, quiet, tmp_path / "runs", "cpu")
    trained = load_file(run / "weights.safetensors")
    for name, value in fast.state_dict().items():
        assert torch.equal(trained[f"denoiser_net.fast.{name}"], value)
