//! Emergency grants: leases that this process grants by itself while the ledger does not answer, and whose usage it
//! records as debt when the ledger is back. `docs/emergency-grants.md` says what they promise, and why.
//!
//! | file | what it is |
//! | --- | --- |
//! | `outage.rs` | when an outage begins and ends, and what was granted in it |
//! | `leg.rs` | what a lease took of one limit |
//! | `leases.rs` | the leases that are not recorded yet |
//! | `record.rs` | records them as debt |
//!
//! A call that the ledger answers takes no lock here: a complete reads one atomic, a reserve nothing.

mod leases;
mod leg;
mod outage;
mod record;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Limiter;
use crate::decide::reserve::is_shadow;
use crate::ledger::Ledger;
use crate::limit::{KindName, LimitKey, OnUnavailable, Status};
use crate::protocol::{Complete, Requirement, Reserve, ReserveOutcome};
use crate::telemetry::Occurrences;
use crate::time::unix_ms;

use leases::EmergencyLeases;
pub use leases::{EmergencyCompletion, EmergencyDebt};
use leg::{EmergencyLeg, WantedLeg};

/// The first seconds of an outage, in which limits in shadow mode let other limits grant: the longest that any limit grants.
const SHADOW_SECONDS: u32 = 3_600;

static GRANTS_BEGUN: Occurrences = Occurrences::new();

/// What this process granted without the ledger.
#[derive(Debug, Default)]
pub(super) struct Emergency {
    leases: Mutex<EmergencyLeases>,
    counts: Arc<EmergencyCounts>,
}

/// How many leases were granted without the ledger.
#[derive(Debug, Default)]
pub struct EmergencyCounts {
    granted: AtomicU64,
    recorded: AtomicU64,
    /// Written under the lock of the leases.
    held: AtomicU64,
}

impl EmergencyCounts {
    /// The leases granted.
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Of these, the leases recorded as debt.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// Of these, the leases that are not recorded yet.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Emergency {
    fn lock(&self) -> MutexGuard<'_, EmergencyLeases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the leases, and counts them.
    fn change<T>(&self, change: impl FnOnce(&mut EmergencyLeases) -> T) -> T {
        let mut leases = self.lock();
        let changed = change(&mut leases);
        self.counts.held.store(leases.len() as u64, Ordering::Relaxed);
        changed
    }

    /// Counts a grant, and logs the first of those that are held.
    fn count_grant(&self, held: usize) {
        self.counts.granted.fetch_add(1, Ordering::Relaxed);
        if held == 1
            && let Some(times) = GRANTS_BEGUN.count()
        {
            tracing::warn!(
                times,
                "the ledger does not answer; limits with on_unavailable \"allow\" grant their share without it"
            );
        }
    }
}

impl<L: Ledger> Limiter<L> {
    /// Notes that a call got no answer from the ledger: an outage begins or goes on.
    pub fn ledger_failed(&self) {
        self.emergency.lock().failed(Instant::now());
    }

    /// Notes that a call was answered after [`Limiter::ledger_failed`].
    pub fn ledger_answered(&self) {
        self.emergency.lock().answered();
    }

    /// How many leases this process granted without the ledger.
    pub fn emergency_counts(&self) -> Arc<EmergencyCounts> {
        Arc::clone(&self.emergency.counts)
    }

    /// Answers a reserve to which the ledger gave no answer. The definitions of its limits say whether it is granted.
    ///
    /// `None` if it is not granted, so that its outcome stays unknown.
    pub fn grant_in_emergency(&self, command: &Reserve) -> Option<ReserveOutcome> {
        let wanted = self.wanted_in_emergency(command);
        if wanted.is_none() && self.emergency.counts.held() == 0 {
            return None;
        }
        let now = Instant::now();
        let granted = ReserveOutcome::granted(unix_ms(self.ledger.now_ns()));
        self.emergency.change(|leases| {
            if let Some(repeated) = leases.repeated(command) {
                return Some(repeated);
            }
            let is_granted = leases.grant(command.lease, wanted?, granted.clone(), now);
            is_granted.then(|| {
                self.emergency.count_grant(leases.len());
                granted
            })
        })
    }

    /// Completes a lease that was granted without the ledger. `allows` tells whether the caller may use a limit.
    pub fn complete_in_emergency(
        &self,
        command: &Complete,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> EmergencyCompletion {
        if self.emergency.counts.held() == 0 {
            return EmergencyCompletion::NotEmergency;
        }
        self.emergency.lock().complete(command, allows)
    }

    /// What a reserve takes of each limit, if all limits are known here and grant without the ledger.
    fn wanted_in_emergency(&self, command: &Reserve) -> Option<Vec<WantedLeg>> {
        let wanted = |requirement: &Requirement| {
            let entry = self.registry.snapshot().get(&requirement.key)?;
            entry.mark_used();
            let limit = &entry.limit;
            let (units_max, seconds) = match (limit.state.status, limit.state.definition.on_unavailable) {
                _ if is_shadow(limit) => (u64::MAX, SHADOW_SECONDS),
                (Status::Active, OnUnavailable::Allow(share)) => {
                    (share.units_of(limit.state.definition.capacity), share.seconds())
                }
                (Status::Active, OnUnavailable::Deny)
                | (Status::Decreasing { .. } | Status::Deleted | Status::Retired, _) => return None,
            };
            let leg = EmergencyLeg {
                // The key of the definition, which is in memory anyway.
                key: entry.key().clone(),
                amount: requirement.amount,
                debt_account: limit.debt_account,
                is_slot: limit.state.definition.kind.name() == KindName::Concurrency,
                used: None,
            };
            Some(WantedLeg { leg, units_max, seconds })
        };
        command.requirements().iter().map(wanted).collect()
    }
}
