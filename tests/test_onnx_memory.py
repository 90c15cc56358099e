"""Memories in graphs: of any number of frames, and in the steps of a diffusion."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from test_bands import shaken
from test_onnx import apart, card_of
from torch import Tensor, nn

from denoise import seeds, zoo
from denoise.networks.subband import running_mean, step_by_step

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="the exporter is not installed")

from denoise.onnx import export, verify  # noqa: E402
from denoise.onnx.label import label  # noqa: E402
from denoise.onnx.session import OnnxRestorer  # noqa: E402

pytestmark = pytest.mark.timeout(900)  # tracing a loop of steps takes a minute on a free machine


class Mean(nn.Module):
    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor]:
        return (running_mean(torch.sigmoid(inputs["share"]), inputs["value"], inputs["before"]),)


@pytest.fixture(scope="module")
def mean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "mean.onnx"
    inputs = {"share": torch.zeros(5, 2, 3), "value": torch.zeros(5, 2, 3), "before": torch.zeros(2, 3)}
    lengths = {"share": {0: "frames"}, "value": {0: "frames"}, "before": {}}
    export.exported(Mean(), inputs, ["every"], lengths, "mean").save(str(path))
    return path


def test_a_memory_is_one_node(mean: Path) -> None:
    import onnx

    model = onnx.load(mean)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Sigmoid", "Scan"]


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 1000, 1025, 3000])
def test_a_graph_remembers_the_same(mean: Path, frames: int) -> None:
    session = onnxruntime.InferenceSession(mean, providers=["CPUExecutionProvider"])
    share, value = (seeds.normal_like(torch.zeros(frames, 2, 3), seed) for seed in (1, 2))
    before = seeds.normal_like(torch.zeros(2, 3), 3)
    (found,) = session.run(None, {"share": share.numpy(), "value": value.numpy(), "before": before.numpy()})
    assert apart(torch.from_numpy(found), step_by_step(torch.sigmoid(share), value, before)) <= 1e-6


BRIDGE = """
rate = 16000
steps = 2
spectrogram = { n_fft = 512, hop = 256, window = "sqrthann" }
process = { kind = "sbve" }
sampler = { kind = "flow" }
reading = { predicts = "data_prediction", c_out = "1" }
backbone = { variant = "bands", fine = 4, width = 4, depth = 1, whole = 4 }
"""
PREDICTOR = 'predictor = { variant = "subband", fine = 4, width = 4, depth = 1, whole = 4 }\n'


@pytest.mark.parametrize(
    ("made", "network", "steps"), [("sgmse", BRIDGE, (1, 3)), ("storm", BRIDGE + PREDICTOR, (0, 1, 3))]
)
def test_networks_with_memories_walk_in_one_graph(
    tmp_path: Path, made: str, network: str, steps: tuple[int, ...]
) -> None:
    card = card_of(tmp_path / made, made, network)
    torch.manual_seed(0)
    model = zoo.method_of(card)
    shaken(model)
    facts = zoo.facts_of(card, model)
    export.save(export.traced(model, facts), label(card, facts), tmp_path / "graph.onnx")
    ours, theirs = OnnxRestorer.opened(tmp_path / "graph.onnx", card, "cpu"), zoo.TorchRestorer(model, facts)
    for length in (4000, 20_001):
        noisy, found = verify.signal(facts, (length,), seed=1), list[Tensor]()
        for count in steps:
            found.append(theirs(noisy, None, steps=count, start=77))
            assert apart(ours(noisy, None, steps=count, start=77), found[-1]) <= 1e-4
        assert all(apart(one, other) > 1e-3 for one, other in pairwise(found))
