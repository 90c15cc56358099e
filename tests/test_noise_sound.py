"""Laws of noise in sound do what their parameters say: spectra, moments within four standard errors, levels, lengths;
the same again for the same seed, however the sound is cut."""

from __future__ import annotations

import inspect
import math
import sys
from importlib.util import find_spec

import numba
import numpy as np
import pytest
import torch
from scipy import signal

from denoise import seeds
from denoise.errors import UserError
from denoise.noise.sound_colour import Added, frequencies
from denoise.noise.sound_damage import CLICK_DECADES
from denoise.noise.sound_kernels import BEFORE, CHANNEL_BITS, white
from denoise.noise.sound_laws import (
    MADE_OF,
    SOUND_LAWS,
    AtSnr,
    Babble,
    BandLimited,
    Clicks,
    Clipped,
    Coded,
    Coloured,
    Crackle,
    Hum,
    MeasuredRoom,
    PacketLoss,
    Quantised,
    Recorded,
    SimulatedRoom,
    Wind,
    active_power,
    mixed_at,
)
from denoise.noise.sound_places import CRITICAL_M
from denoise.signals import Audio

RATE = 16_000
COUNT = 40 * RATE


def silence(channels: int = 1, count: int = COUNT) -> torch.Tensor:
    return torch.zeros(channels, count)


def voice(count: int = 3 * RATE, seed: int = 3) -> torch.Tensor:
    """Syllables of low-passed noise with pauses, white noise and a clock being enough of a speaker here."""
    seconds = torch.arange(count) / RATE
    spoken = torch.from_numpy(signal.lfilter([0.1], [1, -0.9], white(1, count, seed, 0, 0)[0])).float()
    return (0.3 * spoken * (torch.sin(2 * torch.pi * 1.7 * seconds + seed) > -0.2))[None]


def dbfs(sound: torch.Tensor) -> float:
    return 10 * math.log10(float(sound.double().square().mean()))


VOICES = tuple(voice(seed=seed)[0] for seed in (3, 4, 5))
PYROOM = pytest.mark.skipif(find_spec("pyroomacoustics") is None, reason="pyroomacoustics is not installed")
ADDED = [
    *(Coloured(RATE, slope, -30) for slope in (-2, -1, 0, 1, 2)),
    Hum(RATE, 50, -30),
    Wind(RATE, -30),
    Clicks(RATE, 20),
    Crackle(RATE),
    Recorded(RATE, ((125, -50), (250, -45), (500, -55), (1000, -60)), ((50, -40), (150, -50))),
    Babble(VOICES, RATE),
]
CUTTABLE = [*ADDED, Clipped(-20), PacketLoss(RATE, 0.2), Quantised(6), Quantised(6, dithered=False)]
WHOLE = [
    BandLimited(RATE),
    Coded(RATE, "opus", 12),
    Coded(RATE, "mp3", 16),
    MeasuredRoom(torch.tensor([0.0, 0.1, 1.0, -0.5, 0.0, 0.25])),
    PacketLoss(RATE, 0.2, fill="repeat"),
    AtSnr(Coloured(RATE), 5, RATE),
]
every_law = pytest.mark.parametrize("law", [*CUTTABLE, *WHOLE], ids=lambda law: law.describe())
added_laws = pytest.mark.parametrize("law", ADDED, ids=lambda law: law.describe())
cuttable_laws = pytest.mark.parametrize("law", CUTTABLE, ids=lambda law: law.describe())


# All laws


@every_law
@pytest.mark.parametrize("count", [0, 1, 37, 4001])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_keeps_its_shape_and_type(law, channels: int, count: int) -> None:
    clean = voice(4001)[:, :count].repeat(channels, 1)
    noisy = law.sample(clean.clone(), 1)
    assert noisy.shape == clean.shape
    assert noisy.dtype == torch.float32
    assert noisy.isfinite().all()
    variance = law.variance(clean)
    assert variance.shape == clean.shape
    assert (variance >= 0).all()


@every_law
def test_the_clean_sound_is_left_as_it_was(law) -> None:
    clean = voice(8000)
    before = clean.clone()
    law.sample(clean, 1)
    assert torch.equal(clean, before)


@every_law
def test_the_same_seed_gives_the_same_noise(law) -> None:
    clean = voice()
    assert torch.equal(law.sample(clean, 7), law.sample(clean, 7))
    if isinstance(law, Added | PacketLoss | AtSnr) or law == Quantised(6):
        assert not torch.equal(law.sample(clean, 7), law.sample(clean, 8))


@every_law
def test_a_law_speaks_in_one_line(law) -> None:
    words = law.describe()
    assert words
    assert "\n" not in words


@cuttable_laws
@pytest.mark.parametrize("cut", [1, 4096, 10_007, 33_000])
def test_a_sound_may_be_cut_anywhere(law, cut: int) -> None:
    clean = voice().repeat(2, 1)
    whole = law.sample(clean, 5)
    parts = [law.sample(clean[:, :cut], 5), law.sample(clean[:, cut:], 5, start=cut)]
    assert torch.equal(torch.cat(parts, 1), whole)


@cuttable_laws
def test_the_number_of_threads_does_not_matter(law) -> None:
    clean, before = voice(), numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = law.sample(clean, 5)
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        assert torch.equal(law.sample(clean, 5), alone)
    finally:
        numba.set_num_threads(before)


def test_the_compiled_numbers_are_those_of_the_seeds() -> None:
    counter = (torch.arange(2)[:, None] << CHANNEL_BITS) + torch.arange(500) + 123 + BEFORE
    assert torch.allclose(torch.from_numpy(white(2, 500, 9, 3, 123)), seeds.normal(9, counter, 3), atol=2e-6)


def test_laws_of_numbers_alone_are_made_from_their_names() -> None:
    for name, law in SOUND_LAWS.items():
        if name in MADE_OF:
            continue
        made = law(**({"rate": RATE} if "rate" in inspect.signature(law).parameters else {}))
        assert hash(made) == hash(type(made)(**vars(made))), name
        assert made.describe()


# Noise that is added


@added_laws
def test_its_mean_square_is_its_variance(law) -> None:
    """Over independent seeds, as one sound of noise this red hangs together."""
    clean = silence(1, 4 * RATE)
    squares = torch.tensor([float((law.sample(clean, seed)).double().square().mean()) for seed in range(30)])
    wanted = float(law.variance(clean).mean())
    error = float(squares.std()) / math.sqrt(len(squares))
    assert abs(float(squares.mean()) - wanted) < 4 * error + 1e-3 * wanted


@added_laws
def test_its_mean_is_zero(law) -> None:
    means = torch.tensor([float(law.sample(silence(1, 4 * RATE), seed).double().mean()) for seed in range(30)])
    assert abs(float(means.mean())) < 4 * float(means.std()) / math.sqrt(len(means)) + 1e-7


@added_laws
def test_it_does_not_look_at_the_sound(law) -> None:
    clean = voice()
    assert torch.allclose(law.sample(clean, 2) - clean, law.sample(silence(1, clean.shape[1]), 2), atol=1e-6)


@pytest.mark.parametrize("law", [Coloured(RATE, 1), Coloured(RATE, 0), Wind(RATE, gustiness=0)])
def test_the_noise_of_two_channels_is_independent(law) -> None:
    left, right = law.sample(silence(2), 1)
    pairs = COUNT / 50  # about as many as are independent
    assert abs(float(torch.corrcoef(torch.stack([left, right]))[0, 1])) < 4 / math.sqrt(pairs)


@pytest.mark.parametrize("slope", [-2, -1, -0.5, 0, 0.5, 1, 2])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_coloured_noise_has_its_slope(slope: float, rate: int) -> None:
    noise = Coloured(rate, slope, -30).sample(silence(1, 20 * rate), 1)
    hertz, power = signal.welch(noise[0].double().numpy(), rate, nperseg=8192)
    band = (hertz > 100) & (hertz < 0.4 * rate)
    found = np.polyfit(np.log(hertz[band]), np.log(power[band]), 1)[0]
    assert found == pytest.approx(-slope, abs=0.03)
    assert dbfs(noise) == pytest.approx(-30, abs=0.3)


def test_coloured_noise_is_normal() -> None:
    noise = Coloured(RATE, 1, 0).sample(silence(), 1)[0, ::50].double().numpy()
    size = len(noise)
    spread = noise.std()
    assert abs(np.mean((noise / spread) ** 3)) < 4 * math.sqrt(6 / size) * 2
    assert abs(np.mean((noise / spread) ** 4) - 3) < 4 * math.sqrt(24 / size) * 2


def test_hum_lies_on_its_harmonics_with_its_level() -> None:
    noise = Hum(RATE, 60, -40, harmonics=6, drift_hz=0).sample(silence(1, 10 * RATE), 4)[0].double().numpy()
    power = 2 * np.abs(np.fft.rfft(noise)) ** 2 / noise.size**2
    lines = power[600:4000:600]
    assert lines[:6].sum() == pytest.approx(1e-4, rel=1e-3)
    assert (lines[:6] > 1e-8).all()
    assert power.sum() == pytest.approx(lines[:6].sum(), rel=1e-6)
    assert dbfs(torch.from_numpy(noise)) == pytest.approx(-40, abs=0.01)


def test_mains_drift_as_much_as_they_say_and_all_harmonics_with_them() -> None:
    law = Hum(RATE, 50, -40, harmonics=2, drift_hz=0.05)
    turns = [law.turn(200 * 100, seed, 0) for seed in range(40)]  # slow waves: many seeds
    hertz = np.stack([np.diff(turn) for turn in turns]) * RATE / (2 * np.pi)
    assert hertz.mean() == pytest.approx(50, abs=0.03)
    assert math.sqrt(np.mean((hertz - 50) ** 2)) == pytest.approx(0.05, rel=0.2)
    analytic = signal.hilbert(law.sample(silence(1, 20 * RATE), 1)[0].double().numpy())
    assert np.abs(analytic).max() < 0.03


def test_harmonics_above_half_the_rate_are_left_out() -> None:
    assert len(Hum(1000, 60, -40, harmonics=50).amplitudes(1)) == 8


def test_wind_is_low_and_comes_in_gusts() -> None:
    wind = Wind(RATE, -30, corner_hz=80, gust_s=1, gustiness=0.6)
    noise = wind.sample(silence(), 1)[0].double().numpy()
    hertz, power = signal.welch(noise, RATE, nperseg=4096)
    assert power[hertz < 200].sum() > 0.95 * power.sum()
    octave = [power[np.argmin(np.abs(hertz - f))] for f in (800, 1600)]
    assert 10 * np.log10(octave[0] / octave[1]) == pytest.approx(12, abs=2)
    steady = Wind(RATE, -30, gustiness=0).sample(silence(), 1)[0].double().numpy()
    swings = [np.log(sound.reshape(-1, RATE // 2).std(1)).std() for sound in (noise, steady)]
    assert swings[0] > 0.35
    assert swings[1] < 0.25


def test_gusts_are_normal_with_variance_one() -> None:
    law = Wind(1000, gust_s=0.05)
    walk = law.gusts(400_000, 1, 0)
    independent = len(walk) / 100
    assert abs(walk.mean()) < 4 / math.sqrt(independent)
    assert abs(walk.var() - 1) < 4 * math.sqrt(2 / independent)


def test_gusts_do_not_change_the_level_of_the_wind() -> None:
    """Many short gusts, so that their mean is well known."""
    noise = Wind(1000, -30, corner_hz=300, gust_s=0.01, gustiness=0.6).sample(silence(1, 400_000), 1).double()
    parts = noise[0].square().reshape(400, -1).mean(1)
    assert abs(float(parts.mean()) - 1e-3) < 4 * float(parts.std()) / math.sqrt(len(parts))
    assert float(parts.std()) / math.sqrt(len(parts)) < 0.02e-3


@pytest.mark.parametrize("law", [Clicks(RATE, 3000), Crackle(RATE, 3000)], ids=lambda law: law.describe())
def test_very_many_blows_have_their_power(law) -> None:
    noise = law.sample(silence(), 1).double()[0]
    parts = noise.square().reshape(400, -1).mean(1)
    assert abs(float(parts.mean()) - law.power) < 4 * float(parts.std()) / math.sqrt(len(parts))
    assert float(parts.std()) / math.sqrt(len(parts)) < 0.01 * law.power


def test_clicks_come_as_often_and_as_loud_as_they_say() -> None:
    law = Clicks(RATE, 10, -6)
    noise = law.sample(silence(2, 10 * COUNT), 1)
    assert torch.equal(noise[0], noise[1])
    hits = signal.find_peaks(noise[0].abs().numpy(), height=0.99 * 10 ** (-6 / 20 - CLICK_DECADES), distance=40)[0]
    expected = 10 * 10 * COUNT / RATE
    assert abs(len(hits) - expected) < 4 * math.sqrt(expected) + 0.02 * expected  # some fall on one another
    assert float(noise.abs().max()) == pytest.approx(10 ** (-6 / 20), rel=0.3)


def test_crackle_has_heavy_tails() -> None:
    noise = Crackle(RATE, 400, -50).sample(silence(), 1).double()
    assert dbfs(noise) == pytest.approx(-50, abs=0.3)
    assert float((noise / noise.std()).pow(4).mean()) > 10


def test_babble_is_as_loud_as_it_says_and_made_of_its_voices() -> None:
    one = Babble(VOICES[:1], RATE, talkers=1)
    noise = one.sample(silence(1, len(VOICES[0])), 2)[0]
    spectrum = torch.fft.rfft(noise) * torch.fft.rfft(VOICES[0]).conj()
    match = torch.fft.irfft(spectrum).max() / (noise.norm() * VOICES[0].norm())
    assert float(match) == pytest.approx(1, abs=1e-3)  # a round shift of that voice
    crowd = Babble(VOICES, RATE, talkers=40, level_dbfs=-30).sample(silence(), 1)
    assert dbfs(crowd) == pytest.approx(-30, abs=3)
    kurtosis = [float((sound / sound.std()).double().pow(4).mean()) for sound in (crowd, noise)]
    assert kurtosis[0] < kurtosis[1] - 0.5


# A law from a recording


def test_a_recorded_floor_has_its_octaves() -> None:
    levels = ((125.0, -50.0), (250.0, -45.0), (500.0, -55.0), (1000.0, -60.0), (2000.0, -70.0))
    law = Recorded(RATE, levels)
    power = law.density() * frequencies(RATE)[1]
    for hz, level in levels:
        inside = (frequencies(RATE) >= hz / 2**0.5) & (frequencies(RATE) < hz * 2**0.5)
        assert 10 * np.log10(power[inside].sum()) == pytest.approx(level, abs=0.3)


@pytest.mark.parametrize("slope", [0, 1])
def test_a_law_is_found_again_in_its_own_noise(slope: float) -> None:
    count = 10 * RATE
    noisy = Hum(RATE, 50, -40, harmonics=3, drift_hz=0.005).sample(silence(1, count), 1)
    noisy = Coloured(RATE, slope, -50).sample(noisy, 1)
    law = Recorded.fit(Audio.from_array(noisy.numpy(), RATE))
    assert [hz for hz, _ in law.hum_dbfs] == [50, 100, 150]
    again = law.sample(silence(1, count), 2)
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    spectra = [np.abs(np.fft.rfft(sound[0].double().numpy())) ** 2 for sound in (noisy, again)]
    for low in (45, 200, 400, 1000, 3000):
        inside = (hertz >= low) & (hertz < 2 * low)
        assert 10 * np.log10(spectra[1][inside].sum() / spectra[0][inside].sum()) == pytest.approx(0, abs=1.5)
    assert "50 Hz -4" in law.describe()


def test_a_law_is_found_under_speech() -> None:
    noisy = Coloured(RATE, 0, -50).sample(voice(10 * RATE), 1)
    law = Recorded.fit(Audio.from_array(noisy.numpy(), RATE))
    assert 10 * math.log10(law.power) == pytest.approx(-50, abs=2)
    assert law.hum_dbfs == ()


def test_a_silent_recording_has_no_law() -> None:
    with pytest.raises(UserError, match="only digital silence"):
        Recorded.fit(Audio.from_array(np.zeros((1, RATE), np.float32), RATE))


# What harms the sound itself


def test_clipping_cuts_at_its_limit_and_nowhere_else() -> None:
    clean = voice()
    noisy = Clipped(-20).sample(clean, 0)
    assert float(noisy.abs().max()) == pytest.approx(0.1)
    assert torch.equal(noisy[clean.abs() < 0.0999], clean[clean.abs() < 0.0999])


@pytest.mark.parametrize(("share", "burst"), [(0.0, 1), (0.05, 1.5), (0.3, 4)])
def test_packets_are_lost_as_often_and_in_such_bursts_as_they_say(share: float, burst: float) -> None:
    law = PacketLoss(1000, share, burst, 0.001)
    missing = law.missing(200_000, 1)
    spread = math.sqrt(share * (1 - share) * 2 * burst / len(missing))
    assert abs(missing.mean() - share) <= 4 * spread
    if share:
        begins = np.count_nonzero(missing[1:] & ~missing[:-1]) + missing[0]
        runs = missing.sum() / begins
        assert abs(runs - burst) < 4 * burst / math.sqrt(begins)


def test_lost_packets_are_silence_and_all_else_is_kept() -> None:
    clean = torch.ones(2, 10 * RATE)
    noisy = PacketLoss(RATE, 0.2, 2, 0.02).sample(clean, 1)
    packets = noisy.reshape(2, -1, 320)
    assert ((packets == 0).all(2) | (packets == 1).all(2)).all()
    assert torch.equal(packets[0], packets[1])
    many = torch.stack([PacketLoss(RATE, 0.2).sample(clean[:1, :320], seed)[0, 0] for seed in range(2000)])
    assert abs(float(many.var()) - float(PacketLoss(RATE, 0.2).variance(clean)[0, 0])) < 4 * 0.16 / math.sqrt(2000) * 2


def test_a_lost_packet_may_be_the_last_one_again() -> None:
    clean = torch.arange(20.0).repeat_interleave(10)[None] + 1
    law = PacketLoss(1000, 0.4, 2, 0.01, fill="repeat")
    missing = law.missing(20, 3)
    assert missing.any()
    last = 0.0
    for packet, gone in zip(law.sample(clean, 3).reshape(20, 10), missing, strict=True):
        last = last if gone else float(packet[0])
        assert (packet == last).all()


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_a_telephone_carries_its_band_without_delay(rate: int) -> None:
    seconds = torch.arange(2 * rate) / rate
    tone = {hz: torch.sin(2 * torch.pi * hz * seconds)[None] for hz in (100, 1000, 3000, 3900)}
    passed = {hz: BandLimited(rate).sample(sound, 0)[:, rate // 2 : -rate // 2] for hz, sound in tone.items()}
    for hz in (1000, 3000):
        assert torch.allclose(passed[hz], tone[hz][:, rate // 2 : -rate // 2], atol=0.01)
    assert dbfs(passed[100]) < -45
    assert dbfs(passed[3900]) < -45


def test_a_line_may_reach_down_to_nothing() -> None:
    assert torch.allclose(
        BandLimited(RATE, 0, 4000).sample(torch.ones(1, RATE), 0)[:, 2000:-2000], torch.ones(1, 12_000)
    )


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_rounding_with_dither_has_the_variance_it_says_whatever_the_sound(bits: int) -> None:
    law = Quantised(bits)
    for level in (0.0, 0.3 * law.step, 0.1234):
        clean = torch.full((1, 200_000), level)
        error = (law.sample(clean, 1) - clean).double()
        variance = float(law.variance(clean)[0, 0])
        assert abs(float(error.mean())) < 4 * math.sqrt(variance / error.numel())
        assert float(error.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / error.numel()))


def test_rounding_without_dither_hits_its_steps() -> None:
    noisy = Quantised(4, dithered=False).sample(torch.linspace(-1.2, 1.2, 1001)[None], 0)
    assert torch.equal(noisy * 8, (noisy * 8).round())
    assert (float(noisy.min()), float(noisy.max())) == (-1.0, 0.875)


@pytest.mark.parametrize(("coder", "kbps"), [("opus", 12), ("opus", 64), ("mp3", 16), ("mp3", 64)])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_a_coder_keeps_length_and_place(coder: str, kbps: float, rate: int) -> None:
    clean = Coloured(rate, 1.5, -25).sample(torch.zeros(1, rate + 77), 3)
    noisy = Coded(rate, coder, kbps).sample(clean, 0)
    assert noisy.shape == clean.shape
    assert abs(lag(clean[0].numpy(), noisy[0].numpy())) <= 2e-4 * rate
    assert not torch.equal(noisy, clean)


def lag(clean: np.ndarray, noisy: np.ndarray) -> int:
    match = signal.correlate(noisy, clean, "full", "fft")
    return int(np.argmax(match)) - len(clean) + 1


def test_a_coder_with_more_bits_harms_less() -> None:
    clean = voice()
    errors = [float((Coded(RATE, "opus", kbps).sample(clean, 0) - clean).square().mean()) for kbps in (6, 16, 96)]
    assert errors[0] > errors[1] > errors[2]


# Rooms


def test_a_measured_room_keeps_the_direct_sound_in_its_place() -> None:
    impulse = torch.zeros(500)
    impulse[100], impulse[300] = -0.25, 0.1
    clean = voice(5000)
    noisy = MeasuredRoom(impulse).sample(clean, 0)
    echo = torch.cat([torch.zeros(1, 200), clean[:, :-200]], 1)
    assert torch.allclose(noisy, clean - 0.4 * echo, atol=1e-5)


@PYROOM
@pytest.mark.parametrize("rt60_s", [0.2, 0.4])
def test_a_simulated_room_dies_away_as_it_says(rt60_s: float) -> None:
    law = SimulatedRoom(RATE, rt60_s)
    impulse = law.impulse(1).astype(np.float64)
    left = np.cumsum(impulse[::-1] ** 2)[::-1]
    level = 10 * np.log10(left / left[0])
    seconds = (np.argmax(level < -25) - np.argmax(level < -5)) / RATE
    assert 3 * seconds == pytest.approx(rt60_s, rel=0.35)
    assert np.array_equal(impulse, law.impulse(1))
    assert len(impulse) != len(law.impulse(2)) or not np.array_equal(impulse, law.impulse(2))


@PYROOM
def test_the_echo_of_a_simulated_room_is_as_strong_as_a_diffuse_one() -> None:
    clean = Coloured(RATE, 0, -20).sample(silence(1, 2 * RATE), 1)
    law = SimulatedRoom(RATE, 0.4, distance_m=2.0)
    echoes = [float((law.sample(clean, seed) - clean)[:, RATE:].square().mean()) for seed in range(5)]
    wanted = float(law.variance(clean)[:, RATE:].mean())
    assert 10 * math.log10(np.mean(echoes) / wanted) == pytest.approx(0, abs=3)


def test_mouth_and_ear_are_so_far_apart_and_away_from_the_walls() -> None:
    law = SimulatedRoom(RATE, size_m=(4.0, 3.0, 2.5), distance_m=2.0)
    for seed in range(50):
        mouth, ear = (np.array(place) for place in law.places(seed))
        assert np.linalg.norm(mouth - ear) == pytest.approx(2.0)
        for place in (mouth, ear):
            assert (place > 0.49).all()
            assert (place < np.array(law.size_m) - 0.49).all()


def test_a_diffuse_echo_is_as_strong_as_the_direct_sound_at_the_critical_distance() -> None:
    size, rt60_s = (5.0, 5.0, 4.0), 0.5
    distance = CRITICAL_M * math.sqrt(100 / rt60_s)
    variance = SimulatedRoom(RATE, rt60_s, size, distance).variance(torch.full((1, 3 * RATE), 0.1))
    assert float(variance[0, -1]) == pytest.approx(0.01, rel=1e-3)


def test_without_its_package_a_simulated_room_says_which_one_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(UserError, match=r"pip install 'denoise-kit\[rooms\]'"):
        SimulatedRoom(RATE).sample(voice(), 1)


# Ratios to active speech


@pytest.mark.parametrize("speaks_s", [0.5, 2.0])
@pytest.mark.parametrize("pauses_s", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("level", [-20, -60])
def test_the_active_level_does_not_count_pauses(speaks_s: float, pauses_s: float, level: float) -> None:
    """Beyond the 0.2 s after each burst that the standard counts as speech, and its smoothing."""
    spoken = 10 ** (level / 20) * torch.from_numpy(white(1, round(speaks_s * RATE), 1, 0, 0))
    sound = torch.cat([spoken, torch.zeros(1, round(pauses_s * RATE))], 1).repeat(1, 4)
    counted = dbfs(spoken) - 10 * math.log10(1 + min(pauses_s, 0.2) / speaks_s)
    assert 10 * math.log10(active_power(sound, RATE)) == pytest.approx(counted, abs=0.5)
    assert 10 * math.log10(active_power(sound, RATE)) <= dbfs(spoken) + 0.1


def test_long_speech_between_long_pauses_has_its_own_level_to_a_tenth_of_a_decibel() -> None:
    spoken = torch.from_numpy(white(1, 20 * RATE, 1, 0, 0)) * 0.05
    sound = torch.cat([torch.zeros(1, 30 * RATE), spoken, torch.zeros(1, 30 * RATE)], 1)
    assert 10 * math.log10(active_power(sound, RATE)) == pytest.approx(dbfs(spoken), abs=0.1)


@pytest.mark.parametrize("gain_db", [-60, -7, 20])
def test_a_gain_changes_the_active_level_by_just_that(gain_db: float) -> None:
    quiet, loud = voice(), voice() * 10 ** (gain_db / 20)
    found = 10 * math.log10(active_power(loud, RATE) / active_power(quiet, RATE))
    assert found == pytest.approx(gain_db, abs=0.01)


@pytest.mark.parametrize("snr_db", [-5, 0, 12.5, 30])
@pytest.mark.parametrize("channels", [1, 2])
def test_noise_is_mixed_at_its_ratio_to_active_speech(snr_db: float, channels: int) -> None:
    rate = 4000
    spoken = torch.from_numpy(white(1, 20 * rate, 1, 0, 0)) * 0.05
    clean = torch.cat([spoken, torch.zeros(1, 60 * rate)], 1).repeat(channels, 1)
    noise = Coloured(rate, 1, -10).sample(torch.zeros_like(clean), 2)
    noisy = mixed_at(clean, noise, snr_db, rate)
    assert dbfs(spoken) - dbfs(noisy - clean) == pytest.approx(snr_db, abs=0.1)
    assert dbfs(clean) - dbfs(noisy - clean) < snr_db - 5  # what a plain ratio would have been
    by_law = AtSnr(Coloured(rate, 1, -10), snr_db, rate)
    assert torch.allclose(by_law.sample(clean, 2), noisy, atol=1e-6)
    assert float(by_law.variance(clean).mean()) == pytest.approx(float((noisy - clean).square().mean()), rel=0.05)


def test_silence_stays_sane() -> None:
    empty, noise = torch.zeros(1, RATE), torch.randn(1, RATE, generator=torch.Generator().manual_seed(1))
    assert active_power(empty, RATE) == 0
    assert active_power(torch.zeros(1, 0), RATE) == 0
    assert torch.equal(mixed_at(empty, noise, 5, RATE), empty)
    assert torch.equal(mixed_at(noise, empty, 5, RATE), noise)
    assert torch.equal(AtSnr(Coloured(RATE), 5, RATE).variance(empty), empty)
    for law in (Clipped(), PacketLoss(RATE), BandLimited(RATE), Quantised(8, False), MeasuredRoom(torch.ones(5))):
        assert torch.equal(law.sample(empty, 1), empty), law
    for coder in ("opus", "mp3"):
        assert float(Coded(RATE, coder, 12).sample(empty, 1).abs().max()) < 1e-3


# What the user can put right


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Coloured(RATE, 9), "slope of 9"),
        (lambda: Wind(RATE, gust_s=0), "Gusts of 0 s"),
        (lambda: Hum(RATE, 0), "Mains of 0 Hz"),
        (lambda: Hum(100, 60), "half the rate"),
        (lambda: Clicks(RATE, 0), "0 blows"),
        (lambda: Crackle(RATE, 1e9), "at most 16000"),
        (lambda: PacketLoss(RATE, 1.0), "share of 1"),
        (lambda: PacketLoss(RATE, 0.9, 2), "at least 9.00"),
        (lambda: PacketLoss(RATE, 0.1, packet_s=0), "hold no sample"),
        (lambda: BandLimited(6000), "half the rate"),
        (lambda: Quantised(0), "0 bits"),
        (lambda: Coded(RATE, "wax"), "choose one of opus, mp3"),
        (lambda: Coded(RATE, "opus", 2), "6 to 256"),
        (lambda: Babble((), RATE), "at least one recording"),
        (lambda: Babble((torch.zeros(100),), RATE), "not silent"),
        (lambda: Babble(VOICES, RATE, 0), "0 talkers"),
        (lambda: MeasuredRoom(torch.zeros(9)), "not silent"),
        (lambda: SimulatedRoom(RATE, size_m=(1, 1, 1)), "1 x 1 x 1 m"),
        (lambda: mixed_at(torch.ones(1, 5), torch.ones(1, 4), 5, RATE), "same channels and length"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(wrong, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        wrong()
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
