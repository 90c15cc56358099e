"""Cleans a sound or a picture with a graph from `denoise export`: ONNX Runtime, and soundfile or Pillow.

python clean.py speech-fast.onnx noisy.wav clean.wav --set strength=0.8
python clean.py speech-fast-live.onnx noisy.wav clean.wav      frame by frame, as for sound that comes in
python clean.py idf-picture.onnx noisy.png clean.png
python clean.py speech-fast.onnx --golden speech-fast.golden.json
"""

import argparse
import base64
import json
import sys

import numpy as np
import onnxruntime

TYPES = {"float32": np.float32, "int64": np.int64}
FIRST_TO_LAST = ("CUDAExecutionProvider", "DmlExecutionProvider", "CPUExecutionProvider")


class Graph:
    """A session and what its file says: of what kind it is, at which rate, and its inputs with their defaults."""

    def __init__(self, path, threads=0):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        there = [name for name in FIRST_TO_LAST if name in onnxruntime.get_available_providers()]
        self.session = onnxruntime.InferenceSession(path, options, providers=there)
        self.said = self.session.get_modelmeta().custom_metadata_map
        self.inputs = json.loads(self.said["inputs"])
        self.rate = None if self.said["rate"] == "any" else int(self.said["rate"])
        self.live = "hop" in self.said

    def feeds(self, settings):
        """Every input beside the signal. A survey without rows says that nothing is known; so does silence before."""
        unknown = sorted(set(settings) - set(self.inputs))
        if unknown:
            sys.exit(f"{self.said['name']} has no {', '.join(unknown)}; it has {', '.join(self.inputs)}.")
        return {name: self.value(put, settings.get(name)) for name, put in self.inputs.items() if name != "noisy"}

    @staticmethod
    def value(put, given):
        kind = TYPES[put["type"]]
        if given is not None or "default" in put:
            return np.asarray(put["default"] if given is None else given, kind)
        return np.zeros([side if isinstance(side, int) else 0 for side in put["shape"]], kind)

    def __call__(self, noisy, **settings):
        """(1, channels, samples) or (1, channels, height, width); a live graph takes (1, samples)."""
        feeds = self.feeds(settings)
        if self.live:
            return self.frames(noisy, feeds)
        sides = noisy.shape[2:]
        multiple, least = int(self.said["multiple"]), int(self.said["least"])
        after = [-(-max(side, least) // multiple) * multiple - side for side in sides]
        padded = np.pad(noisy, [(0, 0), (0, 0), *((0, more) for more in after)], mode="reflect")
        restored = self.session.run(["restored"], {"noisy": padded, **feeds})[0]
        return restored[(..., *(slice(side) for side in sides))]

    def frames(self, noisy, feeds):
        """What comes out of a frame is `late` samples behind what went in."""
        hop, state = int(self.said["hop"]), list(json.loads(self.said["state"]))
        out = []
        for start in range(0, noisy.shape[1] - hop + 1, hop):
            restored, *kept = self.session.run(None, {"noisy": noisy[:, start : start + hop], **feeds})
            feeds |= dict(zip(state, kept, strict=True))
            out.append(restored)
        return np.concatenate(out, 1)


def clean_sound(graph, source, target, settings):
    import soundfile

    sound, rate = soundfile.read(source, dtype="float32", always_2d=True)
    if graph.rate not in (None, rate):
        sys.exit(f"{source} has {rate} Hz, and {graph.said['name']} works at {graph.rate} Hz; resample it first.")
    if "rate" in graph.inputs:
        settings = settings | {"rate": rate}
    if graph.live:
        hop, late = int(graph.said["hop"]), int(graph.said["late"])
        after = late + -(len(sound) + late) % hop
        voices = [graph(np.pad(voice, (0, after))[None], **settings)[0, late:][: len(sound)] for voice in sound.T]
    elif graph.inputs["noisy"]["shape"][1] == 1:
        voices = [graph(voice[None, None], **settings)[0, 0] for voice in sound.T]
    else:
        voices = graph(np.ascontiguousarray(sound.T)[None], **settings)[0]
    soundfile.write(target, np.stack(voices, 1), rate, soundfile.info(source).subtype)


def clean_picture(graph, source, target, settings):
    from PIL import Image

    pixels = np.asarray(Image.open(source).convert("RGB"), np.float32) / 255
    restored = graph(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None], **settings)[0]
    Image.fromarray(np.rint(restored.transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)).save(target)


def unpacked(values):
    return np.frombuffer(base64.b64decode(values["data"]), "<f4").reshape(values["shape"])


def largest_difference(graph, path):
    with open(path, encoding="utf-8") as file:
        golden = json.load(file)
    told = {"survey": unpacked(golden["survey"])} if "survey" in golden else {}
    noisy, worst = unpacked(golden["noisy"]), 0.0
    for case in golden["cases"]:
        off = np.abs(graph(noisy, **told, **case["settings"]) - unpacked(case["restored"])).max()
        worst = max(worst, float(off)) if off == off else float("inf")
    return worst, golden["tolerance"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph")
    parser.add_argument("source", nargs="?")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--set", action="append", default=[], metavar="INPUT=NUMBER")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--golden")
    words = parser.parse_args()
    graph = Graph(words.graph, words.threads)
    if words.golden:
        worst, allowed = largest_difference(graph, words.golden)
        print(f"{graph.session.get_providers()[0]}: {worst:.1e} off, {allowed:.0e} allowed")
        sys.exit(0 if worst <= allowed else 1)
    if words.target is None:
        parser.error("a source and a target are wanted, or --golden")
    settings = {name: float(value) for name, _, value in (part.partition("=") for part in words.set)}
    cleaners = {"audio": clean_sound, "picture": clean_picture}
    if graph.said["kind"] not in cleaners:
        sys.exit("Mosaics of cameras need a raw decoder; see README.md for what to feed.")
    cleaners[graph.said["kind"]](graph, words.source, words.target, settings)


if __name__ == "__main__":
    main()
