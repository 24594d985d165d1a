//! How much memory limits and leases take.

use std::time::Duration;

use super::Pace;
use crate::failure::Failure;
use crate::in_process::{InProcess, key, keys, reserve, rolling};
use crate::processes::number_from_child;
use crate::report::{Goal, Row, count};
use crate::rounds::Spread;

/// Longer than the measurement takes.
const WINDOW_SECONDS: u64 = 86_400;

pub(super) const NOTE: &str = "resident bytes of a process of its own, after less before, with the memory ledger in \
    process: limits that nobody uses, made one by one, their keys about 22 bytes long; and leases of one requirement of \
    one limit, none of which has expired. Whatever the allocator keeps of what is needed for a moment counts as well. \
    1,000,000 is just above a doubling of hash tables (917,504), which is close to their worst case.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let many = pace.pick(1_000_000, 50_000);
    let row = |what: &str, role: &str, goal| -> Result<Row, Failure> {
        Ok(Row {
            what: format!("memory per {what}"),
            goal: Goal::AtMost(goal),
            unit: " B",
            measured: Spread::of_rounds(1, || number_from_child(&[role, &many.to_string()]))?,
            detail: format!("{} of them", count(many)),
        })
    };
    Ok(vec![row("idle limit", "idle-limits", 650.0)?, row("live one-limit lease", "live-leases", 400.0)?])
}

/// In a process of its own: how much it grows by a limit.
pub(crate) fn bytes_per_idle_limit(count: usize) -> Result<f64, Failure> {
    let store = InProcess::start(Duration::ZERO)?;
    let before = resident_bytes()?;
    // Nothing of them is kept outside the store.
    let definitions = (0..count).map(|number| {
        let key = key(&format!("tenant:{number}:llm:rpm"))?;
        rolling(&key, WINDOW_SECONDS)
    });
    store.define(definitions)?;
    let after = resident_bytes()?;
    drop(store);
    Ok((after - before) / count as f64)
}

/// In a process of its own: how much it grows by a lease.
pub(crate) fn bytes_per_live_lease(count: usize) -> Result<f64, Failure> {
    let store = InProcess::start(Duration::ZERO)?;
    let limit = keys(1)?;
    let limit = limit.first().ok_or(Failure::Nothing)?;
    store.define([rolling(limit, WINDOW_SECONDS)])?;
    let before = resident_bytes()?;
    for _ in 0..count {
        store.reserve_all(&[reserve(&[(limit, 1)])?])?;
    }
    let after = resident_bytes()?;
    drop(store);
    Ok((after - before) / count as f64)
}

/// As exactly as the kernel knows it; `statm` is allowed to lag behind.
fn resident_bytes() -> Result<f64, Failure> {
    const FILE: &str = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(FILE).map_err(Failure::file("the kernel tells no sizes"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.map(|kib| kib * 1024.0).ok_or(Failure::Kernel("the resident size"))
}
