// The list of limits, and the table that also shows the instances of a template.

import { ApiError, api } from "./api.js";
import { announce, h, s, setAttribute, setText, show } from "./elements.js";
import {
  barOf, isTemplate, kindOf, roomOf, shownNumber, shownShort, statusOf, timeOf, unitOf, worthOf,
} from "./model.js";

const PAGE_LIMITS = 50;
/** How long the search waits for another letter. */
const TYPING_MS = 120;
const DENIALS_MINUTES = 5;
const DENIALS_LIMITS = 2_048;
/** Denials of some minutes need no reading every two seconds. */
const DENIALS_REFRESH_MS = 8_000;
const MOST_DENIED = 4;

export const hrefOf = (key) => `#/limit/${encodeURIComponent(key)}`;

/** A bar of what is reserved, what replicas hold, and below it the debt. The numbers are beside it. */
export function capacityBar(kind = "") {
  const part = (name) => s("rect", { class: name, y: name === "debt" ? 9 : 0, height: name === "debt" ? 3 : 7 });
  const [used, held, debt] = [part("used"), part("held"), part("debt")];
  const track = s("rect", { class: "track", width: "100%", height: 7, rx: 2 });
  const element = s("svg", { class: `capacity ${kind}`, "aria-hidden": "true" }, track, used, held, debt);
  const percent = (share) => `${(share * 100).toFixed(2)}%`;
  const update = (limit) => {
    const bar = barOf(limit);
    setAttribute(element, "data-tone", bar.tone);
    setAttribute(used, "width", percent(bar.used));
    setAttribute(held, "x", percent(bar.used));
    setAttribute(held, "width", percent(bar.held));
    setAttribute(debt, "width", percent(bar.debt));
  };
  return { element, update };
}

/** What a bar shows, in words: `58 %`, or `3 of 100`. */
export function usedText(limit) {
  const { reserved } = limit.usage;
  if (isTemplate(limit)) return `${shownNumber(reserved)} of ${shownNumber(roomOf(limit))}`;
  const capacity = Number(limit.definition.capacity);
  return capacity === 0 ? "-" : `${Math.floor((Number(reserved) * 100) / capacity)} %`;
}

const COLUMNS = [
  { name: "Available", value: (limit) => limit.usage.available },
  { name: "Reserved", value: (limit) => limit.usage.reserved },
  { name: "Allotted", value: (limit) => limit.usage.allotted, isOptional: true },
  { name: "Capacity", value: (limit) => limit.definition.capacity, isOfTemplates: true },
  { name: "Debt", value: (limit) => limit.usage.debt, hidesZero: true },
  { name: "Waiting", value: (limit) => limit.usage.waiting, isOptional: true },
];

/** A table of limits. Rows of limits that stay are updated in place, so that focus and selection stay. */
export function limitTable(label) {
  const head = h("tr");
  const body = h("tbody");
  const empty = h("p", { class: "empty", hidden: true });
  const table = h("table", {}, h("caption", { class: "unseen" }, label), h("thead", {}, head), body);
  // It can be scrolled sideways, so the keyboard must reach it.
  const region = { class: "scroll", role: "region", "aria-label": label, tabindex: 0 };
  const element = h("div", {}, h("div", region, table), empty);
  let rows = new Map();
  let columns = null;
  const update = (limits, denied, emptyText) => {
    const present = (column) => !column.isOptional || limits.some((limit) => column.value(limit) !== undefined);
    const shown = COLUMNS.filter(present);
    if (columns?.length !== shown.length) {
      columns = shown;
      rows = new Map();
      const number = (name) => h("th", { scope: "col", class: "number" }, name);
      show(head, h("th", { scope: "col" }, "Limit"), h("th", { scope: "col", class: "use" }, "Use"),
        shown.map((column) => number(column.name)),
        h("th", { scope: "col", class: "number", title: "Denied reserves of this replica in 5 minutes" }, "Denied"),
        h("th", { scope: "col" }, "Status"));
    }
    const next = new Map(limits.map(({ definition: { key } }) => [key, rows.get(key) ?? row(key, columns)]));
    const isInPlace = (key, index) => body.children[index] === rows.get(key)?.element;
    const isSame = next.size === rows.size && [...next.keys()].every(isInPlace);
    rows = next;
    if (!isSame) body.replaceChildren(...[...rows.values()].map((each) => each.element));
    for (const limit of limits) rows.get(limit.definition.key).update(limit, denied.get(limit.definition.key));
    table.hidden = limits.length === 0;
    empty.hidden = limits.length > 0;
    if (!empty.hidden) show(empty, emptyText);
  };
  return { element, update };
}

function row(key, columns) {
  const bar = capacityBar();
  const [about, used] = [h("span", { class: "about" }), h("span", { class: "share" })];
  const [denied, status] = [h("td", { class: "number" }), h("span")];
  const numbers = columns.map((column) => ({ column, cell: h("td", { class: "number" }) }));
  const element = h("tr", {},
    h("th", { scope: "row" }, h("a", { href: hrefOf(key) }, key), about),
    h("td", { class: "use" }, bar.element, used), numbers.map(({ cell }) => cell), denied, h("td", {}, status));
  const update = (limit, count) => {
    const { definition } = limit;
    const of = isTemplate(limit) ? "template of instances" : "";
    setText(about, [kindOf(definition), timeOf(definition), unitOf(definition), of].filter(Boolean).join(" · "));
    bar.update(limit);
    setText(used, usedText(limit));
    for (const { column, cell } of numbers) {
      const value = column.value(limit);
      const isOfLimit = column.isOfTemplates || !isTemplate(limit);
      const isShown = isOfLimit && value !== undefined && !(column.hidesZero && Number(value) === 0);
      const text = isShown ? worthOf(definition, value) || shownShort(value) : "";
      setText(cell, text);
      setAttribute(cell, "title", isShown && shownNumber(value) !== text ? shownNumber(value) : "");
    }
    setText(denied, count ? shownNumber(count) : "");
    const { text, tone } = statusOf(limit);
    setText(status, text);
    setAttribute(status, "class", `status ${tone}`);
  };
  return { element, update };
}

/** The denials of the last minutes by key, read at most every some seconds. */
export function recentDenials() {
  let [readAt, limits] = [-Infinity, []];
  return async (signal) => {
    if (performance.now() - readAt >= DENIALS_REFRESH_MS) {
      ({ limits } = await api.denials({ minutes: DENIALS_MINUTES, count: DENIALS_LIMITS }, { signal }));
      readAt = performance.now();
    }
    return limits;
  };
}

export const countsOf = (denied) => new Map(denied.map(({ key, total }) => [key, total]));

/** Search, table and pages of limits, or of the instances of `template`. */
export function limitList({ label, template, parameters, refresh, onDenials = () => {} }) {
  const state = { contains: parameters.get("contains") ?? "", after: "", before: [], next: "" };
  const table = limitTable(label);
  const readDenials = recentDenials();
  const search = h("input", {
    type: "search", id: "search", value: state.contains, placeholder: "a part of the key",
    autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/",
  });
  const range = h("span", { class: "note" });
  const [back, on] = ["Previous", "Next"].map((name) => h("button", { type: "button", disabled: true }, name));
  const pages = h("nav", { class: "pages", "aria-label": "Pages of the table", hidden: true }, back, on);
  let timer = 0;
  let isNews = false;
  const turnTo = (after, before) => {
    Object.assign(state, { after, before });
    isNews = true;
    return refresh();
  };
  const find = () => {
    state.contains = search.value.trim();
    const query = state.contains ? `?contains=${encodeURIComponent(state.contains)}` : "";
    history.replaceState(null, "", `${location.hash.split("?")[0] || "#/"}${query}`);
    turnTo("", []);
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, TYPING_MS);
  });
  on.addEventListener("click", () => turnTo(state.next, [...state.before, state.after]));
  back.addEventListener("click", () => turnTo(state.before.at(-1) ?? "", state.before.slice(0, -1)));
  const submit = (event) => {
    event.preventDefault();
    clearTimeout(timer);
    find();
  };
  const element = h("div", {},
    h("form", { class: "search", role: "search", onsubmit: submit },
      h("label", { for: "search" }, "Search"), search, h("kbd", { "aria-hidden": "true" }, "/"), range),
    table.element,
    pages);

  const read = async (signal) => {
    const { contains, after } = state;
    const query = { contains, after, template, count: PAGE_LIMITS };
    const [page, denied] = await Promise.all([api.limits(query, { signal }), readDenials(signal)]);
    const limits = page.limits.length || after || !contains ? page.limits : await exact(contains, signal);
    state.next = page.next_after;
    table.update(limits, countsOf(denied), contains ? `No key holds "${contains}".` : "There is nothing here yet.");
    const first = state.before.length * PAGE_LIMITS;
    const more = state.next ? ", and more" : "";
    setText(range, limits.length ? `${shownNumber(first + 1)} to ${shownNumber(first + limits.length)}${more}` : "");
    back.disabled = state.before.length === 0;
    on.disabled = state.next === "";
    pages.hidden = back.disabled && on.disabled;
    onDenials(denied);
    if (isNews) announce(limits.length ? `${limits.length} limits${more}` : "No limit found");
    isNews = false;
  };
  /** A list holds no instances of templates; one can be found by its whole key. */
  const exact = async (key, signal) => {
    if (template) return [];
    try {
      return [await api.limit(key, { signal })];
    } catch (error) {
      const isNone = error instanceof ApiError && [400, 403, 404].includes(error.status);
      if (isNone) return [];
      throw error;
    }
  };
  return { element, read };
}

/** The page with all limits. */
export function listPage(parameters, refresh) {
  const most = h("p", { class: "most", hidden: true });
  const onDenials = (denied) => {
    const links = denied.slice(0, MOST_DENIED).map(({ key, total }) =>
      h("span", {}, h("a", { href: hrefOf(key) }, key), " ", h("strong", { class: "number" }, shownNumber(total))));
    most.hidden = links.length === 0;
    const text = links.map((each) => each.textContent).join();
    if (!most.hidden && most.dataset.text !== text) {
      show(most, h("span", { class: "note" }, `Denied most in ${DENIALS_MINUTES} minutes`), links);
      most.dataset.text = text;
    }
  };
  const list = limitList({ label: "Limits", parameters, refresh, onDenials });
  const element = h("div", {}, h("h1", { tabindex: -1 }, "Limits"), most, list.element);
  return { title: "Limits", name: "limits", element, refresh: list.read };
}
