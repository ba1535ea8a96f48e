// The page: choose, drop or record audio, then show, correct and export the results.
import { byId } from "/page/dom.js";
import { formatCsv, formatJson, formatManifest, formatSrt, saveFile } from "/page/exports.js";
import { currentLanguage, setLanguage, translate, translatePage } from "/page/i18n.js";
import { toggleRecording } from "/page/recorder.js";
import { addRecording, handleTabKey, selectRecording } from "/page/results.js";
import { fetchModels, predict, setToken } from "/page/service.js";
import { state } from "/page/state.js";
import { refreshStatus, showError, showStatus } from "/page/status.js";

/** Predict files one after the other. An error in one file does not stop the others. */
async function predictFiles(files) {
  for (const file of files) {
    showStatus(() => translate("processing", file.name));
    try {
      const prediction = await predict(file, () => showStatus(() => translate("busy")));
      await addRecording(file, prediction);
    } catch (error) {
      showError(file.name, error);
    }
  }
}

async function loadModel() {
  try {
    [state.model] = await fetchModels();
    state.labels = state.model.labels;
    state.emotions = state.model.emotions;
    showModel();
  } catch (error) {
    showError("kanjo", error);
  }
}

function showModel() {
  if (!state.model) return;
  const { name, version, languages, license } = state.model;
  byId("model").textContent = translate("model", name, version, languages.join(", "), license);
}

function exportResults(format) {
  const selected = state.recordings[state.selected];
  const baseName = selected.prediction.file.replace(/\.[^.]*$/, "");
  if (format === "csv") saveFile("kanjo.csv", formatCsv(state.recordings, state.emotions), "text/csv");
  else if (format === "json") saveFile("kanjo.json", formatJson(state.recordings), "application/json");
  else if (format === "srt") saveFile(`${baseName}.srt`, formatSrt(selected), "application/x-subrip");
  else if (format === "manifest") saveFile("manifest.csv", formatManifest(state.recordings), "text/csv");
}

byId("record").onclick = toggleRecording;
byId("choose").onclick = () => byId("files").click();
byId("files").onchange = (event) => {
  predictFiles([...event.target.files]);
  event.target.value = "";
};

for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    byId("input").classList.toggle("dragover", type === "dragover");
    if (type === "drop") predictFiles([...event.dataTransfer.files]);
  });
}

byId("tabs").addEventListener("keydown", handleTabKey);

for (const button of document.querySelectorAll("[data-export]")) {
  button.onclick = () => exportResults(button.dataset.export);
}

byId("token-form").onsubmit = (event) => {
  event.preventDefault();
  setToken(byId("token").value);
  byId("token-form").hidden = true;
  showStatus(() => "");
  loadModel();
};

byId("language").value = currentLanguage();
byId("language").onchange = (event) => {
  setLanguage(event.target.value);
  refreshStatus();
  showModel();
  if (state.recordings.length) selectRecording(state.selected);
};

translatePage();
loadModel();
document.documentElement.dataset.ready = "true"; // for the browser tests
