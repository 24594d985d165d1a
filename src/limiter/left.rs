//! What is left of limits, read without changing them: for callers who want to know before they are denied.

use std::sync::Arc;

use super::{Limiter, LimiterError};
use crate::decide::usage;
use crate::ledger::Ledger;
use crate::limit::{Kind, LimitKey};
use crate::registry::Entry;
use crate::time::unix_ms;

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The most that may be reserved at once, in units of the limit.
    pub capacity: u64,
    /// What can be reserved now, in units of the limit.
    pub available: u128,
    /// How reserved capacity becomes available again.
    pub kind: Kind,
    /// The longest time until more becomes available, in milliseconds. `None` if the limit is refilled by hand.
    pub more_after_ms: Option<u64>,
    /// Whether the definition says that the limit counts tokens: its unit is `token` or `tokens`.
    pub counts_tokens: bool,
}

impl Left {
    /// The time in which the whole capacity becomes available again, in milliseconds. `None` if callers or operators, not time,
    /// make it available.
    pub fn period_ms(&self) -> Option<u64> {
        match self.kind {
            Kind::Rolling(rolling) => Some(ms(rolling.window_seconds())),
            Kind::FixedWindow(window) => window.auto_replenish().then(|| window.window_ms()),
            Kind::SlidingWindow(window) => window.auto_replenish().then(|| window.window_ms()),
            Kind::TokenBucket(bucket) => bucket.auto_replenish().then(|| bucket.full_after_ms(self.capacity)),
            // A day may have 23 hours, and months differ.
            Kind::Calendar(_) => None,
            Kind::Concurrency(_) => None,
        }
    }

    /// The longest time until everything is available again, in milliseconds. `None` if the limit is refilled by hand and is
    /// not full.
    pub fn full_after_ms(&self) -> Option<u64> {
        let available = u64::try_from(self.available).unwrap_or(u64::MAX);
        let missing = self.capacity.saturating_sub(available);
        if missing == 0 {
            return Some(0);
        }
        match self.kind {
            Kind::TokenBucket(bucket) => bucket.auto_replenish().then(|| bucket.full_after_ms(missing)),
            Kind::SlidingWindow(window) => window.auto_replenish().then(|| window.window_ms()),
            Kind::Rolling(_) | Kind::FixedWindow(_) | Kind::Calendar(_) | Kind::Concurrency(_) => {
                self.more_after_ms
            }
        }
    }
}

/// Seconds in milliseconds.
fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1_000
}

impl<L: Ledger> Limiter<L> {
    /// What is left of limits, in the order of their keys. `None` for a key that this process knows no limit for. A limit that
    /// a template has not made yet has all its capacity.
    ///
    /// One look-up reads all limits. It uses the definitions that this process knows.
    pub async fn left(&self, keys: &[&LimitKey]) -> Result<Vec<Option<Left>>, LimiterError> {
        let snapshot = self.registry.snapshot();
        let known: Vec<Option<Arc<Entry>>> = snapshot.get_all(keys.iter().copied());
        let is_made = |entry: &&Arc<Entry>| !entry.limit.state.status.is_gone();
        let made = || known.iter().map(|entry| entry.as_ref().filter(is_made));
        let ids = made().flatten().flat_map(|entry| usage::accounts(&entry.limit)).collect();
        let mut accounts = self.ledger.accounts(ids).await?.into_iter();
        let now_ns = self.ledger.now_ns();
        let left = made().zip(keys).map(|(entry, key)| match entry {
            Some(entry) => {
                let usage = usage::next_usage(&entry.limit, &mut accounts, now_ns)?;
                Ok(Some(left_of(entry, usage.available, now_ns)))
            }
            None => Ok(snapshot.template_of(key).map(|template| {
                left_of(&template, template.limit.state.definition.capacity.get().into(), now_ns)
            })),
        });
        left.collect()
    }
}

fn left_of(entry: &Entry, available: u128, now_ns: u64) -> Left {
    let definition = &entry.limit.state.definition;
    let schedule = entry.limit.schedule.as_ref();
    let next_step = schedule.and_then(|schedule| schedule.next_step_ms(entry.clock_value(), now_ns));
    let more_after_ms = match definition.kind {
        Kind::Rolling(rolling) => Some(ms(rolling.window_seconds())),
        Kind::Concurrency(concurrency) => Some(ms(concurrency.timeout_seconds())),
        Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
            next_step.map(|at_ms| at_ms.saturating_sub(unix_ms(now_ns)))
        }
    };
    Left {
        capacity: definition.capacity.get(),
        available,
        kind: definition.kind,
        more_after_ms,
        counts_tokens: matches!(definition.texts.unit(), "token" | "tokens"),
    }
}
