//! The ledger as an audit reads it: every transfer in order, whatever program made it, in TigerBeetle's own fields.

use std::future::Future;

use super::{Account, AccountId, LedgerError};

/// A transfer as the ledger holds it, uninterpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawTransfer {
    /// The id.
    pub id: u128,
    /// The debited account; not read of a void, whose pending transfer tells it.
    pub debit: u128,
    /// The credited account; not read of a void.
    pub credit: u128,
    /// The amount. Of a balancing transfer what it moved.
    pub amount: u128,
    /// The transfer that a void or post ends; 0 of others.
    pub pending_id: u128,
    /// The user data of 128 bits.
    pub wide: u128,
    /// The user data of 64 bits.
    pub long: u64,
    /// The user data of 32 bits.
    pub short: u32,
    /// After how many seconds a pending transfer expires; 0 means never.
    pub timeout_seconds: u32,
    /// The purpose.
    pub code: u16,
    /// Flags with the numbers of TigerBeetle.
    pub flags: u16,
    /// When the ledger created it, in nanoseconds since the Unix epoch; unique in the ledger.
    pub timestamp_ns: u64,
}

impl RawTransfer {
    /// The next transfer is of the same chain.
    pub const LINKED: u16 = 1;
    /// Reserves its amount.
    pub const PENDING: u16 = 1 << 1;
    /// Posts a pending transfer.
    pub const POST_PENDING: u16 = 1 << 2;
    /// Voids a pending transfer.
    pub const VOID_PENDING: u16 = 1 << 3;
    /// Moves at most what the debited account has.
    pub const BALANCING_DEBIT: u16 = 1 << 4;
    /// Moves at most what the credited account owes.
    pub const BALANCING_CREDIT: u16 = 1 << 5;
    /// Closes the debited account.
    pub const CLOSING_DEBIT: u16 = 1 << 6;

    /// Whether it has all these flags.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

/// A ledger that gives an audit all that it holds.
pub trait RawLedger: Send + Sync {
    /// Reads transfers later than `after_ns` up to `until_ns`, oldest first. The ledger may read fewer than there are; none is
    /// the end.
    fn raw_transfers(
        &self,
        after_ns: u64,
        until_ns: u64,
    ) -> impl Future<Output = Result<Vec<RawTransfer>, LedgerError>> + Send;

    /// Reads every transfer that carries this number as its wide user data, oldest first.
    fn raw_transfers_of(
        &self,
        wide: u128,
    ) -> impl Future<Output = Result<Vec<RawTransfer>, LedgerError>> + Send;

    /// Reads every part of a definition, oldest first.
    fn raw_definitions(&self) -> impl Future<Output = Result<Vec<RawTransfer>, LedgerError>> + Send;

    /// Looks accounts up, and tells the moment, in the ledger's nanoseconds, at which they had these balances: every transfer up
    /// to then counts, and no later one.
    fn raw_accounts(
        &self,
        ids: Vec<AccountId>,
    ) -> impl Future<Output = Result<(Vec<Option<Account>>, u64), LedgerError>> + Send;
}
