"""A causal network over bands and time: the spectrum of sound in, complex filters for it out.

Bands are narrow below and wide above. Each has a memory of its own with weights that all bands share, and a narrow
path sees all bands of a frame at once. Every memory is a gated mean, h = (1 - z)·h + z·g, whose gates do not look at
h: it cannot drift however long a sound lasts, and training needs no loop over time but for this one line.

Shapes: (T, B, F, C), time first, so that a frame lies in one piece. A state is what the next frame has to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCHES = ((64, 2), (64, 4), (128, 8))  # so many bins in bands of so many, from the lowest up
BINS = sum(count for count, _ in PATCHES)  # of 257; the last goes with the one below it
BANDS = sum(count // width for count, width in PATCHES)
MARGIN = PATCHES[-1][1] // 2
FEATURES = 6  # re, im and magnitude of this frame and of the one before
State = dict[str, Tensor]
NAMES = ("conv", "band", "whole")  # of what a block keeps


class Network(nn.Module):
    """(T, B, 257, 3) compressed spectra -> (T, B, 257, taps, 2) filters: what each of the last frames counts for."""

    def __init__(self, fine: int = 24, width: int = 32, depth: int = 3, whole: int = 48, taps: int = 2) -> None:
        super().__init__()
        self.bands, self.width, self.whole, self.taps = BANDS // 2, width, whole, taps
        self.into = nn.ModuleList(Dense(2 * size * FEATURES, fine) for _, size in PATCHES)
        self.place = nn.Parameter(torch.zeros(BANDS, fine))
        self.down = Dense(2 * fine, width)
        self.blocks = nn.ModuleList(Block(width, self.bands, whole) for _ in range(depth))
        self.up = Dense(width, 2 * fine)
        self.mix = Across(fine, times=1, reach=1)
        self.out = nn.ModuleList(Dense(fine, size * taps * 2) for _, size in PATCHES)
        for layer in self.out:
            identity_at_first(layer, taps)

    def forward(self, spectra: Tensor, before: State | None = None) -> tuple[Tensor, State]:
        state = before if before is not None else self.silence(spectra)
        known = torch.cat([state["spectrum"], spectra])
        after: State = {"spectrum": known[-1:]}
        fine = F.silu(patched(torch.cat([known[1:], known[:-1]], -1), self.into) + self.place)
        x = self.down(fine.unflatten(2, (-1, 2)).flatten(3))
        for number, block in enumerate(self.blocks):
            x, kept = block(x, {name: state[f"{number}.{name}"] for name in NAMES})
            after |= {f"{number}.{name}": value for name, value in kept.items()}
        y = self.mix(fine + self.up(x).unflatten(3, (2, -1)).flatten(2, 3))
        return unpatched(y, self.out, (self.taps, 2)), after

    def silence(self, spectra: Tensor) -> State:
        """What is known before the first frame."""
        batch = spectra.shape[1]
        shapes = {"conv": (2, batch, self.bands, self.width), "band": (batch, self.bands, self.width)}
        shapes |= {"whole": (batch, self.whole)}
        state = {"spectrum": spectra.new_zeros(1, *spectra.shape[1:])}
        for number in range(len(self.blocks)):
            state |= {f"{number}.{name}": spectra.new_zeros(shapes[name]) for name in NAMES}
        return state


def patched(spectra: Tensor, layers: Iterable[nn.Module]) -> Tensor:
    """(T, B, 257, features) -> (T, B, BANDS, C): every band as it and half a band around it look."""
    padded = F.pad(spectra[:, :, :BINS], (0, 0, MARGIN, MARGIN))
    bands, start = [], MARGIN
    for layer, (count, size) in zip(layers, PATCHES, strict=True):
        halves = padded[:, :, start - size // 2 : start + count + size // 2].unflatten(2, (-1, size))
        part = torch.cat([halves[:, :, :-1], halves[:, :, 1:]], 3)
        bands.append(layer(part.transpose(3, 4).flatten(3)))
        start += count
    return torch.cat(bands, 2)


def unpatched(y: Tensor, layers: Iterable[nn.Module], each: tuple[int, ...]) -> Tensor:
    """(T, B, BANDS, C) -> (T, B, 257, *each)."""
    parts, start = [], 0
    for layer, (count, size) in zip(layers, PATCHES, strict=True):
        some = layer(y[:, :, start : start + count // size])
        parts.append(some.unflatten(3, (size, *each)).flatten(2, 3))
        start += count // size
    return torch.cat([*parts, parts[-1][:, :, -1:]], 2)


def identity_at_first(layer: nn.Module, taps: int) -> None:
    assert isinstance(layer, Dense)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_().view(-1, taps, 2)[:, 0, 0] = 1


class Block(nn.Module):
    """What a band remembers, what its neighbours do, what all bands do."""

    def __init__(self, width: int, bands: int, whole: int) -> None:
        super().__init__()
        self.bands = bands
        self.memory = Memory(width)
        self.across = Across(width, times=2, reach=2)
        self.norm = Norm(width)
        self.gather = Dense(bands * width, whole)
        self.recall = Dense(whole, 3 * whole)
        self.spread = Dense(whole, bands * width)
        slow_and_fast(self.recall, whole)

    def forward(self, x: Tensor, before: State) -> tuple[Tensor, State]:
        x, conv, band = self.memory(x, before["conv"], before["band"])
        x = self.across(x)
        z, g, o = self.recall.parts(self.gather(self.norm(x).flatten(2)), 3)
        h = remembered(z, g, before["whole"])
        x = x + self.spread(h * F.silu(o)).unflatten(2, (self.bands, -1))
        return x, {"conv": conv, "band": band, "whole": h[-1]}


def slow_and_fast(gates: Dense, size: int) -> None:
    """Memories of a few frames up to more than a hundred, at first."""
    with torch.no_grad():
        gates.bias[:size] = torch.linspace(-5, 0, size)


class Memory(nn.Module):
    """Three frames as they are, and a gated mean of all before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.taps = nn.Parameter(torch.tensor([0.0, 0.0, 1.0])[:, None].repeat(1, width))
        self.gates = Dense(width, 3 * width)
        self.back = Dense(width, width)
        slow_and_fast(self.gates, width)

    def forward(self, x: Tensor, conv: Tensor, band: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        known = torch.cat([conv, self.norm(x)])
        count = x.shape[0]
        seen = sum_of([known[k : k + count] * as_wide(self.taps[k], known) for k in range(3)])
        z, g, o = self.gates.parts(seen, 3)
        h = remembered(z, g, band)
        return x + self.back(h * F.silu(o)), known[count:], h[-1]


class Across(nn.Module):
    """Neighbouring bands, and a gated layer for each."""

    def __init__(self, width: int, times: int, reach: int) -> None:
        super().__init__()
        self.norm, self.reach = Norm(width), reach
        self.taps = nn.Parameter(torch.full((2 * reach + 1, width), 0.1))
        self.open = Dense(width, 2 * times * width)
        self.close = Dense(times * width, width)
        with torch.no_grad():
            self.taps[reach] = 1

    def forward(self, x: Tensor) -> Tensor:
        bands = x.shape[2]
        padded = F.pad(self.norm(x), (0, 0, self.reach, self.reach))
        seen = sum_of([padded[:, :, k : k + bands] * as_wide(self.taps[k], x) for k in range(2 * self.reach + 1)])
        value, gate = self.open.parts(seen, 2)
        y: Tensor = x + self.close(value * F.silu(gate))
        return y


class Norm(nn.Module):
    """Root mean square over the channels becomes 1; in float32, whatever is around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        if torch.compiler.is_exporting():  # as ONNX Runtime knows it, which then makes one step of it
            return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * self.gain
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.gain


class Dense(nn.Linear):
    """In a graph everything is a matrix of two axes, or the bias would be added in a pass of its own; and its parts
    are computed one by one, or they would have to be copied."""

    def forward(self, x: Tensor) -> Tensor:
        return applied(self.weight, self.bias, x)

    def parts(self, x: Tensor, count: int) -> Sequence[Tensor]:
        """Of what comes out."""
        if not torch.compiler.is_exporting():
            return self(x).chunk(count, -1)
        size = self.out_features // count
        rows = [slice(start, start + size) for start in range(0, self.out_features, size)]
        return [applied(self.weight[some], self.bias[some], x) for some in rows]


def applied(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    if not torch.compiler.is_exporting():
        return F.linear(x, weight, bias)
    return F.linear(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])


def as_wide(weights: Tensor, x: Tensor) -> Tensor:
    """(C,), or in a graph (F, C) for an x of (T, B, F, C): ONNX Runtime multiplies long rows three times as fast."""
    return weights.expand(x.shape[2:]) if torch.compiler.is_exporting() else weights


def sum_of(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


# Memory


def remembered(z: Tensor, g: Tensor, before: Tensor) -> Tensor:
    """Every h of h = (1 - sigmoid(z))·h + sigmoid(z)·tanh(g), over the first axis."""
    return running_mean(torch.sigmoid(z.float()), torch.tanh(g.float()), before.float())


def running_mean(share: Tensor, value: Tensor, before: Tensor) -> Tensor:
    """Every h of h = (1 - share)·h + share·value, over the first axis."""
    if not torch.is_grad_enabled() and not torch.compiler.is_exporting():
        return step_by_step(share, value, before)
    h: Tensor = gated_mean(share, value, before)
    return h


@torch.library.custom_op("denoise::gated_mean", mutates_args=())
def gated_mean(share: Tensor, value: Tensor, before: Tensor) -> Tensor:
    """For training, and for graphs, where it is one node; its first call loads the compiler, which takes seconds."""
    return step_by_step(share, value, before)


def step_by_step(share: Tensor, value: Tensor, before: Tensor) -> Tensor:
    out = torch.empty_like(value)
    last = before
    for now, some, new in zip(out.unbind(), share.unbind(), value.unbind(), strict=True):
        torch.lerp(last, new, some, out=now)
        last = now
    return out


@gated_mean.register_fake
def _(share: Tensor, value: Tensor, before: Tensor) -> Tensor:
    return torch.empty_like(value)


@torch.library.custom_op("denoise::gated_mean_back", mutates_args=())
def gated_mean_back(grad: Tensor, keep: Tensor) -> Tensor:
    """What reaches every h, from its own use and through all later ones."""
    out = torch.empty_like(grad)
    later = out[-1].copy_(grad[-1])
    for at in range(len(grad) - 2, -1, -1):
        later = torch.addcmul(grad[at], later, keep[at + 1], out=out[at])
    return out


@gated_mean_back.register_fake
def _(grad: Tensor, keep: Tensor) -> Tensor:
    return torch.empty_like(grad)


def _kept(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    share, value, before = inputs
    ctx.save_for_backward(share, value, before, output)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    share, value, before, output = ctx.saved_tensors
    keep = 1 - share
    reached = gated_mean_back(grad.contiguous(), keep)
    previous = torch.cat([before[None], output[:-1]])
    return reached * (value - previous), reached * share, reached[0] * keep[0]


gated_mean.register_autograd(_backward, setup_context=_kept)
