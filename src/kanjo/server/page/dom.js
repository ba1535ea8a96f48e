// Helpers for elements and numbers.

export const byId = (id) => document.getElementById(id);

/** Create an element. Attributes that are properties of the element (such as `onclick`) are set as properties. */
export function createElement(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element && key !== "role") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A probability as "42 %", with a space that does not break. */
export const formatPercent = (probability) => `${Math.round(100 * probability)}\u00a0%`;

/** Seconds as "m:ss.s". */
export function formatTime(seconds) {
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}
