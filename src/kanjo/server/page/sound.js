// Samples: from the microphone, to a WAV file, and as the outline that is drawn.

/** The microphone, once it is there: `start(heard)` calls `heard(samples)` every tenth of a second until `stop()`, and not once after it. */
export async function microphone() {
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("/page/worklet.js");
  const source = context.createMediaStreamSource(media), tap = new AudioWorkletNode(context, "tap");
  const start = (heard) => {
    tap.port.onmessage = (event) => heard(event.data);
    source.connect(tap);
  };
  const stop = async () => {
    tap.port.onmessage = null;
    for (const track of media.getTracks()) track.stop();
    await context.close();
  };
  return { sampleRate: context.sampleRate, start, stop };
}

/** 16-bit mono WAV of chunks of samples. */
export function wav(chunks, sampleRate) {
  const n = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * n));
  const text = (at, value) => [...value].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * n, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true); view.setUint32(28, 2 * sampleRate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * n, true);
  let at = 44;
  for (const chunk of chunks) for (const sample of chunk) { view.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32767, true); at += 2; }
  return new Blob([view], { type: "audio/wav" });
}

/** Lowest and highest sample of each of `columns` stretches, or null where this browser can't decode the file. */
export async function outline(blob, columns = 800) {
  try {
    const context = new OfflineAudioContext(1, 1, 16_000);
    const samples = (await context.decodeAudioData(await blob.arrayBuffer())).getChannelData(0);
    const step = Math.max(1, samples.length / columns), found = [];
    for (let at = 0; at < samples.length; at += step) {
      let low = 0, high = 0;
      for (let i = Math.floor(at); i < Math.min(at + step, samples.length); i++) { low = Math.min(low, samples[i]); high = Math.max(high, samples[i]); }
      found.push([low, high]);
    }
    return found;
  } catch {
    return null;
  }
}

/** Draw an outline, and where it is being played. */
export function draw(canvas, found, share) {
  const scale = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale; canvas.height = height * scale;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  pen.scale(scale, scale);
  const loudest = Math.max(0.01, ...(found ?? []).map(([low, high]) => Math.max(-low, high)));
  pen.fillStyle = style.getPropertyValue("--wave");
  (found ?? []).forEach(([low, high], n) => {
    const x = (n / found.length) * width;
    pen.fillRect(x, height / 2 - (high / loudest) * height * 0.46, Math.max(1, width / found.length), Math.max(1, ((high - low) / loudest) * height * 0.46));
  });
  pen.fillStyle = style.getPropertyValue("--bad");
  pen.fillRect(Math.min(share * width, width - 2), 0, 2, height);
}
