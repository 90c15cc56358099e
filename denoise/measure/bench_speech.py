"""PESQ, STOI, SI-SDR, DNSMOS and speed of every sound model on noisy speech, beside its classical peers.

All methods see the same files at 16 kHz. A method that answers late is scored as if it had not: its delay, up to
50 ms, is taken out first. The speed is the time on this machine for a second of sound.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denoise import zoo
from denoise.errors import UserError
from denoise.measure.bench import Row, Wish, quiet
from denoise.measure.files import means, usable_scores
from denoise.measure.scores import SCORES, aligned, measured
from denoise.restorer import Restorer
from denoise.signals import Audio

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "audio" / "test_pairs"
INDEX = "pairs.csv"
RATE = 16_000
DIGITS = 3

Sound = NDArray[np.float32]  # one channel
Method = Callable[[Sound], Sound]


@dataclass(frozen=True)
class Pair:
    condition: str  # noise, reverb, both…
    noisy: Sound
    clean: Sound

    @property
    def seconds(self) -> float:
        return len(self.clean) / RATE


def run(wish: Wish) -> Iterator[Row]:
    yield from speech(wish.data or DATA, models_of(wish), peers(wish.tell), wish.limit, wish.tell)


def speech(
    folder: Path,
    restorers: Mapping[str, Restorer],
    peers: Mapping[str, Method],
    limit: int | None = None,
    tell: Callable[[str], None] = quiet,
) -> Iterator[Row]:
    """A row for every condition and method: the noisy sound itself, the peers, the models."""
    methods: dict[str, Method] = {"noisy": np.copy, **peers}
    methods |= {name: partial(restored, restorer) for name, restorer in restorers.items()}
    names = [name for name in usable_scores(tell) if SCORES[name].kind == "audio"]
    pairs = list(pairs_of(folder, limit))
    for condition in dict.fromkeys(pair.condition for pair in pairs):
        alike = [pair for pair in pairs if pair.condition == condition]
        for name, method in methods.items():
            tell(f"{condition}, {len(alike)} files: {name}")
            yield {"condition": condition, "files": len(alike), "method": name, **row(alike, method, names)}


def row(pairs: Sequence[Pair], method: Method, names: Sequence[str]) -> Row:
    """Means over the pairs, and seconds for each second of sound."""
    method(pairs[0].noisy)  # the first call also loads and compiles
    begin = time.perf_counter()
    results = [method(pair.noisy) for pair in pairs]
    seconds = time.perf_counter() - begin
    found = means([scores_of(pair, result, names) for pair, result in zip(pairs, results, strict=True)])
    rounded = {name: round(value, DIGITS) for name, value in found.items()}
    return {**rounded, "s_per_s": round(seconds / sum(pair.seconds for pair in pairs), 4)}


def scores_of(pair: Pair, result: Sound, names: Iterable[str]) -> dict[str, float]:
    in_time, _ = aligned(pair.clean, fitted(result, len(pair.clean)), RATE)
    return measured("audio", in_time[None], pair.clean[None], RATE, names)


def fitted(result: Sound, length: int) -> Sound:
    """Peers may end a frame early."""
    return np.pad(result[:length], (0, max(0, length - len(result)))).astype(np.float32)


# Pairs


def pairs_of(folder: Path, limit: int | None) -> Iterator[Pair]:
    """The pairs of a folder of noisy/, clean/ and an index; with a limit, so many of each condition."""
    try:
        with (folder / INDEX).open(newline="") as index:
            entries = list(csv.DictReader(index))
    except FileNotFoundError:
        raise UserError(f"{folder}: no {INDEX} in it; name with --data a folder of noisy/, clean/ and that.") from None
    taken: dict[str, int] = {}
    for entry in entries:
        condition = entry.get("condition", "noise")
        taken[condition] = taken.get(condition, 0) + 1
        if limit is None or taken[condition] <= limit:
            yield Pair(condition, *(opened(folder / part / f"{entry['id']}.flac") for part in ("noisy", "clean")))


def opened(path: Path) -> Sound:
    from denoise.media.sound import open_sound
    from denoise.resample import at_rate

    blocks = at_rate(open_sound(path).audio, RATE).blocks(RATE)
    sound: Sound = np.concatenate(list(blocks), 1).mean(0)
    return sound


# Models


def models_of(wish: Wish) -> dict[str, Restorer]:
    """The sound models of the zoo, or the one that was asked for."""
    cards = [zoo.find(wish.model)] if wish.model else [card for card in zoo.cards().values() if card.kind == "audio"]
    engine = zoo.engine_named(wish.engine)
    return {card.name: zoo.load(card, engine, wish.device) for card in cards}


def restored(restorer: Restorer, noisy: Sound) -> Sound:
    from denoise.run import restore_sound

    sound: Sound = np.concatenate(list(restore_sound(Audio.from_array(noisy[None], RATE), restorer)), 1)[0]
    return sound


# Peers


def log_mmse(noisy: Sound) -> Sound:
    """Ephraim and Malah 1985, noise from the first six frames and wherever it seems that nobody speaks."""
    before = np.geterr()
    from logmmse import logmmse

    np.seterr(**before)  # its import makes every underflow of the whole program an error
    with np.errstate(all="ignore"):
        return np.asarray(logmmse(noisy, RATE), np.float32)


def noise_reduce(noisy: Sound) -> Sound:
    """Spectral gating against a level that moves, its default."""
    from noisereduce import reduce_noise

    return np.asarray(reduce_noise(y=noisy, sr=RATE), np.float32)


def speex(noisy: Sound) -> Sound:
    from speexdsp_ns import NoiseSuppression

    block = 256
    suppressor = NoiseSuppression.create(block, RATE)
    return through(suppressor.process, noisy, block)


def webrtc(noisy: Sound) -> Sound:
    from webrtc_noise_gain import AudioProcessor

    auto_gain_db, level = 0, 2  # of 0 to 4
    processor = AudioProcessor(auto_gain_db, level)
    return through(lambda block: processor.Process10ms(block).audio, noisy, RATE // 100)


def through(process: Callable[[bytes], bytes], noisy: Sound, block: int) -> Sound:
    """16-bit blocks in, 16-bit blocks out."""
    whole = np.pad(noisy, (0, -len(noisy) % block))
    integers = np.clip(np.rint(whole * 32768), -32768, 32767).astype("<i2").reshape(-1, block)
    answered = b"".join(process(part.tobytes()) for part in integers)
    return np.frombuffer(answered, "<i2").astype(np.float32) / np.float32(32768)


PEERS: dict[str, tuple[str, Method]] = {  # name: package that must be there, what calls it
    "logmmse": ("logmmse", log_mmse),
    "noisereduce": ("noisereduce", noise_reduce),
    "speexdsp-ns": ("speexdsp_ns", speex),
    "webrtc-noise-gain": ("webrtc_noise_gain", webrtc),
}


def peers(tell: Callable[[str], None] = quiet) -> dict[str, Method]:
    """Those that are installed; of the others it is said that they are left out."""
    found = {name: method for name, (package, method) in PEERS.items() if find_spec(package)}
    for name in PEERS.keys() - found.keys():
        tell(f"{name} is left out: pip install 'denoise-kit[peers]' brings it.")
    return found
