// What can be taken away: answers as CSV, JSON and SRT, and the segments with their corrected labels as a manifest to train on.
const cell = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
const lines = (rows) => rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
const stamp = (seconds) => new Date(Math.round(1000 * seconds)).toISOString().slice(11, 23).replace(".", ",");

/** The label that counts: what a person said of a segment, else what the network did. */
export const labelOf = (item, n) => item.corrected[n] ?? item.prediction.segments[n].label;

export function csv(items, labels) {
  const rows = [["file", "start", "end", "part", "emotion", "confidence", ...labels, "warnings"]];
  for (const { prediction: p } of items) {
    const row = (part, s, warnings) => [p.file, s.start_s, s.end_s, part, s.label, s.confidence, ...labels.map((name) => s.probabilities[name] ?? ""), warnings];
    rows.push(row("recording", { ...p, start_s: 0, end_s: p.duration_s }, p.warnings.join("; ")));
    for (const s of p.segments) rows.push(row("segment", s, ""));
  }
  return lines(rows);
}

export const json = (items) => JSON.stringify(items.map((item) => item.prediction), null, 2) + "\n";

export function srt(items) {
  const cues = items.flatMap((item) => item.prediction.segments.map((s, n) => ({ ...s, label: labelOf(item, n) })).filter((s) => s.label !== "silence"));
  return cues.map((s, n) => `${n + 1}\n${stamp(s.start_s)} --> ${stamp(s.end_s)}\n${s.label} ${Math.round(100 * s.confidence)}%\n`).join("\n");
}

/** For `kanjo train --init`: file, start, end (seconds), emotion; what is silent or unsure is left out. */
export function manifest(items) {
  const rows = [["file", "start", "end", "emotion"]];
  for (const item of items) {
    item.prediction.segments.forEach((s, n) => {
      const label = labelOf(item, n);
      if (label !== "silence" && label !== "unsure") rows.push([item.prediction.file, s.start_s, s.end_s, label]);
    });
  }
  return lines(rows);
}

export function save(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
