"""Noise that was put into a sound is found again, in dBFS, whether its content pauses or never does; a tone is no
noise, a voice no hum, and nothing is guessed."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise.noise.sound_floor import LEAST_BINS, Bands, among_white, stationary
from denoise.noise.sound_level import SoundNoise, describe_noise, weighted_median
from denoise.signals import Audio

SAMPLES = Path(__file__).parents[1] / "samples"
RATE = 48_000
SECONDS = 6
TIMES = np.arange(RATE * SECONDS) / RATE


def measured(sound: np.ndarray, rate: int = RATE) -> SoundNoise:
    return describe_noise(Audio.from_array(np.atleast_2d(sound).astype(np.float32), rate))


def dbfs(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(sound))))


def at_level(sound: np.ndarray, level: float) -> np.ndarray:
    return sound * 10 ** ((level - dbfs(sound)) / 20)


def white(level: float, length: int = len(TIMES), seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(length) * 10 ** (level / 20)


def coloured(slope: float, level: float) -> np.ndarray:
    """Power falls as f^-slope above 20 Hz; nothing below 10 Hz."""
    hertz = np.fft.rfftfreq(len(TIMES), 1 / RATE)
    spectrum = np.fft.rfft(white(0)) * np.maximum(hertz, 20) ** (-slope / 2) * (hertz >= 10)
    return at_level(np.fft.irfft(spectrum), level)


def partials(pitch_hz: np.ndarray | float, count: int = 12) -> np.ndarray:
    turn = 2 * np.pi * np.cumsum(np.broadcast_to(pitch_hz, len(TIMES))) / RATE
    return sum(0.75**n * np.sin(n * turn + n * n) for n in range(1, count + 1))


def hum(mains: float, level: float, *amplitudes: float) -> np.ndarray:
    return at_level(sum(a * np.sin(2 * np.pi * mains * n * TIMES + n) for n, a in enumerate(amplitudes, 1)), level)


def chord() -> np.ndarray:
    return at_level(sum(partials(pitch) for pitch in (220.0, 277.18, 329.63)), -20)


def vibrato() -> np.ndarray:
    return at_level(partials(220 * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * TIMES))), -20)


@lru_cache
def sample(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Clean, noise, rate; channels first."""
    noisy, rate = soundfile.read(SAMPLES / name, always_2d=True)
    clean, _ = soundfile.read(SAMPLES / "clean" / name, always_2d=True)
    return clean.T, (noisy - clean).T, rate


# Nothing, noise alone, hum alone


@pytest.mark.parametrize("length", [0, 1, 100, RATE])
def test_digital_silence_is_called_that(length: int) -> None:
    found = measured(np.zeros((2, length)))
    assert found == SoundNoise(None)
    assert found.describe() == "digital silence: nothing to measure"


@pytest.mark.parametrize("level", [-90, -20])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.25, 1, 25])
def test_white_noise_alone(rate: int, seconds: float, level: float) -> None:
    found = measured(white(level, int(rate * seconds)), rate)
    assert found.floor_dbfs == pytest.approx(level, abs=0.7)
    assert not found.heard
    assert found.snr_db is None
    assert found.hum_hz == ()


@pytest.mark.parametrize("samples", [1, 10, 480, 2000])
def test_a_moment_of_noise_has_a_level_too(samples: int) -> None:
    noise = white(-40, samples)
    assert measured(noise).floor_dbfs == pytest.approx(dbfs(noise), abs=3)


@pytest.mark.parametrize("slope", [-2, -1, 1, 2])
def test_noise_of_any_colour_is_found_in_every_octave(slope: float) -> None:
    noise = coloured(slope, -45)
    found = measured(noise)
    assert found.floor_dbfs == pytest.approx(-45, abs=2)
    assert not found.heard
    audible = {centre: level for centre, level in octaves_of(noise, RATE).items() if level > -115}
    assert len(audible) > 5
    for centre, level in audible.items():
        assert found.octaves_dbfs[centre] == pytest.approx(level, abs=1.5 if float(centre) > 100 else 3)


def octaves_of(noise: np.ndarray, rate: int) -> dict[str, float]:
    power = 2 * np.abs(np.fft.rfft(noise)) ** 2 / noise.shape[-1] ** 2
    hertz = np.fft.rfftfreq(noise.shape[-1], 1 / rate)
    inside = {c: (hertz >= c / 2**0.5) & (hertz < c * 2**0.5) for c in (31.5, 63, 125, 250, 500, 1000, 2000, 4000)}
    return {f"{c:g}": float(10 * np.log10(power[..., bins].sum(-1).mean())) for c, bins in inside.items()}


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_alone_is_hum_and_no_floor(mains: int) -> None:
    found = measured(hum(mains, -40, 1, 0.3, 0.5, 0.2))
    assert found.floor_dbfs is None
    assert found.hum_dbfs == pytest.approx(-40, abs=0.2)
    assert found.hum_hz == (mains, 2 * mains, 3 * mains, 4 * mains)
    assert found.mains_hz == mains
    assert f"{mains} Hz mains hum of -40 dBFS" in found.describe()
    assert "digital silence" not in found.describe()


@pytest.mark.parametrize("seconds", [1.2, 6])
def test_the_floor_shows_between_the_lines_of_the_hum(seconds: float) -> None:
    noise = white(-60)[: int(seconds * RATE)]
    found = measured(hum(50, -30, *[1] * 10)[: len(noise)] + noise)
    for centre, level in octaves_of(noise, RATE).items():
        assert found.octaves_dbfs[centre] == pytest.approx(level, abs=2 if float(centre) > 100 else 3)


def test_noise_between_stretches_of_digital_silence_is_not_thinned_by_them() -> None:
    gated = white(-50) * (np.sin(2 * np.pi * 0.5 * TIMES) > 0)
    assert measured(gated).floor_dbfs == pytest.approx(-50, abs=1)


def test_channels_with_noise_of_their_own_are_averaged() -> None:
    both = np.stack([white(-50, seed=1), white(-50, seed=2)])
    assert measured(both).floor_dbfs == pytest.approx(-50, abs=0.5)
    assert measured(np.stack([white(-50), 0 * TIMES])).floor_dbfs == pytest.approx(-53, abs=0.5)


def test_of_noise_that_changes_for_a_short_time_the_usual_level_counts() -> None:
    rate = 8000
    long = np.concatenate([white(-60, rate * 60), white(-30, rate * 20, seed=2), white(-60, rate * 20, seed=3)])
    assert measured(long, rate).floor_dbfs == pytest.approx(-60, abs=0.5)


# Under content


@pytest.mark.parametrize("level", [-80, -60, -40, -25])
@pytest.mark.parametrize("content", [chord, vibrato])
def test_the_floor_shows_between_the_partials_of_what_never_pauses(content, level: float) -> None:
    found = measured(content() + white(level))
    assert found.floor_dbfs == pytest.approx(level, abs=1)
    assert found.snr_db == pytest.approx(-20 - level, abs=1)
    assert found.hum_hz == ()


@pytest.mark.parametrize("snr_db", [0, 5, 10, 20, 30])
def test_the_floor_shows_in_the_pauses_of_a_voice(snr_db: float) -> None:
    clean, _, rate = sample("voice.wav")
    level = dbfs(clean) - snr_db
    found = measured(clean + white(level, clean.shape[1]), rate)
    assert found.floor_dbfs == pytest.approx(level, abs=2)
    assert found.hum_hz == ()
    if snr_db >= 5:
        assert found.snr_db == pytest.approx(snr_db, abs=3)  # over its active part it is a little more


@pytest.mark.parametrize("noise", [lambda: coloured(1, -50), lambda: coloured(-1, -50)], ids=["pink", "blue"])
def test_the_floor_of_other_colours_shows_under_a_chord(noise) -> None:
    assert measured(chord() + noise()).floor_dbfs == pytest.approx(-50, abs=2)


def test_strings_on_a_worn_cassette() -> None:
    clean, noise, rate = sample("tape.flac")
    found = measured(clean + noise, rate)
    assert found.floor_dbfs == pytest.approx(-52, abs=1)
    assert found.hum_dbfs == pytest.approx(-46, abs=1)
    assert found.mains_hz == 50
    assert found.snr_db == pytest.approx(dbfs(clean) - dbfs(noise), abs=2)
    true = octaves_of(noise, rate)
    for centre in ("500", "1000", "2000", "4000"):
        assert found.octaves_dbfs[centre] == pytest.approx(true[centre], abs=4.5)
        assert found.octaves_dbfs[centre] > true[centre] - 1


def test_a_voice_and_a_fan() -> None:
    """A fan of 120 Hz, which twice the mains would also be: named with care, and not taken for the voice's."""
    clean, noise, rate = sample("voice.wav")
    found = measured(clean + noise, rate)
    alone = measured(noise, rate)
    assert set(found.hum_hz) <= {120, 240, 360, 480, 600}
    assert found.hum_dbfs == pytest.approx(alone.hum_dbfs, abs=2)
    assert found.mains_hz is None
    assert "steady hum (mains or motor)" in found.describe()
    together = 10 * np.log10(10 ** (found.floor_dbfs / 10) + 10 ** (found.hum_dbfs / 10))
    assert together == pytest.approx(dbfs(noise), abs=1)
    for centre, level in octaves_of(noise, rate).items():
        if centre not in {"125", "250", "500"}:  # where the fan's tones are, too
            assert found.octaves_dbfs[centre] == pytest.approx(level, abs=1.5)


@pytest.mark.parametrize("name", ["voice.wav", "tape.flac"])
def test_the_pitch_of_clean_content_is_no_hum_and_its_floor_is_low(name: str) -> None:
    clean, noise, rate = sample(name)
    found = measured(clean, rate)
    assert found.hum_hz == ()
    assert found.floor_dbfs is not None
    assert found.floor_dbfs < dbfs(noise) - 15


# Hum, or what resembles it


@pytest.mark.parametrize("mains", [50, 60])
@pytest.mark.parametrize("under", [-70, -50])
def test_hum_under_noise_and_a_voice(mains: int, under: float) -> None:
    voice = np.resize(np.repeat(sample("voice.wav")[0][0], 3), len(TIMES))
    line = hum(mains, -40, 1, 0.2, 0.6, 0.1, 0.3)
    found = measured(voice * 0.3 + line + white(under))
    assert len(found.hum_hz) >= 3
    assert found.hum_dbfs == pytest.approx(-40, abs=2)
    assert found.mains_hz == mains


@pytest.mark.parametrize("off_hz", [0.0, 0.1])
def test_mains_that_are_a_little_off_are_hum(off_hz: float) -> None:
    assert measured(hum(50 + off_hz, -40, 1, 0.5) + white(-70)).hum_hz == (50, 100)


PAUSING = (np.sin(2 * np.pi * 0.7 * TIMES) > -0.5).astype(float)
RESEMBLING = {
    "a monotonous voice of 120 Hz that pauses": at_level(partials(120.0) * PAUSING, -20),
    "a note between": at_level(partials(110.0), -20),
    "half a hertz beside": hum(50.6, -30, 1, 0.5, 0.5),
    "a single tone": hum(100, -30, 1),
    "a pitch that wanders around 60 Hz": at_level(partials(60 + 1.5 * np.sin(2 * np.pi * 0.9 * TIMES)), -25),
    "a note of 100 Hz that dies away": at_level(partials(100.0) * np.exp(-1.5 * TIMES), -25),
}


@pytest.mark.parametrize("content", RESEMBLING.values(), ids=RESEMBLING)
def test_what_resembles_hum_is_not_hum(content: np.ndarray) -> None:
    found = measured(content + white(-60))
    assert found.hum_hz == ()
    assert found.floor_dbfs == pytest.approx(-60, abs=2)


# Words, numbers, parts


def test_it_says_what_it_found() -> None:
    words = measured(chord() + hum(50, -46, 1, 0.2, 0.5) + white(-52)).describe()
    assert words == (
        "floor -52 dBFS (most of it around 16000 Hz), SNR 25 dB, 50 Hz mains hum of -46 dBFS at 50, 100, 150 Hz"
    )


def test_its_numbers_are_json() -> None:
    found = asdict(measured(chord() + hum(50, -46, 1, 0.2, 0.5) + white(-52)))
    assert json.loads(json.dumps(found))["floor_dbfs"] == found["floor_dbfs"]


@pytest.mark.parametrize("frames", [777, 48_000])
def test_the_blocks_of_the_file_do_not_matter(frames: int) -> None:
    sound = np.atleast_2d(chord() + white(-50)).astype(np.float32)
    whole = Audio.from_array(sound, RATE)
    cut = Audio(RATE, 1, sound.shape[1], lambda _: whole.blocks(frames))
    assert describe_noise(cut) == describe_noise(whole)


@pytest.mark.parametrize("bins", [LEAST_BINS, 12, 64])
def test_white_noise_of_power_one_has_power_one(bins: int) -> None:
    """In spectra of independent bins; those of the window hang together a little more."""
    power = np.random.default_rng(bins).exponential(size=(1, 4000, 8 * bins))
    limit, mean = among_white(min(8 * bins, 64))
    assert limit > 1
    assert 0.2 < mean < 0.5
    assert stationary(power.astype(np.float32)) == pytest.approx(1, rel=0.06)


@pytest.mark.parametrize("rate", [4000, 8000, 44_100, 192_000])
@pytest.mark.parametrize("seconds", [0.0, 0.05, 1.0])
def test_bands_cover_all_frequencies_once(rate: int, seconds: float) -> None:
    bands = Bands(rate, seconds)
    assert bands.edges_hz[-1] == rate / 2
    assert (np.diff(bands.edges_hz) > 0).all()
    assert bands.inside(0, rate).sum() == pytest.approx(rate / 2 - bands.edges_hz[0])


def test_a_median_knows_weights() -> None:
    rows = np.array([[1.0, 9.0], [5.0, 5.0], [9.0, 1.0]])
    assert weighted_median(rows, np.array([1.0, 1.0, 1.0])).tolist() == [5, 5]
    assert weighted_median(rows, np.array([9.0, 1.0, 1.0])).tolist() == [1, 9]
