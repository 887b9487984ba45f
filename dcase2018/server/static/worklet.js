// Hands on what the microphone gives, as 16-bit samples in blocks of 4096.

class Taker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(4096);
    this.filled = 0;
  }

  process([[samples]]) {
    for (const value of samples ?? []) {
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block);
        this.block = new Int16Array(4096);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("taker", Taker);
