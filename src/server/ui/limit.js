// The page of one limit: its usage now and over time, its definition, its versions; of a template, its instances.

import { ApiError, api } from "./api.js";
import { askForChange } from "./change.js";
import { h, setAttribute, setText, show } from "./elements.js";
import { capacityBar, limitList, usedText } from "./list.js";
import {
  changesOf, fieldsOf, isTemplate, shownAmount, shownNumber, shownTime, shownValue, statusOf,
} from "./model.js";
import { denialPlot, usePlot } from "./plot.js";
import { addSample } from "./samples.js";

const DENIALS_MINUTES = 60;

/** The numbers of a limit, as large tiles. */
function tiles() {
  const element = h("dl", { class: "tiles" });
  const cells = new Map();
  const set = (name, value) => {
    if (!cells.has(name)) {
      const cell = h("dd", { class: "number" });
      element.append(h("div", {}, h("dt", {}, name), cell));
      cells.set(name, cell);
    }
    setText(cells.get(name), value);
  };
  const update = (limit, denied) => {
    const { available, reserved, debt, allotted, waiting } = limit.usage;
    const { capacity } = limit.definition;
    const inUnit = (amount) => amount === undefined ? undefined : shownAmount(limit.definition, amount);
    const count = (number) => number === undefined ? undefined : shownNumber(number);
    const numbers = isTemplate(limit)
      ? [
        ["Instances made", count(reserved)], ["May still be made", count(available)],
        ["Capacity of each", inUnit(capacity)],
      ]
      : [
        ["Available", inUnit(available)], ["Reserved", inUnit(reserved)], ["Allotted", inUnit(allotted)],
        ["Capacity", inUnit(capacity)], ["Debt", inUnit(debt)], ["Waiting", inUnit(waiting)],
        ["Denied in the last hour", count(denied)],
      ];
    for (const [name, text] of numbers) if (text !== undefined) set(name, text);
  };
  return { element, update };
}

function definitionList() {
  const list = h("dl", { class: "fields" });
  const element = h("section", {}, h("h2", {}, "Definition"), list);
  const update = (definition) => {
    const name = (text) => text.replaceAll("_", " ");
    const entry = ([field, value]) => h("div", {}, h("dt", {}, name(field)), h("dd", {}, shownValue(value)));
    show(list, fieldsOf(definition).map(entry));
  };
  return { element, update };
}

/** What a version changed, as `capacity 10 -> 12`. */
function changeText({ name, before, after }) {
  const field = name.replaceAll("_", " ");
  return before === undefined ? `${field} ${shownValue(after)}` : `${field} ${shownValue(before)} → ${shownValue(after)}`;
}

function historyTable() {
  const body = h("tbody");
  const head = (name) => h("th", { scope: "col", class: name === "Version" ? "number" : "" }, name);
  const table = h("table", {},
    h("caption", { class: "unseen" }, "Versions, newest first"),
    h("thead", {}, h("tr", {}, ["Version", "Since", "Status", "Change"].map(head))), body);
  const region = { class: "scroll", role: "region", "aria-label": "Versions", tabindex: 0 };
  const element = h("section", {}, h("h2", {}, "Versions"), h("div", region, table));
  const update = (versions) => {
    show(body, changesOf(versions).map(({ version, at, status, changes, isDecreased }) => {
      const same = isDecreased ? "the lower capacity took effect" : "the same definition";
      const change = changes.length ? changes.map(changeText).join(", ") : h("span", { class: "note" }, same);
      return h("tr", {},
        h("td", { class: "number" }, shownNumber(version)), h("td", { class: "time" }, shownTime(at)),
        h("td", {}, status), h("td", { class: "change" }, change));
    }));
  };
  return { element, update };
}

/** The buttons that change a limit. Which are shown depends on the limit. */
function actions(change) {
  const names = [["edit", "Edit"], ["pause", "Pause"], ["resume", "Resume"], ["reset", "Reset"]];
  const button = (id, name) => h("button", { type: "button", id, hidden: true, onclick: () => change(id) }, name);
  const buttons = Object.fromEntries(names.map(([id, name]) => [id, button(id, name)]));
  const update = (limit) => {
    const wanted = limit.status === "decreasing" ? limit.pending_decrease_to : limit.definition.capacity;
    const isPaused = Number(wanted) === 0;
    buttons.edit.hidden = false;
    buttons.pause.hidden = isPaused;
    buttons.resume.hidden = !isPaused;
    buttons.reset.hidden = isTemplate(limit);
  };
  return { element: h("div", { class: "buttons" }, Object.values(buttons)), update };
}

/** The heading of the page, below the way back. */
const title = (key) => [
  h("p", { class: "crumb" }, h("a", { href: "#/" }, "Limits")),
  h("h1", { tabindex: -1, class: "key" }, key),
];

/** What is shown of a limit while it exists. */
function details(key, parameters, refresh, askFor) {
  const status = h("span");
  const bar = capacityBar("large");
  const used = h("span", { class: "share" });
  const [numbers, definition, versions] = [tiles(), definitionList(), historyTable()];
  const buttons = actions(askFor);
  const head = h("div", { class: "head" }, h("div", {}, title(key), h("p", {}, status)), buttons.element);
  const overview = h("div", { class: "overview" }, h("div", { class: "use" }, bar.element, used), numbers.element);
  const more = h("div");
  const element = h("div", {}, head, overview, more,
    h("div", { class: "columns uneven" }, definition.element, versions.element));
  let plots = null;
  let instances = null;
  let shownVersion = null;

  const showDetails = async (limit, signal) => {
    if (isTemplate(limit)) {
      instances ??= limitList({ label: "Instances", template: key, parameters, refresh });
      if (!more.hasChildNodes()) show(more, h("section", {}, h("h2", {}, "Instances"), instances.element));
      await instances.read(signal);
      return undefined;
    }
    plots ??= { use: usePlot(), denials: denialPlot() };
    if (!more.hasChildNodes()) show(more, h("div", { class: "columns" }, plots.use.element, plots.denials.element));
    plots.use.update(addSample(limit));
    const denials = await api.denials({ key, minutes: DENIALS_MINUTES }, { signal });
    plots.denials.update(denials);
    return denials.limits[0]?.total ?? 0;
  };

  const update = async (limit, signal) => {
    const { text, tone } = statusOf(limit);
    setText(status, text);
    setAttribute(status, "class", `status ${tone}`);
    bar.update(limit);
    setText(used, isTemplate(limit) ? `${usedText(limit)} instances` : usedText(limit));
    buttons.update(limit);
    const denied = await showDetails(limit, signal);
    numbers.update(limit, denied);
    // A decrease that is applied changes the definition, and makes a version.
    if (shownVersion !== limit.version) {
      definition.update(limit.definition);
      versions.update(await api.history(key, { signal }));
      shownVersion = limit.version;
    }
  };
  return { element, update };
}

/** Whether there is no limit, or can be none, under a key. */
const isNone = (error) => error instanceof ApiError && [400, 404].includes(error.status);

/** The page of a limit. Of a deleted one it shows the versions. */
export function limitPage(key, parameters, refresh) {
  const element = h("div");
  let limit = null;
  const shown = details(key, parameters, refresh, (action) => askForChange(action, limit, refresh));
  const gone = historyTable();
  const refreshPage = async (signal) => {
    try {
      limit = await api.limit(key, { signal });
    } catch (error) {
      if (!isNone(error)) throw error;
      await showGone(signal);
      return;
    }
    if (!shown.element.isConnected) show(element, shown.element);
    await shown.update(limit, signal);
  };
  const showGone = async (signal) => {
    try {
      gone.update(await api.history(key, { signal }));
      show(element, title(key), h("p", {}, "This limit is deleted."), gone.element);
    } catch (error) {
      if (!isNone(error)) throw error;
      show(element, title(key), h("p", {}, "There is no such limit."));
    }
  };
  return { title: key, name: "limit", element, refresh: refreshPage };
}

