"""Memories in a graph: a gated mean is one node, over any number of frames and inside any loop.

To compute many frames at once in groups takes more nodes and, on a processor, no less time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op

import denoise.networks.subband  # noqa: F401  # where the mean is registered

if TYPE_CHECKING:
    Floats = Any
else:
    Floats = FLOAT[...]  # of any number of axes


@script()
def every_mean(share: Floats, value: Floats, before: Floats) -> Floats:
    """Every h of h = h + share·(value - h), over the first axis."""

    @graph()
    def frame(h: Floats, now: Floats, new: Floats):  # type: ignore[no-untyped-def]
        after = op.Add(h, op.Mul(now, op.Sub(new, h)))
        kept = op.Identity(after)
        return after, kept

    _, every = op.Scan(before, share, value, body=frame, num_scan_inputs=2)  # type: ignore[arg-type]
    return every


TRANSLATIONS: dict[Any, Any] = {torch.ops.denoise.gated_mean.default: every_mean}
