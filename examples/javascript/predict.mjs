// Predict with a kanjo bundle in JavaScript, with onnxruntime-web only.
//
//   npm install && node predict.mjs BUNDLE CLIP.wav
//
// CLIP.wav: 16-bit mono PCM at the bundle's sample rate. Prints the probability of each emotion for the first window.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const WAV_FULL_SCALE = 32768;

/** Read the samples of a 16-bit mono WAV file as numbers from -1 to 1. */
function readWav(path) {
  const file = readFileSync(path);
  const start = file.indexOf("data") + 8; // the chunk's name and its size, 4 bytes each
  const length = file.length - start;
  const bytes = file.buffer.slice(file.byteOffset + start, file.byteOffset + start + length - (length % 2));
  return Float32Array.from(new Int16Array(bytes), (value) => value / WAV_FULL_SCALE);
}

const [bundle, clip] = process.argv.slice(2);
if (!clip) {
  console.error("usage: node predict.mjs BUNDLE CLIP.wav");
  process.exit(2);
}
const metadata = JSON.parse(readFileSync(`${bundle}/bundle.json`, "utf8"));
const window = new Float32Array(Math.round(metadata.window_s * metadata.sample_rate)); // zeros after the clip's end
window.set(readWav(clip).subarray(0, window.length));

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(`${bundle}/model.onnx`));
const signal = new ort.Tensor("float32", window, [1, window.length]);
const { probabilities, ood_score: oodScore } = await session.run({ signal });

if (oodScore.data[0] > 1) {
  console.error("warning: the recording differs from the training data; the prediction may be wrong");
}
const entries = metadata.labels.map((label, index) => [label, probabilities.data[index]]);
console.log(JSON.stringify(Object.fromEntries(entries)));
