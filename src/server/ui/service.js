// The page of the service: whether it is ready, how it does, and how its ledger does.

import { ApiError, api } from "./api.js";
import { h, setAttribute, setText, show } from "./elements.js";
import { parseMetrics, shownNumber } from "./model.js";

const MS = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

/** The sum of the series of a name whose labels hold these. */
function sum(series, name, labels = {}) {
  const hasLabels = (each) => Object.entries(labels).every(([label, value]) => each.labels[label] === value);
  const found = series.filter((each) => each.name === name && hasLabels(each));
  return found.length ? found.reduce((total, each) => total + each.value, 0) : undefined;
}

const shown = (value) => (value === undefined ? "-" : shownNumber(value));

/** The mean time of a histogram, in milliseconds. */
function mean(series, name, labels) {
  const [total, count] = [sum(series, `${name}_sum`, labels), sum(series, `${name}_count`, labels)];
  return count ? `${MS.format((total / count) * 1_000)} ms` : "-";
}

function section(title, rows) {
  const entry = ([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value));
  return h("section", {}, h("h2", {}, title), h("dl", { class: "fields" }, rows.map(entry)));
}

function callsSection(series) {
  const outcomes = series.filter(({ name, value }) => name === "ratelimiterd_reserves_total" && value > 0);
  const rows = outcomes.map(({ labels, value }) => [`reserves ${labels.outcome.replaceAll("_", " ")}`, shown(value)]);
  return section("Calls since the start", [
    ...rows,
    ["completes", shown(sum(series, "ratelimiterd_completes_total"))],
    ["refused while the ledger was away", shown(sum(series, "ratelimiterd_refused_early_total"))],
    ["granted without the ledger", shown(sum(series, "ratelimiterd_emergency_grants_total"))],
  ]);
}

function nowSection(series) {
  const version = series.find(({ name }) => name === "ratelimiterd_build_info")?.labels.version ?? "-";
  return section("This replica", [
    ["version", version],
    ["requests in flight", shown(sum(series, "ratelimiterd_requests_in_flight"))],
    ["open connections", shown(sum(series, "ratelimiterd_connections"))],
    ["bounds on clients struck", shown(sum(series, "ratelimiterd_bounds_struck_total"))],
    ["failed writes of the registry file", shown(sum(series, "ratelimiterd_registry_writes_total", { outcome: "failed" }))],
    ["mean time of a reserve", mean(series, "ratelimiterd_request_seconds", { route: "/v1/reserve" })],
    ["mean time of a complete", mean(series, "ratelimiterd_request_seconds", { route: "/v1/complete" })],
  ]);
}

function ledgerSection(series) {
  if (sum(series, "ratelimiterd_ledger_queue_transfers") === undefined) {
    return section("Ledger", [["kind", "memory: its counters end with the process"]]);
  }
  return section("Ledger", [
    ["kind", "TigerBeetle"],
    ["transfers that wait for a session", shown(sum(series, "ratelimiterd_ledger_queue_transfers"))],
    ["mean time of a request", mean(series, "ratelimiterd_ledger_request_seconds")],
    ["requests lost with their session", shown(sum(series, "ratelimiterd_ledger_lost_requests_total"))],
    ["leases that still wait to be recorded", shown(sum(series, "ratelimiterd_emergency_leases"))],
  ]);
}

export function servicePage() {
  const status = h("span");
  const message = h("p", {});
  const metrics = h("div", { class: "columns three" });
  const element = h("div", {}, h("h1", { tabindex: -1 }, "Service"), h("p", {}, status), message, metrics);
  const refresh = async (signal) => {
    const ready = await api.readiness({ signal });
    setText(status, ready.ok ? "ready" : "not ready");
    setAttribute(status, "class", `status ${ready.ok ? "good" : "bad"}`);
    setText(message, ready.message ?? ready.warning ?? "The definitions are read, and the ledger answers.");
    try {
      const series = parseMetrics(await api.metrics({ signal }));
      show(metrics, nowSection(series), callsSection(series), ledgerSection(series));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      show(metrics, h("p", { class: "note" }, "The metrics are not shown: the token lacks the scope metrics."));
    }
  };
  return { title: "Service", name: "service", element, refresh };
}
