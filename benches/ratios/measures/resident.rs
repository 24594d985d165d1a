//! The memory that an idle limit and a live lease take.

use std::time::Duration;

use super::Pace;
use crate::failure::Failure;
use crate::in_process::{InProcess, key, keys, reserve, rolling};
use crate::processes::number_from_child;
use crate::report::{Goal, Row, count};
use crate::rounds::Spread;

/// Longer than the measurement takes.
const WINDOW_SECONDS: u64 = 86_400;

pub(super) const NOTE: &str = "the growth of the resident bytes of a separate process with the memory ledger. Limits: \
    unused, created one by one, with keys of about 22 bytes. Leases: of one requirement on one limit, none of them \
    expired. Memory that the allocator keeps after temporary use counts too. 1,000,000 is just above a doubling of \
    hash tables (917,504), which is close to their worst case.";

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

/// The growth of this process for each limit. Runs in a process of its own.
pub(crate) fn bytes_per_idle_limit(count: usize) -> Result<f64, Failure> {
    let store = InProcess::start(Duration::ZERO)?;
    let before = resident_bytes()?;
    // The definitions are made one by one, so that only the store keeps them.
    let definitions = (0..count).map(|number| {
        let key = key(&format!("tenant:{number}:llm:rpm"))?;
        rolling(&key, WINDOW_SECONDS)
    });
    store.define(definitions)?;
    let after = resident_bytes()?;
    drop(store);
    Ok((after - before) / count as f64)
}

/// The growth of this process for each lease. Runs in a process of its own.
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

/// The resident bytes of this process, from a file that is exact; `statm` may lag behind.
fn resident_bytes() -> Result<f64, Failure> {
    const FILE: &str = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(FILE).map_err(Failure::file("the resident size cannot be read"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.map(|kib| kib * 1024.0).ok_or(Failure::Kernel("the resident size"))
}
