"""Which device does the work. A wish that cannot be granted is refused, never quietly replaced."""

from __future__ import annotations

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


def use_threads(count: int | None) -> None:
    """Of either engine: ONNX Runtime's sessions follow PyTorch. None: as many as there are cores, or as OMP_NUM_THREADS
    says."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
