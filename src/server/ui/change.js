// Changes a limit: what is wanted, then the plan, then the change. It names the version that the plan was made for, so the
// service refuses it if somebody else has changed the limit meanwhile.

import { ApiError, api } from "./api.js";
import { announce, h, show } from "./elements.js";
import { wholeNumber } from "./json.js";
import { capacityBeforePause, differences, editableFields, shownNumber, shownValue, wantedDefinition } from "./model.js";

const dialog = () => document.getElementById("change");
const nameOf = (field) => field.replaceAll("_", " ");
const CHOICES = { overage: ["debt", "deny"] };

/** Opens the dialog for `edit`, `pause`, `resume` or `reset`. `done` is called when something was changed. */
export async function askForChange(action, limit, done) {
  if (!limit || dialog().open) return;
  const { key } = limit.definition;
  if (action === "edit") return showForm(limit, {}, done);
  if (action === "reset") return showReset(limit, done);
  if (action === "pause") return showPlan(limit, { capacity: 0 }, done);
  show(dialog(), h("h2", { id: "change-title" }, `Resume ${key}`), h("p", {}, "Reading the versions."));
  dialog().showModal();
  try {
    const capacity = capacityBeforePause(await api.history(key));
    dialog().close();
    // A limit that was made with capacity 0 has none to resume with.
    if (capacity === null) showForm(limit, {}, done);
    else showPlan(limit, { capacity }, done);
  } catch (error) {
    showFailure(`Resume ${key}`, error);
  }
}

function open(...content) {
  show(dialog(), content);
  if (!dialog().open) dialog().showModal();
}

const cancel = (text = "Cancel") => h("button", { type: "button", onclick: () => dialog().close() }, text);

/** The field of a form for a value, by its type. */
function input(id, name, value) {
  if (CHOICES[name]?.includes(value)) {
    return h("select", { id, name }, CHOICES[name].map((choice) => h("option", { selected: choice === value }, choice)));
  }
  if (typeof value === "boolean") {
    const option = (choice) => h("option", { selected: choice === String(value) }, choice);
    return h("select", { id, name }, ["true", "false"].map(option));
  }
  const inputmode = typeof value === "string" ? "text" : "numeric";
  const properties = { id, name, type: "text", inputmode, autocomplete: "off", spellcheck: "false" };
  return h("input", { ...properties, value: String(value) });
}

/** The value that a field holds now; null if a number is none. */
function valueOf(element, before) {
  if (typeof before === "boolean") return element.value === "true";
  return typeof before === "string" ? element.value : wholeNumber(element.value);
}

/** Step 1 of an edit: a form with the fields of the definition. */
function showForm(limit, edits, done) {
  const wanted = wantedDefinition(limit);
  const fields = editableFields(wanted).map(([name, before]) => {
    const element = input(`field-${name}`, name, edits[name] ?? before);
    return { name, before, element, failure: h("p", { class: "failure", id: `failure-${name}` }) };
  });
  for (const { element, failure } of fields) element.setAttribute("aria-describedby", failure.id);
  const read = (event) => {
    event.preventDefault();
    const values = fields.map((field) => ({ ...field, value: valueOf(field.element, field.before) }));
    for (const { element, failure, value } of values) {
      failure.textContent = value === null ? "Enter a whole number." : "";
      if (value === null) element.setAttribute("aria-invalid", "true");
      else element.removeAttribute("aria-invalid");
    }
    const wrong = values.find(({ value }) => value === null);
    if (wrong) return wrong.element.focus();
    const changed = values.filter(({ before, value }) => String(value) !== String(before));
    return showPlan(limit, Object.fromEntries(changed.map(({ name, value }) => [name, value])), done);
  };
  open(h("form", { onsubmit: read, novalidate: true },
    h("h2", { id: "change-title" }, `Edit ${limit.definition.key}`),
    fields.map(({ name, element, failure }) => h("div", {}, h("label", { for: element.id }, nameOf(name)), element, failure)),
    h("p", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Show the plan"), cancel())));
  const [first] = fields;
  first.element.focus();
  first.element.select?.();
}

function planTable(rows) {
  const number = { class: "number" };
  const head = (name, properties) => h("th", { scope: "col", ...properties }, name);
  const row = ([name, before, after]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", number, before), h("td", { class: "number new" }, after));
  return h("table", { class: "plan" },
    h("caption", { class: "unseen" }, "What changes"),
    h("thead", {}, h("tr", {}, head("Field"), head("Now", number), head("New", number))),
    h("tbody", {}, rows.map(row)));
}

/** What an operator should know of a change of the capacity. */
function capacityNotes(limit, wanted) {
  const { reserved } = limit.usage;
  const isTemplate = Number(limit.definition.max_instances ?? 0) > 0;
  if (isTemplate) return ["An instance takes over the change when it is used next."];
  const notes = [];
  if (Number(wanted.capacity) === 0) notes.push("A paused limit grants nothing. Leases that run are settled as usual.");
  else if (BigInt(wanted.capacity) < BigInt(reserved)) {
    const rule = "The lower capacity takes effect when enough of it is free; until then the limit grants nothing.";
    notes.push(`${shownNumber(reserved)} are reserved now. ${rule}`);
  }
  return notes;
}

/** Step 2: what would change. `reason` says why the plan is shown again. */
function showPlan(limit, edits, done, reason = "") {
  const before = wantedDefinition(limit);
  const after = { ...before, ...edits };
  const changed = differences(before, after);
  const rows = changed.map((each) => [nameOf(each.name), shownValue(each.before), shownValue(each.after)]);
  const title = h("h2", { id: "change-title" }, `Change ${limit.definition.key}`);
  const again = reason && h("p", { class: "failure", role: "alert" }, reason);
  const back = h("button", { type: "button", onclick: () => showForm(limit, edits, done) }, "Edit");
  if (rows.length === 0) {
    const nothing = h("p", {}, "Nothing to change: the limit is so already.");
    open(title, again, nothing, h("p", { class: "buttons" }, back, cancel("Close")));
    return;
  }
  const failure = h("p", { class: "failure", role: "alert" });
  const apply = h("button", { type: "button", class: "main", id: "apply" }, "Apply");
  apply.addEventListener("click", async () => {
    apply.disabled = true;
    const next = await carryOut(limit, edits, after);
    if (next.done) return finish(`Changed ${limit.definition.key}.`, done);
    if (next.limit) return showPlan(next.limit, edits, done, next.reason);
    failure.textContent = next.reason;
    apply.disabled = false;
    return apply.focus();
  });
  open(title, again, planTable(rows), capacityNotes(limit, after).map((note) => h("p", { class: "note" }, note)),
    h("p", { class: "note" }, `The plan is for version ${shownNumber(limit.version)}.`), failure,
    h("p", { class: "buttons" }, apply, back, cancel()));
  apply.focus();
}

/** Makes the change: `{ done }`, or `{ limit, reason }` for a new plan, or `{ reason }`. */
async function carryOut(limit, edits, after, isRepeated = false) {
  try {
    await api.put(after, limit.version);
    return { done: true };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 409) return { reason: failureText(error) };
  }
  let found;
  try {
    found = await api.limit(limit.definition.key);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { reason: `Nothing was changed: ${failureText(error)}` };
  }
  const isSame = differences(wantedDefinition(limit), wantedDefinition(found)).length === 0;
  // Only the version differs, as when a lower capacity was applied: the plan that was shown is still true.
  if (isSame && !isRepeated) return carryOut(found, edits, { ...wantedDefinition(found), ...edits }, true);
  const reason = "Nothing was changed: somebody else has changed the limit. This is the plan for what it is now.";
  return { limit: found, reason };
}

function failureText(error) {
  const isUnknown = error.status === 0 || error.status === 503;
  return error.message + (isUnknown ? "; the change may have been made. Look at the limit before you try again." : ".");
}

function finish(text, done) {
  dialog().close();
  announce(text);
  done();
}

function showFailure(title, error) {
  if (!(error instanceof ApiError)) throw error;
  open(h("h2", { id: "change-title" }, title),
    h("p", { class: "failure", role: "alert" }, failureText(error)),
    h("p", { class: "buttons" }, cancel("Close")));
}

/** A reset has its plan, too. It names no version: it keeps the definition. */
function showReset(limit, done) {
  const { key } = limit.definition;
  const { reserved, debt } = limit.usage;
  const failure = h("p", { class: "failure", role: "alert" });
  const apply = h("button", { type: "button", class: "main danger", id: "apply" }, "Reset");
  apply.addEventListener("click", async () => {
    apply.disabled = true;
    try {
      await api.reset(key);
      return finish(`Reset ${key}.`, done);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failure.textContent = failureText(error);
      apply.disabled = false;
      return apply.focus();
    }
  });
  open(h("h2", { id: "change-title" }, `Reset ${key}`),
    planTable([["reserved", shownNumber(reserved), "0"], ["debt", shownNumber(debt), "0"]]),
    h("p", { class: "note" }, "Callers that hold leases go on with them, and new callers may take the whole capacity: ",
      "until these leases end, more than the capacity may be in use."),
    failure, h("p", { class: "buttons" }, apply, cancel()));
  // The safe button first: a reset cannot be undone.
  dialog().querySelector("button:last-of-type").focus();
}
