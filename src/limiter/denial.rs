//! Turns a denial into the answer, with its retry-after.

use std::sync::Arc;

use super::Limiter;
use super::forecasts::Wish;
use super::resolve::Resolved;
use crate::decide::reserve::Denial;
use crate::ledger::Ledger;
use crate::limit::{Kind, LimitKey};
use crate::protocol::{ReserveOutcome, RetryAfterSource};
use crate::registry::Entry;
use crate::time::{NS_PER_MS, unix_ms};

/// The hint if the limit changed meanwhile, so that a retry at once may be granted.
const RETRY_AT_ONCE_MS: u64 = 1;

impl<L: Ledger> Limiter<L> {
    /// The answer to a denial. `repeated` says that the lease id was denied before: it does not count towards the streak.
    pub(super) fn deny(&self, resolved: &Resolved<'_>, denial: Denial, repeated: bool) -> ReserveOutcome {
        match denial {
            Denial::UnknownKey(key) if resolved.has_too_many_instances(&key) => {
                ReserveOutcome::TooManyInstances { key }
            }
            Denial::UnknownKey(key) => ReserveOutcome::UnknownKey { key },
            Denial::ExceedsCapacity(key) => ReserveOutcome::ExceedsCapacity { key },
            Denial::Decreasing(key) => {
                ReserveOutcome::Decreasing { key, retry_after_ms: self.retry_policy.decreasing_ms }
            }
            Denial::Replaced(key) => retry_at_once(key),
            Denial::NoRoom(key) => {
                let Some(entry) = resolved.entry(&key) else { return retry_at_once(key) };
                let estimate_ms = self.no_room_ms(entry, resolved, repeated);
                self.deny_by_forecast(resolved, entry, estimate_ms, repeated)
            }
        }
    }

    /// The answer for a limit without room: the forecast's, else the estimate.
    fn deny_by_forecast(
        &self,
        resolved: &Resolved<'_>,
        entry: &Arc<Entry>,
        estimate_ms: u64,
        repeated: bool,
    ) -> ReserveOutcome {
        let requirements = resolved.command.requirements();
        let amount = requirements.iter().find(|requirement| requirement.key == *entry.key());
        let wait_ms_max = match entry.limit.state.definition.kind {
            // Callers complete before their timeouts, so a slot is hardly ever free as late as that.
            Kind::Concurrency(_) => estimate_ms,
            Kind::Rolling(_)
            | Kind::TokenBucket(_)
            | Kind::FixedWindow(_)
            | Kind::SlidingWindow(_)
            | Kind::Calendar(_) => u64::MAX,
        };
        let known_wait_ms = amount.and_then(|requirement| {
            let units = requirement.amount.get();
            let wait_ms = self.known_wait_ms(entry, Wish { units, promises: !repeated, wait_ms_max })?;
            if !repeated {
                let at_ns = self.ledger.now_ns().saturating_add(wait_ms.saturating_mul(NS_PER_MS));
                self.denial_cache.expect_caller(entry.limit.account, at_ns, units);
            }
            Some(wait_ms)
        });
        let key = entry.key().clone();
        match known_wait_ms {
            Some(wait_ms) if requirements.len() == 1 => no_room_for(key, wait_ms, RetryAfterSource::Exact),
            // Another limit may deny then.
            Some(wait_ms) => no_room_for(key, wait_ms, RetryAfterSource::Estimate),
            None => no_room_for(key, estimate_ms, RetryAfterSource::Estimate),
        }
    }

    fn no_room_ms(&self, entry: &Entry, resolved: &Resolved<'_>, repeated: bool) -> u64 {
        let kind = entry.limit.state.definition.kind;
        let at_ns = resolved.at_ns();
        let step_in_ms = entry.limit.schedule.as_ref().and_then(|schedule| {
            // At least a millisecond: the next step begins after this moment.
            Some(schedule.next_step_ms(entry.clock_value(), at_ns)?.saturating_sub(unix_ms(at_ns)))
        });
        let streak = if repeated { entry.denial_streak() } else { entry.count_denial() };
        self.retry_policy.no_room_ms(kind, streak, step_in_ms, rand::random())
    }

    /// The answer for a limit without room. `until_ns` is the ledger's time at which it will have room, if known.
    pub(super) fn deny_until(
        &self,
        resolved: &Resolved<'_>,
        key: LimitKey,
        until_ns: Option<u64>,
    ) -> ReserveOutcome {
        let Some(entry) = resolved.entry(&key) else { return retry_at_once(key) };
        let estimate_ms = match until_ns {
            Some(until_ns) => {
                let wait_ms = until_ns.saturating_sub(self.ledger.now_ns()).div_ceil(NS_PER_MS);
                self.retry_policy.room_known_ms(entry.limit.state.definition.kind, wait_ms)
            }
            // What the ledger was not asked does not count towards the streak.
            None => self.no_room_ms(entry, resolved, true),
        };
        self.deny_by_forecast(resolved, entry, estimate_ms, false)
    }
}

/// The denial of a limit that has changed meanwhile.
pub(super) fn retry_at_once(key: LimitKey) -> ReserveOutcome {
    no_room_for(key, RETRY_AT_ONCE_MS, RetryAfterSource::Estimate)
}

fn no_room_for(key: LimitKey, retry_after_ms: u64, retry_after_source: RetryAfterSource) -> ReserveOutcome {
    ReserveOutcome::NoRoom { key, retry_after_ms, retry_after_source }
}
