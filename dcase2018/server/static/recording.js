// Record from the microphone into a WAV: the samples as they come, 16 bits, one channel.

export const LONGEST_SECONDS = 600;

export class Recording {
  // `told` is given seconds and the level of what was just heard, from 0 to 1.
  static async start(told) {
    if (!navigator.mediaDevices) throw new Error("a page may record only at localhost or over HTTPS");
    const asIs = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: asIs });
    const context = new AudioContext();
    await context.audioWorklet.addModule("worklet.js");
    return new Recording(stream, context, told);
  }

  constructor(stream, context, told) {
    this.stream = stream;
    this.context = context;
    this.blocks = [];
    this.samples = 0;
    this.node = new AudioWorkletNode(context, "taker", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.addEventListener("message", ({ data }) => this.take(data, told));
    this.node.port.start();
    context.createMediaStreamSource(stream).connect(this.node);
  }

  take(block, told) {
    this.blocks.push(block);
    this.samples += block.length;
    told(this.samples / this.context.sampleRate, block.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0) / 32768);
  }

  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    this.node.disconnect();
    await this.context.close();
    return new File([header(this.samples, this.context.sampleRate), ...this.blocks], "recording.wav", { type: "audio/wav" });
  }
}

function header(samples, rate) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // one channel
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples, true);
  return view.buffer;
}
