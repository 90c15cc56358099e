"""A model as one ONNX file that other programs can run: nothing beside it, any height, width and length."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denoise import zoo
from denoise.atomic import atomic
from denoise.errors import UserError
from denoise.methods.method import Method
from denoise.onnx.harm import bearable
from denoise.onnx.label import OPSET, controls, label, shaped_inputs
from denoise.onnx.precision import PRECISIONS, Observed, halved, possible, quantised, watched
from denoise.onnx.session import refuse_without_graph
from denoise.onnx.verify import noisy_again, signal, verify
from denoise.restorer import Facts, unknown
from denoise.zoo import Card

AXES = {"audio": {2: "samples"}, "picture": {2: "height", 3: "width"}, "raw": {2: "height", 3: "width"}}
EXAMPLE = {"audio": (4801,), "picture": (37, 46), "raw": (37, 46)}
NEEDED = ("onnx", "onnxscript")

Size = tuple[int, ...]
"""Samples, or height and width."""


class Whole(nn.Module):
    """A method's graph with its strength; all inputs by name."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        noisy, strength = inputs["noisy"], inputs["strength"]
        found = self.inner(**{name: value for name, value in inputs.items() if name != "strength"})
        restored, *survey = found if isinstance(found, tuple) else (found,)
        return (noisy + strength * (restored - noisy), *survey)


def export_model(
    card: Card, folder: Path, precision: str = "fp32", pieces: Sequence[Tensor] = (), size: Size | None = None
) -> Path:
    """The graph of a model, in that folder; it computes what PyTorch computes, or there is no file.

    `pieces` of signals of its kind show an int8 graph which numbers it has to hold; a `size` makes one for that alone.
    """
    marks = [card.name, *([precision] if precision != "fp32" else []), *(["x".join(map(str, size))] if size else [])]
    target = folder / f"{'-'.join(marks)}.onnx"
    write_graph(card, target, precision, pieces, size)
    return target


def write_graph(
    card: Card, target: Path, precision: str = "fp32", pieces: Sequence[Tensor] = (), size: Size | None = None
) -> None:
    if precision not in PRECISIONS:
        raise UserError(unknown("precision", precision, list(PRECISIONS), "there are"))
    refuse_without_graph(card)
    refuse_without_exporter(card)
    method = zoo.method_of(card)
    facts = zoo.facts_of(card, method)
    restorer = zoo.TorchRestorer(method, facts)
    refuse_size(size, facts)
    with atomic(target) as draft:
        program = traced(method, facts, size)
        shorten(program.model, card, precision, restorer, pieces)
        save(program, label(card, facts) | {"precision": precision}, draft)
        verify(draft, card, restorer, precision, of_size(pieces, size), size)


def refuse_size(size: Size | None, facts: Facts) -> None:
    axes = len(EXAMPLE[facts.kind])
    if size is None or (len(size) == axes and all(side >= facts.least and side % facts.multiple == 0 for side in size)):
        return
    wanted = "SAMPLES" if axes == 1 else "HEIGHTxWIDTH"
    raise UserError(
        f"--static {'x'.join(map(str, size))}: {facts.name} wants {wanted}, multiples of {facts.multiple} and at least "
        f"{facts.least}."
    )


def of_size(pieces: Sequence[Tensor], size: Size | None) -> Sequence[Tensor]:
    """Cut or continued, where only one size will do."""
    return pieces if size is None else [fitted(piece, size) for piece in pieces]


def fitted(piece: Tensor, size: Size) -> Tensor:
    missing = [max(side - have, 0) for side, have in zip(size, piece.shape[2:], strict=True)]
    longer = nn.functional.pad(piece, [part for more in reversed(missing) for part in (0, more)], mode="replicate")
    return longer[tuple(slice(side) for side in (*piece.shape[:2], *size))]


def shorten(model: Any, card: Card, precision: str, restorer: zoo.TorchRestorer, pieces: Sequence[Tensor]) -> None:
    """The numbers in it."""
    if precision == "fp16":
        halved(model)
    if precision == "int8" and not quantised(model, ranges_for(model, restorer, pieces)):
        raise UserError(f"{card.name}: nothing in it can be computed in int8; use another precision, or --engine onnx.")


def ranges_for(model: Any, restorer: zoo.TorchRestorer, pieces: Sequence[Tensor]) -> Observed:
    return bearable(restorer, pieces, possible(model, observed(restorer, pieces)))


def observed(restorer: zoo.TorchRestorer, pieces: Sequence[Tensor]) -> Observed:
    """What its network sees of these pieces, as they are and noisier."""
    with watched(restorer.method) as seen:
        for piece in pieces:
            noisy, _ = noisy_again(restorer, piece, seed=1)
            restorer(noisy)
    return seen


def refuse_without_exporter(card: Card) -> None:
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise UserError(
            f"{card.name}: its ONNX graph has to be made first, and that needs {' and '.join(missing)}: "
            "pip install 'denoise-kit[export]'."
        )


@torch.no_grad()
def inputs_of(method: Method, facts: Facts, size: Size | None = None) -> dict[str, Tensor]:
    """An example of every input, in their order."""
    noisy = signal(facts, size or EXAMPLE[facts.kind], seed=0)
    inputs = {"noisy": noisy}
    if facts.surveys:
        inputs["survey"] = method.survey([noisy], **facts.settings({}))
    return inputs | {name: torch.tensor(value) for name, value in controls(facts).items()}


def lengths_of(inputs: dict[str, Tensor], facts: Facts, answers: bool) -> dict[str, dict[int, str]]:
    """The axes that may have any length, by the name that the file shows; those of a survey where the graph `answers`
    with one."""
    free: dict[str, dict[int, str]] = {name: {} for name in inputs}
    free["noisy"] = dict(AXES[facts.kind]) if facts.channels else {1: "channels"} | AXES[facts.kind]
    if "survey" in inputs and answers:
        free["survey"] = {axis: f"rows{axis}" for axis in range(1, inputs["survey"].ndim - 1)}
    return free


def traced(method: Method, facts: Facts, size: Size | None = None) -> Any:
    """The graph in memory."""
    inputs = inputs_of(method, facts, size)
    answers = facts.surveys and not method.measures
    outputs = ["restored", "statistics"][: 1 + answers]
    lengths = lengths_of(inputs, facts, answers) | ({"noisy": {}} if size else {})
    return exported(Whole(method.graph()), inputs, outputs, lengths, facts.name)


def exported(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], lengths: Mapping[str, Any] | None, name: str
) -> Any:
    """A module that takes all its inputs by name in one mapping; without `lengths` all sizes are fixed."""
    from denoise.onnx.memory import TRANSLATIONS

    try:
        with torch.no_grad(), quiet():
            return torch.onnx.export(
                module.eval(),
                kwargs={"inputs": inputs},
                dynamo=True,
                opset_version=OPSET,
                custom_translation_table=TRANSLATIONS,
                verbose=False,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=None if lengths is None else {"inputs": lengths},
            )
    except torch.onnx.OnnxExporterError as fault:
        raise UserError(f"{name} has no ONNX graph: PyTorch cannot export it; use --engine torch.") from fault


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter's remarks on packages and on itself are nothing that a user can act on."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def save(program: Any, said: dict[str, str], path: Path) -> None:
    """One file, without the exporter's notes on where in the code each node was made."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    model = program.model
    RemoveUnusedNodesPass()(model)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    model.graph.name = said["name"]
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.metadata_props.update(said | {"inputs": shaped_inputs(model.graph, said["inputs"])})
    program.save(str(path), external_data=False)
