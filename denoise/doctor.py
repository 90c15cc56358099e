"""What can really be used on this machine: each thing is tried, and not taken from a list."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from io import StringIO
from typing import Any

# An ONNX model of one node, y = Identity(x), operator set 13.
SMALLEST_GRAPH = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
PACKAGES = ("torch", "numpy", "onnxruntime", "onnxruntime-gpu", "soundfile", "av", "pillow", "tifffile", "gradio")
OPTIONAL = {  # import name: what is missed without it
    "onnxruntime": "--engine onnx",
    "onnxscript": "denoise export",
    "gradio": "denoise app",
    "pesq": "PESQ in denoise measure",
    "speechmos": "DNSMOS in denoise measure",
}
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    topic: str
    name: str
    works: bool
    detail: str


def findings() -> Iterator[Finding]:
    for examine in (versions, processor, devices, providers, codecs, resamplers, extras, shelves):
        yield from examine()


def versions() -> Iterator[Finding]:
    from denoise import __version__

    yield Finding("version", "denoise", True, __version__)
    yield Finding("version", "python", True, f"{platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        found = version_of(package)
        if found:
            yield Finding("version", package, True, found)


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processor", "threads", True, f"{torch.get_num_threads()} used by PyTorch, {cores} cores")
    memory = memory_bytes()
    if memory:
        yield Finding("processor", "memory", True, f"{memory / GIB:.1f} GiB")


def memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return None


def devices() -> Iterator[Finding]:
    from denoise.devices import DEVICES, usable

    here = usable()
    for device in DEVICES[1:]:
        trouble = attempt(partial(computed_on, device)) if device in here else "not there"
        yield Finding("device", device, trouble is None, trouble or described(device))


def computed_on(device: str) -> None:
    import torch

    total = float(torch.ones(8, device=device).sum())
    if total != 8:
        raise RuntimeError(f"it computes 1 × 8 as {total:g}")


def described(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else "works"


def attempt(work: Callable[[], object]) -> str | None:
    """What went wrong, in one line, or None."""
    try:
        work()
    except Exception as trouble:  # a driver may raise anything, and that is the answer
        return f"{type(trouble).__name__}: {str(trouble).partition(chr(10))[0]}"
    return None


def providers() -> Iterator[Finding]:
    """A session is made with each: only that tells which one really does the work."""
    if find_spec("onnxruntime") is None:
        yield Finding("onnx provider", "none", False, "onnxruntime is not installed")
        return
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # a library that is missing is the answer and no error
    for provider in onnxruntime.get_available_providers():
        got = used_for(provider)
        works = got == provider
        yield Finding("onnx provider", provider, works, "works" if works else f"does not load: {got} does the work")


def used_for(wish: str) -> str:
    import onnxruntime

    with redirect_stdout(StringIO()):  # it prints its trouble
        session: Any = onnxruntime.InferenceSession(SMALLEST_GRAPH, providers=[wish])
    return str(session.get_providers()[0])


def codecs() -> Iterator[Finding]:
    from denoise.media.find import MEDIA, NAMES, suffixes

    for kind in MEDIA:
        yield Finding("files", NAMES[kind], True, " ".join(sorted(suffixes(kind))))
    yield from (finding for examine in (sound_codecs, picture_codecs) for finding in examine())


def sound_codecs() -> Iterator[Finding]:
    import av
    import soundfile

    yield Finding("codec", "libsndfile", True, soundfile.__libsndfile_version__)
    yield Finding("codec", "ffmpeg", True, ".".join(str(part) for part in av.library_versions["libavcodec"]))
    for name in ("aac", "libmp3lame", "libopus"):
        works = name in av.codecs_available
        yield Finding("codec", f"{name} encoder", works, "works" if works else "not in this ffmpeg")


def picture_codecs() -> Iterator[Finding]:
    from PIL import features

    for name in ("jpg", "zlib", "webp", "avif"):
        works = bool(features.check(name))
        yield Finding("codec", f"pillow {name}", works, str(features.version(name) or "") if works else "not built in")
    for package in ("pillow-heif", "imagecodecs", "tifffile"):
        found = version_of(package)
        yield Finding("codec", package, found is not None, found or "not installed")


def resamplers() -> Iterator[Finding]:
    from denoise.resample import active_resampler

    for name in ("torchaudio", "soxr"):
        trouble = attempt(partial(import_module, name))
        yield Finding("resampler", name, trouble is None, trouble or f"imports, {version_of(name)}")
    active = attempt(active_resampler)
    yield Finding("resampler", "in use", active is None, active or active_resampler())


def extras() -> Iterator[Finding]:
    for module, use in OPTIONAL.items():
        there = find_spec(module) is not None
        yield Finding("extra", module, there, f"{use} works" if there else f"not installed: no {use}")


def shelves() -> Iterator[Finding]:
    from denoise import zoo

    for shelf in zoo.shelves():
        count = len(list(shelf.glob(f"*/{zoo.CARD}")))
        yield Finding("models", str(shelf), True, f"{count} models")
    own = zoo.own_shelf()
    if not own.is_dir():
        yield Finding("models", str(own), True, "made when a model is imported or trained")
