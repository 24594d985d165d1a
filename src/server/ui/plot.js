// Plots, drawn as SVG. Each has a text alternative that says what it shows.

import { h, s, setAttribute, setText } from "./elements.js";
import { shownClock, shownNumber } from "./model.js";

const WIDTH = 600;
const HEIGHT = 140;
/** The least span of time that a plot of use shows. */
const SPAN_MS_MIN = 120_000;
/** A longer pause between two samples is a gap in the line. */
const GAP_MS = 15_000;

/** A number at or above `value` at which an axis may end. */
function roundUp(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((end) => end >= value && Number.isInteger(end)) ?? value;
}

/** The frame of a plot: a heading, the drawing, the ends of its axes. */
function frame(title, note) {
  const drawing = s("svg", { class: "plot", role: "img", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" });
  const [top, from, to] = [h("span"), h("span"), h("span")];
  const element = h("figure", {},
    h("figcaption", {}, h("h2", {}, title), h("span", { class: "note" }, note)),
    h("div", { class: "axis" }, top), drawing, h("div", { class: "axis" }, from, to));
  return { element, drawing, top, from, to };
}

/** The plot of a limit's use over the time that the page has been open. */
export function usePlot() {
  const { element, drawing, top, from, to } = frame("Use", "seen by this page");
  const [area, line, room, debt] = ["area", "line", "room", "debt-line"].map((name) => s("path", { class: name }));
  drawing.append(area, line, debt, room);
  const update = (samples) => {
    const last = samples.at(-1);
    const begin = Math.min(samples[0].at, last.at - SPAN_MS_MIN);
    const end = Math.max(1, ...samples.map((each) => Math.max(each.used, each.debt, each.room)));
    const x = (at) => (((at - begin) / (last.at - begin)) * WIDTH).toFixed(1);
    const y = (value) => (HEIGHT - (value / end) * HEIGHT).toFixed(1);
    const runs = splitAtGaps(samples);
    const path = (run, value) => run.map((each, index) => `${index ? "L" : "M"}${x(each.at)} ${y(value(each))}`).join("");
    const used = (each) => each.used;
    const below = (run) => `${path(run, used)}L${x(run.at(-1).at)} ${HEIGHT}L${x(run[0].at)} ${HEIGHT}Z`;
    setAttribute(line, "d", runs.map((run) => path(run, used)).join(""));
    setAttribute(area, "d", runs.map(below).join(""));
    setAttribute(room, "d", runs.map((run) => path(run, (each) => each.room)).join(""));
    const owed = samples.some((each) => each.debt > 0) ? runs : [];
    setAttribute(debt, "d", owed.map((run) => path(run, (each) => each.debt)).join(""));
    const most = Math.max(...samples.map(used));
    setText(top, shownNumber(end));
    setText(from, shownClock(new Date(begin)));
    setText(to, shownClock(new Date(last.at)));
    const text = `Reserved: ${shownNumber(last.used)} now, at most ${shownNumber(most)} since the page was opened`;
    setAttribute(drawing, "aria-label", `${text}, of ${shownNumber(last.room)}`);
  };
  return { element, update };
}

function splitAtGaps(samples) {
  const runs = [];
  for (const sample of samples) {
    const run = runs.at(-1);
    if (run && sample.at - run.at(-1).at <= GAP_MS) run.push(sample);
    else runs.push([sample]);
  }
  return runs;
}

/** The plot of a limit's denials by minute, as the replica that answers counted them. */
export function denialPlot() {
  const { element, drawing, top, from, to } = frame("Denials per minute", "of this replica");
  const bars = s("g", { class: "bars" });
  drawing.append(bars);
  const update = ({ from_unix_ms, minutes, limits }) => {
    const counts = limits[0]?.per_minute ?? new Array(minutes).fill(0);
    const end = roundUp(Math.max(...counts));
    const width = WIDTH / counts.length;
    const bar = (count, index) => {
      const height = (count / end) * HEIGHT;
      return s("rect", { x: index * width, y: HEIGHT - height, width: Math.max(width - 1, width * 0.7), height });
    };
    bars.replaceChildren(...counts.flatMap((count, index) => (count ? [bar(count, index)] : [])));
    setText(top, shownNumber(end));
    setText(from, shownClock(new Date(from_unix_ms)));
    setText(to, "now");
    const total = limits[0]?.total ?? 0;
    const most = shownNumber(Math.max(...counts));
    setAttribute(drawing, "aria-label", `${shownNumber(total)} denials in ${minutes} minutes, at most ${most} in one`);
  };
  return { element, update };
}
