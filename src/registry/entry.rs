//! One limit in the snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::refill_clock::RefillClock;
use crate::decide::Limit;
use crate::decide::clock_value::ClockValue;
use crate::limit::LimitKey;

/// A version of a limit, and what this process remembers beside it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The limit.
    pub(crate) limit: Limit,
    denial_streak: AtomicU32,
    /// For a limit that has or had a schedule.
    clock: Option<Arc<RefillClock>>,
    /// For an instance: the number of template changes that it was compared with.
    compared_with: AtomicU64,
    /// For an instance: whether it was used since the snapshot last looked for idle instances.
    used: AtomicBool,
    /// Whether a use has to be told to those who look for crossed thresholds: the limit has some, and no use was told since they
    /// asked last.
    tells_of_use: AtomicBool,
}

impl Entry {
    pub(super) fn new(limit: Limit, clock: Option<Arc<RefillClock>>) -> Self {
        if let (Some(schedule), Some(clock)) = (&limit.schedule, &clock) {
            schedule.clock_read(clock.value());
        }
        let tells_of_use = AtomicBool::new(has_alerts(&limit));
        Self {
            limit,
            denial_streak: AtomicU32::new(0),
            clock,
            compared_with: AtomicU64::new(0),
            used: AtomicBool::new(true),
            tells_of_use,
        }
    }

    /// An entry of a limit without a schedule.
    #[cfg(test)]
    pub(crate) fn for_tests(limit: Limit) -> Arc<Self> {
        Arc::new(Self::new(limit, None))
    }

    /// The limit's key.
    pub(crate) fn key(&self) -> &LimitKey {
        &self.limit.state.definition.key
    }

    /// Whether a template made the limit, and no operator has changed it since.
    pub(crate) fn is_instance(&self) -> bool {
        self.limit.state.origin.is_some()
    }

    /// Whether the limit matches the current templates. Limits that operators defined always do.
    pub(crate) fn is_current(&self, template_changes: u64) -> bool {
        !self.is_instance() || self.compared_with.load(Ordering::Relaxed) >= template_changes
    }

    /// Whether the limit matches the current templates and is not gone.
    pub(crate) fn is_usable(&self, template_changes: u64) -> bool {
        self.is_current(template_changes) && !self.limit.state.status.is_gone()
    }

    /// Records that the limit matches the templates as they were after this many changes.
    pub(super) fn set_current(&self, template_changes: u64) {
        self.compared_with.fetch_max(template_changes, Ordering::Relaxed);
    }

    /// Records that a caller used the limit, so that an instance does not count as idle.
    pub(crate) fn mark_used(&self) {
        // Reading first keeps the cache line shared among the cores that use the limit.
        if self.is_instance() && !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the next use of the limit has to be told to those who look for crossed thresholds.
    pub(super) fn tells_of_use(&self) -> bool {
        self.tells_of_use.load(Ordering::Relaxed)
    }

    /// The same; it is so for one caller only.
    pub(super) fn begins_use(&self) -> bool {
        self.tells_of_use.swap(false, Ordering::Relaxed)
    }

    /// The next use has to be told again.
    pub(super) fn await_use(&self) {
        self.tells_of_use.store(true, Ordering::Relaxed);
    }

    /// Whether a caller used the limit since the last [`Self::take_used`].
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether a caller used the limit since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Whether a refill may be due that this process has not seen made.
    pub(crate) fn is_refill_due(&self, now_ns: u64) -> bool {
        self.scheduled_clock().is_some_and(|clock| clock.up_to_date_until_ns() < now_ns)
    }

    /// Whether a reserve may plan with the limit as it is: no refill may be due, and the limit is known to be no full bucket,
    /// whose interval begins with the reserve.
    pub(crate) fn is_ready_to_take(&self, now_ns: u64) -> bool {
        let is_ready =
            |clock: &RefillClock| clock.up_to_date_until_ns() >= now_ns && !clock.has_to_look(now_ns);
        self.scheduled_clock().is_none_or(is_ready)
    }

    /// The last moment, in the ledger's nanoseconds, at which this process knows that no refill is due.
    pub(super) fn up_to_date_until_ns(&self) -> u64 {
        self.scheduled_clock().map_or(u64::MAX, RefillClock::up_to_date_until_ns)
    }

    /// A reserve has taken so many units from the limit.
    pub(crate) fn note_taken(&self, units: u64) {
        if let Some((schedule, clock)) = self.limit.schedule.as_deref().zip(self.clock()) {
            clock.note_taken(units, schedule);
        }
    }

    /// Something was given back to the limit, or its definition has changed.
    pub(crate) fn note_given_back(&self) {
        self.scheduled_clock().into_iter().for_each(RefillClock::look_now);
    }

    /// The known value of the refill clock; 0 if the limit has none.
    pub(crate) fn clock_value(&self) -> ClockValue {
        self.clock().map_or_else(ClockValue::default, RefillClock::value)
    }

    /// The refill clock, if the limit has a schedule now.
    fn scheduled_clock(&self) -> Option<&RefillClock> {
        self.limit.schedule.as_ref().and(self.clock())
    }

    /// What this process knows of the limit's refill clock, if it has or had a schedule.
    pub(crate) fn clock(&self) -> Option<&RefillClock> {
        self.clock.as_deref()
    }

    pub(super) fn shared_clock(&self) -> Option<Arc<RefillClock>> {
        self.clock.clone()
    }

    /// Counts a denial; returns the number of denials in a row before it.
    pub(crate) fn count_denial(&self) -> u32 {
        self.denial_streak.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of denials in a row.
    pub(crate) fn denial_streak(&self) -> u32 {
        self.denial_streak.load(Ordering::Relaxed)
    }

    /// Ends the row of denials.
    pub(crate) fn reset_denial_streak(&self) {
        // Reading first keeps the cache line shared among the cores that grant.
        if self.denial_streak() != 0 {
            self.denial_streak.store(0, Ordering::Relaxed);
        }
    }
}

/// Whether crossed thresholds of the limit's usage are events. Nothing is used of a template itself.
fn has_alerts(limit: &Limit) -> bool {
    let definition = &limit.state.definition;
    !definition.alerts.is_empty() && definition.instances_max.is_none() && !limit.state.status.is_gone()
}
