// Requests to the service that this page comes from. The page sends no other requests.

let token = sessionStorage.getItem("token") || "";

export function setToken(value) {
  token = value;
  sessionStorage.setItem("token", value);
}

/** An error response. `status` is the HTTP status, or 0 if there is no connection. */
export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Send a request and return the JSON of the response. While the service is busy, call `onBusy` and try again. */
async function requestJson(path, options = {}, onBusy = () => {}) {
  for (;;) {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(path, { ...options, headers });
    if (response.status === 429) {
      onBusy();
      await wait(Number(response.headers.get("retry-after")) || 1);
      continue;
    }
    const content = await response.json();
    if (!response.ok) throw new ServiceError(response.status, content.error?.message ?? response.statusText);
    return content;
  }
}

export const fetchModels = async () => (await requestJson("/v1/models")).models;

/** Predict one file. */
export async function predict(file, onBusy) {
  const form = new FormData();
  form.append("files", file, file.name);
  return (await requestJson("/v1/predict", { method: "POST", body: form }, onBusy)).predictions[0];
}

/**
 * Open a stream of float32 samples. `onMessage` receives the messages "level", "window" and "prediction" of the
 * service. Blocks that are sent before the service is ready are kept until then.
 */
export function openStream(sampleRate, onMessage, onError) {
  const protocol = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${protocol}://${location.host}/v1/stream`);
  const pendingBlocks = [];
  let isReady = false, isComplete = false;
  socket.onopen = () => socket.send(JSON.stringify({ sample_rate: sampleRate, format: "f32le", token }));
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "ready") {
      isReady = true;
      for (const block of pendingBlocks.splice(0)) socket.send(block);
    } else if (message.type === "error") {
      isComplete = true;
      onError(new ServiceError(message.code === "unauthorized" ? 401 : 400, message.message));
    } else {
      if (message.type === "prediction") isComplete = true;
      onMessage(message);
    }
  };
  socket.onclose = () => {
    if (!isComplete) onError(new ServiceError(0, ""));
  };
  const send = (block) => {
    if (!isReady) pendingBlocks.push(block);
    else if (socket.readyState === WebSocket.OPEN) socket.send(block);
  };
  return { send, end: () => send('{"end": true}') };
}
