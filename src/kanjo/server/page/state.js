// The state that the modules of the page share.

export const state = {
  /** The bundle of the service, as `/v1/models` describes it. */
  model: null,
  /** Emotions of the bundle. */
  labels: [],
  /** Those of them among which the service chooses. */
  emotions: [],
  /**
   * All recordings: `blob` and its `url`, the service's `prediction`, the `envelope` of the waveform (or null),
   * `corrections` (segment index -> label), and `isRecorded` (from the microphone).
   */
  recordings: [],
  /** Index of the recording that is shown. */
  selected: -1,
};

/** The CSS classes with the color of a label; emotions.css, which the service creates, has the colors. */
export function labelClass(label) {
  if (label === "silence" || label === "unsure") return label;
  return `emotion emotion-${state.labels.indexOf(label)}`;
}
