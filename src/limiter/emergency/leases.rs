//! The leases that this process granted without the ledger and that are not recorded yet.

use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

use super::leg::{EmergencyLeg, WantedLeg};
use super::outage::Outage;
use crate::decide::emergency_debt::UsedInEmergency;
use crate::limit::{LeaseId, LimitKey};
use crate::protocol::{Actual, Complete, CompleteOutcome, Requirement, Reserve, ReserveOutcome};

/// The most leases.
const LEASES_MAX: usize = 65_536;
/// The most reservations of all leases together.
const LEGS_MAX: usize = 4 * LEASES_MAX;

/// The leases granted without the ledger, and the outage in which they are granted.
#[derive(Debug, Default)]
pub(super) struct EmergencyLeases {
    outage: Option<Outage>,
    leases: HashMap<LeaseId, EmergencyLease>,
    /// The legs of all leases.
    legs: usize,
}

#[derive(Debug)]
struct EmergencyLease {
    /// Sorted by key.
    legs: Box<[EmergencyLeg]>,
    /// The answer to its reserve.
    granted: ReserveOutcome,
    /// When the debt is recorded if no complete comes.
    due_at: Instant,
    completed: bool,
}

/// What became of a complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmergencyCompletion {
    /// The lease is not one that this process granted without the ledger: ask the ledger.
    NotEmergency,
    /// The lease holds a limit that the caller may not use.
    Forbidden,
    /// The outcome. It is kept in memory until the ledger answers.
    Outcome(CompleteOutcome),
}

/// Whether the debt of leases is recorded that their callers have not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmergencyDebt {
    /// Only if their time has passed.
    Due,
    /// At once, because the process ends.
    All,
}

/// A lease whose debt is to be recorded.
#[derive(Debug)]
pub(super) struct Unrecorded {
    pub(super) lease: LeaseId,
    pub(super) used: Vec<UsedInEmergency>,
}

impl EmergencyLeases {
    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    /// A call got no answer from the ledger.
    pub(super) fn failed(&mut self, now: Instant) {
        match &mut self.outage {
            Some(outage) if !outage.is_over(now) => outage.failed(now),
            Some(_) | None => self.outage = Some(self.begin_outage(now)),
        }
    }

    /// An outage in which the slots that are still taken count.
    fn begin_outage(&self, now: Instant) -> Outage {
        let mut outage = Outage::begin(now);
        let running = self.leases.values().filter(|lease| !lease.completed);
        let slots = running.flat_map(|lease| &lease.legs).filter(|leg| leg.is_slot);
        slots.for_each(|leg| outage.add(&leg.key, leg.amount.get()));
        outage
    }

    /// A call was answered by the ledger.
    pub(super) fn answered(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.answered();
        }
    }

    /// The answer to a reserve whose lease was granted before.
    pub(super) fn repeated(&self, command: &Reserve) -> Option<ReserveOutcome> {
        let lease = self.leases.get(&command.lease)?;
        let is_same = lease.legs.len() == command.requirements().len()
            && lease
                .legs
                .iter()
                .zip(command.requirements())
                .all(|(leg, requirement)| leg.key == requirement.key && leg.amount == requirement.amount);
        Some(match (is_same, lease.completed) {
            (false, _) => ReserveOutcome::LeaseConflict,
            (true, true) => ReserveOutcome::LeaseSettled,
            (true, false) => lease.granted.clone(),
        })
    }

    /// Grants a lease that was not granted before, if every limit has share left. `wanted` is sorted by key.
    pub(super) fn grant(
        &mut self,
        lease: LeaseId,
        wanted: Vec<WantedLeg>,
        granted: ReserveOutcome,
        now: Instant,
    ) -> bool {
        let Some(outage) = &mut self.outage else { return false };
        let has_room = self.leases.len() < LEASES_MAX && self.legs + wanted.len() <= LEGS_MAX;
        if !has_room || !outage.take(&wanted, now) {
            return false;
        }
        let seconds = wanted.iter().map(|wanted| wanted.seconds).max().unwrap_or(0);
        let due_at = now + Duration::from_secs(seconds.into());
        let legs: Box<[_]> = wanted.into_iter().map(|wanted| wanted.leg).collect();
        self.legs += legs.len();
        self.leases.insert(lease, EmergencyLease { legs, granted, due_at, completed: false });
        true
    }

    /// Records a complete. `allows` tells whether the caller may use a limit.
    pub(super) fn complete(
        &mut self,
        command: &Complete,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> EmergencyCompletion {
        let Some(lease) = self.leases.get_mut(&command.lease) else {
            return EmergencyCompletion::NotEmergency;
        };
        if !lease.legs.iter().all(|leg| allows(&leg.key)) {
            return EmergencyCompletion::Forbidden;
        }
        if lease.completed {
            return EmergencyCompletion::Outcome(CompleteOutcome::NothingToDo);
        }
        let actuals = command.actuals();
        let is_outside = |actual: &Actual| !lease.legs.iter().any(|leg| leg.key == actual.key);
        if let Some(index) = actuals.iter().position(is_outside) {
            return EmergencyCompletion::Outcome(CompleteOutcome::NotInLease { index });
        }
        lease.completed = true;
        for leg in &mut lease.legs {
            leg.used = actuals.iter().find(|actual| actual.key == leg.key).map(|actual| actual.amount);
            let Some(outage) = &mut self.outage else { continue };
            if leg.is_slot {
                outage.give_back(&leg.key, leg.amount.get());
            } else if let Some(overage) = leg.used.and_then(|used| used.checked_sub(leg.amount.get())) {
                outage.add(&leg.key, overage);
            }
        }
        EmergencyCompletion::Outcome(CompleteOutcome::Settled { overages: Vec::new() })
    }

    /// Up to `count_max` leases whose debt is to be recorded now.
    pub(super) fn unrecorded(&self, debt: EmergencyDebt, now: Instant, count_max: usize) -> Vec<Unrecorded> {
        let is_due = |lease: &EmergencyLease| match debt {
            EmergencyDebt::Due => lease.completed || lease.due_at <= now,
            EmergencyDebt::All => true,
        };
        let due = self.leases.iter().filter(|(_, lease)| is_due(lease)).take(count_max);
        due.map(|(&id, lease)| Unrecorded {
            lease: id,
            used: lease.legs.iter().map(EmergencyLeg::becomes_debt).collect(),
        })
        .collect()
    }

    /// The reserve by which a lease was granted.
    pub(super) fn reserve(&self, lease: LeaseId) -> Option<Reserve> {
        let legs = self.leases.get(&lease)?.legs.iter();
        let requirements = legs.map(|leg| Requirement { key: leg.key.clone(), amount: leg.amount }).collect();
        Reserve::new(lease, String::new(), requirements).ok()
    }

    /// The complete of a lease. Forgets the lease if there is none.
    pub(super) fn completed_or_forget(&mut self, lease: LeaseId) -> Option<Complete> {
        let held = self.leases.get(&lease)?;
        if !held.completed {
            self.forget(lease);
            return None;
        }
        let actual = |leg: &EmergencyLeg| Some(Actual { key: leg.key.clone(), amount: leg.used? });
        Complete::new(lease, String::new(), held.legs.iter().filter_map(actual).collect()).ok()
    }

    /// Forgets a lease. Returns whether it was known.
    pub(super) fn forget(&mut self, lease: LeaseId) -> bool {
        let Some(forgotten) = self.leases.remove(&lease) else { return false };
        self.legs -= forgotten.legs.len();
        if self.leases.is_empty() {
            self.leases.shrink_to_fit();
        }
        true
    }
}
