// Record the microphone to a WAV file: 16-bit mono, without processing by the browser.

export const MAX_SECONDS = 600;

export class Recorder {
  // `onBlock` is called with the duration so far in seconds, and the peak level of the last block from 0 to 1.
  static async start(onBlock) {
    if (!navigator.mediaDevices) throw new Error("a page may record only at localhost or over HTTPS");
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    await context.audioWorklet.addModule("recorder-worklet.js");
    return new Recorder(stream, context, onBlock);
  }

  constructor(stream, context, onBlock) {
    this.stream = stream;
    this.context = context;
    this.blocks = [];
    this.nSamples = 0;
    this.node = new AudioWorkletNode(context, "sample-collector", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.addEventListener("message", ({ data }) => this.append(data, onBlock));
    this.node.port.start();
    context.createMediaStreamSource(stream).connect(this.node);
  }

  append(block, onBlock) {
    this.blocks.push(block);
    this.nSamples += block.length;
    const peak = block.reduce((maximum, value) => Math.max(maximum, Math.abs(value)), 0);
    onBlock(this.nSamples / this.context.sampleRate, peak / 32768);
  }

  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    this.node.disconnect();
    await this.context.close();
    return new File([wavHeader(this.nSamples, this.context.sampleRate), ...this.blocks], "recording.wav", { type: "audio/wav" });
  }
}

function wavHeader(nSamples, sampleRate) {
  const view = new DataView(new ArrayBuffer(44));
  const setText = (offset, text) => [...text].forEach((letter, i) => view.setUint8(offset + i, letter.charCodeAt(0)));
  setText(0, "RIFF");
  view.setUint32(4, 36 + 2 * nSamples, true);
  setText(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  setText(36, "data");
  view.setUint32(40, 2 * nSamples, true);
  return view.buffer;
}
