// Samples: recording from the microphone, encoding as WAV, and drawing the waveform.

/**
 * Open the microphone. `start(onBlock)` calls `onBlock(samples)` for each block of 0.1 s; there are no calls after
 * `stop()`.
 */
export async function openMicrophone() {
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("/page/worklet.js");
  const source = context.createMediaStreamSource(media);
  const collector = new AudioWorkletNode(context, "sample-collector");
  const start = (onBlock) => {
    collector.port.onmessage = (event) => onBlock(event.data);
    source.connect(collector);
  };
  const stop = async () => {
    collector.port.onmessage = null;
    for (const track of media.getTracks()) track.stop();
    await context.close();
  };
  return { sampleRate: context.sampleRate, start, stop };
}

/** Encode blocks of float samples as a 16-bit mono WAV file. */
export function encodeWav(blocks, sampleRate) {
  const nBytes = 2 * blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + nBytes));
  const writeText = (offset, text) => [...text].forEach((c, i) => view.setUint8(offset + i, c.charCodeAt(0)));
  writeText(0, "RIFF");
  view.setUint32(4, 36 + nBytes, true);
  writeText(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // size of the format chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  writeText(36, "data");
  view.setUint32(40, nBytes, true);
  let offset = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(offset, Math.max(-1, Math.min(1, sample)) * 32767, true);
      offset += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

/** Compute [minimum, maximum] of the samples for each column of a waveform; null if the browser cannot decode it. */
export async function computeEnvelope(blob, columns = 800) {
  try {
    const context = new OfflineAudioContext(1, 1, 16_000);
    const samples = (await context.decodeAudioData(await blob.arrayBuffer())).getChannelData(0);
    const step = Math.max(1, samples.length / columns);
    const envelope = [];
    for (let start = 0; start < samples.length; start += step) {
      let low = 0, high = 0;
      for (let i = Math.floor(start); i < Math.min(start + step, samples.length); i++) {
        low = Math.min(low, samples[i]);
        high = Math.max(high, samples[i]);
      }
      envelope.push([low, high]);
    }
    return envelope;
  } catch {
    return null;
  }
}

/** Draw a waveform with the playback position, a fraction of the duration. */
export function drawWaveform(canvas, envelope, position) {
  const scale = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  context.scale(scale, scale);
  const columns = envelope ?? [];
  const peak = Math.max(0.01, ...columns.map(([low, high]) => Math.max(-low, high)));
  const pixels = (0.46 * height) / peak; // per unit of amplitude
  const columnWidth = Math.max(1, width / columns.length);
  context.fillStyle = style.getPropertyValue("--waveform");
  columns.forEach(([low, high], index) => {
    const x = (index / columns.length) * width;
    context.fillRect(x, height / 2 - high * pixels, columnWidth, Math.max(1, (high - low) * pixels));
  });
  context.fillStyle = style.getPropertyValue("--error");
  context.fillRect(Math.min(position * width, width - 2), 0, 2, height);
}
