//! What the chain of a definition version depends on, beside the version.

use crate::decide::replaced_account::KeptReservation;
use crate::decide::schedule_change::ReplacedBalances;
use crate::ledger::TransferId;

/// The inputs of a version's chain beside the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainInputs {
    /// The transfer that holds the account closed; `None` if it is open or not known.
    pub closing: Option<TransferId>,
    /// The amount that a new account keeps reserved for leases on the replaced account.
    pub kept: Option<KeptReservation>,
    /// The balances of the schedule that the version replaces.
    pub replaced: ReplacedBalances,
    /// Seeds the ids of the balance steps. Each attempt needs a fresh one: a refusal for a passing reason uses the ids up. The
    /// id of the definition's first part keeps the steps from acting twice.
    pub fresh_ulid: u128,
    /// The time, in the ledger's nanoseconds.
    pub now_ns: u64,
}

impl ChainInputs {
    /// The inputs of a version that creates a key: nothing is closed, kept or replaced.
    pub fn of_first_version(fresh_ulid: u128, now_ns: u64) -> Self {
        Self { closing: None, kept: None, replaced: ReplacedBalances::default(), fresh_ulid, now_ns }
    }
}
