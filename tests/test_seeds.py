"""Noise is a function of seed and place: normal, independent, the same in every engine and every cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from denoise import seeds

COUNT = 300_000
SEEDS = [0, 1, 2, 77, 2**31 - 1, 2**32 - 1]


def normals(seed: int, stream: int = 0, start: int = 0, count: int = COUNT) -> np.ndarray:
    return seeds.normal(seed, torch.arange(start, start + count), stream).double().numpy()


def within(value: float, expected: float, standard_error: float) -> bool:
    return abs(value - expected) < 4 * standard_error


@pytest.mark.parametrize("seed", SEEDS)
def test_moments_are_those_of_the_normal_law(seed: int) -> None:
    z = normals(seed)
    assert within(z.mean(), 0, 1 / math.sqrt(COUNT))
    assert within(z.var(), 1, math.sqrt(2 / COUNT))
    assert within((z**3).mean(), 0, math.sqrt(15 / COUNT))
    assert within((z**4).mean(), 3, math.sqrt(96 / COUNT))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_whole_distribution_is_normal(seed: int) -> None:
    assert stats.kstest(normals(seed)[:100_000], "norm").pvalue > 1e-4
    assert stats.kstest(normals(seed, start=2**40)[:100_000], "norm").pvalue > 1e-4


def test_far_values_are_as_frequent_as_they_should_be() -> None:
    z = np.concatenate([normals(seed) for seed in SEEDS])
    for limit in (2, 3, 4):
        chance = 2 * stats.norm.sf(limit)
        found = (np.abs(z) > limit).mean()
        assert within(found, chance, math.sqrt(chance / z.size))


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_numbers_fill_the_open_interval_evenly(seed: int) -> None:
    u = seeds.uniform(seed, torch.arange(COUNT)).numpy()
    assert u.min() > 0
    assert u.max() < 1
    cells = np.bincount((u * 64).astype(int), minlength=64)
    assert stats.chisquare(cells).pvalue > 1e-4


def test_the_smallest_word_gives_no_zero_and_the_largest_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (0, seeds.MASK):
        monkeypatch.setattr(seeds, "words", lambda *_, word=word: torch.tensor([word]))
        (u,) = seeds.uniform(0, torch.zeros(1))
        assert 0 < u < 1
        assert torch.isfinite(seeds.normal(0, torch.zeros(1))).all()


def unrelated(a: np.ndarray, b: np.ndarray) -> bool:
    """No correlation of the values, nor of their squares."""
    plain, squared = np.corrcoef(a, b)[0, 1], np.corrcoef(a**2, b**2)[0, 1]
    return within(plain, 0, 1 / math.sqrt(a.size)) and within(squared, 0, 1 / math.sqrt(a.size))


@pytest.mark.parametrize("lag", [1, 2, 3, 16, 256, 481, 65536])
def test_neighbours_are_independent(lag: int) -> None:
    z = normals(3)
    assert unrelated(z[lag:], z[:-lag])


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_and_streams_are_independent(seed: int) -> None:
    z = normals(seed)
    assert unrelated(z, normals(seed + 1))
    assert unrelated(z[1:], normals(seed + 1)[:-1])
    assert unrelated(z, normals(seed, stream=1))
    assert unrelated(z, normals(seed, stream=2))
    assert unrelated(z, normals(seed ^ 1 << 20))
    assert unrelated(z, normals(seed, start=1 << 32))


def test_every_place_has_its_own_word() -> None:
    words = seeds.words(9, 0, torch.arange(1 << 20))
    assert words.min() >= 0
    assert words.max() <= seeds.MASK
    assert words.unique().numel() == 1 << 20


def test_each_bit_of_the_place_turns_half_of_the_word() -> None:
    places = torch.arange(4096) * 977
    before = seeds.words(5, 1, places)
    for bit in range(48):
        changed = before ^ seeds.words(5, 1, places ^ (1 << bit))
        turned = sum((changed >> at) & 1 for at in range(32)).double().mean().item()
        assert 15 < turned < 17, f"bit {bit}"


@given(start=st.integers(0, 2**50), cut=st.integers(1, 99), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=50)
def test_the_same_place_gives_the_same_number_in_every_cut(start: int, cut: int, seed: int) -> None:
    whole = seeds.normal(seed, torch.arange(start, start + 100))
    parts = [seeds.normal(seed, torch.arange(start, start + cut)), normals_after(seed, start + cut, 100 - cut)]
    assert torch.equal(torch.cat(parts), whole)


def normals_after(seed: int, start: int, count: int) -> torch.Tensor:
    return seeds.normal_like(torch.zeros(count), seed, start=start)


@given(top=st.integers(0, 90), left=st.integers(0, 90), height=st.integers(1, 10), width=st.integers(1, 10))
@settings(max_examples=30)
def test_a_tile_has_the_counters_of_its_place(top: int, left: int, height: int, width: int) -> None:
    whole = seeds.located(torch.zeros(1, 3, 100, 100), 0, 0)
    tile = seeds.located(torch.zeros(2, 3, height, width), top, left)
    assert torch.equal(tile, whole[..., top : top + height, left : left + width])


def test_no_two_places_of_a_picture_share_a_counter() -> None:
    assert seeds.located(torch.zeros(1, 4, 50, 60), 7, 8).unique().numel() == 4 * 50 * 60
    assert seeds.located(torch.zeros(1, 8, 1000), 2**40).unique().numel() == 8000


def test_the_type_and_place_of_the_seed_do_not_matter() -> None:
    as_tensor = seeds.normal(torch.tensor(12), torch.arange(100))
    assert torch.equal(as_tensor, seeds.normal(12, torch.arange(100)))


def test_the_numbers_never_change() -> None:
    """Frozen: other engines and later versions are compared with these."""
    words = seeds.words(2026, 1, torch.tensor([0, 1, 2, 2**32, 2**40 + 5]))
    assert words.tolist() == WORDS
    uniform = seeds.uniform(2026, torch.arange(4))
    assert uniform.tolist() == pytest.approx(UNIFORM, abs=1e-7)
    normal = seeds.normal(2026, torch.arange(6))
    assert normal.tolist() == pytest.approx(NORMAL, abs=1e-6)


WORDS = [3785287333, 3807624496, 1154018369, 4203148628, 3974740359]
UNIFORM = [0.48696333, 0.79683501, 0.44111019, 0.11566907]
NORMAL = [0.8813358, 0.5098069, -0.1499081, 1.8396291, 0.804502, -0.3176494]


class Noisy(torch.nn.Module):
    def forward(self, picture: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
        return picture + seeds.normal_like(picture, seed, stream=3, start=2**33)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("graph") / "noisy.onnx"
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        Noisy().eval(),
        (torch.zeros(1, 3, 8, 9), torch.tensor(7)),
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["picture", "seed"],
        output_names=["noisy"],
        dynamic_shapes=({2: dynamic, 3: dynamic}, None),
    )
    assert program is not None
    program.save(str(path))
    return path


@pytest.mark.parametrize("size", [(8, 9), (101, 67)])
def test_another_engine_draws_the_same_noise(graph: Path, size: tuple[int, int]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    picture = torch.zeros(1, 3, *size)
    for seed in SEEDS:
        (there,) = session.run(None, {"picture": picture.numpy(), "seed": np.array(seed)})
        here = Noisy()(picture, torch.tensor(seed)).numpy()
        assert np.abs(there - here).max() < 2e-6
        assert there.std() > 0.8
