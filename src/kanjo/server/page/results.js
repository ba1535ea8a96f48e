// The results: a tab for each recording, and the waveform, timeline, player and segment table of the selected one.
import { byId, createElement, formatPercent, formatTime } from "/page/dom.js";
import { saveFile, segmentLabel } from "/page/exports.js";
import { translate, translateLabel } from "/page/i18n.js";
import { computeEnvelope, drawWaveform } from "/page/sound.js";
import { labelClass, state } from "/page/state.js";
import { showStatus } from "/page/status.js";

/** Add a recording with its prediction, and show it. */
export async function addRecording(blob, prediction, isRecorded = false) {
  const envelope = await computeEnvelope(blob);
  const url = URL.createObjectURL(blob);
  state.recordings.push({ blob, url, prediction, envelope, corrections: {}, isRecorded });
  byId("results").hidden = false;
  selectRecording(state.recordings.length - 1);
  const { file, label, confidence } = prediction;
  showStatus(() => translate("done", file, translateLabel(label), formatPercent(confidence)));
}

/** Show the recording with this index. */
export function selectRecording(selected) {
  state.selected = selected;
  byId("tabs").replaceChildren(...state.recordings.map(({ prediction }, index) => createElement("button", {
    type: "button",
    role: "tab",
    id: `tab-${index}`,
    ariaSelected: String(index === selected),
    tabIndex: index === selected ? 0 : -1,
    onclick: () => selectRecording(index),
    textContent: `${prediction.file}: ${formatResult(prediction)}`,
  })));
  byId("detail").setAttribute("aria-labelledby", `tab-${selected}`);
  byId("detail").replaceChildren(...createDetail(state.recordings[selected]));
}

/** Let the arrow keys change the tab. */
export function handleTabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const { length } = state.recordings;
  selectRecording((state.selected + step + length) % length);
  byId(`tab-${state.selected}`).focus();
}

const formatResult = ({ label, confidence }) => `${translateLabel(label)} ${formatPercent(confidence)}`;

function createDetail(recording) {
  const { prediction } = recording;
  const player = createElement("audio", { controls: true, src: recording.url, preload: "auto" });
  const { canvas, seek } = createWaveform(recording, player);
  const notes = recording.envelope ? [...prediction.warnings] : [translate("noWaveform"), ...prediction.warnings];
  const elements = [
    canvas,
    createTimeline(recording, seek),
    player,
    ...notes.map((text) => createElement("p", { className: "hint", textContent: text })),
    createSummary(prediction),
    createSegmentTable(recording),
  ];
  if (recording.isRecorded) {
    const onclick = () => saveFile(prediction.file, recording.blob);
    const button = createElement("button", { type: "button", textContent: translate("downloadRecording"), onclick });
    elements.push(createElement("p", {}, button));
  }
  return elements;
}

/** The waveform, which is also a slider for the playback position. */
function createWaveform(recording, player) {
  const duration_s = recording.prediction.duration_s;
  const canvas = createElement("canvas", {
    className: "waveform",
    role: "slider",
    tabIndex: 0,
    ariaLabel: translate("waveform"),
    ariaValueMin: "0",
    ariaValueMax: duration_s.toFixed(1),
  });
  const redraw = () => {
    canvas.ariaValueNow = player.currentTime.toFixed(1);
    canvas.ariaValueText = formatTime(player.currentTime);
    drawWaveform(canvas, recording.envelope, duration_s ? player.currentTime / duration_s : 0);
  };
  const play = () => player.play().catch((error) => {
    if (error.name !== "AbortError") throw error; // AbortError: paused before the playback started
  });
  const seek = (time_s, startPlayback) => {
    player.currentTime = Math.max(0, Math.min(time_s, duration_s));
    if (startPlayback) play();
    redraw();
  };
  canvas.onclick = (event) => seek((event.offsetX / canvas.clientWidth) * duration_s, true);
  canvas.onkeydown = (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -duration_s, End: duration_s };
    const step = steps[event.key];
    if (step !== undefined) seek(player.currentTime + step, false);
    else if (event.key !== " ") return;
    else if (player.paused) play();
    else player.pause();
    event.preventDefault();
  };
  for (const type of ["timeupdate", "seeked", "play"]) player.addEventListener(type, redraw);
  new ResizeObserver(redraw).observe(canvas);
  return { canvas, seek };
}

/** The segments as colored buttons on a time axis. */
function createTimeline(recording, seek) {
  const { segments, duration_s } = recording.prediction;
  const buttons = segments.map((segment, index) => {
    const label = segmentLabel(recording, index);
    const text = label === "silence" ? translateLabel(label) : formatResult({ label, confidence: segment.confidence });
    const button = createElement("button", {
      type: "button",
      className: labelClass(label),
      title: text,
      ariaLabel: `${translate("play")}: ${text}, ${formatTime(segment.start_s)}`,
      textContent: text,
      onclick: () => seek(segment.start_s, true),
    });
    button.style.left = `${(100 * segment.start_s) / duration_s}%`;
    button.style.width = `${(100 * (segment.end_s - segment.start_s)) / duration_s}%`;
    return button;
  });
  return createElement("div", { className: "timeline" }, ...buttons);
}

/** The label of the whole recording and all probabilities, in descending order. */
function createSummary(prediction) {
  const probabilities = Object.entries(prediction.probabilities)
    .sort((a, b) => b[1] - a[1])
    .map(([label, probability]) => formatResult({ label, confidence: probability }));
  const text = `${translate("wholeRecording")}: ${formatResult(prediction)}`;
  return createElement("p", {}, createElement("strong", { textContent: text }), ` (${probabilities.join(", ")})`);
}

function createSegmentTable(recording) {
  const titles = ["start", "end", "emotion", "confidence", "correctedLabel"];
  const header = titles.map((key) => createElement("th", { scope: "col", textContent: translate(key) }));
  const rows = recording.prediction.segments.map((segment, index) => {
    const label = segmentLabel(recording, index);
    const confidence = segment.label === "silence" ? "" : formatPercent(segment.confidence);
    const swatch = createElement("span", { className: `swatch ${labelClass(label)}` });
    const createNumber = (textContent) => createElement("td", { className: "number", textContent });
    return createElement(
      "tr",
      {},
      createNumber(formatTime(segment.start_s)),
      createNumber(formatTime(segment.end_s)),
      createElement("td", {}, swatch, translateLabel(label)),
      createNumber(confidence),
      createElement("td", {}, createLabelSelect(recording, index)),
    );
  });
  const head = createElement("thead", {}, createElement("tr", {}, ...header));
  const table = createElement("table", {}, head, createElement("tbody", {}, ...rows));
  return createElement("div", { className: "scroll" }, table);
}

/** The choice of a corrected label for a segment. */
function createLabelSelect(recording, index) {
  const segment = recording.prediction.segments[index];
  const label = segmentLabel(recording, index);
  const choices = [...new Set([segment.label, ...state.labels, "silence"])];
  const options = choices.map((value) => createElement("option", {
    value,
    textContent: translateLabel(value),
    selected: value === label,
  }));
  const onchange = (event) => {
    recording.corrections[index] = event.target.value;
    selectRecording(state.selected);
    byId("detail").querySelectorAll("select")[index]?.focus(); // the page has a new select element
  };
  const ariaLabel = `${translate("correctedLabel")}, ${formatTime(segment.start_s)}`;
  return createElement("select", { ariaLabel, onchange }, ...options);
}
