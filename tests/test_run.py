"""One signal through one restorer: nothing changes but the noise, and nothing goes wrong in silence."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from toys import GAIN, Hungry, Toy, box_blur, facts, gain, identity, seeded_picture, seeded_sound

from denoise.batch.recipe import MOST_PASSES
from denoise.errors import BadFile, Cancelled, UserError
from denoise.noise.picture_laws import SaltAndPepper
from denoise.restorer import Facts
from denoise.run import STRUCK, WAYS, Careful, Options, restore_picture, restore_sound
from denoise.signals import Audio, Picture

sides = st.integers(1, 33)
dice = np.random.default_rng


def picture(height: int, width: int, channels: int = 3, dtype: type = np.uint8, seed: int = 0) -> Picture:
    top = 255 if dtype is np.uint8 else 65535
    values = dice(seed).integers(0, top + 1, (height, width, channels))
    if dtype is np.float32:
        return Picture((values / top).astype(np.float32), 1.0)
    return Picture(values.astype(dtype), top)


def sound(length: int, channels: int = 2, rate: int = 8000, seed: int = 0) -> Audio:
    return Audio.from_array(samples(length, channels, seed), rate)


def samples(length: int, channels: int = 2, seed: int = 0) -> NDArray[np.float32]:
    return dice(seed).uniform(-0.5, 0.5, (channels, length)).astype(np.float32)


def whole(audio: Audio) -> NDArray[np.float32]:
    return np.concatenate(list(audio.blocks(1000)), 1)


def heard(audio: Audio, toy: Toy, options: Options | None = None, **more: Callable[..., None]) -> NDArray[np.float32]:
    return np.concatenate(list(restore_sound(audio, toy, options, **more)), 1)


# Pictures


@given(height=sides, width=sides, channels=st.sampled_from([1, 3]), dtype=st.sampled_from([np.uint8, np.uint16]))
def test_identity_gives_small_pictures_back_to_the_bit(height: int, width: int, channels: int, dtype: type) -> None:
    noisy = picture(height, width, channels, dtype)
    toy = Toy(identity, facts(channels=3, multiple=8, least=3))
    assert np.array_equal(restore_picture(noisy, toy), noisy.pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("height", "width"), [(300, 517), (1, 700), (700, 2), (129, 64)])
def test_identity_gives_large_pictures_back_to_the_bit(dtype: type, height: int, width: int) -> None:
    noisy, toy = picture(height, width, 3, dtype), Toy(identity, facts(context=5))
    assert np.array_equal(restore_picture(noisy, toy), noisy.pixels)
    assert len(toy.seen) > 1, "it was to be cut"


def test_every_level_of_sixteen_bits_comes_back() -> None:
    noisy = Picture(np.arange(65536, dtype=np.uint16).reshape(256, 256, 1), 65535)
    assert np.array_equal(restore_picture(noisy, Toy(identity)), noisy.pixels)


def test_what_is_out_of_range_is_clipped_and_not_wrapped() -> None:
    noisy = Picture(np.full((4, 4, 1), 200, np.uint8), 255)
    louder = Toy(lambda noisy, **_: 3 * noisy - 0.1)
    assert (restore_picture(noisy, louder) == 255).all()
    assert (restore_picture(noisy, Toy(lambda noisy, **_: noisy - 2)) == 0).all()


def test_a_float_picture_may_go_beyond_white() -> None:
    noisy = Picture(np.full((4, 4, 1), 3.0, np.float32), 1.0)
    assert np.allclose(restore_picture(noisy, Toy(lambda noisy, **_: 2 * noisy)), 6)


def test_the_input_stays_as_it_was() -> None:
    noisy = picture(100, 90)
    before = noisy.pixels.copy()
    restore_picture(noisy, Toy(lambda noisy, **_: noisy.zero_()))
    assert np.array_equal(noisy.pixels, before)


@pytest.mark.parametrize(("height", "width"), [(150, 190), (64, 65), (20, 300)])
def test_tiles_with_their_context_equal_the_whole_picture(height: int, width: int) -> None:
    noisy = picture(height, width, dtype=np.float32)
    toy = Toy(box_blur(4), facts(context=4))
    at_once = box_blur(4)(noisy.region()[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(restore_picture(noisy, toy) - at_once).max() <= 1e-6
    assert len(toy.seen) > 1


@pytest.mark.parametrize(("height", "width"), [(150, 190), (20, 300)])
def test_tiles_begin_where_the_grid_of_the_whole_does(height: int, width: int) -> None:
    """A network that halves its picture sees squares; in a tile they must be those of the whole."""
    noisy, toy = picture(height, width, dtype=np.float32), Toy(in_blocks, facts(context=8, multiple=8))
    assert np.abs(restore_picture(noisy, toy) - restore_picture(noisy, toy, Options(piece=1000))).max() <= 1e-6
    assert len(toy.seen) > 2, "it was to be cut"


def test_a_restorer_that_needs_the_whole_gets_it_once() -> None:
    toy = Toy(identity, facts(context=None))
    restore_picture(picture(200, 300), toy)
    assert toy.seen == [(1, 3, 200, 300)]


@given(height=sides, width=sides, multiple=st.sampled_from([1, 2, 8]), least=st.integers(1, 20))
def test_sides_are_padded_to_what_the_restorer_takes(height: int, width: int, multiple: int, least: int) -> None:
    toy = Toy(identity, facts(multiple=multiple, least=least))
    assert restore_picture(picture(height, width), toy).shape == (height, width, 3)
    ((_, _, tall, wide),) = toy.seen
    assert tall % multiple == wide % multiple == 0
    assert max(height, least) <= tall < max(height, least) + multiple
    assert max(width, least) <= wide < max(width, least) + multiple


def test_grey_goes_through_a_restorer_of_three_colours() -> None:
    tint = torch.tensor([0.9, 0.6, 0.3])[:, None, None]
    toy = Toy(lambda noisy, **_: noisy * tint, facts(channels=3))
    noisy = picture(20, 30, 1, np.float32)
    assert np.allclose(restore_picture(noisy, toy), 0.6 * noisy.pixels, atol=1e-6)
    assert toy.seen == [(1, 3, 20, 30)]


def test_every_colour_goes_through_a_restorer_of_one() -> None:
    toy = Toy(lambda noisy, **_: 0.5 * noisy, facts(channels=1))
    noisy = picture(20, 30, 3, np.float32)
    assert np.allclose(restore_picture(noisy, toy), 0.5 * noisy.pixels, atol=1e-6)
    assert toy.seen == [(3, 1, 20, 30)]


def test_too_many_colours_are_refused() -> None:
    with pytest.raises(UserError, match="wants 3 colours; this picture has 4"):
        restore_picture(picture(5, 5, 4), Toy(identity, facts(channels=3)))


def centred(noisy: Tensor, mean: Tensor, **_: float) -> Tensor:
    return noisy - mean[..., None, None] + 0.5


def mean_colour(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten(2) for part in parts], 2).mean(2)


@pytest.mark.parametrize("channels", [1, 3, None])
def test_all_tiles_share_one_survey(channels: int | None) -> None:
    """Constant stripes of 200 px: statistics of a tile are far from those of the whole."""
    stripes = np.repeat(np.array([0.2, 0.4, 0.9, 0.1, 0.6, 0.8], np.float32), 200)
    noisy = Picture(np.broadcast_to(stripes[None, :, None], (300, 1200, 3)).copy(), 1.0)
    toy = Toy(centred, facts(channels=channels, surveys=True, piece=100), look=mean_colour)
    restored = restore_picture(noisy, toy)
    assert len(toy.surveyed) == 1
    assert np.abs(restored - (noisy.pixels - stripes.mean() + 0.5)).max() < 0.01


def test_a_large_picture_is_surveyed_by_a_small_sheet() -> None:
    noisy = Picture(np.zeros((4000, 5000, 1), np.uint8), 255)
    toy = Toy(centred, facts(surveys=True, piece=2000), look=mean_colour)
    restore_picture(noisy, toy)
    ((_, _, height, width),) = toy.surveyed
    assert height * width <= 1e6


# Sound


@given(length=st.integers(1, 9000), channels=st.integers(1, 3), rate=st.sampled_from([8000, 44100]))
@settings(max_examples=40)
def test_identity_gives_every_sample_back(length: int, channels: int, rate: int) -> None:
    noisy = sound(length, channels, rate)
    assert np.array_equal(heard(noisy, Toy(identity, facts("audio", piece=1500, context=200))), whole(noisy))


@pytest.mark.parametrize("length", [1, 999, 5000, 20_001])
def test_chunks_with_their_context_equal_the_whole_sound(length: int) -> None:
    noisy = sound(length, rate=48000)
    toy = Toy(box_blur(31), facts("audio", context=31, piece=3000))
    at_once = box_blur(31)(torch.from_numpy(whole(noisy))[None])[0].numpy()
    assert np.abs(heard(noisy, toy) - at_once).max() <= 1e-6
    assert len(toy.seen) > 1 or length <= 3000


def test_context_and_pieces_are_counted_at_the_rate_of_the_sound() -> None:
    toy = Toy(identity, facts("audio", piece=4800, context=480))
    heard(sound(16000, rate=16000), toy)
    assert max(size for _, _, size in toy.seen) <= 1600 + 2 * 160
    assert toy.seen[1][2] > 1000


def test_a_restorer_for_any_rate_is_told_the_rate() -> None:
    rates: list[float] = []

    def noting(noisy: Tensor, rate: float = 0, **_: float) -> Tensor:
        rates.append(rate)
        return noisy

    heard(sound(100, rate=22050), Toy(noting, facts("audio", piece=1000)))
    assert rates == [22050]


@given(length=st.integers(1, 30_000), rate=st.sampled_from([8000, 11025, 44100, 48000]))
@settings(max_examples=20)
def test_at_another_rate_identity_still_gives_every_sample_back(length: int, rate: int) -> None:
    noisy = sound(length, rate=rate)
    toy = Toy(identity, facts("audio", rate=16000, piece=9000, context=100))
    np.testing.assert_allclose(heard(noisy, toy), whole(noisy), atol=1e-7)


def test_at_another_rate_only_what_the_restorer_hears_is_taken_away() -> None:
    at = np.arange(48_000) / 48_000
    low, high = ((0.3 * np.sin(2 * np.pi * hertz * at))[None].astype(np.float32) for hertz in (500, 15_000))
    muted = Toy(lambda noisy, **_: 0 * noisy, facts("audio", rate=16_000, piece=7000, context=400))
    left = heard(Audio.from_array(low + high, 48_000), muted)
    assert np.abs(left - high)[:, 1000:-1000].max() < 1e-3
    half = heard(Audio.from_array(low + high, 48_000), muted, Options(strength=0.5))
    assert np.abs(half - high - low / 2)[:, 1000:-1000].max() < 1e-3


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_above_the_restorers_band_as_much_is_taken_away_as_at_its_top(strength: float) -> None:
    noise = Audio.from_array(samples(96_000, 2), 48_000)
    quarter = Toy(lambda noisy, **_: noisy / 4, facts("audio", rate=16_000, piece=9000, context=400))
    left = heard(noise, quarter, Options(strength=strength))
    expected = (1 - 0.75 * strength) * whole(noise)
    # between the bands, where the resampling filter falls, a little more stays
    assert np.abs(left - expected)[:, 1000:-1000].mean() < 0.02 * np.abs(whole(noise)).mean()


def test_what_lies_above_follows_in_time() -> None:
    noise = samples(96_000, 1)

    def gated(noisy: Tensor, **_: float) -> Tensor:
        return noisy * (torch.arange(noisy.shape[-1]) < 16_000)

    left = heard(Audio.from_array(noise, 48_000), Toy(gated, facts("audio", rate=16_000, piece=40_000)))
    assert np.abs(left - noise)[:, :46_000].max() < 1e-3
    assert np.abs(left)[:, 50_000:-100].max() < 0.01


def test_channels_go_together_or_one_by_one() -> None:
    together, apart = Toy(identity, facts("audio")), Toy(identity, facts("audio", channels=1))
    heard(sound(50, 2), together)
    heard(sound(50, 2), apart)
    assert together.seen == [(1, 2, 50)]
    assert apart.seen == [(2, 1, 50)]


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(UserError, match="wants 2 channels; this sound has 3"):
        heard(sound(50, 3), Toy(identity, facts("audio", channels=2)))


@pytest.mark.parametrize("channels", [1, None])
def test_a_sound_is_surveyed_whole_and_once(channels: int | None) -> None:
    def level(parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -1).abs().amax((1, 2))[:, None, None]

    quiet = samples(6000) * np.linspace(0.1, 1, 6000, dtype=np.float32)
    toy = Toy(lambda noisy, level, **_: noisy / level, facts("audio", channels=channels, surveys=True), look=level)
    loud = heard(Audio.from_array(quiet, 8000), toy)
    by = np.abs(quiet).max(None if channels is None else 1, keepdims=True)
    assert np.allclose(loud, quiet / by, atol=1e-6)
    assert sum(size for _, _, size in toy.surveyed) == 6000
    assert len(toy.seen) > 1


def test_a_stream_that_ends_early_is_told() -> None:
    short = sound(500)
    lying = Audio(short.rate, short.channels, 600, short.blocks)
    with pytest.raises(BadFile, match="ends after 500 samples"):
        heard(lying, Toy(identity, facts("audio")))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell how much is held")
def test_a_long_sound_is_not_held() -> None:
    """Ten minutes of stereo would be 230 MB."""
    length, rate = 600 * 48_000, 48_000

    def blocks(frames: int) -> Iterator[NDArray[np.float32]]:
        for start in range(0, length, frames):
            yield np.full((2, min(frames, length - start)), 0.1, np.float32)

    toy = Toy(identity, facts("audio", piece=96_000, context=9_600))
    restored = restore_sound(Audio(rate, 2, length, blocks), toy)
    out = next(restored).shape[1]
    before, most = resident_bytes(), 0
    for block in restored:
        out += block.shape[1]
        most = max(most, resident_bytes())
    assert out == length
    assert most - before < 30e6


def test_the_first_block_comes_before_the_end_is_read() -> None:
    given: list[int] = []
    noisy = samples(100_000)

    def blocks(frames: int) -> Iterator[NDArray[np.float32]]:
        for start in range(0, 100_000, frames):
            given.append(start)
            yield noisy[:, start : start + frames]

    toy = Toy(identity, facts("audio", piece=6000, context=600))
    restored = restore_sound(Audio(8000, 2, 100_000, blocks), toy)
    next(restored)
    assert given[-1] <= 4000


# Strength


@given(strength=st.floats(0, 1))
@settings(max_examples=30)
def test_strength_is_linear_between_the_noisy_and_the_restored(strength: float) -> None:
    noisy = picture(80, 100, dtype=np.float32)
    toy = Toy(box_blur(2), facts(context=2))
    none, some, all_ = (restore_picture(noisy, toy, Options(strength=s)) for s in (0.0, strength, 1.0))
    assert np.array_equal(none, noisy.pixels)
    assert np.allclose(some, noisy.pixels + strength * (all_ - noisy.pixels), atol=1e-6)


@given(strength=st.floats(0, 1), length=st.integers(1, 3000))
@settings(max_examples=30)
def test_dry_and_wet_are_aligned_to_the_sample(strength: float, length: int) -> None:
    """Half as loud, blended: only where both are at the same sample is the result a plain multiple."""
    noisy = sound(length)
    toy = Toy(gain, facts("audio", knobs=(GAIN,)))
    assert np.allclose(heard(noisy, toy, Options(strength)), (1 - strength / 2) * whole(noisy), atol=1e-6)


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(UserError, match="from 0 to 1"):
        Options(strength=strength)


# Passes


def smeared(noisy: Tensor, **_: float) -> Tensor:
    """Down and a little to the right: no two of the ways to see it are alike."""
    return (noisy + noisy.roll((1, 3), (-1, -2))) / 2


def test_the_mean_of_all_passes_is_alike_from_all_sides() -> None:
    noisy, toy = picture(64, 64, dtype=np.float32), Toy(smeared)
    pixels = restore_picture(noisy, toy, Options(passes=8))
    for axis in (0, 1):
        flipped = Picture(np.ascontiguousarray(np.flip(noisy.pixels, axis)), 1.0)
        assert np.allclose(np.flip(restore_picture(flipped, toy, Options(passes=8)), axis), pixels, atol=1e-6)
        assert not np.allclose(np.flip(restore_picture(flipped, toy), axis), restore_picture(noisy, toy), atol=0.01)


@given(height=sides, width=sides, passes=st.integers(1, 8), channels=st.sampled_from([1, 3]))
@settings(max_examples=40)
def test_passes_give_back_what_identity_leaves(height: int, width: int, passes: int, channels: int) -> None:
    noisy = picture(height, width, channels)
    toy = Toy(identity, facts(channels=3, multiple=8, least=3))
    assert np.array_equal(restore_picture(noisy, toy, Options(passes=passes)), noisy.pixels)
    assert len(toy.seen) == passes


@pytest.mark.parametrize("passes", range(1, 9))
def test_every_pass_sees_the_blocks_of_the_whole(passes: int) -> None:
    """In a tile that is turned they begin at its other end."""
    noisy, shape = picture(239, 171, dtype=np.float32), facts(multiple=8, piece=1000, context=8)
    at_once, tiles = (
        restore_picture(noisy, Toy(in_blocks, shape), Options(piece=piece, passes=passes)) for piece in (1000, 70)
    )
    assert np.allclose(tiles, at_once, atol=1e-6)
    assert np.allclose(at_once, restore_picture(noisy, Toy(in_blocks, shape)), atol=1e-6)


def test_every_further_pass_sees_it_otherwise() -> None:
    noisy, toy = picture(64, 64, dtype=np.float32), Toy(smeared)
    means = [restore_picture(noisy, toy, Options(passes=passes)) for passes in range(1, 9)]
    assert not any(np.allclose(one, other, atol=1e-4) for one, other in combinations(means, 2))


@pytest.mark.parametrize("passes", [0, MOST_PASSES + 1, -1])
def test_passes_out_of_range_are_refused(passes: int) -> None:
    assert len(set(WAYS)) == MOST_PASSES
    with pytest.raises(UserError, match="from 1 to 8"):
        Options(passes=passes)


@pytest.mark.parametrize("shape", [facts("audio"), facts("raw", channels=4), facts(seeded=True), facts(placed=True)])
def test_passes_are_refused_where_there_is_but_one_way_to_see_it(shape: Facts) -> None:
    with pytest.raises(UserError, match="one pass only"):
        Careful(Toy(identity, shape), Options(passes=2))


# What another model is better for


@pytest.mark.parametrize("density", [0.0, 0.05])
def test_another_model_for_salt_and_pepper_is_named(density: float) -> None:
    """By the card."""
    grey = torch.full((3, 120, 150), 0.5)
    pixels = SaltAndPepper(density).sample(grey, 0).permute(1, 2, 0).numpy() if density else grey.permute(1, 2, 0)
    heard: list[str] = []
    toy = Toy(identity, facts(card={"struck": {"model": "owl"}}))
    restore_picture(Picture(np.asarray(pixels), 1.0), toy, say=heard.append)
    assert heard == [STRUCK.format(model="owl")] * bool(density)


# Knobs


def test_knobs_reach_the_restorer_with_their_defaults() -> None:
    noisy, toy = picture(20, 20, dtype=np.float32), Toy(gain, facts(knobs=(GAIN,)))
    assert np.allclose(restore_picture(noisy, toy), 0.5 * noisy.pixels)
    assert np.allclose(restore_picture(noisy, toy, Options(knobs={"gain": 0.25})), 0.25 * noisy.pixels)


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [({"gian": 1}, "did you mean gain"), ({"gain": 3}, "from 0 to 2"), ({"x": 1}, "toy has")],
)
def test_wrong_knobs_are_refused(knobs: dict[str, float], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        restore_picture(picture(20, 20), Toy(gain, facts(knobs=(GAIN,))), Options(knobs=knobs))


# Seeds


def test_the_same_seed_gives_the_same_picture_however_it_is_cut() -> None:
    noisy = picture(150, 200, dtype=np.float32)
    toy = Toy(seeded_picture, facts(seeded=True, context=3))
    once, again, other = (restore_picture(noisy, toy, Options(seed=seed)) for seed in (5, 5, 6))
    in_one = restore_picture(noisy, toy, Options(seed=5, piece=1000))
    assert np.array_equal(once, again)
    assert np.allclose(once, in_one, atol=1e-6)
    assert np.abs(once - other).mean() > 0.05


def test_the_same_seed_gives_the_same_sound_however_it_is_cut() -> None:
    noisy = sound(20_000)
    toy = Toy(seeded_sound, facts("audio", seeded=True, piece=9000, context=50))
    once, again, other = (heard(noisy, toy, Options(seed=seed)) for seed in (5, 5, 6))
    in_one = heard(noisy, toy, Options(seed=5, piece=100_000))
    assert np.array_equal(once, again)
    assert np.allclose(once, in_one, atol=1e-6)
    assert np.abs(once - other).mean() > 0.05


def test_a_restorer_without_chance_is_told_no_seed() -> None:
    def strict(noisy: Tensor) -> Tensor:
        return noisy

    assert restore_picture(picture(9, 9), Toy(strict), Options(seed=3)).shape == (9, 9, 3)


# Progress, and an end before the end


def tick_of_picture(tick: Callable[[float], None]) -> None:
    restore_picture(picture(200, 300), Toy(identity), tick=tick)


def tick_of_sound(tick: Callable[[float], None]) -> None:
    heard(sound(20_000), Toy(identity, facts("audio", piece=6000)), tick=tick)


@pytest.mark.parametrize("restore", [tick_of_picture, tick_of_sound])
def test_progress_grows_and_ends_at_one(restore: Callable[[Callable[[float], None]], None]) -> None:
    told: list[float] = []
    restore(told.append)
    assert len(told) > 5
    assert all(before < after for before, after in pairwise(told))
    assert 0 < told[0] < 1
    assert told[-1] == 1


@pytest.mark.parametrize("restore", [tick_of_picture, tick_of_sound])
def test_cancelling_works_at_any_moment(restore: Callable[[Callable[[float], None]], None]) -> None:
    told: list[float] = []
    restore(told.append)
    for moment in range(len(told)):
        calls = iter(range(len(told)))

        def stop(_: float, moment: int = moment, calls: Iterator[int] = calls) -> None:
            if next(calls) == moment:
                raise Cancelled

        with pytest.raises(Cancelled):
            restore(stop)


# Out of memory

BOX = "cpu:0"  # a device that is not the last resort, as far as the runner can tell

ERRORS = [
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    lambda: MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS)
def test_smaller_pieces_when_memory_runs_out(error: Callable[[], Exception]) -> None:
    said: list[str] = []
    noisy = picture(300, 200, dtype=np.float32)
    toy = Hungry(box_blur(3), facts(context=3, piece=256), device=BOX, room={BOX: 150}, error=error)
    restored = restore_picture(noisy, toy, say=said.append)
    at_once = restore_picture(noisy, Toy(box_blur(3), facts(context=3, piece=256)))
    assert np.allclose(restored, at_once, atol=1e-6)
    assert all("smaller" in sentence or "pieces of" in sentence for sentence in said)
    assert 1 <= len(said) <= 2
    assert max(max(size[2:]) for size in toy.seen) <= 150


def in_blocks(noisy: Tensor, **_: float) -> Tensor:
    """The mean of every 8×8 pixels: what a network sees that halves its picture three times."""
    blocks = F.avg_pool2d(noisy, 8)
    return blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)


def test_tiles_begin_where_the_blocks_of_the_picture_do() -> None:
    noisy = picture(240, 176, dtype=np.float32)
    shape = facts(multiple=8, piece=1000)
    whole = restore_picture(noisy, Toy(in_blocks, shape))
    tiles = restore_picture(noisy, Toy(in_blocks, replace(shape, context=8)), Options(piece=70))
    little = Hungry(in_blocks, replace(shape, context=8), device=BOX, room={BOX: 136})
    assert np.allclose(tiles, whole, atol=1e-6)
    assert np.allclose(restore_picture(noisy, little), whole, atol=1e-6)
    assert max(max(size[2:]) for size in little.seen) <= 136


def test_then_the_processor_when_even_small_pieces_are_too_large() -> None:
    said: list[str] = []
    noisy = picture(200, 200)
    toy = Hungry(identity, facts(piece=256), device=BOX, room={BOX: 10})
    assert np.array_equal(restore_picture(noisy, toy, say=said.append), noisy.pixels)
    assert "on the CPU" in said[-1]


def test_then_a_sentence_when_nothing_is_left_to_try() -> None:
    toy = Hungry(identity, facts(piece=256), room={"cpu": 10})
    with pytest.raises(UserError, match="close other programs"):
        restore_picture(picture(200, 200), toy)


def test_a_sound_survives_little_memory_with_its_seed() -> None:
    said: list[str] = []
    noisy = sound(30_000)
    shape = facts("audio", piece=30_000, seeded=True)
    toy = Hungry(seeded_sound, shape, device=BOX, room={BOX: 2000})
    restored = heard(noisy, toy, Options(seed=2), say=said.append)
    assert np.allclose(restored, heard(noisy, Toy(seeded_sound, shape), Options(seed=2)), atol=1e-6)
    assert said


def test_a_picture_survives_little_memory_with_its_seed() -> None:
    noisy = picture(150, 400, dtype=np.float32)
    shape = facts(piece=500, seeded=True)
    toy = Hungry(seeded_picture, shape, device=BOX, room={BOX: 100})
    restored = restore_picture(noisy, toy, Options(seed=2))
    assert np.allclose(restored, restore_picture(noisy, Toy(seeded_picture, shape), Options(seed=2)), atol=1e-6)


def test_pieces_after_a_shortage_share_one_survey() -> None:
    noisy = Picture(np.full((300, 300, 3), 0.25, np.float32), 1.0)
    toy = Hungry(centred, facts(surveys=True, piece=300), look=mean_colour, device=BOX, room={BOX: 120})
    assert np.allclose(restore_picture(noisy, toy), 0.5, atol=1e-6)
    assert len(toy.surveyed) == 1


def test_a_survey_that_finds_no_memory_goes_to_the_processor() -> None:
    said: list[str] = []

    def look(parts: list[Tensor]) -> Tensor:
        if not said:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return mean_colour(parts)

    noisy = Picture(np.full((300, 300, 3), 0.25, np.float32), 1.0)
    toy = Toy(centred, facts(surveys=True), look=look, device=BOX)
    assert np.allclose(restore_picture(noisy, toy, say=said.append), 0.5, atol=1e-6)
    assert "on the CPU" in said[0]


def test_any_other_error_is_not_taken_for_a_shortage() -> None:
    toy = Hungry(identity, room={"cpu": 10}, error=lambda: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        restore_picture(picture(20, 20), toy)


# Numbers that are none


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    pixels = np.zeros((200, 200, 3), np.float32)
    pixels[150, 3, 1] = bad
    with pytest.raises(BadFile, match="not numbers"):
        restore_picture(Picture(pixels, 1.0), Toy(identity))
    noisy = samples(9000)
    noisy[1, 8000] = bad
    with pytest.raises(BadFile, match="not numbers"):
        heard(Audio.from_array(noisy, 8000), Toy(identity, facts("audio")))


def test_a_restorer_that_makes_them_is_stopped() -> None:
    with pytest.raises(UserError, match="toy gave numbers that are not finite"):
        restore_picture(picture(20, 20), Toy(lambda noisy, **_: noisy / 0))
