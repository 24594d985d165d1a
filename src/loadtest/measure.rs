//! Counts and latencies of the calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};

use crate::target::{Completed, Reserved};

/// The number of tallies. With more of them callers wait less for each other; with fewer the histograms take less
/// memory.
const TALLIES: usize = 16;

/// Longer latencies are recorded as this one.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// The lowest latency that the histogram tells from 0.
const LATENCY_NS_MIN: u64 = 100;
/// The significant digits that the histogram keeps.
const LATENCY_DIGITS: u8 = 3;

/// Counts and latencies of reserves and completes.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) reserves: Reserves,
    pub(crate) completes: Completes,
    /// Items of reserves and completes whose outcome the target did not know.
    pub(crate) unknown: u64,
    /// Items of reserves and completes without a valid answer.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) last_answer: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(crate) struct Reserves {
    pub(crate) items: u64,
    pub(crate) granted: u64,
    pub(crate) denied: u64,
    pub(crate) conflicts: u64,
    pub(crate) latency_ns: Histogram<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Completes {
    pub(crate) items: u64,
    pub(crate) latency_ns: Histogram<u64>,
}

/// The tallies of all callers.
#[derive(Debug)]
pub(crate) struct Measurements {
    tallies: Vec<Mutex<Tally>>,
    empty: Tally,
    /// Counts the answered items, those of the warm-up included. The progress shows it.
    items_answered: AtomicU64,
}

impl Tally {
    fn new() -> Result<Self, CreationError> {
        let latency_ns = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, LATENCY_DIGITS)?;
        Ok(Self {
            reserves: Reserves {
                items: 0,
                granted: 0,
                denied: 0,
                conflicts: 0,
                latency_ns: latency_ns.clone(),
            },
            completes: Completes { items: 0, latency_ns },
            unknown: 0,
            errors: 0,
            first_error: None,
            last_answer: None,
        })
    }

    pub(crate) fn record_reserves(&mut self, items: &[Reserved], latency: Duration) {
        record_latency(&mut self.reserves.latency_ns, latency);
        for item in items {
            match item {
                Reserved::Granted => self.reserves.granted += 1,
                Reserved::Denied { .. } => self.reserves.denied += 1,
                Reserved::Conflict => self.reserves.conflicts += 1,
                Reserved::Unknown => self.unknown += 1,
                Reserved::Failed(error) => {
                    self.record_error(error);
                    continue;
                }
            }
            self.reserves.items += 1;
        }
    }

    pub(crate) fn record_completes(&mut self, items: &[Completed], latency: Duration) {
        record_latency(&mut self.completes.latency_ns, latency);
        for item in items {
            match item {
                Completed::Settled => {}
                Completed::Unknown => self.unknown += 1,
                Completed::Failed(error) => {
                    self.record_error(error);
                    continue;
                }
            }
            self.completes.items += 1;
        }
    }

    fn record_error(&mut self, error: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_owned());
    }

    fn add(&mut self, other: &Self) {
        self.reserves.items += other.reserves.items;
        self.reserves.granted += other.reserves.granted;
        self.reserves.denied += other.reserves.denied;
        self.reserves.conflicts += other.reserves.conflicts;
        self.completes.items += other.completes.items;
        self.unknown += other.unknown;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.last_answer = self.last_answer.max(other.last_answer);
        // Adding cannot fail, because all histograms have the same bounds.
        self.reserves.latency_ns.add(&other.reserves.latency_ns).ok();
        self.completes.latency_ns.add(&other.completes.latency_ns).ok();
    }
}

impl Measurements {
    pub(crate) fn new() -> Result<Self, CreationError> {
        let tallies = (0..TALLIES).map(|_| Ok(Mutex::new(Tally::new()?))).collect::<Result<_, _>>()?;
        Ok(Self { tallies, empty: Tally::new()?, items_answered: AtomicU64::new(0) })
    }

    /// Adds a call to the tally of its caller.
    pub(crate) fn record_call(&self, caller: usize, answered_at: Instant, add: impl FnOnce(&mut Tally)) {
        if let Some(tally) = self.tallies.get(caller % TALLIES) {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut tally);
            tally.last_answer = tally.last_answer.max(Some(answered_at));
        }
    }

    pub(crate) fn count_answered(&self, items: usize) {
        self.items_answered.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// How many items were answered so far.
    pub(crate) fn items_answered(&self) -> u64 {
        self.items_answered.load(Ordering::Relaxed)
    }

    /// The sum of all tallies.
    pub(crate) fn total(&self) -> Tally {
        let mut total = self.empty.clone();
        for tally in &self.tallies {
            total.add(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        total
    }
}

fn record_latency(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
}
