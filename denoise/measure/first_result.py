"""From the start of a process to its first result: by PyTorch, and by a graph and ONNX Runtime alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from denoise.errors import UserError

CALL = "import sys; from denoise.measure.first_result import {0}; {0}(*sys.argv[1:])"


def seconds_until(how: str, *words: object, runs: int = 3) -> float:
    """The fastest of some fresh processes that call `by_torch` or `by_graph`."""
    return min(once(how, [str(word) for word in words]) for _ in range(runs))


def once(how: str, words: Sequence[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CALL.format(how), *words], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{how} {' '.join(words)} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return time.perf_counter() - begun


def by_torch(model: str, *shape: str) -> None:
    import torch

    from denoise import zoo

    restorer = zoo.load(model, device="cpu")
    restorer(torch.zeros([int(side) for side in shape]), None, **restorer.facts.settings({}))


def by_graph(graph: Path, *shape: str) -> None:
    """As another program does it, without PyTorch."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    told = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])
    feeds = {"noisy": np.zeros([int(side) for side in shape], np.float32)}
    for name, put in told.items():
        sides = [side if isinstance(side, int) else 0 for side in put["shape"]]
        feeds.setdefault(name, np.full(sides, put.get("default", 0), put["type"]))
    session.run(None, feeds)
