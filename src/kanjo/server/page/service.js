// Everything that goes over the wire: to this page's own service, and nowhere else.
let token = sessionStorage.getItem("token") || "";

export function useToken(value) {
  token = value;
  sessionStorage.setItem("token", value);
}

export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const headers = () => (token ? { authorization: `Bearer ${token}` } : {});
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function asked(path, options = {}, busy = () => {}) {
  for (;;) {
    const answer = await fetch(path, { ...options, headers: headers() });
    if (answer.status === 429) {
      busy();
      await pause(Number(answer.headers.get("retry-after")) || 1);
      continue;
    }
    const content = await answer.json();
    if (!answer.ok) throw new ServiceError(answer.status, content.error?.message ?? answer.statusText);
    return content;
  }
}

export const models = () => asked("/v1/models");

/** The answer for one file. */
export async function predict(file, busy) {
  const form = new FormData();
  form.append("files", file, file.name);
  return (await asked("/v1/predict", { method: "POST", body: form }, busy)).predictions[0];
}

/** A stream of samples; `heard(message)` gets everything that the service says. */
export function stream(sampleRate, heard, failed) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
  const waiting = [];
  let open = false, over = false;
  socket.onopen = () => socket.send(JSON.stringify({ sample_rate: sampleRate, format: "f32le", token }));
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "ready") {
      open = true;
      for (const part of waiting.splice(0)) socket.send(part);
    } else if (message.type === "error") {
      over = true;
      failed(new ServiceError(message.code === "unauthorized" ? 401 : 400, message.message));
    } else {
      over ||= message.type === "prediction";
      heard(message);
    }
  };
  socket.onclose = () => over || failed(new ServiceError(0, ""));
  const send = (part) => (open ? socket.readyState === 1 && socket.send(part) : waiting.push(part));
  return { send, end: () => send('{"end": true}') };
}
