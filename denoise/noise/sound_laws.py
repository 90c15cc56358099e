"""What noise does to a sound: laws with a parameter and a seed, by the name that a command calls them.

Sounds are float32 (C, T), full scale 1; a law that depends on time knows the `rate` it is for. Levels are in dBFS,
where a root mean square of 1 is 0; `AtSnr` sets them by a ratio to active speech instead.
"""

from __future__ import annotations

from typing import Any

from denoise.noise.sound_active import AtSnr, active_power, mixed_at
from denoise.noise.sound_coding import Coded
from denoise.noise.sound_colour import Coloured, Hum, Recorded, Wind
from denoise.noise.sound_damage import BandLimited, Clicks, Clipped, Crackle, PacketLoss, Quantised
from denoise.noise.sound_places import Babble, MeasuredRoom, SimulatedRoom

SOUND_LAWS: dict[str, type[Any]] = {
    "coloured": Coloured,
    "hum": Hum,
    "wind": Wind,
    "clicks": Clicks,
    "crackle": Crackle,
    "clipped": Clipped,
    "packet-loss": PacketLoss,
    "band-limited": BandLimited,
    "quantised": Quantised,
    "coded": Coded,
    "room": SimulatedRoom,
    "babble": Babble,
    "recorded": Recorded,
    "measured-room": MeasuredRoom,
}
MADE_OF = {
    "babble": "a folder of voices",
    "recorded": "a recording whose noise is wanted",
    "measured-room": "the recorded impulse response of a room",
}

__all__ = [
    "MADE_OF",
    "SOUND_LAWS",
    "AtSnr",
    "Babble",
    "BandLimited",
    "Clicks",
    "Clipped",
    "Coded",
    "Coloured",
    "Crackle",
    "Hum",
    "MeasuredRoom",
    "PacketLoss",
    "Quantised",
    "Recorded",
    "SimulatedRoom",
    "Wind",
    "active_power",
    "mixed_at",
]
