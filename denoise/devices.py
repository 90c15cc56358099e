"""Which device does the work. A wish that cannot be granted is refused, never quietly replaced."""

from __future__ import annotations

import os

from denoise.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")


def usable() -> list[str]:
    """Devices that PyTorch can really use here, fastest first."""
    import torch

    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def chosen(wish: str) -> str:
    here = usable()
    if wish == "auto":
        return here[0]
    if wish not in here:
        raise UserError(f"Device {wish!r} cannot be used here; usable: {', '.join(here)}.")
    return wish


def give_way() -> None:
    """Before PyTorch comes: its threads (of GNU's OpenMP) wait for each other in a loop, for milliseconds. Where other
    programs hold a core, work took ten times as long; a thirtieth of that, and it is as fast where none does."""
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def use_threads(count: int | None) -> None:
    """Of either engine: ONNX Runtime's sessions follow PyTorch. None: as many as there are cores, or as OMP_NUM_THREADS
    says."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
