// The status line and error messages.
import { byId } from "/page/dom.js";
import { translate } from "/page/i18n.js";

let createText = () => "";

/** Show a status. It is a function that returns the text, so that the text can change with the language. */
export function showStatus(create, isError = false) {
  createText = create;
  byId("status").textContent = create();
  byId("status").classList.toggle("error", isError);
}

/** Show the status again after a change of the language. */
export function refreshStatus() {
  byId("status").textContent = createText();
}

/** Show an error that concerns a recording. If the service requires a token, also show the form for it. */
export function showError(name, error) {
  if (error.status === 401) byId("token-form").hidden = false;
  const isUnreachable = error.status === undefined || error.status === 0;
  showStatus(() => (isUnreachable ? translate("unreachable") : translate("failed", name, error.message)), true);
}
