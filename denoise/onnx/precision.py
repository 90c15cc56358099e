"""Graphs with shorter numbers: halves (fp16), or whole numbers of 8 bits (int8).

Only products with weights are shortened, which is where time and memory go; transforms, norms, running means and what
is added up stay in 32 bits, and so do inputs and outputs. For int8 the range of what goes in and comes out of each
product is observed beforehand, on pieces of signals (static quantisation), and `harm` says which of them bear it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]

PRECISIONS = ("fp32", "fp16", "int8")
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
WHOLE = ("Conv", "MatMul")  # what ONNX Runtime computes in whole numbers
LEVELS = 255  # of what goes in and comes out
WEIGHT_LEVELS = 64  # to each side: two such products fit into 16 bits on every processor
LEAST_SCALE = 1e-9


@dataclass
class Range:
    low: float = 0.0
    high: float = 0.0
    squares: float = 0.0
    count: int = 0

    def see(self, values: Tensor) -> None:
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self.squares += float(values.square().sum())
        self.count += values.numel()

    @property
    def clear_db(self) -> float:
        """By how much what is seen is above what rounding adds."""
        return 10 * math.log10(max(self.squares / max(self.count, 1), LEAST_SCALE**2) / (float(self.scale) ** 2 / 12))

    @property
    def scale(self) -> np.float32:
        return np.float32(max((self.high - self.low) / LEVELS, LEAST_SCALE))

    @property
    def zero(self) -> np.uint8:
        return np.uint8(round(-self.low / float(self.scale)))

    def rounded(self, values: Tensor) -> Tensor:
        """As they come back."""
        step, zero = float(self.scale), int(self.zero)
        return ((values / step).round().clamp(-zero, LEVELS - zero)) * step


@dataclass(frozen=True)
class Seen:
    """What went in and came out of a module with those weights; where `rounds_both`, what comes out is rounded too."""

    rounds_both: bool
    put: Range = field(default_factory=Range)
    got: Range = field(default_factory=Range)

    @property
    def clear_db(self) -> float:
        return min(side.clear_db for side in ([self.put, self.got] if self.rounds_both else [self.put]))


Observed = dict[bytes, Seen]
"""By the weights, as `fingerprint` knows them."""

Step = Callable[[Any], Any]
"""From a value to the node that makes another one of it."""


def fingerprint(weights: Floats) -> bytes:
    """The same for a matrix and its transpose: an exporter may turn one into the other."""
    return np.sort(weights.astype(np.float32), axis=None).tobytes()


# Ranges


@contextmanager
def watched(whole: nn.Module) -> Iterator[Observed]:
    """Filled while the modules are run."""
    seen: Observed = {}
    handles = [module.register_forward_hook(watcher(module, seen)) for module in multiplying(whole)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def multiplying(whole: nn.Module) -> list[Any]:
    """Modules that may become products in whole numbers."""
    return [module for module in whole.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear))]


def key_of(module: Any) -> bytes:
    return fingerprint(module.weight.detach().cpu().numpy())


def watcher(module: Any, seen: Observed) -> Callable[..., None]:
    key = key_of(module)

    def watch(_: nn.Module, put: tuple[Tensor, ...], got: Tensor) -> None:
        mine = seen.setdefault(key, Seen(rounds_both=not isinstance(module, nn.Linear)))
        mine.put.see(put[0])
        mine.got.see(got)

    return watch


# Graphs


def products(model: Any) -> list[Any]:
    """Products with weights, in loops too."""
    nodes = (node for node in model.graph.all_nodes() if node.op_type in PRODUCTS)
    return [node for node in nodes if is_weight(node.inputs[1])]


def is_weight(value: Any) -> bool:
    return value is not None and value.const_value is not None and value.is_initializer()


def halved(model: Any) -> int:
    """Every product in fp16; the number of them."""
    found = products(model)
    for number, node in enumerate(found):
        halve(model, node, f"half{number}")
    return len(found)


def halve(model: Any, node: Any, name: str) -> None:
    import onnx_ir as ir

    for place, value in enumerate(node.inputs):
        if is_weight(value):
            node.replace_input_with(place, half_weight(model, value))
        elif value is not None:
            short = before(node, value, [step("Cast", to=ir.DataType.FLOAT16)], f"{name}.put{place}")
            node.replace_input_with(place, short)
    after(node, [step("Cast", to=ir.DataType.FLOAT)], f"{name}.got", ir.DataType.FLOAT16)


def half_weight(model: Any, value: Any) -> Any:
    """One for all products that share it."""
    name = f"{value.name}.half"
    return model.graph.initializers.get(name) or constant(model, name, value.const_value.numpy().astype(np.float16))


def quantised(model: Any, seen: Observed) -> int:
    """Every product whose ranges are given in int8; the number of them."""
    found = [(node, weight_of(node)) for node in products(model) if node.op_type in WHOLE]
    known = [(node, weight, seen[key]) for node, weight in found if (key := fingerprint(weight)) in seen]
    for number, (node, weight, ranges) in enumerate(known):
        quantise(model, node, weight, ranges, f"whole{number}")
    return len(known)


def possible(model: Any, seen: Observed) -> Observed:
    """Those of which the graph has a product that can be computed in whole numbers."""
    there = {fingerprint(weight_of(node)) for node in products(model) if node.op_type in WHOLE}
    return {key: ranges for key, ranges in seen.items() if key in there}


def weight_of(node: Any) -> Floats:
    weight: Floats = node.inputs[1].const_value.numpy()
    return weight


def quantise(model: Any, node: Any, weight: Floats, ranges: Seen, name: str) -> None:
    """There and back: the signal, the weights, the bias, the result. The runtime makes one step of all of them."""
    axis = 0 if node.op_type == "Conv" else weight.ndim - 1
    levels, scales = whole(weight, axis)
    steps = scales.ravel()
    put = before(node, node.inputs[0], there_and_back(model, f"{name}.put", ranges.put), f"{name}.put")
    node.replace_input_with(0, put)
    node.replace_input_with(1, whole_weight(model, node, f"{name}.weight", levels, steps, axis))
    if node.op_type == "Conv":
        if len(node.inputs) > 2 and is_weight(node.inputs[2]):
            steps = steps * ranges.put.scale
            bias = np.rint(node.inputs[2].const_value.numpy() / steps).astype(np.int32)
            node.replace_input_with(2, whole_weight(model, node, f"{name}.bias", bias, steps, 0))
        after(node, there_and_back(model, f"{name}.got", ranges.got), f"{name}.got")


def whole(weight: Floats, axis: int) -> tuple[NDArray[np.int8], Floats]:
    """Weights and their unit, one along that axis for each of what comes out."""
    others = tuple(other for other in range(weight.ndim) if other != axis)
    scales = np.maximum(np.abs(weight).max(others, keepdims=True) / WEIGHT_LEVELS, LEAST_SCALE).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales


def there_and_back(model: Any, name: str, seen: Range) -> list[Step]:
    scale = constant(model, f"{name}.scale", np.array(seen.scale))
    zero = constant(model, f"{name}.zero", np.array(seen.zero))
    return [step("QuantizeLinear", scale, zero), step("DequantizeLinear", scale, zero)]


def whole_weight(model: Any, node: Any, name: str, levels: NDArray[Any], scales: Floats, axis: int) -> Any:
    given = constant(model, name, levels)
    scale = constant(model, f"{name}.scale", scales)
    zero = constant(model, f"{name}.zero", np.zeros(len(scales), levels.dtype))
    return before(node, given, [step("DequantizeLinear", scale, zero, axis=axis)], name)


# Steps


def step(kind: str, *more: Any, **settings: Any) -> Step:
    import onnx_ir as ir

    return lambda value: ir.node(kind, [value, *more], settings)


def constant(model: Any, name: str, content: NDArray[Any]) -> Any:
    import onnx_ir as ir

    given = ir.tensor(content, name=name)
    value = ir.Value(name=name, shape=ir.Shape(content.shape), type=ir.TensorType(given.dtype), const_value=given)
    model.graph.register_initializer(value)
    return value


def before(node: Any, value: Any, steps: Sequence[Step], name: str) -> Any:
    """What they make of an input of that node. Names must differ from those around a loop, too."""
    for number, make in enumerate(steps):
        made = make(value)
        made.outputs[0].name = f"{name}.{number}"
        node.graph.insert_before(node, made)
        value = made.outputs[0]
    return value


def after(node: Any, steps: Sequence[Step], name: str, kind: Any = None) -> None:
    """What they make of a node's result takes its place, its name and its type too; `kind` is what the result is."""
    (result,) = node.outputs
    users, last, value = list(result.uses()), node, result
    for number, make in enumerate(steps):
        made = make(value)
        made.outputs[0].name = f"{name}.{number}"
        last.graph.insert_after(last, made)
        last, value = made, made.outputs[0]
    for user, place in users:
        user.replace_input_with(place, value)
    value.shape, value.dtype, result.dtype = result.shape, result.dtype, kind or result.dtype
    if result.is_graph_output():
        outputs = node.graph.outputs
        outputs[list(outputs).index(result)] = value
        result.name, value.name = f"{name}.raw", result.name
