"""Memories in a graph: a gated mean is one node, of any number of frames and in any loop."""

from __future__ import annotations

import torch
from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op

from denoise.networks import subband


@script()
def gated_mean(share: FLOAT[...], value: FLOAT[...], before: FLOAT[...]) -> FLOAT[...]:
    """Every h of h = h + share·(value - h), over the first axis."""

    @graph()
    def frame(h: FLOAT[...], now: FLOAT[...], new: FLOAT[...]):
        after = op.Add(h, op.Mul(now, op.Sub(new, h)))
        every = op.Identity(after)
        return after, every

    _, every = op.Scan(before, share, value, body=frame, num_scan_inputs=2)
    return every


TRANSLATIONS = {torch.ops.denoise.gated_mean.default: gated_mean}
