//! One allotment: a part of a limit's capacity that this replica holds, and the units of it that callers hold.

use smallvec::SmallVec;

use super::clock::Now;
use crate::decide::allotment::Terms;
use crate::ledger::TransferId;
use crate::time::NS_PER_SECOND;

/// An allotment.
#[derive(Debug)]
pub(super) struct Allotment {
    /// Its number in the pool. A renewing step gives the allotments that it merges a new one.
    pub(super) number: u64,
    pub(super) pending: TransferId,
    pub(super) terms: Terms,
    /// What the ledger holds, in units of the limit.
    pub(super) amount: u64,
    /// The units of it that callers hold.
    pub(super) used: u64,
    /// The same, by the number of the allotment of which they were taken: this one, or one that was merged into it.
    pub(super) used_of: SmallVec<[(u64, u64); 1]>,
    /// The replica's clocks before its transfer was handed to the ledger for the first time.
    pub(super) sent: Now,
    /// When the ledger made it, in nanoseconds.
    pub(super) recorded_at_ns: u64,
    /// When the ledger releases it, in nanoseconds.
    pub(super) expires_at_ns: u64,
    /// When the last hold of a unit ends, in the ledger's nanoseconds.
    pub(super) last_end_ns: u64,
    /// When its last step was planned, by the replica's clock.
    pub(super) stepped_at_ns: Option<u64>,
}

impl Allotment {
    /// Whether a unit can be taken of it now: for a lease of its version, and while it has not served too long.
    pub(super) fn serves(&self, version: u64, now: Now) -> bool {
        self.terms.version == version && self.is_fresh(now)
    }

    /// Whether a hold that begins now ends before the ledger releases the allotment: by all three clocks it is recent.
    pub(super) fn is_fresh(&self, now: Now) -> bool {
        let at_most_ns = self.terms.serves_at_most_ns();
        now.own_ns < self.sent.own_ns.saturating_add(self.terms.serves_for_ns())
            && now.wall_ns < self.sent.wall_ns.saturating_add(at_most_ns)
            && now.ledger_ns < self.recorded_at_ns.saturating_add(at_most_ns)
    }

    /// When a hold that begins now has ended, in the ledger's nanoseconds.
    pub(super) fn hold_ends_at_ns(&self, now: Now) -> u64 {
        let since_ns = now.own_ns.saturating_sub(self.sent.own_ns);
        self.terms.hold_ends_at_ns(self.recorded_at_ns, since_ns, now.ledger_ns)
    }

    /// Takes units of it, which must be left.
    pub(super) fn take(&mut self, units: u64, ends_at_ns: u64) {
        self.count_used(self.number, units);
        self.last_end_ns = self.last_end_ns.max(ends_at_ns);
    }

    /// Counts units that callers hold of the allotment of this number.
    pub(super) fn count_used(&mut self, number: u64, units: u64) {
        self.used += units;
        match self.used_of.iter_mut().find(|(of, _)| *of == number) {
            Some((_, used)) => *used += units,
            None => self.used_of.push((number, units)),
        }
    }

    /// Whether callers hold units of it that were taken of the allotment of this number.
    pub(super) fn holds_of(&self, number: u64) -> bool {
        self.used_of.iter().any(|(of, _)| *of == number)
    }

    /// Releases units that were taken of the allotment of this number.
    pub(super) fn release(&mut self, number: u64, units: u64) {
        let Some(index) = self.used_of.iter().position(|(of, _)| *of == number) else { return };
        let (_, used) = &mut self.used_of[index];
        let released = units.min(*used);
        *used -= released;
        self.used -= released;
        if self.used_of[index].1 == 0 {
            self.used_of.swap_remove(index);
        }
    }

    /// Whether a caller ever took of it.
    pub(super) fn was_used(&self) -> bool {
        self.last_end_ns > 0
    }

    pub(super) fn left(&self) -> u64 {
        self.amount.saturating_sub(self.used)
    }

    /// Whether its period is over, by the replica's clock.
    pub(super) fn is_period_over(&self, now: Now) -> bool {
        now.own_ns >= self.sent.own_ns.saturating_add(self.terms.period_ns)
    }

    /// The time until the last hold ends, in whole seconds, rounded up. At least a second, because 0 means never.
    pub(super) fn remaining_seconds(&self, now: Now) -> u32 {
        let remaining_ns = self.last_end_ns.saturating_sub(now.ledger_ns);
        u32::try_from(remaining_ns.div_ceil(NS_PER_SECOND)).unwrap_or(u32::MAX).max(1)
    }
}
