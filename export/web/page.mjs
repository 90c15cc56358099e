// The page: a graph, a sound or a picture, and what the one makes of the other.

import * as ort from "./ort/ort.wasm.min.mjs";
import { Graph } from "./denoise.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
const find = (name) => document.getElementById(name);
const say = (text) => (find("status").textContent = text);
let graph, file;

/** One thing at a time; what goes wrong is said. */
let last = Promise.resolve();
function next(work) {
  last = last.then(work).catch((trouble) => say(`That did not work: ${trouble.message}`));
  return last;
}

async function take(bytes) {
  say("Reading the graph…");
  graph = await Graph.open(ort, bytes, { executionProviders: ["wasm"] });
  showKnobs();
  const what = graph.kind === "audio" ? "a sound" : "a picture";
  say(`${graph.said.name} is ready (licence: ${graph.said.licence}). Now ${what}.`);
  if (file) await clean();
}

function showKnobs() {
  const rows = Object.entries(graph.knobs).map(([name, put]) => {
    const range = Object.assign(document.createElement("input"), { type: "range", id: `knob-${name}`, title: put.help });
    Object.assign(range, { min: put.low, max: put.high, step: put.step ?? 0.05, value: put.default });
    const shown = Object.assign(document.createElement("output"), { value: range.value });
    range.addEventListener("input", () => (shown.value = range.value));
    range.addEventListener("change", () => file && next(clean));
    const label = document.createElement("label");
    label.append(`${name} `, range, " ", shown);
    return label;
  });
  find("knobs").replaceChildren(find("knobs").querySelector("legend"), ...rows);
  find("knobs").hidden = false;
}

function settings() {
  return Object.fromEntries(Object.keys(graph.knobs).map((name) => [name, Number(find(`knob-${name}`).value)]));
}

async function clean() {
  if (!graph) return say("Choose a graph first.");
  say(`Cleaning ${file.name}…`);
  const begun = performance.now();
  await (graph.kind === "audio" ? cleanSound() : cleanPicture());
  say(`${file.name} was cleaned in ${((performance.now() - begun) / 1000).toFixed(1)} s.`);
}

/** The browser decodes and resamples to the rate of the graph. */
async function cleanSound() {
  const context = new OfflineAudioContext(1, 1, graph.rate ?? 48000);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const before = Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel));
  const given = "rate" in graph.inputs ? { ...settings(), rate: sound.sampleRate } : settings();
  const after = [];
  for (const voice of before) after.push(await (graph.hop ? live(voice, given) : graph.run(voice, [1, 1, voice.length], given)));
  show([before, after].map((voices) => player(voices, sound.sampleRate)));
}

async function live(voice, given) {
  const whole = new Float32Array(Math.ceil((voice.length + graph.late) / graph.hop) * graph.hop);
  whole.set(voice);
  return (await graph.run(whole, [1, whole.length], given)).slice(graph.late, graph.late + voice.length);
}

function player(voices, rate) {
  const audio = Object.assign(document.createElement("audio"), { controls: true });
  audio.src = URL.createObjectURL(new Blob([wav(voices, rate)], { type: "audio/wav" }));
  return audio;
}

/** 32-bit floats. */
function wav(voices, rate) {
  const [channels, length] = [voices.length, voices[0].length];
  const bytes = new DataView(new ArrayBuffer(44 + 4 * channels * length));
  const text = (at, word) => [...word].forEach((letter, index) => bytes.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, bytes.byteLength - 8, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  [3, channels].forEach((value, index) => bytes.setUint16(20 + 2 * index, value, true));
  [rate, rate * channels * 4].forEach((value, index) => bytes.setUint32(24 + 4 * index, value, true));
  [channels * 4, 32].forEach((value, index) => bytes.setUint16(32 + 2 * index, value, true));
  text(36, "data");
  bytes.setUint32(40, bytes.byteLength - 44, true);
  voices.forEach((voice, channel) =>
    voice.forEach((value, index) => bytes.setFloat32(44 + 4 * (index * channels + channel), value, true)),
  );
  return bytes.buffer;
}

async function cleanPicture() {
  const bitmap = await createImageBitmap(file);
  const [before, after] = [0, 1].map(() => Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height }));
  before.getContext("2d").drawImage(bitmap, 0, 0);
  const pixels = before.getContext("2d").getImageData(0, 0, bitmap.width, bitmap.height);
  const size = bitmap.width * bitmap.height;
  const planes = Float32Array.from({ length: 3 * size }, (_, index) => pixels.data[(index % size) * 4 + Math.floor(index / size)] / 255);
  const restored = await graph.run(planes, [1, 3, bitmap.height, bitmap.width], settings());
  for (let index = 0; index < restored.length; index++) pixels.data[(index % size) * 4 + Math.floor(index / size)] = 255 * restored[index];
  after.getContext("2d").putImageData(pixels, 0, 0);
  show([before, after]);
}

function show(both) {
  const figures = both.map((element, index) => {
    const figure = document.createElement("figure");
    figure.append(element, Object.assign(document.createElement("figcaption"), { textContent: ["Before", "After"][index] }));
    return figure;
  });
  find("results").replaceChildren(...figures);
}

function chosen(one) {
  if (!one) return;
  file = one;
  next(clean);
}

find("graph").addEventListener("change", async ({ target }) => next(async () => take(new Uint8Array(await target.files[0].arrayBuffer()))));
find("file").addEventListener("change", ({ target }) => chosen(target.files[0]));
for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
  find("drop").addEventListener(event, (moved) => {
    moved.preventDefault();
    find("drop").classList.toggle("over", over);
    if (event === "drop") chosen(moved.dataTransfer.files[0]);
  });
