// What the page says of a limit. Nothing here touches the page or the service.

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "scientific", maximumFractionDigits: 2 });
const SHORT_FROM = 10 ** 15;
const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** The share of the capacity from which a bar warns. */
const NEARLY_FULL = 0.9;

export const shownNumber = (value) => NUMBER.format(value);
/** A number for a narrow column: digits beyond a quadrillion say nothing there. */
export const shownShort = (value) => (value >= SHORT_FROM ? SHORT.format(value) : NUMBER.format(value));
/** An amount of a limit: `12.5 USD`, if a unit of the limit is worth a part of what it names. */
export const shownAmount = (definition, amount) => worthOf(definition, amount) || shownNumber(amount);
export const shownTime = (unixMs) => TIME.format(new Date(Number(unixMs)));
export const shownClock = (date) => CLOCK.format(date);
export const isTemplate = (limit) => Number(limit.definition.max_instances ?? 0) > 0;
export const kindOf = (definition) => definition.kind.replaceAll("_", " ");

/** What an amount is worth in the unit of a limit, exactly; empty if the limit counts that unit itself. */
export function worthOf({ unit, unit_micros: micros }, amount) {
  if (!micros) return "";
  const worth = BigInt(amount) * BigInt(micros);
  const decimals = String(worth % 1_000_000n).padStart(6, "0").replace(/0+$/, "");
  return `${NUMBER.format(worth / 1_000_000n)}${decimals && "."}${decimals} ${unit}`;
}

/** What one unit of a limit is. */
export const unitOf = (definition) => worthOf(definition, 1) || definition.unit;

/** The most that can be reserved, or the most instances of a template. */
export const roomOf = (limit) => (isTemplate(limit) ? limit.definition.max_instances : limit.definition.capacity);

const share = (part, whole) => (Number(whole) === 0 ? 0 : Math.min(1, Math.max(0, Number(part) / Number(whole))));

/** The parts of a bar as shares of the capacity, and how it stands. */
export function barOf(limit) {
  const room = roomOf(limit);
  const { reserved, debt, allotted } = limit.usage;
  // What replicas hold for callers is reserved too; the bar tells the two apart.
  const held = share(allotted ?? 0, room);
  const used = Math.max(0, share(reserved, room) - held);
  const full = used + held;
  const tone = full >= 1 ? "full" : full >= NEARLY_FULL ? "nearly-full" : "free";
  return { used, held, debt: share(debt, room), tone: isTemplate(limit) ? "free" : tone };
}

/** The state of a limit in a word or two. */
export function statusOf(limit) {
  const { definition, status, pending_decrease_to: pending, usage } = limit;
  if (status === "decreasing") {
    return Number(pending) === 0
      ? { text: "pausing", tone: "warn" }
      : { text: `decreasing to ${shownNumber(pending)}`, tone: "warn" };
  }
  if (status !== "active") return { text: status, tone: "warn" };
  if (Number(definition.capacity) === 0) return { text: "paused", tone: "warn" };
  if (isTemplate(limit)) return { text: "template", tone: "plain" };
  if (definition.enforce === false) return { text: "shadow", tone: "plain" };
  if (Number(usage.available) === 0) return { text: "no room", tone: "bad" };
  return { text: "active", tone: "good" };
}

/** How reserved capacity becomes available again. */
export function timeOf(definition) {
  const { kind, window_seconds, window_ms, timeout_seconds, refill_amount, refill_interval_ms, refills_per_interval } = definition;
  if (kind === "concurrency") return `at most ${seconds(timeout_seconds)}`;
  if (kind === "token_bucket") {
    if (definition.auto_replenish === false) return `${shownNumber(refill_amount)} by hand`;
    const each = Number(refills_per_interval ?? 0) > 1 ? `${shownNumber(refills_per_interval)} times ` : "";
    return `${each}${shownNumber(refill_amount)} per ${seconds(Number(refill_interval_ms) / 1000)}`;
  }
  const window = Number(window_seconds ?? 0) || Number(window_ms ?? 0) / 1000;
  const byHand = definition.auto_replenish === false ? " by hand" : "";
  if (window > 0) return `${seconds(window)}${byHand}`;
  return definition.period ? `each ${definition.period}` : "";
}

// The unit, its seconds, and from how many seconds on it is used.
const UNITS = [["d", 86_400, 86_400], ["h", 3_600, 3_600], ["min", 60, 120]];

function seconds(count) {
  const number = Number(count);
  const unit = UNITS.find(([, length, from]) => number >= from && number % length === 0);
  return unit ? `${shownNumber(number / unit[1])} ${unit[0]}` : `${shownNumber(number)} s`;
}

/** The definition as an operator last put it: while a lower capacity waits to be applied, it has that one. */
export function wantedDefinition(limit) {
  const { definition, status, pending_decrease_to } = limit;
  return status === "decreasing" ? { ...definition, capacity: pending_decrease_to } : definition;
}

const isLeftOut = (value) => value === undefined || value === null || value === "" || value === 0;

/** The fields of a definition that say something, without its key. */
export function fieldsOf(definition) {
  const says = ([name, value]) => name !== "key" && (name === "capacity" || !isLeftOut(value));
  return Object.entries(definition).filter(says);
}

/** The value of a field for people. */
export function shownValue(value) {
  if (isLeftOut(value) && value !== 0) return "-";
  if (typeof value === "number" || typeof value === "bigint") return shownNumber(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The fields in which two definitions differ: `{ name, before, after }`. */
export function differences(before, after) {
  const names = new Set([...Object.keys(before ?? {}), ...Object.keys(after)]);
  const same = (a, b) => (isLeftOut(a) && isLeftOut(b)) || shownValue(a) === shownValue(b);
  return [...names]
    .filter((name) => name !== "key" && !same(before?.[name], after[name]))
    .map((name) => ({ name, before: before?.[name], after: after[name] }));
}

/** What each version changed, newest first: `{ version, at, status, changes, isDecreased }`. */
export function changesOf(versions) {
  const wanted = (version) => wantedDefinition(version);
  return versions
    .map((version, index) => ({
      version: version.version,
      at: version.at_unix_ms,
      status: version.status,
      changes: differences(index > 0 ? wanted(versions[index - 1]) : null, wanted(version)),
      isDecreased: index > 0 && versions[index - 1].status === "decreasing" && version.status === "active",
    }))
    .reverse();
}

/** The newest capacity that was not 0, to resume a paused limit with; null if there was none. */
export function capacityBeforePause(versions) {
  const capacities = versions.map((version) => wantedDefinition(version).capacity);
  return capacities.reverse().find((capacity) => Number(capacity) > 0) ?? null;
}

/** The fields of a definition that the page edits. Others, such as objects, stay as they are. */
export function editableFields(definition) {
  const simple = ["number", "bigint", "string", "boolean"];
  const isEditable = ([name, value]) => {
    if (name === "key" || name === "kind" || !simple.includes(typeof value)) return false;
    return ["capacity", "unit", "description"].includes(name) || !isLeftOut(value);
  };
  const entries = Object.entries({ unit: "", description: "", ...definition });
  const first = (name) => ["capacity"].includes(name);
  return entries.filter(isEditable).sort(([a], [b]) => Number(first(b)) - Number(first(a)));
}

/** The series of a text in the format of OpenMetrics: `{ name, labels, value }`. */
export function parseMetrics(text) {
  const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)/;
  const label = /(\w+)="((?:[^"\\]|\\.)*)"/g;
  return text.split("\n").flatMap((each) => {
    const found = each.startsWith("#") ? null : line.exec(each);
    if (!found) return [];
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(label)].map(([, name, value]) => [name, value]));
    return [{ name: found[1], labels, value: Number(found[3]) }];
  });
}
