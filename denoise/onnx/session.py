"""A graph, run by ONNX Runtime, as a restorer like any other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from denoise.errors import UserError
from denoise.onnx.label import code_digest, controls, facts_in, model_digest
from denoise.restorer import Facts, own, together, unknown
from denoise.zoo import Card, Engine

if TYPE_CHECKING:
    from torch import Tensor

GRAPH = "model.onnx"  # in a model's folder
PROVIDERS = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider", "cpu": "CPUExecutionProvider"}
AUTO = ("cuda", "cpu")  # tried in this order; CoreML computes with half the digits and has to be asked for
SILENT, WARNING = 4, 2  # severities of ONNX Runtime's log
NO_MEMORY = ("allocate memory", "out of memory", "bad_alloc")


class OnnxRestorer:
    """One batch is restored item by item; a survey is what the graph says of the pieces it is shown."""

    engine: Engine = "onnx"

    def __init__(self, graph: Path, facts: Facts, session: Any, threads: int) -> None:
        self.graph, self.facts, self.session, self.threads = graph, facts, session, threads
        self.inputs = {put.name: put for put in session.get_inputs()}
        self.controls = controls(facts)

    @classmethod
    def of(cls, card: Card, device: str = "auto", threads: int | None = None) -> OnnxRestorer:
        """The model's graph: the one in its folder, else one that is made once and kept."""
        refuse_without_graph(card)
        onnxruntime()
        return cls.opened(graph_of(card), card, device, threads)

    @classmethod
    def opened(cls, graph: Path, card: Card, device: str = "auto", threads: int | None = None) -> OnnxRestorer:
        import torch

        threads = threads or torch.get_num_threads()  # which follows OMP_NUM_THREADS
        session = session_on(graph, device, threads)
        return cls(graph, facts_in(said_by(session), card), session, threads)

    @property
    def providers(self) -> list[str]:
        """What ONNX Runtime says that it uses, first choice first."""
        return list(self.session.get_providers())

    @property
    def provider(self) -> str:
        return self.providers[0]

    @property
    def device(self) -> str:
        return next(device for device, provider in PROVIDERS.items() if provider == self.provider)

    def to(self, device: str) -> OnnxRestorer:
        if device == self.device:
            return self
        return OnnxRestorer(self.graph, self.facts, session_on(self.graph, device, self.threads), self.threads)

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor:
        import torch

        surveys = surveys_for(len(noisy), survey)
        restored = [self.run(item, known, knobs)[0] for item, known in zip(noisy.split(1), surveys, strict=True)]
        return torch.cat(restored)

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        """A graph that is given the survey of some pieces and another piece answers with that of all."""
        known: list[Tensor | None] = []
        for piece in pieces:
            items = piece.split(1)
            known = known or [None] * len(items)
            known = [self.run(item, some, knobs)[1] for item, some in zip(items, known, strict=True)]
        return together([survey for survey in known if survey is not None])

    def run(self, noisy: Tensor, survey: Tensor | None, knobs: Mapping[str, float]) -> list[Tensor]:
        """All outputs for one item."""
        import torch

        strange = set(knobs) - set(self.controls)
        if strange:
            raise TypeError(f"{self.facts.name} has no input called {' or '.join(sorted(strange))}")
        feeds = {name: self.value(name, put, noisy, survey, knobs) for name, put in self.inputs.items()}
        with memory_errors():
            outputs = self.session.run(None, feeds)
        return [torch.from_numpy(output).to(noisy.device) for output in outputs]

    def value(self, name: str, put: Any, noisy: Tensor, survey: Tensor | None, knobs: Mapping[str, float]) -> Any:
        import numpy as np

        if name == "noisy":
            return noisy.detach().cpu().numpy()
        if name == "survey":
            return np.zeros(no_rows(put.shape), np.float32) if survey is None else survey.detach().cpu().numpy()
        kind = np.int64 if put.type == "tensor(int64)" else np.float32
        return np.array(knobs.get(name, self.controls[name]), kind)


def surveys_for(count: int, survey: Tensor | None) -> list[Tensor | None]:
    """One for every item of a batch; all may share one."""
    if survey is None:
        return [None] * count
    return [own(one) for one in survey.expand(count, *survey.shape[1:]).split(1)]


def no_rows(shape: list[int | str]) -> tuple[int, ...]:
    """The shape of a survey that is not there: its axes of any length have none."""
    return tuple(size if isinstance(size, int) else 0 for size in shape)


def refuse_without_graph(card: Card) -> None:
    from denoise.methods.method import find

    why = find(str(card.entries["method"])).no_graph
    if why:
        raise UserError(f"{card.name} has no ONNX graph: {why}; use --engine torch.")


# Where the graph is


def graph_of(card: Card) -> Path:
    shipped = card.folder / GRAPH
    return shipped if shipped.is_file() and belongs(shipped, card) else made_once(card)


def belongs(graph: Path, card: Card) -> bool:
    """Whether it was made from these weights and these settings."""
    return said_by(session_on(graph, "cpu", 1)).get("model") == model_digest(card)


def made_once(card: Card) -> Path:
    kept = cache_folder() / f"{card.name}-{model_digest(card)[:12]}-{code_digest()[:12]}.onnx"
    if not kept.is_file():
        from denoise.onnx.export import write_graph

        write_graph(card, kept)
    return kept


def cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "denoise" / "onnx"


# ONNX Runtime


def onnxruntime() -> ModuleType:
    try:
        import onnxruntime as runtime
    except ModuleNotFoundError:
        raise UserError(
            "--engine onnx needs ONNX Runtime: pip install 'denoise-kit[cpu]', or [gpu] on a machine with CUDA."
        ) from None
    return runtime


def session_on(graph: Path, device: str, threads: int) -> Any:
    """A session whose first provider is the wished device's, for `auto` the best that really works."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = SILENT
    wishes = wished_providers(device)
    offered = [wish for wish in wishes if wish in runtime.get_available_providers()]
    with hushed(runtime), readable(runtime, graph):
        session = runtime.InferenceSession(graph, options, providers=list(dict.fromkeys([*offered, PROVIDERS["cpu"]])))
    if session.get_providers()[0] not in wishes:
        raise UserError(f"Device {device!r} cannot be used by ONNX Runtime here; `denoise doctor` lists what can.")
    return session


def wished_providers(device: str) -> list[str]:
    if device == "auto":
        return [PROVIDERS[wish] for wish in AUTO]
    if device not in PROVIDERS:
        raise UserError(unknown("device", device, ["auto", *PROVIDERS], "there are"))
    return [PROVIDERS[device]]


@contextmanager
def hushed(runtime: ModuleType) -> Iterator[None]:
    """A provider that does not load is an answer here and no error to print."""
    runtime.set_default_logger_severity(SILENT)
    try:
        yield
    finally:
        runtime.set_default_logger_severity(WARNING)


@contextmanager
def readable(runtime: ModuleType, graph: Path) -> Iterator[None]:
    faults = runtime.capi.onnxruntime_pybind11_state
    try:
        yield
    except (faults.InvalidProtobuf, faults.InvalidGraph, faults.NoSuchFile, faults.Fail) as fault:
        raise UserError(f"{graph}: ONNX Runtime cannot read it ({fault}); delete it and it is made again.") from None


@contextmanager
def memory_errors() -> Iterator[None]:
    """ONNX Runtime's own exceptions derive from Exception alone."""
    try:
        yield
    except Exception as trouble:
        if any(sign in str(trouble) for sign in NO_MEMORY):
            raise MemoryError(str(trouble)) from trouble
        raise


def said_by(session: Any) -> dict[str, str]:
    return dict(session.get_modelmeta().custom_metadata_map)
