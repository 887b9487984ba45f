// Pass on the samples of the microphone as 16-bit blocks of 4096.

class SampleCollector extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(4096);
    this.length = 0;
  }

  process([[samples]]) {
    for (const value of samples ?? []) {
      this.block[this.length++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.length === this.block.length) {
        this.port.postMessage(this.block);
        this.block = new Int16Array(4096);
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("sample-collector", SampleCollector);
