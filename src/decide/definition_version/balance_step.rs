//! The changes that a definition version makes on the accounts of its limit.

use crate::ledger::AccountId;

/// A change of a limit's accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BalanceStep {
    /// Refills what the rate of a replaced bucket schedule has earned.
    SettleRate,
    /// Moves the balance of a spent account of the replaced schedule to the successor account, and closes it. The successor is
    /// a spent account of the new schedule, or the limit itself.
    CarryOver(AccountId),
    /// Repays borrowed tokens out of a spent account of the replaced schedule, because the new one does not lend.
    WriteOff {
        /// The spent account.
        spent: AccountId,
        /// The account of borrowed tokens.
        borrowed: AccountId,
    },
    /// Repays borrowed tokens out of the capacity that the version grants.
    Repay(AccountId),
    /// Voids the closing transfer.
    Reopen,
    /// Posts capacity from the operator to the limit.
    Grant(u64),
    /// Posts capacity from the limit to the operator.
    Cut(u64),
    /// Posts capacity of a bucket to the operator: first spent tokens, then available tokens. So the bucket keeps its available
    /// tokens, up to the new capacity.
    CutSpentFirst {
        /// The bucket's spent account; `None` if this version starts a new schedule.
        spent: Option<AccountId>,
        /// The decrease.
        by: u64,
    },
    /// Closes the account.
    Close,
    /// Closes an account that this version replaces.
    CloseReplaced(AccountId),
    /// Posts to the debt account what it owes.
    ClearDebt,
    /// Reserves on the new account the amount that leases hold on the replaced account.
    KeepReserved,
    /// Takes 1 from the template's account, which counts the instances that the template may still make.
    CountInstance(AccountId),
    /// Gives 1 back to the template's account, because an instance no longer counts.
    ReturnPlace(AccountId),
}
