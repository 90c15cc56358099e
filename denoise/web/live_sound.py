"""A sound through a live model as it comes in: what the command makes of the whole, some milliseconds later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from denoise import above_band, zoo
from denoise.batch.recipe import AUTO
from denoise.errors import BadFile, UserError
from denoise.methods.method import Live, Method
from denoise.methods.method import find as find_method
from denoise.resample import Resampling
from denoise.run import blended, told
from denoise.signals import Block
from denoise.zoo import Card

AROUND = above_band.AROUND + above_band.TAPS  # samples to each side, of which it hangs what is lost above a band
WHOLE = torch.tensor(1.0)  # all of the noise goes; how much of that counts is mixed afterwards


@dataclass(frozen=True)
class LiveModel:
    name: str
    rate: int | None  # Hz; None: any
    live: Live


def live_models() -> dict[str, LiveModel]:
    """Every model of sound that can work as it comes in, the usual ones first."""
    cards = [card for card in zoo.cards().values() if card.kind == "audio" and may_live(card)]
    found = {card.name: live_model(card) for card in sorted(cards, key=lambda card: not card.entries.get("default"))}
    return {name: model for name, model in found.items() if model}


def may_live(card: Card) -> bool:
    """Without its weights, since most cannot."""
    try:
        return find_method(str(card.entries["method"])).live is not Method.live
    except UserError:  # it has gone
        return False


def works_live(card: Card) -> bool:
    return may_live(card) and live_model(card) is not None


def live_model(card: Card) -> LiveModel | None:
    method = zoo.method_of(card)
    live = method.live()
    return LiveModel(card.name, zoo.facts_of(card, method).rate, live) if live else None


def chosen(name: str) -> LiveModel:
    """That model, or for `auto` the first; it begins with silence."""
    models = live_models()
    if name == AUTO and models:
        return next(iter(models.values()))
    if name not in models:
        known = f"choose {' or '.join(models)}" if models else "record the sound, then clean it"
        raise UserError(f"{name} cannot work live, it has to see more of a sound; {known}.")
    return models[name]


class Frames:
    """(1, n) samples of the model's rate -> those that are restored by then, in step with what came in."""

    def __init__(self, live: Live) -> None:
        self.live, self.state, self.late = live, live.state, live.late
        self.held = torch.zeros(1, 0)

    def push(self, sound: Tensor) -> Tensor:
        held = torch.cat([self.held, sound], 1)
        whole = held.shape[1] // self.live.hop * self.live.hop
        self.held = held[:, whole:]
        restored = torch.cat([self.held[:, :0], *map(self.frame, held[:, :whole].split(self.live.hop, 1))], 1)
        late = min(self.late, restored.shape[1])
        self.late -= late
        return restored[:, late:]

    def frame(self, noisy: Tensor) -> Tensor:
        if not noisy.shape[1]:
            return noisy
        restored, *kept = self.live.frame(noisy, WHOLE, **self.state)
        self.state = dict(zip(self.state, kept, strict=True))
        return restored

    def last(self) -> Tensor:
        """The rest, and less than a frame of silence."""
        missing = self.live.late + -(self.held.shape[1] + self.live.late) % self.live.hop
        return self.push(torch.zeros(1, missing))


class LiveSound:
    """(1, n) samples at any rate -> those that are known by then; with `last`, as many as came in."""

    def __init__(self, model: LiveModel, rate: int) -> None:
        self.own, self.rate = model.rate or rate, rate
        self.frames = Frames(model.live)
        self.down, self.up = Resampling(rate, self.own), Resampling(self.own, rate)
        self.noisy = np.zeros((1, 0), np.float32)  # at the rate of what comes in, not yet answered
        self.waiting = torch.zeros(1, 0)  # at the model's rate, not yet restored
        self.around = torch.zeros(2, 0)  # noisy and restored, with what is needed of the past
        self.past = 0  # samples of these

    @property
    def late_s(self) -> float:
        """From a sample to its answer, in the worst case and without the time to compute it."""
        frame = (self.frames.live.late + self.frames.live.hop) / self.own
        if self.own == self.rate:
            return frame
        return frame + self.down.reach / self.rate + (AROUND + self.up.reach) / self.own

    @torch.inference_mode()
    def push(self, samples: Block, strength: float = 1.0) -> Block:
        if not np.isfinite(samples).all():
            raise BadFile("The microphone gave values that are not numbers; press Live again.")
        self.noisy = np.concatenate([self.noisy, samples], 1)
        if self.own == self.rate:
            return self.answered(self.mixed(self.restored(samples), strength))
        change = self.told(self.restored(self.down.push(samples)), strength, ahead=AROUND)
        return self.above(self.up.push(change.numpy()))

    @torch.inference_mode()
    def last(self, strength: float = 1.0) -> Block:
        """What was held back; nothing comes after it."""
        if self.own == self.rate:
            return self.answered(self.mixed(self.rest(self.noisy[:, :0]), strength))
        change = self.told(self.rest(self.down.last()), strength, ahead=0)
        return self.above(np.concatenate([self.up.push(change.numpy()), self.up.last()], 1))

    def restored(self, sound: Block) -> Tensor:
        """(2, n) noisy and restored, as far as both are known."""
        self.waiting = torch.cat([self.waiting, torch.from_numpy(np.ascontiguousarray(sound))], 1)
        return self.paired(self.frames.push(torch.from_numpy(np.ascontiguousarray(sound))))

    def rest(self, sound: Block) -> Tensor:
        return torch.cat([self.restored(sound), self.paired(self.frames.last())], 1)

    def paired(self, restored: Tensor) -> Tensor:
        count = min(restored.shape[1], self.waiting.shape[1])
        noisy, self.waiting = self.waiting[:, :count], self.waiting[:, count:]
        return torch.cat([noisy, restored[:, :count]])

    def told(self, pair: Tensor, strength: float, ahead: int) -> Tensor:
        """(3, n) what the higher rate needs to know of all but the last samples, whose future is not known."""
        both = torch.cat([self.around, pair], 1)
        known = max(both.shape[1] - ahead, self.past)
        change = told(both[:1], both[1:], strength)[:, self.past : known] if known > self.past else torch.zeros(3, 0)
        start = max(known - AROUND, 0)
        self.around, self.past = both[:, start:], known - start
        return change

    def mixed(self, pair: Tensor, strength: float) -> Block:
        return blended(pair[:1], pair[1:], strength).numpy()

    def above(self, block: Block) -> Block:
        """As `restore_sound` does it: only what is taken away was resampled."""
        change, low, share = block[:, : self.noisy.shape[1]]  # rounded up twice, it may be a sample longer
        noisy = self.noisy[:, : len(change)]
        above = noisy - low if self.rate > self.own else np.zeros_like(noisy)
        return self.answered(noisy + change - share * above)

    def answered(self, cleaned: Block) -> Block:
        self.noisy = self.noisy[:, cleaned.shape[1] :]
        return cleaned.astype(np.float32, copy=False)
