"""The bench of speech measures what it says: all methods on the same files, late answers as if in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shelf
import soundfile
import toys

from denoise.errors import UserError
from denoise.measure import bench_speech
from denoise.measure.bench import Wish
from denoise.measure.bench_speech import PEERS, RATE, Pair, fitted, opened, pairs_of, peers, restored, scores_of, speech
from denoise.noise.sound_kernels import white

CONDITIONS = ("fan", "street", "fan")
SECONDS = 0.5


def clean_sound(number: int, rate: int = RATE) -> np.ndarray:
    times = np.arange(int(SECONDS * rate)) / rate
    turns = (200 + 50 * number) * times + 600 * times**2  # no two stretches of it are alike
    return (0.3 * np.sin(2 * np.pi * turns) * np.sin(np.pi * times / SECONDS)).astype(np.float32)


def noisy_sound(number: int) -> np.ndarray:
    clean = clean_sound(number)
    return clean + np.float32(0.05) * white(1, len(clean), number, 0, 0)[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sounds with a fan, and one of the street between them."""
    rows = ["id,condition"]
    for part in ("noisy", "clean"):
        (tmp_path / part).mkdir()
    for number, condition in enumerate(CONDITIONS):
        rows.append(f"s{number},{condition}")
        soundfile.write(tmp_path / "noisy" / f"s{number}.flac", noisy_sound(number), RATE)
        soundfile.write(tmp_path / "clean" / f"s{number}.flac", clean_sound(number), RATE)
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture(autouse=True)
def one_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of pictures is to be left out by itself."""
    monkeypatch.setattr(bench_speech, "usable_scores", lambda tell: ["psnr", "si_sdr"])


def late_by(samples: int) -> bench_speech.Method:
    return lambda noisy: np.concatenate([np.zeros(samples, np.float32), noisy])[: len(noisy)]


# Pairs


def test_pairs_come_in_the_order_of_the_index_with_their_condition(data: Path) -> None:
    pairs = list(pairs_of(data, None))
    assert [pair.condition for pair in pairs] == [*CONDITIONS]
    for number, pair in enumerate(pairs):
        assert np.allclose(pair.noisy, noisy_sound(number), atol=1e-4)
        assert np.allclose(pair.clean, clean_sound(number), atol=1e-4)
        assert pair.seconds == SECONDS


@pytest.mark.parametrize(
    ("limit", "kept"), [(0, []), (1, ["fan", "street"]), (2, [*CONDITIONS]), (None, [*CONDITIONS])]
)
def test_a_limit_counts_in_each_condition(data: Path, limit: int | None, kept: list[str]) -> None:
    assert [pair.condition for pair in pairs_of(data, limit)] == kept


def test_without_a_column_of_conditions_all_is_noise(data: Path) -> None:
    (data / "pairs.csv").write_text("id\ns0\ns1\n")
    assert [pair.condition for pair in pairs_of(data, None)] == ["noise", "noise"]


def test_a_folder_without_an_index_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no pairs\.csv in it.*--data"):
        list(pairs_of(tmp_path, None))


def test_a_file_of_another_rate_and_two_channels_is_heard_at_the_rate_of_the_bench(tmp_path: Path) -> None:
    both = np.stack([clean_sound(0, 48_000), 0 * clean_sound(0, 48_000)], 1)
    soundfile.write(tmp_path / "stereo.wav", both, 48_000, "FLOAT")
    sound = opened(tmp_path / "stereo.wav")
    assert sound.shape == (int(SECONDS * RATE),)
    assert np.allclose(sound[50:-50], clean_sound(0)[50:-50] / 2, atol=1e-3)


# Scores


def test_a_late_answer_is_scored_as_if_it_were_in_time() -> None:
    pair = Pair("fan", noisy_sound(0), clean_sound(0))
    in_time = scores_of(pair, pair.noisy, ["si_sdr"])["si_sdr"]
    late = scores_of(pair, late_by(160)(pair.noisy), ["si_sdr"])["si_sdr"]
    too_late = scores_of(pair, late_by(1700)(pair.noisy), ["si_sdr"])["si_sdr"]
    assert late == pytest.approx(in_time, abs=0.5)
    assert too_late < in_time - 5


def test_a_quieter_answer_is_not_a_worse_one_and_a_cleaner_one_is_better() -> None:
    pair = Pair("fan", noisy_sound(0), clean_sound(0))
    plain, quiet, cleaner = (
        scores_of(pair, result, ["si_sdr"])["si_sdr"]
        for result in (pair.noisy, 0.5 * pair.noisy, (pair.noisy + pair.clean) / 2)
    )
    assert quiet == pytest.approx(plain, abs=1e-3)
    assert cleaner == pytest.approx(plain + 6, abs=0.5)


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 300])
def test_an_answer_of_another_length_is_cut_or_ends_in_silence(length: int) -> None:
    result = fitted(np.ones(length, np.float32), 100)
    assert result.shape == (100,)
    assert result.dtype == np.float32
    assert result.sum() == min(length, 100)


# The table


def test_every_method_is_measured_in_every_condition_beside_the_noisy_input(data: Path) -> None:
    told: list[str] = []
    toy = toys.Toy(toys.identity, toys.facts("audio", rate=RATE, channels=1))
    methods = {"halved": lambda noisy: 0.5 * noisy, "silent": np.zeros_like}
    rows = list(speech(data, {"toy": toy}, methods, None, told.append))
    assert [(row["condition"], row["method"], row["files"]) for row in rows] == [
        (condition, method, files)
        for condition, files in (("fan", 2), ("street", 1))
        for method in ("noisy", "halved", "silent", "toy")
    ]
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert "psnr" not in rows[0]
    assert all(float(row["s_per_s"]) >= 0 for row in rows)  # type: ignore[arg-type]
    by_name = {(row["condition"], row["method"]): row["si_sdr"] for row in rows}
    for condition in ("fan", "street"):
        noisy = by_name[condition, "noisy"]
        assert by_name[condition, "halved"] == pytest.approx(noisy, abs=0.01)
        assert by_name[condition, "toy"] == pytest.approx(noisy, abs=0.01)
    assert told == [f"{c}, {n} files: {m}" for c, n in (("fan", 2), ("street", 1)) for m in ("noisy", *methods, "toy")]


def test_a_condition_is_given_its_mean(data: Path) -> None:
    fan = [pair for pair in pairs_of(data, None) if pair.condition == "fan"]
    each = [scores_of(pair, pair.noisy, ["si_sdr"])["si_sdr"] for pair in fan]
    (row, *_) = speech(data, {}, {})
    assert row["si_sdr"] == pytest.approx(np.mean(each), abs=1e-3)


def test_the_bench_takes_its_models_from_the_zoo(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(shelf.shelve(tmp_path / "models")))
    monkeypatch.setattr(bench_speech, "peers", lambda tell: {})
    everything = list(bench_speech.run(Wish(device="cpu", data=data, limit=1)))
    assert {row["method"] for row in everything} >= {"noisy", "toy-sound"}
    assert "toy-picture" not in {row["method"] for row in everything}
    one = list(bench_speech.run(Wish("toy-sound", device="cpu", data=data, limit=1)))
    assert [row["method"] for row in one] == ["noisy", "toy-sound", "noisy", "toy-sound"]


def test_a_restorer_answers_with_one_channel_of_the_same_length() -> None:
    toy = toys.Toy(toys.gain, toys.facts("audio", rate=RATE, channels=1, knobs=(toys.GAIN,)))
    noisy = noisy_sound(0)
    assert np.allclose(restored(toy, noisy), 0.5 * noisy, atol=1e-5)


# Peers


def test_peers_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"speexdsp_ns"}
    monkeypatch.setattr(bench_speech, "find_spec", lambda package: package if package in there else None)
    told: list[str] = []
    assert list(peers(told.append)) == ["speexdsp-ns"]
    assert {line.split()[0] for line in told} == PEERS.keys() - {"speexdsp-ns"}
    assert all("denoise-kit[peers]" in line for line in told)


@pytest.mark.parametrize("length", [1, 255, 256, 257, 1000])
def test_a_peer_that_wants_blocks_gets_whole_ones_and_what_it_answers_is_put_together(length: int) -> None:
    seen: list[int] = []

    def halves(block: bytes) -> bytes:
        seen.append(len(block))
        return (np.frombuffer(block, "<i2") // 2).astype("<i2").tobytes()

    noisy = np.clip(white(1, length, 1, 0, 0)[0] * 0.4, -1.5, 1.5).astype(np.float32)
    answer = bench_speech.through(halves, noisy, 256)
    assert set(seen) == {512}
    assert len(seen) == -(-length // 256)
    assert answer.dtype == np.float32
    assert np.allclose(answer[:length], np.clip(noisy, -1, 1) / 2, atol=2 / 32768)
    assert not answer[length:].any()
