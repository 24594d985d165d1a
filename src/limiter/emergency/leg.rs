//! What a reserve takes of one limit without the ledger.

use crate::decide::emergency_debt::UsedInEmergency;
use crate::ledger::AccountId;
use crate::limit::{Amount, LimitKey};

/// One limit of a reserve that may be granted without the ledger.
#[derive(Debug)]
pub(super) struct WantedLeg {
    pub(super) leg: EmergencyLeg,
    /// The share of the limit, in units.
    pub(super) units_max: u64,
    /// The first seconds of an outage, in which the limit grants.
    pub(super) seconds: u32,
}

/// What a lease took of one limit.
#[derive(Debug)]
pub(super) struct EmergencyLeg {
    pub(super) key: LimitKey,
    pub(super) amount: Amount,
    pub(super) debt_account: AccountId,
    /// Whether a complete makes room again, as on a concurrency limit.
    pub(super) is_slot: bool,
    /// What the complete said.
    pub(super) used: Option<u64>,
}

impl EmergencyLeg {
    /// What becomes debt. Nobody owes a slot that is free again.
    pub(super) fn becomes_debt(&self) -> UsedInEmergency {
        let amount = if self.is_slot { 0 } else { self.used.unwrap_or(self.amount.get()) };
        UsedInEmergency { debt_account: self.debt_account, amount }
    }
}
