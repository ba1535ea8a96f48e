// Recording from the microphone, with live probabilities.
import { byId, createElement, formatPercent } from "/page/dom.js";
import { translate, translateLabel, translatePage } from "/page/i18n.js";
import { addRecording } from "/page/results.js";
import { openStream } from "/page/service.js";
import { encodeWav, openMicrophone } from "/page/sound.js";
import { labelClass, state } from "/page/state.js";
import { showError, showStatus } from "/page/status.js";

/** The recording in progress ({ microphone, stream }), or null. */
let current = null;
/** Whether the browser asks for permission to use the microphone. */
let isStarting = false;
let nRecordings = 0;

/** Start a recording, or stop the one in progress. */
export function toggleRecording() {
  if (current) stopRecording();
  else if (!isStarting) startRecording();
}

async function startRecording() {
  let microphone;
  isStarting = true;
  try {
    microphone = await openMicrophone();
  } catch (error) {
    showStatus(() => translate("microphoneError", error.message), true);
    return;
  } finally {
    isStarting = false;
  }
  const { sampleRate } = microphone;
  const name = `${translate("recordingName")}-${++nRecordings}.wav`;
  const blocks = [];
  let nSamples = 0;
  const onMessage = async (message) => {
    if (message.type === "level") showSpeechProbability(message.speech_probability);
    else if (message.type === "window") showProbabilities(message.probabilities);
    else if (message.type === "prediction") {
      await addRecording(encodeWav(blocks, sampleRate), { ...message, file: name }, true);
    }
  };
  const onError = (error) => {
    showError(name, error);
    if (current?.stream === stream) stopRecording(false);
  };
  const stream = openStream(sampleRate, onMessage, onError);
  current = { microphone, stream };
  showDuration(0);
  showProbabilities({});
  showRecorder(true);
  microphone.start((samples) => {
    blocks.push(samples);
    nSamples += samples.length;
    showDuration(nSamples / sampleRate);
    stream.send(samples.buffer.slice(0));
  });
}

/** Stop the microphone; with `endStream`, the service returns its prediction. */
async function stopRecording(endStream = true) {
  const { microphone, stream } = current;
  current = null;
  showRecorder(false);
  await microphone.stop();
  if (endStream) stream.end();
}

function showRecorder(isRecording) {
  byId("record").dataset.text = isRecording ? "stop" : "record";
  byId("record").setAttribute("aria-pressed", isRecording);
  byId("live").hidden = !isRecording;
  translatePage();
}

function showDuration(seconds) {
  byId("duration").textContent = `${seconds.toFixed(1)} s`;
}

function showSpeechProbability(probability) {
  byId("speech").value = probability;
  byId("speech-value").textContent = formatPercent(probability);
}

/** Show a bar for each emotion. */
function showProbabilities(probabilities) {
  byId("bars").replaceChildren(...state.emotions.map((label) => {
    const probability = probabilities[label] ?? 0;
    const bar = createElement("span", { className: labelClass(label) });
    bar.style.width = `${Math.round(100 * probability)}%`;
    return createElement(
      "li",
      {},
      createElement("span", { textContent: translateLabel(label) }),
      createElement("span", { className: "bar" }, bar),
      createElement("span", { textContent: formatPercent(probability) }),
    );
  }));
}
