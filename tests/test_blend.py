"""However a signal is cut, a restorer that changes nothing changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from toys import box_blur

from denoise.blend import Span, in_chunks, mirrored, rise, spans, stitch

lengths = st.integers(1, 400)
sizes = st.integers(1, 120)
overlaps = st.integers(0, 90)
contexts = st.integers(0, 50)


def unchanged(part: Tensor, _: int) -> Tensor:
    return part


@given(length=lengths, piece=sizes, overlap=overlaps)
def test_spans_cover_the_axis_in_order_and_share_what_they_say(length: int, piece: int, overlap: int) -> None:
    cuts = spans(length, piece, overlap)
    assert cuts[0].start == 0
    assert cuts[-1].stop == length
    assert cuts[0].fade_in == 0
    assert cuts[-1].fade_out == 0
    for cut in cuts:
        assert 0 < len(cut) <= piece
        assert cut.fade_in + cut.fade_out <= len(cut), "three pieces would overlap"
    for left, right in pairwise(cuts):
        assert left.stop - right.start == left.fade_out == right.fade_in


@given(length=st.integers(1, 5000), piece=st.integers(30, 600))
def test_no_piece_is_much_smaller_than_the_others(length: int, piece: int) -> None:
    cuts = spans(length, piece, overlap=10)
    assert len({len(cut) for cut in cuts[:-1]}) <= 1
    assert len(cuts[-1]) > len(cuts[0]) - len(cuts)


@given(length=lengths, piece=sizes, overlap=overlaps)
def test_windows_sum_to_one(length: int, piece: int, overlap: int) -> None:
    total = torch.zeros(length, dtype=torch.float64)
    for cut in spans(length, piece, overlap):
        window = torch.ones(len(cut), dtype=torch.float64)
        window[: cut.fade_in] = rise(cut.fade_in)
        window[len(cut) - cut.fade_out :] *= rise(cut.fade_out).flip(0)
        total[cut.start : cut.stop] += window
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


@given(length=lengths, piece=sizes, overlap=overlaps, context=contexts, dim=st.sampled_from([0, 1, -1]))
def test_identity_survives_cutting(length: int, piece: int, overlap: int, context: int, dim: int) -> None:
    shape = [2, 2, 2]
    shape[dim] = length
    signal = torch.arange(4.0 * length).reshape(shape).sin()
    assert torch.equal(in_chunks(unchanged, signal, piece, overlap, context, dim), signal)


@given(length=lengths, piece=sizes, overlap=overlaps, radius=st.integers(1, 9))
def test_a_restorer_that_sees_its_context_gives_the_same_in_pieces(
    length: int, piece: int, overlap: int, radius: int
) -> None:
    signal = torch.arange(2.0 * length).reshape(1, 2, length).cos()
    blur = box_blur(radius)
    cut = in_chunks(lambda part, _: blur(part), signal, piece, overlap, context=radius)
    assert torch.allclose(cut, blur(signal), atol=1e-6)


@given(length=lengths, piece=sizes, overlap=overlaps, context=contexts)
def test_every_piece_is_told_where_it_begins(length: int, piece: int, overlap: int, context: int) -> None:
    signal = torch.arange(float(length))

    def placed(part: Tensor, start: int) -> Tensor:
        assert part[0] == start
        return part

    in_chunks(placed, signal, piece, overlap, context)


@given(length=lengths, piece=sizes, context=contexts, multiple=st.integers(1, 16))
def test_every_piece_begins_at_a_multiple_and_still_has_its_context(
    length: int, piece: int, context: int, multiple: int
) -> None:
    signal = torch.arange(float(length))
    begun: list[int] = []

    def placed(part: Tensor, start: int) -> Tensor:
        begun.append(start)
        return part

    assert torch.equal(in_chunks(placed, signal, piece, 2, context, multiple=multiple), signal)
    assert all(start % multiple == 0 for start in begun)
    wanted = [max(0, span.start - context) for span in spans(length, piece, 2)]
    assert all(want - multiple < start <= want for start, want in zip(begun, wanted, strict=True))


def test_a_seam_fades_and_does_not_step() -> None:
    """Two pieces that disagree by one, over 20 samples: no neighbour differs by more than a step of that fade."""
    pieces = [(Span(0, 60, 0, 20), torch.zeros(60)), (Span(40, 100, 20, 0), torch.ones(60))]
    joined = torch.cat(list(stitch(pieces)))
    assert joined.shape == (100,)
    assert joined.diff().min() >= 0
    assert joined.diff().max() < 0.1


def test_finished_stretches_come_out_before_the_next_piece_is_asked_for() -> None:
    asked: list[int] = []

    def pieces() -> Iterator[tuple[Span, Tensor]]:
        for number, cut in enumerate(spans(1000, 100, 10)):
            asked.append(number)
            yield cut, torch.zeros(len(cut))

    finished = 0
    for stretch in stitch(pieces()):
        finished += stretch.shape[0]
        assert finished >= 90 * asked[-1], "held back although nothing can change it any more"
    assert finished == 1000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_stays(dtype: torch.dtype) -> None:
    signal = torch.rand(50, dtype=dtype)
    assert in_chunks(unchanged, signal, 16, 5).dtype == dtype


@pytest.mark.parametrize(("length", "side"), [(1, 5), (2, 7), (5, 5), (5, 3), (4, 16)])
def test_what_is_added_at_the_end_is_a_mirror_image(length: int, side: int) -> None:
    signal = torch.arange(length).float()
    there_and_back = torch.cat([signal, signal[1:-1].flip(0)])
    assert torch.equal(mirrored(signal, [side]), there_and_back.repeat(side)[:side])


def test_each_of_the_last_axes_is_continued_to_its_own_side() -> None:
    signal = torch.arange(24).reshape(1, 2, 3, 4)
    found = mirrored(signal, [4, 6])
    assert found.shape == (1, 2, 4, 6)
    assert torch.equal(found[..., 3, :4], signal[..., 1, :])
    assert torch.equal(found[..., :3, 4:], signal[..., [2, 1]])
