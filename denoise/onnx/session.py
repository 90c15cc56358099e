"""A graph, run by ONNX Runtime, as a restorer like any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoise.errors import UserError
from denoise.onnx.label import code_digest, controls, facts_in, model_digest
from denoise.onnx.runtime import ON_CUDA, PROVIDERS, memory_errors, onnxruntime, passed_over, said_by, session_on
from denoise.restorer import Facts, own, together
from denoise.zoo import Card, Engine, own_cache

if TYPE_CHECKING:
    from torch import Tensor

    from denoise.methods.method import Method

GRAPH = "model.onnx"  # in a model's folder


class OnnxRestorer:
    """One batch is restored item by item; a survey is what the graph says of the pieces it is shown."""

    def __init__(self, graph: Path, facts: Facts, session: Any, threads: int, wish: str = "cpu") -> None:
        self.graph, self.facts, self.session, self.threads, self.wish = graph, facts, session, threads, wish
        self.inputs = {put.name: put for put in session.get_inputs()}
        self.controls = controls(facts)
        made = method_of(facts)
        self.measured = made.measured if made.measures else None

    @classmethod
    def of(cls, card: Card, device: str = "auto", precision: str = "fp32", threads: int | None = None) -> OnnxRestorer:
        """The model's graph: the one in its folder, else one that is made once and kept."""
        refuse_without_graph(card)
        onnxruntime()
        device = on_processor(device) if precision == "int8" else device
        return cls.opened(graph_of(card, precision), card, device, threads)

    @classmethod
    def opened(cls, graph: Path, card: Card, device: str = "auto", threads: int | None = None) -> OnnxRestorer:
        import torch

        threads = threads or torch.get_num_threads()  # which follows OMP_NUM_THREADS
        session = session_on(graph, device, threads)
        return cls(graph, facts_in(said_by(session), card), session, threads, device)

    @property
    def engine(self) -> Engine:
        return "int8" if said_by(self.session).get("precision") == "int8" else "onnx"

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

    @property
    def place(self) -> str:
        """Where PyTorch keeps what goes in and comes out: in the memory of the card, if it knows the card too."""
        import torch

        return "cuda" if self.device in ON_CUDA and torch.cuda.is_available() else "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know who thought that something else does the work."""
        return tuple(
            f"{provider} does not work here: {self.provider} does the work; `denoise doctor` tells more."
            for provider in passed_over(self.wish, self.providers)
        )

    def to(self, device: str) -> OnnxRestorer:
        if device == self.device:
            return self
        session = session_on(self.graph, device, self.threads)
        return OnnxRestorer(self.graph, self.facts, session, self.threads, device)

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor:
        import torch

        if survey is None and self.measured:
            survey = self.survey([noisy])
        surveys = surveys_for(len(noisy), survey)
        restored = [self.run(item, known, knobs)[0] for item, known in zip(noisy.split(1), surveys, strict=True)]
        return torch.cat(restored)

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        """A graph that is given the survey of some pieces and another piece answers with that of all."""
        if self.measured:
            (whole,) = pieces
            return together([self.measured(item, self) for item in whole.split(1)])
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
        feeds = {name: self.value(name, put, survey, knobs) for name, put in self.inputs.items() if name != "noisy"}
        with memory_errors():
            if noisy.is_cuda:
                return self.bound(noisy, feeds)
            outputs = self.session.run(None, {"noisy": noisy.detach().numpy(), **feeds})
        return [torch.from_numpy(output) for output in outputs]

    def bound(self, noisy: Tensor, feeds: Mapping[str, Any]) -> list[Tensor]:
        """The same where the signal lies: it is read there and written there, and no copy is made."""
        import numpy as np
        import torch

        noisy = noisy.detach().contiguous()
        if noisy.is_cuda:
            torch.cuda.current_stream(noisy.device).synchronize()  # ONNX Runtime has a stream of its own
        restored, rest = torch.empty_like(noisy), [put.name for put in self.session.get_outputs()[1:]]
        binding, where = self.session.io_binding(), (noisy.device.type, noisy.device.index or 0, np.float32)
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        binding.bind_input("noisy", *where, tuple(noisy.shape), noisy.data_ptr())
        binding.bind_output("restored", *where, tuple(noisy.shape), restored.data_ptr())
        for name in rest:
            binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        found = [value.numpy() for value in binding.get_outputs()[1:]]
        return [restored, *(torch.from_numpy(value).to(noisy.device) for value in found)]

    def value(self, name: str, put: Any, survey: Tensor | None, knobs: Mapping[str, float]) -> Any:
        import numpy as np

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


def method_of(facts: Facts) -> type[Method]:
    from denoise.methods.method import find

    return find(str(facts.card["method"]))


def no_graph(card: Card) -> str:
    """Why there is none; "" where there is one."""
    from denoise.methods.method import find

    return find(str(card.entries["method"])).no_graph


def refuse_without_graph(card: Card) -> None:
    why = no_graph(card)
    if why:
        raise UserError(f"{card.name} has no ONNX graph: {why}; use --engine torch.")


# Where the graph is


def on_processor(device: str) -> str:
    if device not in ("auto", "cpu"):
        raise UserError(f"--engine int8 is for processors, not for {device}: leave --device out, or use --engine onnx.")
    return "cpu"


def graph_of(card: Card, precision: str) -> Path:
    shipped = card.folder / GRAPH
    if precision == "fp32" and shipped.is_file() and belongs(shipped, card):
        return shipped
    return made_once(card, precision)


def belongs(graph: Path, card: Card) -> bool:
    """Whether it was made from these weights and these settings."""
    return said_by(session_on(graph, "cpu", 1)).get("model") == model_digest(card)


def made_once(card: Card, precision: str) -> Path:
    kept = kept_graph(card, precision)
    if not kept.is_file():
        from denoise.onnx.export import write_graph
        from denoise.onnx.pieces import pieces_for

        write_graph(card, kept, precision, pieces_for(card, None) if precision == "int8" else ())
    return kept


def to_be_made(card: Card, precision: str) -> bool:
    """Whether a graph has to be made first, which takes a diffusion minutes."""
    shipped = precision == "fp32" and (card.folder / GRAPH).is_file()
    return not (no_graph(card) or shipped or kept_graph(card, precision).is_file())


def kept_graph(card: Card, precision: str) -> Path:
    digests = f"{model_digest(card)[:12]}-{code_digest()[:12]}"
    return cache_folder() / f"{card.name}-{digests}{'' if precision == 'fp32' else '-' + precision}.onnx"


def cache_folder() -> Path:
    return own_cache() / "onnx"
