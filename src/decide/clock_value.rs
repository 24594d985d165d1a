//! What the account of a refill clock says.

use crate::ledger::{Account, LedgerError};

/// The value of a refill clock, in ticks since the Unix epoch. Both numbers only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockValue {
    /// Every refill that was due up to this moment has been made: the account's posted credits. Of a calendar window and of a
    /// window that is refilled by hand: when the present step ends, or may end.
    pub refilled_to: u64,
    /// The *phase*: from this moment the steps of the bucket count, unless it belongs to an earlier schedule. The account's posted
    /// debits; 0 if no reserve has found the bucket full. Of a window that is refilled by hand: how many steps have ended.
    pub phase: u64,
}

impl ClockValue {
    /// Reads the value from the clock's account.
    pub fn of(account: &Account) -> Result<Self, LedgerError> {
        let ticks = |posted: u128| {
            u64::try_from(posted)
                .map_err(|_| LedgerError::Unexpected("a refill clock is out of range".to_owned()))
        };
        Ok(Self { refilled_to: ticks(account.credits_posted)?, phase: ticks(account.debits_posted)? })
    }
}
