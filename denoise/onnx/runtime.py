"""ONNX Runtime: a session on the wished device, and what really does the work there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from denoise.errors import UserError
from denoise.restorer import unknown

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "mps": "CoreMLExecutionProvider",
    "cpu": CPU,
}
ON_CUDA = ("cuda", "tensorrt")  # whose memory PyTorch shares
BESIDE = {"tensorrt": ("cuda",)}  # what it cannot do itself is done there
AUTO = ("cuda", "directml", "cpu")  # tried in this order; CoreML computes with half the digits, TensorRT compiles first
SILENT, WARNING = 4, 2  # severities of ONNX Runtime's log
NO_MEMORY = ("allocate memory", "out of memory", "bad_alloc")


def onnxruntime() -> ModuleType:
    try:
        import onnxruntime as runtime
    except ModuleNotFoundError:
        raise UserError(
            "--engine onnx needs ONNX Runtime: pip install 'denoise-kit[cpu]', or [gpu] on a machine with CUDA."
        ) from None
    return runtime


def session_on(graph: Path, device: str, threads: int) -> Any:
    """A session whose first provider is the wished device's, for `auto` the best that really works.

    A provider that does not load is left out without an error: what the session says that it uses decides.
    """
    runtime = onnxruntime()
    wishes = wished_providers(device)
    asked = [wish for wish in [*wishes, *helpers(device), CPU] if wish in runtime.get_available_providers()]
    with hushed(runtime), readable(runtime, graph):
        options = options_for(runtime, threads, asked)
        session = runtime.InferenceSession(graph, options, providers=list(dict.fromkeys(asked)))
    if session.get_providers()[0] not in wishes:
        raise UserError(f"Device {device!r} cannot be used by ONNX Runtime here; `denoise doctor` lists what can.")
    return session


def options_for(runtime: ModuleType, threads: int, asked: list[str]) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = SILENT
    if PROVIDERS["directml"] in asked:  # it can do neither
        options.enable_mem_pattern = False
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    return options


def wished_providers(device: str) -> list[str]:
    if device == "auto":
        return [PROVIDERS[wish] for wish in AUTO]
    if device not in PROVIDERS:
        raise UserError(unknown("device", device, ["auto", *PROVIDERS], "there are"))
    return [PROVIDERS[device]]


def helpers(device: str) -> list[str]:
    return [PROVIDERS[other] for other in BESIDE.get(device, ())]


def passed_over(device: str, used: list[str]) -> list[str]:
    """Providers that this ONNX Runtime was built with and that were wished for, but do not work here."""
    there = onnxruntime().get_available_providers()
    return [wish for wish in [*wished_providers(device), *helpers(device)] if wish in there and wish not in used]


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
