// Files for download: predictions as CSV, JSON and SRT, and a manifest with corrected labels for training.

function csvCell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const formatRows = (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";

/** Seconds as "hh:mm:ss,mmm". */
function srtTime(seconds) {
  return new Date(Math.round(1000 * seconds)).toISOString().slice(11, 23).replace(".", ",");
}

/** The label of a segment: the user's correction, or the prediction if there is none. */
export const segmentLabel = (recording, index) => {
  return recording.corrections[index] ?? recording.prediction.segments[index].label;
};

/** A row for each recording and each of its segments, with predicted labels. */
export function formatCsv(recordings, labels) {
  const rows = [["file", "start", "end", "part", "emotion", "confidence", ...labels, "warnings"]];
  for (const { prediction } of recordings) {
    const addRow = (part, start_s, end_s, result, warnings) => {
      const probabilities = labels.map((label) => result.probabilities[label] ?? "");
      rows.push([prediction.file, start_s, end_s, part, result.label, result.confidence, ...probabilities, warnings]);
    };
    addRow("recording", 0, prediction.duration_s, prediction, prediction.warnings.join("; "));
    for (const segment of prediction.segments) addRow("segment", segment.start_s, segment.end_s, segment, "");
  }
  return formatRows(rows);
}

export function formatJson(recordings) {
  return JSON.stringify(recordings.map((recording) => recording.prediction), null, 2) + "\n";
}

/** Subtitles of one recording with the corrected labels; silence has no subtitle. */
export function formatSrt(recording) {
  return recording.prediction.segments
    .map((segment, index) => ({ ...segment, label: segmentLabel(recording, index) }))
    .filter((segment) => segment.label !== "silence")
    .map((segment, index) => {
      const times = `${srtTime(segment.start_s)} --> ${srtTime(segment.end_s)}`;
      return `${index + 1}\n${times}\n${segment.label} ${Math.round(100 * segment.confidence)}%\n`;
    })
    .join("\n");
}

/** A training manifest with the columns file, start, end (seconds), emotion. It omits silent and unsure segments. */
export function formatManifest(recordings) {
  const rows = [["file", "start", "end", "emotion"]];
  for (const recording of recordings) {
    recording.prediction.segments.forEach((segment, index) => {
      const label = segmentLabel(recording, index);
      if (label === "silence" || label === "unsure") return;
      rows.push([recording.prediction.file, segment.start_s, segment.end_s, label]);
    });
  }
  return formatRows(rows);
}

/** Let the browser save a Blob or a text as a file. */
export function saveFile(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
