// Hands the microphone's samples on, a tenth of a second at a time.
class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.held = new Float32Array(Math.round(sampleRate / 10));
    this.n = 0;
  }
  process(inputs) {
    const samples = inputs[0][0];
    if (!samples) return true;
    for (const sample of samples) {
      this.held[this.n++] = sample;
      if (this.n === this.held.length) {
        this.port.postMessage(this.held.slice());
        this.n = 0;
      }
    }
    return true;
  }
}
registerProcessor("tap", Tap);
