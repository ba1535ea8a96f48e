// Collects samples of the microphone and posts them in blocks of 0.1 s.

class SampleCollector extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(Math.round(sampleRate / 10));
    this.length = 0;
  }

  process(inputs) {
    const samples = inputs[0][0];
    if (!samples) return true;
    for (const sample of samples) {
      this.block[this.length++] = sample;
      if (this.length === this.block.length) {
        this.port.postMessage(this.block.slice());
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("sample-collector", SampleCollector);
