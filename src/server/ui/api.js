// Calls the API of the service that the page comes from, with the token of this tab.

import { parse, stringify } from "./json.js";

const TOKEN = "ratelimiterd.token";
const TIMEOUT_MS = 15_000;

/** Why a call failed. `status` is 0 if there was no answer. */
export class ApiError extends Error {
  constructor(status, error, message) {
    super(message);
    this.status = status;
    this.error = error;
  }
}

/** The token is kept for this tab only, and not beyond it. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (text) => sessionStorage.setItem(TOKEN, text),
  clear: () => sessionStorage.removeItem(TOKEN),
};

/** Whether a text can be sent as a token. */
export const isToken = (text) => /^[\x21-\x7e]+$/.test(text);

/** The address of a path of the service. The page is one folder below its root, whatever a proxy puts in front. */
function address(path, query) {
  const url = new URL(`../${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== "" && value !== undefined && value !== null) url.searchParams.set(name, String(value));
  }
  url.hash = "";
  return url;
}

async function send(method, path, { query, body, signal, bearer = token.get() } = {}) {
  const headers = {};
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const options = {
    method,
    headers,
    body: body === undefined ? undefined : stringify(body),
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
  };
  try {
    const answer = await fetch(address(path, query), options);
    return { status: answer.status, ok: answer.ok, text: await answer.text() };
  } catch (failure) {
    if (signal?.aborted) throw failure;
    throw new ApiError(0, "no_answer", "the service does not answer");
  }
}

async function call(method, path, options) {
  const { ok, status, text } = await send(method, path, options);
  let body = null;
  try {
    body = parse(text);
  } catch {
    throw new ApiError(status, "unreadable", `the answer to ${path} (status ${status}) is not JSON`);
  }
  if (!ok) throw new ApiError(status, body.error ?? "", body.message ?? `status ${status}`);
  return body;
}

const pathOf = (key) => `v1/admin/limits/${encodeURIComponent(key)}`;

export const api = {
  limits: (query, options) => call("GET", "v1/admin/limits", { ...options, query }),
  limit: async (key, options) => (await call("GET", pathOf(key), options)).limit,
  history: async (key, options) => (await call("GET", `${pathOf(key)}/history`, options)).versions,
  denials: (query, options) => call("GET", "v1/admin/denials", { ...options, query }),
  put: (definition, version) => call("PUT", "v1/admin/limits", { query: { if_version: version }, body: definition }),
  reset: (key) => call("POST", `${pathOf(key)}/reset`, { body: {} }),

  /** Whether the service is ready, and what it says of itself. */
  async readiness(options) {
    const { ok, text } = await send("GET", "readyz", options);
    return { ok, ...parse(text) };
  },

  async metrics(options) {
    const { ok, status, text } = await send("GET", "metrics", options);
    if (!ok) throw new ApiError(status, "metrics", status === 403 ? "the token lacks the scope metrics" : text);
    return text;
  },
};
