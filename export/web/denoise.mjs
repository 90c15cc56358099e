// A graph from `denoise export` in JavaScript, for browsers (onnxruntime-web) and node (onnxruntime-node).

/** The metadata of an ONNX file. The runtimes do not hand it out; it is field 14 of the file's outermost message. */
export function metadata(bytes) {
  const found = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== 14) continue;
    const entry = Object.fromEntries([...fields(value)].map(([number, part]) => [number, new TextDecoder().decode(part)]));
    found[entry[1]] = entry[2] ?? "";
  }
  return found;
}

/** Number and content of every field of a protobuf message that has a length; other fields are passed over. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key % 8;
    if (kind === 2) {
      const length = varint();
      yield [Math.floor(key / 8), bytes.subarray(at, (at += length))];
    } else if (kind === 0) varint();
    else at += kind === 1 ? 8 : 4;
  }
}

export class Graph {
  /** `ort`: the runtime's module; `bytes`: the file, a Uint8Array. */
  static async open(ort, bytes, options = {}) {
    return new Graph(ort, await ort.InferenceSession.create(bytes, options), metadata(bytes));
  }

  constructor(ort, session, said) {
    Object.assign(this, { ort, session, said, inputs: JSON.parse(said.inputs) });
    this.kind = said.kind;
    this.rate = said.rate === "any" ? null : Number(said.rate);
    this.hop = said.hop ? Number(said.hop) : null;
    this.late = Number(said.late ?? 0);
  }

  /** The inputs that a person may turn: name -> {default, low, high, step, help, choices}. */
  get knobs() {
    return Object.fromEntries(Object.entries(this.inputs).filter(([, put]) => put.high !== undefined));
  }

  /** Every input beside the signal. A survey without rows says that nothing is known; so does silence before. */
  feeds(settings) {
    const unknown = Object.keys(settings).filter((name) => !(name in this.inputs));
    if (unknown.length) throw new Error(`${this.said.name} has no ${unknown}; it has ${Object.keys(this.inputs)}.`);
    const rest = Object.entries(this.inputs).filter(([name]) => name !== "noisy");
    return Object.fromEntries(rest.map(([name, put]) => [name, this.value(put, settings[name])]));
  }

  value(put, given) {
    if (given instanceof Float32Array) return this.tensor(given, put.shape);
    const shape = put.shape.map((side) => (typeof side === "number" ? side : 0));
    const size = shape.reduce((one, other) => one * other, 1);
    const number = given ?? put.default ?? 0;
    if (put.type === "int64") return new this.ort.Tensor("int64", new BigInt64Array(size).fill(BigInt(number)), shape);
    return this.tensor(new Float32Array(size).fill(number), shape);
  }

  tensor(data, shape) {
    return new this.ort.Tensor("float32", data, shape);
  }

  /** `noisy` of `shape` [1, channels, samples] or [1, channels, height, width]; [1, samples] where the graph is live. */
  async run(noisy, shape, settings = {}) {
    if (this.hop) return this.frames(noisy, settings);
    const padded = this.padded(noisy, shape);
    const found = await this.session.run({ ...this.feeds(settings), noisy: this.tensor(padded.data, padded.shape) });
    return resized(found.restored.data, padded.shape, shape);
  }

  padded(noisy, shape) {
    const [multiple, least] = [Number(this.said.multiple), Number(this.said.least)];
    const sides = shape.slice(2).map((side) => Math.ceil(Math.max(side, least) / multiple) * multiple);
    const wanted = [...shape.slice(0, 2), ...sides];
    return { data: resized(noisy, shape, wanted), shape: wanted };
  }

  /** What comes out of a frame is `late` samples behind what went in; `step` is for sound as it comes in. */
  async frames(noisy, settings) {
    const out = new Float32Array(noisy.length - (noisy.length % this.hop));
    const step = this.stepper(settings);
    for (let at = 0; at < out.length; at += this.hop) out.set(await step(noisy.subarray(at, at + this.hop)), at);
    return out;
  }

  /** A function from one frame to the next; it keeps what is to be kept between them. */
  stepper(settings = {}) {
    let feeds = this.feeds(settings);
    const names = Object.keys(JSON.parse(this.said.state));
    return async (frame) => {
      const found = await this.session.run({ ...feeds, noisy: this.tensor(Float32Array.from(frame), [1, this.hop]) });
      feeds = { ...feeds, ...Object.fromEntries(names.map((name) => [name, found[`next_${name}`]])) };
      return found.restored.data;
    };
  }
}

function mirrored(at, length) {
  const place = at % Math.max(2 * length - 2, 1);
  return place < length ? place : 2 * length - 2 - place;
}

/** Cut, or continued at the end as a mirror would, along every axis behind the second. */
function resized(data, from, to) {
  if (from.every((side, axis) => side === to[axis])) return data;
  const [rows, width] = from.length === 4 ? [from[2], from[3]] : [1, from[2]];
  const [down, across] = to.length === 4 ? [to[2], to[3]] : [1, to[2]];
  const out = new Float32Array(to.reduce((one, other) => one * other, 1));
  for (let index = 0; index < out.length; index++) {
    const column = index % across;
    const row = Math.floor(index / across) % down;
    const plane = Math.floor(index / (across * down));
    out[index] = data[(plane * rows + mirrored(row, rows)) * width + mirrored(column, width)];
  }
  return out;
}

/** How far a graph is from the golden vectors of `denoise export --golden`. */
export async function largestDifference(graph, golden) {
  const told = golden.survey ? { survey: unpacked(golden.survey) } : {};
  let worst = 0;
  for (const { settings, restored } of golden.cases) {
    const found = await graph.run(unpacked(golden.noisy), golden.noisy.shape, { ...settings, ...told });
    const wanted = unpacked(restored);
    if (found.length !== wanted.length) return Infinity;
    wanted.forEach((value, index) => (worst = Math.abs(found[index] - value) <= worst ? worst : Math.abs(found[index] - value)));
  }
  return worst;
}

export function unpacked({ data }) {
  return new Float32Array(Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)).buffer);
}
