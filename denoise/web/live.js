// The microphone goes to the page's own server in small parts, one at a time, and what comes back is played.
// Answers are in step with what came in, so the two can be exchanged at any sample.
const PART_S = 0.064;
const SLOW_S = 2;  // of sound that waits: the machine does not keep up
const MOST_S = 2;  // that is sent at once
const NO_MICROPHONE = 'The browser gives this page no microphone: it does so on this machine, or over https, and ' +
  'where a microphone is there and allowed. Allow it beside the address, or record elsewhere and drop the file.';
const NO_ANSWER = 'The page does not answer any more; see whether it still runs, and press Live again.';

const part = name => element.querySelector(`[data-is=${name}]`);
const asked = () => ({model: 'auto', strength: 1, ...window.denoiseLive});

const EAR = `
  registerProcessor('ear', class extends AudioWorkletProcessor {
    constructor() {
      super();
      Object.assign(this, {answers: [], at: 0, captured: 0, played: 0, gain: 0, mix: 1, wanted: {gain: 0, mix: 1}});
      Object.assign(this, {input: new Float32Array(1024), filled: 0, spare: Infinity});
      this.port.onmessage = ({data}) => data.length ? this.answers.push(data) : Object.assign(this.wanted, data);
    }
    process([[input]], [[output]]) {
      if (input) this.capture(input);
      this.spare = Math.min(this.spare, this.waiting());
      if (currentFrame % sampleRate < output.length) this.hurry();
      for (let n = 0; n < output.length; n++) output[n] = this.next();
      return true;
    }
    capture(input) {
      this.captured += input.length;
      this.input.set(input, this.filled);
      if ((this.filled += input.length) < this.input.length) return;
      this.port.postMessage({sound: this.input, late: (this.captured - this.played) / sampleRate});
      this.input = new Float32Array(1024);
      this.filled = 0;
    }
    waiting() { return this.answers.reduce((sum, one) => sum + one[0].length, -this.at); }
    hurry() {  // after a hitch: what was never needed for a second is not waited for
      const needless = this.spare - 0.05 * sampleRate;
      if (Number.isFinite(needless)) for (let n = 0; n < needless; n++) this.step();
      this.spare = Infinity;
    }
    step() {
      this.played++;
      if (++this.at >= this.answers[0][0].length) { this.answers.shift(); this.at = 0; }
    }
    next() {
      for (const name of ['gain', 'mix'])
        this[name] += Math.min(Math.max(this.wanted[name] - this[name], -0.005), 0.005);
      if (!this.answers.length) return 0;
      const [cleaned, original] = this.answers[0].map(one => one[this.at]);
      this.step();
      return this.gain * (original + this.mix * (cleaned - original));
    }
  });`;

class Line {
  constructor() { this.parts = []; this.length = 0; }
  push(samples) { this.parts.push(samples); this.length += samples.length; }
  take(count) {
    const whole = new Float32Array(this.length);
    this.parts.reduce((at, one) => (whole.set(one, at), at + one.length), 0);
    [this.parts, this.length] = [[], 0];
    if (count < whole.length) this.push(whole.slice(count));
    return whole.slice(0, count);
  }
}

const coded = samples => {
  const bytes = new Uint8Array(samples.buffer);
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
};
const decoded = text => new Float32Array(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);

const say = (words, wrong) => {
  const line = Object.assign(document.createElement('p'), {textContent: words});
  part('said').replaceChildren(line);
  part('said').className = wrong ? 'refused' : '';
};
const level = (name, samples) => {
  const power = samples.reduce((sum, one) => sum + one * one, 0) / Math.max(samples.length, 1);
  const db = 10 * Math.log10(power + 1e-7);
  part(name).value = db;
  part(`${name}-db`).textContent = `${db.toFixed(0)} dB`;
};
const clock = seconds => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;
const ms = seconds => Math.round(seconds * 1000);

let take = null;

const choose = () => take?.ear.port.postMessage({gain: +part('hear').checked, mix: +part('cleaned').checked});

const show = () => {
  part('start').textContent = take ? 'Stop' : 'Live';
  part('start').toggleAttribute('data-live', Boolean(take));
  part('start').disabled = Boolean(take?.ending);
};

async function opened() {
  const wish = {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const stream = await navigator.mediaDevices.getUserMedia({audio: wish});
  const context = new AudioContext({latencyHint: 'interactive'});
  const module = URL.createObjectURL(new Blob([EAR], {type: 'text/javascript'}));
  await context.audioWorklet.addModule(module).catch(trouble => { close({stream, context}); throw trouble; });
  URL.revokeObjectURL(module);
  return {stream, context, waiting: new Line(), originals: new Line(), heard: 0, told: 0, sending: false, ending: ''};
}

async function begin() {
  part('start').disabled = true;
  let made;
  try {
    made = await opened();
  } catch (trouble) {
    return refused(NO_MICROPHONE);
  }
  const begun = await server.live_begin({model: asked().model, rate: made.context.sampleRate}).catch(() => null);
  if (!begun || begun.trouble) {
    close(made);
    return refused(begun?.trouble ?? NO_ANSWER);
  }
  take = {...made, ...begun, ear: new AudioWorkletNode(made.context, 'ear', {outputChannelCount: [1]})};
  take.ear.port.onmessage = ({data}) => capture(data);
  take.context.createMediaStreamSource(take.stream).connect(take.ear).connect(take.context.destination);
  await take.context.resume();
  choose();
  say(`Live by ${take.model}.`);
  show();
}

const refused = words => { say(words, true); show(); };

function capture({sound, late}) {
  if (!take || take.ending) return;
  take.waiting.push(sound);
  take.heard += sound.length;
  take.late = late + (take.context.outputLatency || 0);
  level('in', sound);
  const seconds = take.heard / take.context.sampleRate;
  part('clock').textContent = clock(seconds);
  if (seconds > take.longest_s - 1) end(`${take.longest_s / 60} minutes are the most of one take; press Live again.`);
  else if (take.waiting.length > SLOW_S * take.context.sampleRate) end(slow());
  else flow();
}

const slow = () => 'This machine, or the way to it, is too slow to clean live' +
  (take.took_s ? `: ${ms(take.took_s + take.way_s)} ms for ${ms(take.part_s)} ms of sound` : '') +
  '. What was said until now is kept; record the sound and clean it afterwards.';

async function flow() {
  if (take.sending) return;
  take.sending = true;
  const least = () => take.ending ? 1 : Math.round(PART_S * take.context.sampleRate);
  while (take && take.waiting.length >= least()) await exchanged();
  if (take) take.sending = false;
  if (take?.ending) await finish();
}

async function exchanged() {
  const {sampleRate} = take.context;
  const sound = take.waiting.take(Math.round(MOST_S * sampleRate));
  take.originals.push(sound);
  const begun = performance.now();
  const asking = {take: take.take, strength: asked().strength, sound: coded(sound)};
  const reply = await server.live_hear(asking).catch(() => ({trouble: NO_ANSWER}));
  if (reply.trouble) return broken(reply.trouble);
  take.part_s = sound.length / sampleRate;
  take.took_s = reply.took_s;
  take.way_s = (performance.now() - begun) / 1000 - reply.took_s;
  const cleaned = decoded(reply.sound);
  if (!cleaned.length) return;
  take.ear.port.postMessage([cleaned, take.originals.take(cleaned.length)]);
  level('out', cleaned);
  if (begun - take.told < 500) return;
  take.told = begun;
  part('delay').textContent = `Delay ${ms(take.late)} ms, measured: the model and its frames want ${ms(take.late_s)} ms ` +
    `at most, a part of the sound is ${ms(take.part_s)} ms, and took ${ms(take.took_s)} ms to compute and ` +
    `${ms(take.way_s)} ms to go there and back.`;
}

function broken(words) {
  const lost = take;
  take = null;
  close(lost);
  refused(words);
}

function end(words) {
  take.ending = words;
  take.stream.getTracks().forEach(track => track.stop());
  show();
  flow();
}

async function finish() {
  const {take: word, ending, heard} = take;
  const reply = await server.live_end({take: word, strength: asked().strength}).catch(() => ({trouble: NO_ANSWER}));
  if (reply.trouble) return broken(reply.trouble);
  say(ending, ending !== OVER);
  close(take);
  take = null;
  show();
  if (heard) trigger('submit', {take: word});
}

const OVER = 'What was said is here as a file, before and after.';

function close({stream, context}) {
  stream.getTracks().forEach(track => track.stop());
  context.close();
}

part('start').addEventListener('click', () => take ? end(OVER) : begin());
element.addEventListener('change', choose);
