// What the page saw of the limits that it showed, for the plots. It is kept in this tab while the page is open: one hour of
// a limit that is watched all the time, of the limits that were watched last.

const SAMPLES_MAX = 1_800;
const LIMITS_MAX = 20;

const kept = new Map();

/** Adds what a limit's usage is now. Returns all samples of the limit, oldest first. */
export function addSample(limit, now = Date.now()) {
  const { key, capacity } = limit.definition;
  const samples = kept.get(key) ?? [];
  const { reserved, allotted, debt } = limit.usage;
  samples.push({ at: now, used: Number(reserved), held: Number(allotted ?? 0), debt: Number(debt), room: Number(capacity) });
  if (samples.length > SAMPLES_MAX) samples.shift();
  kept.delete(key);
  kept.set(key, samples);
  if (kept.size > LIMITS_MAX) kept.delete(kept.keys().next().value);
  return samples;
}
