// Shows the page that the address names, and reads it again every two seconds while the tab is visible.

import { ApiError, token } from "./api.js";
import { h, setText, show } from "./elements.js";
import { limitPage } from "./limit.js";
import { listPage } from "./list.js";
import { shownClock } from "./model.js";
import { servicePage } from "./service.js";
import { askForToken } from "./sign_in.js";

const REFRESH_MS = 2_000;

const main = document.getElementById("main");
const trouble = document.getElementById("trouble");
const clock = document.getElementById("clock");

let page = null;
let running = new AbortController();
let timer = 0;
let readAt = null;
/** Whether the heading gets the focus when it is there: the link that led to the page is gone. */
let wantsFocus = false;
/** Whether the user closed the dialog for the token; then it opens again only when it is asked for. */
let declined = false;

/** The text of a part of an address; `null` if it is malformed. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

/** The page of an address: `#/limit/KEY`, `#/service`, or the list with its query. */
function pageOf(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?", 2);
  const parameters = new URLSearchParams(query ?? "");
  const [name, key] = path.split("/", 2);
  const limit = name === "limit" && key ? decoded(key) : null;
  if (limit) return limitPage(limit, parameters, refresh);
  if (name === "service") return servicePage();
  return listPage(parameters, refresh);
}

function open(isFirst) {
  running.abort();
  page = pageOf(location.hash);
  document.title = `${page.title} - ratelimiterd`;
  show(main, page.element);
  for (const [id, name] of [["to-limits", "limits"], ["to-service", "service"]]) {
    const link = document.getElementById(id);
    if (page.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!isFirst) window.scrollTo(0, 0);
  wantsFocus = !isFirst;
  refresh();
}

/** Reads the page now, and then every two seconds. Only one reading is under way. */
async function refresh() {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  try {
    await page.refresh(signal);
    if (signal.aborted) return;
    if (wantsFocus && document.activeElement === document.body) main.querySelector("h1")?.focus();
    wantsFocus = false;
    readAt = new Date();
    declined = false;
    trouble.hidden = true;
    setText(clock, `Read at ${shownClock(readAt)}`);
  } catch (error) {
    if (signal.aborted) return;
    report(error);
    // Without another token the answer stays the same.
    if (error.status === 401) return;
  }
  if (!document.hidden) timer = setTimeout(refresh, REFRESH_MS);
}

function report(error) {
  if (!(error instanceof ApiError)) throw error;
  const isUnknown = error.status === 401;
  if (isUnknown && !declined) askForToken(token.get() ? sentence(error.message) : "", refresh);
  const since = readAt ? ` What is shown is of ${shownClock(readAt)}.` : "";
  setText(trouble, sentence(isUnknown ? "a token is needed" : error.message) + since);
  trouble.hidden = false;
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function onKey(event) {
  const isTyping = event.target.closest("input, textarea, select, dialog");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("input[type=search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
}

document.getElementById("token").addEventListener("click", () => askForToken("", refresh));
document.getElementById("sign-in").addEventListener("close", () => { declined = true; });
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => open(false));
window.addEventListener("unhandledrejection", (event) => {
  show(trouble, h("strong", {}, "This page has a fault: "), String(event.reason));
  trouble.hidden = false;
});
open(true);
