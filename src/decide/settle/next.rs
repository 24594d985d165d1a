//! What the caller of a settlement does next, and how a settlement ends.

use crate::ledger::{AccountId, Chain};

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this chain, then report to `Settlement::apply_outcome`.
    Send(Chain),
    /// Find the closing transfer of this account, then report to `Settlement::closing_found`.
    FindClosing(AccountId),
    /// Read what is available of this account, then report to `Settlement::room_found`.
    FindRoom(AccountId),
    /// Read what the bucket with this account owes behind a reservation ahead with this date to act, then report to
    /// `Settlement::owed_read`.
    ReadOwed {
        /// The bucket's account.
        account: AccountId,
        /// The date to act, in milliseconds since the Unix epoch.
        acts_at_unix_ms: u64,
    },
    /// A new version closed this spent account: find the account that took over, then report to
    /// `Settlement::successor_found`.
    FindSuccessor(AccountId),
    /// Read the lease's transfers, then report to `Settlement::lease_read`.
    ReadLease,
    /// Nothing more.
    Done(Ending),
}

/// How the settlement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This settlement settled the lease.
    Settled,
    /// The lease was settled before, or all of it had expired and there is no overage.
    AlreadyOver,
}
