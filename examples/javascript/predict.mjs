// A bundle without kanjo, in Node or in a page: node predict.mjs BUNDLE CLIP.wav   (16-bit mono at the bundle's rate)
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const [bundle, clip] = process.argv.slice(2);
const facts = JSON.parse(readFileSync(`${bundle}/bundle.json`, "utf8"));
const wav = readFileSync(clip), data = wav.indexOf("data") + 8;
const samples = new Int16Array(wav.buffer.slice(wav.byteOffset + data, wav.byteOffset + wav.length - ((wav.length - data) % 2)));
const signal = new Float32Array(facts.window_s * facts.sample_rate); // one window; what is missing stays silent
samples.subarray(0, signal.length).forEach((value, n) => (signal[n] = value / 32768));

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(`${bundle}/model.onnx`));
const { probabilities } = await session.run({ signal: new ort.Tensor("float32", signal, [1, signal.length]) });
console.log(JSON.stringify(Object.fromEntries(facts.labels.map((label, n) => [label, probabilities.data[n]]))));
