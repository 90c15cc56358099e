"""How far several results of a model that draws random numbers lie apart: where they do, it is not sure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import UserError
from denoise.restorer import Restorer
from denoise.run import Options, Tick, ignore, restore_picture, restore_sound
from denoise.signals import Audio, Picture

Floats = NDArray[np.floating[Any]]
COUNT = 4  # draws


@dataclass(frozen=True)
class Draws:
    restorer: Restorer
    options: Options
    tick: Tick = ignore

    def __post_init__(self) -> None:
        if not self.restorer.facts.seeded:
            name = self.restorer.facts.name
            raise UserError(f"{name} neither draws random numbers nor measures noise; it has nothing else to show.")

    def of_sound(self, samples: Floats, rate: int) -> Floats:
        """(C, n) -> (COUNT·C, n): every result less the mean of all, with the power of their variance."""
        sound = Audio.from_array(samples.astype(np.float32), rate)
        return np.concatenate(
            self.apart(lambda ours, tick: np.concatenate(list(restore_sound(sound, self.restorer, ours, tick)), 1))
        )

    def of_picture(self, pixels: Floats) -> Floats:
        """(H, W, C) -> (H, W, 1): the standard deviation of the results, mean of the colours."""
        picture = Picture(pixels.astype(np.float32), 1.0)
        differences = self.apart(lambda ours, tick: restore_picture(picture, self.restorer, ours, tick))
        return np.sqrt(np.square(differences).mean((0, 3)))[..., None]

    def apart(self, result: Callable[[Options, Tick], Floats]) -> Floats:
        results = np.stack([result(options, self.share(number)) for number, options in enumerate(self.each())])
        unbiased = (COUNT / (COUNT - 1)) ** 0.5  # their own mean lies closer to them than the true one
        return (results - results.mean(0)) * unbiased

    def share(self, number: int) -> Tick:
        return lambda done: self.tick((number + done) / COUNT)

    def each(self) -> Iterator[Options]:
        return (replace(self.options, seed=self.options.seed + number) for number in range(COUNT))
