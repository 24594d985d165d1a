//! Turns a denial into the answer, with its retry-after.

use super::Limiter;
use super::resolve::Resolved;
use crate::decide::reserve::Denial;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
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
                let hint_ms = resolved.entry(&key).map(|entry| self.no_room_ms(entry, resolved, repeated));
                no_room_for(key, hint_ms.unwrap_or(RETRY_AT_ONCE_MS), RetryAfterSource::Estimate)
            }
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
        let Some((entry, until_ns)) = resolved.entry(&key).zip(until_ns) else {
            return self.deny(resolved, Denial::NoRoom(key), true);
        };
        let wait_ms = until_ns.saturating_sub(self.ledger.now_ns()).div_ceil(NS_PER_MS);
        let kind = entry.limit.state.definition.kind;
        let retry_after_ms = self.retry_policy.room_known_ms(kind, wait_ms);
        no_room_for(key, retry_after_ms, RetryAfterSource::Estimate)
    }
}

/// The denial of a limit that has changed meanwhile.
pub(super) fn retry_at_once(key: LimitKey) -> ReserveOutcome {
    no_room_for(key, RETRY_AT_ONCE_MS, RetryAfterSource::Estimate)
}

fn no_room_for(key: LimitKey, retry_after_ms: u64, retry_after_source: RetryAfterSource) -> ReserveOutcome {
    ReserveOutcome::NoRoom { key, retry_after_ms, retry_after_source }
}
