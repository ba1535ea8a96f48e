// The page: record or drop, see the timeline, hear it, correct it, take it away.
import { label, language, speak, word } from "/page/words.js";
import * as service from "/page/service.js";
import { draw, microphone, outline, wav } from "/page/sound.js";
import * as exports from "/page/exports.js";

const $ = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) key in element && key !== "role" ? (element[key] = value) : element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const percent = (share) => `${Math.round(100 * share)} %`;
const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

let labels = [], model = null, items = [], shown = -1, running = null, recordings = 0;
let status = () => "";

function say(text, bad = false) {
  status = text;
  $("status").textContent = text();
  $("status").classList.toggle("bad", bad);
}

const colour = (name) => (name === "silence" || name === "unsure" ? "quiet" : `e${Math.max(0, labels.indexOf(name)) % 7}`);

function failed(name, error) {
  if (error.status === 401) $("ask-token").hidden = false;
  say(() => (error.status === undefined || error.status === 0 ? word("lost") : word("failed", name, error.message)), true);
}

// --- recordings that were heard

async function add(blob, prediction) {
  items.push({ blob, prediction, url: URL.createObjectURL(blob), outline: await outline(blob), corrected: {} });
  $("results").hidden = false;
  show(items.length - 1);
  say(() => word("done", prediction.file, label(prediction.label), Math.round(100 * prediction.confidence)));
}

async function hear(files) {
  for (const file of files) {
    say(() => word("working", file.name));
    try {
      await add(file, await service.predict(file, () => say(() => word("busy"))));
    } catch (error) {
      failed(file.name, error);
    }
  }
}

function show(n) {
  shown = n;
  $("list").replaceChildren(...items.map((item, i) => make("button", {
    type: "button", role: "tab", id: `tab-${i}`, ariaSelected: String(i === n), tabIndex: i === n ? 0 : -1, onclick: () => show(i),
    textContent: `${item.prediction.file}: ${label(item.prediction.label)} ${percent(item.prediction.confidence)}`,
  })));
  $("detail").setAttribute("aria-labelledby", `tab-${n}`);
  $("detail").replaceChildren(...detail(items[n]));
}

$("list").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  show((shown + step + items.length) % items.length);
  $(`tab-${shown}`).focus();
});

function detail(item) {
  const { prediction: p } = item;
  const player = make("audio", { controls: true, src: item.url, preload: "auto" });
  const canvas = make("canvas", { className: "wave", role: "slider", tabIndex: 0, ariaLabel: word("waveform"), ariaValueMin: "0", ariaValueMax: p.duration_s.toFixed(1) });
  const redraw = () => {
    canvas.ariaValueNow = player.currentTime.toFixed(1);
    canvas.ariaValueText = clock(player.currentTime);
    draw(canvas, item.outline, p.duration_s ? player.currentTime / p.duration_s : 0);
  };
  const play = () => player.play().catch((error) => { if (error.name !== "AbortError") throw error; }); // paused before it began
  const seek = (seconds, andPlay) => {
    player.currentTime = Math.max(0, Math.min(seconds, p.duration_s));
    if (andPlay) play();
    redraw();
  };
  canvas.onclick = (event) => seek((event.offsetX / canvas.clientWidth) * p.duration_s, true);
  canvas.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined) seek(Math.max(0, Math.min(player.currentTime + step, p.duration_s)), false);
    else if (event.key === " ") player.paused ? play() : player.pause();
    else return;
    event.preventDefault();
  };
  for (const event of ["timeupdate", "seeked", "play"]) player.addEventListener(event, redraw);
  new ResizeObserver(redraw).observe(canvas);
  const strip = make("div", { className: "strip" }, ...p.segments.map((segment, n) => {
    const name = exports.labelOf(item, n), said = name === "silence" ? label(name) : `${label(name)} ${percent(segment.confidence)}`;
    const button = make("button", { type: "button", className: colour(name), title: said, ariaLabel: `${word("play")}: ${said}, ${clock(segment.start_s)}`, textContent: said, onclick: () => seek(segment.start_s, true) });
    button.style.left = `${(100 * segment.start_s) / p.duration_s}%`;
    button.style.width = `${(100 * (segment.end_s - segment.start_s)) / p.duration_s}%`;
    return button;
  }));
  const notes = [...(item.outline ? [] : [word("nosignal")]), ...p.warnings].map((text) => make("p", { className: "hint", textContent: text }));
  return [canvas, strip, player, ...notes, whole(p), table(item), ...(item.recorded ? [make("p", {}, make("button", { type: "button", textContent: word("download"), onclick: () => exports.save(p.file, item.blob) }))] : [])];
}

function whole(p) {
  const best = Object.entries(p.probabilities).sort((a, b) => b[1] - a[1]);
  return make("p", {}, make("strong", { textContent: `${word("whole")}: ${label(p.label)} ${percent(p.confidence)}` }), ` (${best.map(([name, share]) => `${label(name)} ${percent(share)}`).join(", ")})`);
}

function table(item) {
  const head = make("tr", {}, ...["from", "to", "emotion", "confidence", "correct"].map((key) => make("th", { scope: "col", textContent: word(key) })));
  const rows = item.prediction.segments.map((segment, n) => {
    const name = exports.labelOf(item, n), spoken = segment.label !== "silence";
    const choice = make("select", { ariaLabel: `${word("correct")}, ${clock(segment.start_s)}`, onchange: (event) => {
      item.corrected[n] = event.target.value;
      show(shown);
      $("detail").querySelectorAll("select")[n]?.focus();
    } }, ...[...new Set([segment.label, ...labels, "silence"])].map((value) => make("option", { value, textContent: label(value), selected: value === name })));
    return make("tr", {},
      make("td", { className: "n", textContent: clock(segment.start_s) }), make("td", { className: "n", textContent: clock(segment.end_s) }),
      make("td", {}, make("span", { className: `swatch ${colour(name)}` }), label(name)),
      make("td", { className: "n", textContent: spoken ? percent(segment.confidence) : "" }), make("td", {}, choice));
  });
  return make("div", { className: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

// --- recording

function bars(probabilities = {}) {
  $("bars").replaceChildren(...labels.map((name) => {
    const fill = make("span", { className: colour(name) });
    fill.style.width = percent(probabilities[name] ?? 0).replace(" ", "");
    return make("li", {}, make("span", { textContent: label(name) }), make("span", { className: "bar" }, fill), make("span", { textContent: percent(probabilities[name] ?? 0) }));
  }));
}

async function begin() {
  $("record").onclick = null; // a second click while the browser asks for the microphone is not a second recording
  let source;
  try {
    source = await microphone();
  } catch (error) {
    say(() => word("microphone", error.message), true);
    return;
  } finally {
    $("record").onclick = toggle;
  }
  const chunks = [], rate = source.sampleRate, name = `${word("recording")}-${++recordings}.wav`;
  let n = 0;
  const stream = service.stream(rate, async (message) => {
    if (message.type === "level") {
      $("speech").value = message.speech;
      $("speech-value").textContent = percent(message.speech);
    } else if (message.type === "window") {
      bars(message.probabilities);
    } else if (message.type === "prediction") {
      await add(wav(chunks, rate), { ...message, file: name });
      items.at(-1).recorded = true;
      show(items.length - 1);
    }
  }, (error) => {
    failed(name, error);
    if (running?.stream === stream) end(false);
  });
  running = { stop: source.stop, stream };
  $("clock").textContent = "0.0 s";
  bars();
  recorder(true);
  source.start((samples) => {
    chunks.push(samples);
    n += samples.length;
    $("clock").textContent = `${(n / rate).toFixed(1)} s`;
    stream.send(samples.buffer.slice(0));
  });
}

async function end(tell = true) {
  const { stop, stream } = running;
  running = null;
  recorder(false);
  await stop();
  if (tell) stream.end();
}

function toggle() {
  return running ? end() : begin();
}

function recorder(on) {
  $("record").dataset.word = on ? "stop" : "record";
  $("record").setAttribute("aria-pressed", on);
  $("live").hidden = !on;
  speak(language());
}

// --- the page itself

$("record").onclick = toggle;
$("choose").onclick = () => $("files").click();
$("files").onchange = (event) => {
  hear([...event.target.files]);
  event.target.value = "";
};
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") hear([...event.dataTransfer.files]);
  });
}
for (const button of document.querySelectorAll("[data-export]")) {
  button.onclick = () => {
    const one = items[shown].prediction.file.replace(/\.[^.]*$/, "");
    if (button.dataset.export === "csv") exports.save("kanjo.csv", exports.csv(items, labels), "text/csv");
    if (button.dataset.export === "json") exports.save("kanjo.json", exports.json(items), "application/json");
    if (button.dataset.export === "srt") exports.save(`${one}.srt`, exports.srt([items[shown]]), "application/x-subrip");
    if (button.dataset.export === "manifest") exports.save("manifest.csv", exports.manifest(items), "text/csv");
  };
}
$("ask-token").onsubmit = (event) => {
  event.preventDefault();
  service.useToken($("token").value);
  $("ask-token").hidden = true;
  say(() => "");
  introduce();
};
$("language").value = language();
$("language").onchange = (event) => {
  speak(event.target.value);
  $("status").textContent = status();
  about();
  if (items.length) show(shown);
};

function about() {
  if (model) $("model").textContent = word("model", model.name, model.version, model.languages.join(", "), model.licence);
}

async function introduce() {
  try {
    [model] = (await service.models()).models;
    labels = model.labels;
    about();
  } catch (error) {
    failed("kanjo", error);
  }
}

speak(language());
introduce();
document.documentElement.dataset.ready = "true";
