// Cleans a WAV or a PPM with a graph from `denoise export`: node 18 or newer and onnxruntime-node.
//
// node clean.mjs speech-fast.onnx noisy.wav clean.wav strength=0.8
// node clean.mjs idf-picture.onnx noisy.ppm clean.ppm
// node clean.mjs speech-fast.onnx --golden speech-fast.golden.json

import { readFileSync, writeFileSync } from "node:fs";
import ort from "onnxruntime-node";
import { Graph, largestDifference } from "../web/denoise.mjs";

const [file, source, target, ...words] = process.argv.slice(2);
if (!target) fail("node clean.mjs GRAPH SOURCE TARGET [INPUT=NUMBER…], or node clean.mjs GRAPH --golden FILE");
const graph = await Graph.open(ort, new Uint8Array(readFileSync(file)));
if (source === "--golden") await compare(target);
else if (graph.kind === "audio") await cleanSound();
else await cleanPicture();

function fail(why) {
  console.error(why);
  process.exit(2);
}

async function compare(path) {
  const golden = JSON.parse(readFileSync(path, "utf8"));
  const worst = await largestDifference(graph, golden);
  console.log(`node: ${worst.toExponential(1)} off, ${golden.tolerance} allowed`);
  process.exit(worst <= golden.tolerance ? 0 : 1);
}

function settings() {
  return Object.fromEntries(words.map((word) => word.split("=")).map(([name, value]) => [name, Number(value)]));
}

async function cleanSound() {
  const sound = readWav(readFileSync(source));
  if (graph.rate && graph.rate !== sound.rate)
    fail(`${source} has ${sound.rate} Hz, and ${graph.said.name} works at ${graph.rate} Hz; resample it first.`);
  const given = settings();
  if ("rate" in graph.inputs) given.rate = sound.rate;
  const voices = [];
  for (const voice of sound.voices) voices.push(graph.hop ? await live(voice, given) : await graph.run(voice, [1, 1, voice.length], given));
  writeFileSync(target, wav(voices, sound.rate));
}

/** Frame by frame, as for sound that comes in. */
async function live(voice, given) {
  const whole = new Float32Array(Math.ceil((voice.length + graph.late) / graph.hop) * graph.hop);
  whole.set(voice);
  return (await graph.run(whole, [1, whole.length], given)).slice(graph.late, graph.late + voice.length);
}

/** 16-bit and 32-bit float WAV. */
function readWav(bytes) {
  let at = 12;
  let format, data;
  while (at + 8 <= bytes.length) {
    const [name, size] = [bytes.toString("latin1", at, at + 4), bytes.readUInt32LE(at + 4)];
    const chunk = bytes.subarray(at + 8, at + 8 + size);
    if (name === "fmt ") format = { tag: tagOf(chunk), channels: chunk.readUInt16LE(2), rate: chunk.readUInt32LE(4), bits: chunk.readUInt16LE(14) };
    if (name === "data") data = chunk;
    at += 8 + size + (size % 2);
  }
  if (!format || !data || !["1/16", "3/32"].includes(`${format.tag}/${format.bits}`)) fail(`${source}: a WAV of 16 bits or of 32-bit floats is wanted.`);
  const step = format.bits / 8;
  const sample = (index) => (step === 2 ? data.readInt16LE(index * 2) / 32768 : data.readFloatLE(index * 4));
  const length = Math.floor(data.length / step / format.channels);
  const voice = (channel) => Float32Array.from({ length }, (_, index) => sample(index * format.channels + channel));
  return { rate: format.rate, voices: Array.from({ length: format.channels }, (_, channel) => voice(channel)) };
}

/** Whole numbers are 1 and floats are 3; some files say it further on. */
function tagOf(chunk) {
  const tag = chunk.readUInt16LE(0);
  return tag === 0xfffe && chunk.length >= 26 ? chunk.readUInt16LE(24) : tag;
}

/** 16 bits. */
function wav(voices, rate) {
  const [channels, length] = [voices.length, voices[0].length];
  const bytes = Buffer.alloc(44 + 2 * channels * length);
  bytes.write("RIFF", 0, "latin1");
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write("WAVEfmt ", 8, "latin1");
  bytes.writeUInt32LE(16, 16);
  [1, channels].forEach((value, index) => bytes.writeUInt16LE(value, 20 + 2 * index));
  [rate, rate * channels * 2].forEach((value, index) => bytes.writeUInt32LE(value, 24 + 4 * index));
  [channels * 2, 16].forEach((value, index) => bytes.writeUInt16LE(value, 32 + 2 * index));
  bytes.write("data", 36, "latin1");
  bytes.writeUInt32LE(bytes.length - 44, 40);
  voices.forEach((voice, channel) =>
    voice.forEach((value, index) => {
      const level = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      bytes.writeInt16LE(level, 44 + 2 * (index * channels + channel));
    }),
  );
  return bytes;
}

/** A binary PPM (P6) of 8 bits. */
async function cleanPicture() {
  const bytes = readFileSync(source);
  const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(bytes.toString("latin1", 0, 64));
  if (!head) fail(`${source}: a binary PPM of 8 bits is wanted.`);
  const [width, height, pixels] = [Number(head[1]), Number(head[2]), bytes.subarray(head[0].length)];
  const size = width * height;
  const planes = Float32Array.from({ length: 3 * size }, (_, index) => pixels[(index % size) * 3 + Math.floor(index / size)] / 255);
  const restored = await graph.run(planes, [1, 3, height, width], settings());
  const out = Uint8ClampedArray.from({ length: 3 * size }, (_, index) => 255 * restored[(index % 3) * size + Math.floor(index / 3)]);
  writeFileSync(target, Buffer.concat([Buffer.from(head[0], "latin1"), new Uint8Array(out.buffer)]));
}
