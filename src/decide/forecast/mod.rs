//! Forecast: when which units of a limit will be free, by one reading of the ledger, and by what hints have promised since.
//! `docs/retry-after.md` has the argument.

mod supply;

use std::collections::VecDeque;

pub(crate) use supply::Supply;

/// The most promises that are kept.
const PROMISES_MAX: usize = 4_096;

/// What is known of the future of one limit. Times are the ledger's, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Forecast {
    read_at_ns: u64,
    /// The supply behind the last promise.
    supply: Supply,
    /// In the order of their times.
    promises: VecDeque<Promise>,
}

/// Units that a hint has promised to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Promise {
    at_ns: u64,
    units: u64,
}

impl Forecast {
    /// The forecast of a reading that promises nothing yet.
    pub(crate) fn new(read_at_ns: u64, supply: Supply) -> Self {
        Self { read_at_ns, supply, promises: VecDeque::new() }
    }

    /// The time of the reading.
    pub(crate) fn read_at_ns(&self) -> u64 {
        self.read_at_ns
    }

    /// The forecast of a later reading. Promises whose time has not come are made again, at their time or later.
    pub(crate) fn read_again(&mut self, read_at_ns: u64, supply: Supply) {
        let promises = std::mem::take(&mut self.promises);
        (self.read_at_ns, self.supply) = (read_at_ns, supply);
        for Promise { at_ns, units } in promises.into_iter().filter(|promise| promise.at_ns > read_at_ns) {
            if let Some(at_ns) = self.earliest_ns(at_ns, units) {
                self.promise(at_ns, units);
            }
        }
    }

    /// The first moment from `now_ns` on at which the units are free and promised to nobody. Not before the last promise, so a large
    /// request is not overtaken. `None` if that is not known.
    pub(crate) fn earliest_ns(&self, now_ns: u64, units: u64) -> Option<u64> {
        if self.promises.len() >= PROMISES_MAX {
            return None;
        }
        let promised_until_ns = self.promises.back().map_or(0, |promise| promise.at_ns);
        self.supply.earliest_ns(now_ns.max(promised_until_ns), units)
    }

    /// Promises units at the time that [`Forecast::earliest_ns`] told.
    pub(crate) fn promise(&mut self, at_ns: u64, units: u64) {
        self.supply.take(at_ns, units);
        self.promises.push_back(Promise { at_ns, units });
    }
}

#[cfg(test)]
mod tests;
