"""Training pairs of sound: voices, what disturbs them, the rooms they are in, mixed anew for every step."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise.errors import UserError
from denoise.media.find import files_below, kind_of
from denoise.media.sound import open_sound
from denoise.noise.sound_active import active_power
from denoise.noise.sound_colour import Coloured, Hum, Wind
from denoise.noise.sound_damage import Clicks
from denoise.resample import at_rate

RATE = 16_000
LEAST_RATE = 16_000  # Hz of a file that may teach what is above 4 kHz
FULL = 32768.0
SILENT = 1e-9  # power: -90 dBFS
LEAST_S = 0.3
NOMINAL = 10 ** (-25 / 20)  # root mean square of active speech
SPEECH_ASIDE, NOISE_ASIDE = 0.02, 0.06  # of the seconds
FEW_GROUPS = 10
EARLY_S, FADE_S = 0.05, 0.02  # of an echo, what still belongs to the voice
ROOM_DB = -50.0  # below, an impulse response has ended
SNR_DB = (-5.0, 7.0, 20.0)  # least, most frequent, most
SPEED = (0.87, 1.15)  # of voices; their pitch follows
LEAST_ACTIVE = 0.1  # power of a piece, of the active power of its voice

Sound = NDArray[np.float32]
Dice = np.random.Generator
Tell = Callable[[str], None]


# Recordings


@dataclass(frozen=True)
class Recording:
    name: str  # path in its folder
    start: int
    length: int
    power: float  # of speech while somebody speaks; of noise the mean


@dataclass(frozen=True)
class Sounds:
    """Recordings that lie one after the other in one file of 16-bit samples at 16 kHz."""

    samples: NDArray[np.int16]
    recordings: tuple[Recording, ...]
    weights: Mapping[str, float] = field(default_factory=dict)  # by a part of the path; seconds count else

    @classmethod
    def of(cls, folder: Path, store: Path, tell: Tell, weights: Mapping[str, float] | None = None) -> Sounds:
        """Everything in a folder that can be used; what cannot is named. Decoded once and kept in `store`."""
        files = sorted(sounds_below(folder))
        mark = "\n".join(f"{path}\t{path.stat().st_size}" for path in files)
        base = store / hashlib.sha256(f"{folder.resolve()}\n{mark}".encode()).hexdigest()[:16]
        index = base.with_suffix(".json")
        if not (index.exists() and base.with_suffix(".pcm").exists()):
            store.mkdir(parents=True, exist_ok=True)
            decode(folder, files, base.with_suffix(".pcm"), index)
        found = json.loads(index.read_text())
        for sentence in found["skipped"]:
            tell(sentence)
        recordings = tuple(Recording(**entry) for entry in found["recordings"])
        if not recordings:
            raise UserError(f"{folder}: no usable sound in it; files of {LEAST_RATE} Hz or more are wanted.")
        samples = np.memmap(base.with_suffix(".pcm"), np.int16, "r")
        return cls(samples, recordings, weights or {})

    def only(self, recordings: Iterable[Recording]) -> Sounds:
        return Sounds(self.samples, tuple(recordings), self.weights)

    @property
    def seconds(self) -> float:
        return sum(one.length for one in self.recordings) / RATE

    @cached_property
    def chances(self) -> NDArray[np.float64]:
        """Running sum of how likely each recording is."""
        likely = np.cumsum([one.length * self.weight(one.name) for one in self.recordings])
        return np.asarray(likely / likely[-1])

    def weight(self, name: str) -> float:
        parts = Path(name).parts
        return math.prod(self.weights.get(part, 1.0) for part in parts)

    def draw(self, dice: Dice) -> Recording:
        at = int(np.searchsorted(self.chances, dice.random(), side="right"))
        return self.recordings[min(at, len(self.recordings) - 1)]

    def read(self, one: Recording, start: int, count: int) -> Sound:
        first = one.start + start
        part = self.samples[first : first + min(count, one.length - start)]
        return np.asarray(part, np.float32) / np.float32(FULL)


def sounds_below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; a folder of recordings is wanted.")

    def refused(place: Path, trouble: OSError) -> None:
        raise UserError(f"{place}: cannot be read ({trouble.strerror}); allow it or name another folder.")

    return (path for path in files_below(folder, refused) if kind_of(path) == "audio")


def decode(folder: Path, files: Sequence[Path], target: Path, index: Path) -> None:
    recordings: list[Recording] = []
    skipped: list[str] = []
    start = 0
    with target.open("wb") as out:
        for path in files:
            try:
                sound = usable(path)
            except UserError as reason:
                skipped.append(f"{path}: {str(reason).removeprefix(f'{path}: ')} Left out.")
                continue
            level = active_power(torch.from_numpy(sound)[None], RATE)
            out.write(np.rint(np.clip(sound, -1, 1 - 1 / FULL) * FULL).astype(np.int16).tobytes())
            recordings.append(Recording(str(path.relative_to(folder)), start, len(sound), level))
            start += len(sound)
    waiting = index.with_suffix(".new")
    waiting.write_text(json.dumps({"recordings": [asdict(one) for one in recordings], "skipped": skipped}))
    waiting.replace(index)


def usable(path: Path) -> Sound:
    """One channel at 16 kHz; a reason where nothing can be learnt from it."""
    audio = open_sound(path).audio
    if audio.rate < LEAST_RATE:
        raise UserError(f"{audio.rate} Hz; {LEAST_RATE} Hz or more are wanted.")
    blocks = [block.mean(0) for block in at_rate(audio, RATE).blocks(RATE)]
    sound = np.concatenate([np.zeros(0, np.float32), *blocks]).astype(np.float32)
    if len(sound) < LEAST_S * RATE:
        raise UserError(f"{len(sound) / RATE:.2f} s; {LEAST_S:g} s or more are wanted.")
    if not np.isfinite(sound).all():
        raise UserError("It holds values that are not numbers.")
    if float(np.mean(np.square(sound, dtype=np.float64))) < SILENT:
        raise UserError("Silence; nothing can be learnt from it.")
    return sound


# What is trained on, and what is kept aside


def divided(sounds: Sounds, aside: float, group_of: Callable[[str], str]) -> tuple[Sounds, Sounds]:
    """For training and for validation: whole groups (a voice, a place), chosen by their names."""
    if len({group_of(one.name) for one in sounds.recordings}) < FEW_GROUPS:
        group_of = str
    lengths: dict[str, int] = {}
    for one in sounds.recordings:
        lengths[group_of(one.name)] = lengths.get(group_of(one.name), 0) + one.length
    wanted = aside * sum(lengths.values())
    largest = max(2 * wanted, float(np.median(list(lengths.values()))))  # a voice that is half of all is not given up
    held, kept = 0, set[str]()
    for name in sorted(lengths, key=hashed):
        if held < wanted and lengths[name] <= largest and len(kept) < len(lengths) - 1:
            held, kept = held + lengths[name], kept | {name}
    if not kept:
        raise UserError("Too few recordings to train on; a few minutes in a dozen files are wanted.")
    validation = [one for one in sounds.recordings if group_of(one.name) in kept]
    training = [one for one in sounds.recordings if group_of(one.name) not in kept]
    return sounds.only(training), sounds.only(validation)


def hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def voice_of(name: str) -> str:
    """Recordings of one voice share a folder."""
    return str(Path(name).parent)


def place_of(name: str) -> str:
    """Pieces of one recording are numbered: rain_00, rain_01."""
    return re.sub(r"_\d+$", "", str(Path(name).with_suffix("")))


# Rooms


@dataclass(frozen=True)
class Room:
    """Its impulse response from the direct sound on, and as much of it as still belongs to the voice."""

    whole: Sound
    early: Sound

    @classmethod
    def of(cls, impulse: Sound) -> Room:
        direct = int(np.abs(impulse).argmax())
        answer = impulse[direct:] / impulse[direct]
        left = np.cumsum(np.square(answer[::-1]))[::-1]
        answer = answer[: max(int(np.sum(left > left[0] * 10 ** (ROOM_DB / 10))), 1)]
        seconds = np.arange(len(answer)) / RATE
        fade = np.clip((EARLY_S - seconds) / FADE_S, 0, 1)
        early = (answer * (0.5 - 0.5 * np.cos(np.pi * fade)))[: round(EARLY_S * RATE)]
        return cls(answer.astype(np.float32), early.astype(np.float32))


def rooms_of(folder: Path) -> list[Room]:
    return [Room.of(usable_room(path)) for path in sorted(sounds_below(folder))]


def usable_room(path: Path) -> Sound:
    blocks = list(at_rate(open_sound(path).audio, RATE).blocks(RATE))
    impulse = np.concatenate(blocks, 1)[0].astype(np.float32)
    if not impulse.any():
        raise UserError(f"{path}: silence; an impulse response of a room is wanted. Remove it.")
    return impulse


def convolved(sound: Sound, answer: Sound) -> Sound:
    from scipy.signal import oaconvolve

    return np.asarray(oaconvolve(sound, answer)[: len(sound)], np.float32)


# Mixtures


@dataclass(frozen=True)
class Mixtures:
    """Batches of (noisy, clean) at 16 kHz, (B, 1, T): a pure function of the seed and the step."""

    speech: Sounds
    noise: Sounds
    rooms: Sequence[Room]
    shares: Mapping[str, float]  # how often each thing happens, by name
    batch: int = 8
    seconds: float = 2.0
    seed: int = 0

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        dice = np.random.default_rng([self.seed, step])
        pairs = [self.pair(dice) for _ in range(self.batch)]
        noisy, clean = (torch.from_numpy(np.stack(part))[:, None] for part in zip(*pairs, strict=True))
        return noisy, clean

    def pair(self, dice: Dice) -> tuple[Sound, Sound]:
        count = round(self.seconds * RATE)
        heard, clean = self.voice(dice, count), np.zeros(count, np.float32)
        if self.happens("nobody", dice):
            heard = clean
        else:
            heard, clean = self.placed(heard, dice)
        if self.happens("quiet", dice):
            return degraded(heard, clean, self, dice)
        disturbance = self.disturbance(dice, count)
        snr_db = dice.triangular(*SNR_DB)
        return degraded(heard + disturbance * np.float32(NOMINAL * 10 ** (-snr_db / 20)), clean, self, dice)

    def happens(self, name: str, dice: Dice) -> bool:
        return bool(dice.random() < self.shares.get(name, 0.0))

    def voice(self, dice: Dice, count: int) -> Sound:
        """Somebody who speaks for a good part of the time."""
        for _ in range(4):
            one = self.speech.draw(dice)
            sound = cut(self.speech, one, count, dice, speed_of(dice, *SPEED) if dice.random() < 0.6 else 1.0)
            if np.mean(np.square(sound)) > LEAST_ACTIVE * one.power:
                break
        sound *= np.float32(NOMINAL / math.sqrt(one.power))
        return coloured(sound, dice) if self.happens("coloured_voice", dice) else sound

    def placed(self, voice: Sound, dice: Dice) -> tuple[Sound, Sound]:
        """As it is heard in a room, and as it should be: without what comes late."""
        if not self.rooms or not self.happens("room", dice):
            return voice, voice
        room = self.rooms[int(dice.integers(len(self.rooms)))]
        whole, early = convolved(voice, room.whole), convolved(voice, room.early)
        gain = np.float32(math.sqrt(power(voice) / max(power(early), 1e-12)))
        return whole * gain, early * gain

    def disturbance(self, dice: Dice, count: int) -> Sound:
        """One to three sources, power 1 together."""
        total = self.source(dice, count)
        for _ in range(int(dice.choice(3, p=(0.6, 0.28, 0.12)))):
            total = total + self.source(dice, count) * np.float32(10 ** (-dice.uniform(0, 15) / 20))
        if self.happens("swelling", dice):
            total = total * swelling(dice, count)
        return unit(total)

    def source(self, dice: Dice, count: int) -> Sound:
        if self.happens("babble", dice):
            return self.babble(dice, count)
        names = [name for name in MADE if name in self.shares]
        for name in names:
            if self.happens(name, dice):
                return unit(MADE[name](dice, count))
        return self.recorded(dice, count)

    def recorded(self, dice: Dice, count: int) -> Sound:
        for _ in range(3):
            one = self.noise.draw(dice)
            sound = cut(self.noise, one, count, dice, speed_of(dice, 0.5, 2.0) if dice.random() < 0.5 else 1.0, True)
            if np.mean(np.square(sound)) > 0.02 * one.power:
                break
        if dice.random() < 0.2:
            sound = sound[::-1]
        return unit(coloured(sound, dice) if self.happens("coloured_noise", dice) else sound)

    def babble(self, dice: Dice, count: int) -> Sound:
        total = np.zeros(count, np.float32)
        for _ in range(int(dice.integers(3, 9))):
            one = self.speech.draw(dice)
            nearness = math.exp(0.3 * dice.standard_normal()) / math.sqrt(one.power)
            total += np.float32(nearness) * cut(self.speech, one, count, dice, speed_of(dice, *SPEED), True)
        if self.rooms:
            total = convolved(total, self.rooms[int(dice.integers(len(self.rooms)))].whole)
        return unit(total)


MADE: dict[str, Callable[[Dice, int], Sound]] = {
    "steady": lambda dice, count: Coloured(RATE, float(dice.uniform(-1, 2.2))).noise(1, count, seed_of(dice), 0)[0],
    "wind": lambda dice, count: Wind(RATE, corner_hz=float(dice.uniform(40, 300))).noise(1, count, seed_of(dice), 0)[0],
    "hum": lambda dice, count: hum(dice, count),
    "clicks": lambda dice, count: Clicks(RATE, float(dice.uniform(1, 20))).noise(1, count, seed_of(dice), 0)[0],
}


def hum(dice: Dice, count: int) -> Sound:
    mains = Hum(RATE, float(dice.choice((50.0, 60.0)) + dice.normal(0, 0.1)), harmonics=int(dice.integers(1, 30)))
    return mains.noise(1, count, seed_of(dice), 0)[0]


def seed_of(dice: Dice) -> int:
    return int(dice.integers(1 << 31))


def power(sound: Sound) -> float:
    return float(np.mean(np.square(sound, dtype=np.float64)))


def unit(sound: Sound) -> Sound:
    """Power 1; silence stays what it is."""
    return np.asarray(sound / np.float32(math.sqrt(power(sound)) + 1e-9), np.float32)


def speed_of(dice: Dice, low: float, high: float) -> float:
    return float(math.exp(dice.uniform(math.log(low), math.log(high))))


def cut(sounds: Sounds, one: Recording, count: int, dice: Dice, speed: float = 1.0, round_and: bool = False) -> Sound:
    """A piece from anywhere in it, faster or slower; where it is too short, in silence or again and again."""
    wanted = math.ceil(count * speed)
    start = int(dice.integers(max(one.length - wanted, 0) + 1))
    sound = sounds.read(one, start, wanted)
    if speed != 1:
        from soxr import resample

        sound = np.asarray(resample(sound, RATE * speed, RATE, quality="MQ"), np.float32)[:count]
    if len(sound) >= count:
        return sound[:count].copy()
    if round_and:
        return np.resize(np.roll(sound, int(dice.integers(len(sound)))), count)
    before = int(dice.integers(count - len(sound) + 1))
    return np.pad(sound, (before, count - len(sound) - before))


def coloured(sound: Sound, dice: Dice) -> Sound:
    """As through another microphone: a random filter of second order (Valin 2018), the same power."""
    from scipy.signal import lfilter

    a, b, c, d = dice.uniform(-3 / 8, 3 / 8, 4)
    other = np.asarray(lfilter([1, a, b], [1, c, d], sound), np.float32)
    return other * np.float32(math.sqrt(power(sound) / max(power(other), 1e-12)))


def swelling(dice: Dice, count: int) -> Sound:
    """A gain that goes from one level to another, at once or slowly."""
    levels = dice.uniform(-12, 6, 2)
    middle, width = dice.uniform(0, count), dice.uniform(100, count)
    way = 1 / (1 + np.exp(-np.clip((np.arange(count) - middle) / width * 6, -30, 30)))
    return np.asarray(10 ** ((levels[0] + (levels[1] - levels[0]) * way) / 20), np.float32)


def degraded(noisy: Sound, clean: Sound, mixtures: Mixtures, dice: Dice) -> tuple[Sound, Sound]:
    """What happens to both on the way, and what happens to the noisy one alone."""
    if mixtures.happens("narrow", dice):
        from scipy.signal import butter, sosfilt

        edges = butter(6, dice.uniform(3400, 7000), fs=RATE, output="sos")
        noisy, clean = (np.asarray(sosfilt(edges, sound), np.float32) for sound in (noisy, clean))
    if mixtures.happens("late", dice):  # nothing at all at first
        begin = int(dice.uniform(0, 0.7) * len(noisy))
        noisy, clean = (np.concatenate([np.zeros(begin, np.float32), s[begin:]]) for s in (noisy, clean))
    if mixtures.happens("clipped", dice):
        limit = float(np.abs(noisy).max()) * 10 ** (-dice.uniform(1, 10) / 20)
        noisy = np.clip(noisy, -limit, limit)
    if mixtures.happens("drift", dice):
        noisy = noisy + np.float32(dice.normal(0, 0.02))
    return noisy.astype(np.float32), clean.astype(np.float32)


# Validation


@dataclass(frozen=True)
class Case:
    noisy: Sound
    clean: Sound


def cases(mixtures: Mixtures, count: int, seconds: float = 4.0) -> list[Case]:
    """Mixtures of what is kept aside, as many fifths of them in a room as in training."""
    roomy = round(5 * mixtures.shares.get("room", 0.0))
    plain = Mixtures(mixtures.speech, mixtures.noise, mixtures.rooms, {"babble": 0.05, "steady": 0.05}, 1, seconds)
    found = []
    for number in range(count):
        dice = np.random.default_rng([7, number])
        voice, disturbance = plain.voice(dice, round(seconds * RATE)), plain.disturbance(dice, round(seconds * RATE))
        heard, clean = voice, voice
        if number % 5 >= 5 - roomy and plain.rooms:
            room = plain.rooms[number % len(plain.rooms)]
            heard = convolved(voice, room.whole)
        gain = np.float32(NOMINAL * 10 ** (-(5 * (number % 4)) / 20))
        found.append(Case(heard + gain * disturbance, clean))
    return found
