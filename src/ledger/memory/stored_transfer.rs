//! A transfer as the memory ledger stores it.
//!
//! Amounts above 64 bits and other rare fields are stored apart, in [`RareFields`]. With them a transfer took
//! 112 bytes instead of 64, and a live lease 48 bytes more (`scripts/bench --only resident`).

use super::slots::{AccountIndex, FamilySlot, TransferSlot};
use crate::ledger::{Bound, Refusal, TransferCode, TransferId, UserData};
use crate::time::NS_PER_SECOND;

/// A transfer that was created; or one that was refused and whose id failed.
pub(super) struct StoredTransfer {
    pub(super) movement: CompactMovement,
    /// The long user data; or the slot of the [`RareFields`], if `has_rare_fields`.
    pub(super) long_or_rare_slot: u64,
    pub(super) timestamp_ns: u64,
    pub(super) family: FamilySlot,
    pub(super) next_in_family: Option<TransferSlot>,
    /// The neighbours in the expiry list. A transfer that was removed from the list keeps them, so that a
    /// rollback can put it back.
    pub(super) previous_expiring: Option<TransferSlot>,
    pub(super) next_expiring: Option<TransferSlot>,
    pub(super) id_tail: u16,
    pub(super) code: TransferCode,
    pub(super) state: TransferState,
    /// Whether the next transfer of the chain is linked to it.
    pub(super) linked: bool,
    pub(super) has_rare_fields: bool,
}

/// The fields of a transfer that has an amount above 64 bits, a short user data, or another wide user data
/// than its family.
pub(super) struct RareFields {
    pub(super) wide: u128,
    /// Stored here, because the transfer's own field holds the slot of these fields.
    pub(super) long: u64,
    pub(super) amount_high: u64,
    pub(super) short: u32,
}

/// A movement with the low half of its amount.
#[derive(Clone, Copy)]
pub(super) enum CompactMovement {
    Post { debit: AccountIndex, credit: AccountIndex, amount: u64 },
    PostUpTo { debit: AccountIndex, credit: AccountIndex, amount: u64, bound: Bound },
    Pend { debit: AccountIndex, credit: AccountIndex, amount: u64, timeout_seconds: u32 },
    Close { debit: AccountIndex, credit: AccountIndex },
    Void { pending: [u64; 2] },
}

/// A movement between accounts named by their indexes. The amount of a `PostUpTo` is what it moved.
#[derive(Clone, Copy)]
pub(super) enum StoredMovement {
    Post { debit: AccountIndex, credit: AccountIndex, amount: u128 },
    PostUpTo { debit: AccountIndex, credit: AccountIndex, amount: u128, bound: Bound },
    Pend { debit: AccountIndex, credit: AccountIndex, amount: u128, timeout_seconds: u32 },
    Close { debit: AccountIndex, credit: AccountIndex },
    Void { pending: TransferId },
}

/// A transfer to be stored.
pub(super) struct NewTransfer {
    pub(super) id: TransferId,
    pub(super) code: TransferCode,
    pub(super) user_data: UserData,
    pub(super) movement: StoredMovement,
    pub(super) state: TransferState,
    pub(super) linked: bool,
    pub(super) timestamp_ns: u64,
}

/// Whether a transfer holds something, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferState {
    /// The transfer was refused for a final reason: its id failed, and nothing was created.
    IdFailed,
    /// A post or a void.
    NotPending,
    /// A pending transfer that holds its amount, or a closing transfer that keeps its account closed.
    Pending,
    Voided,
    Expired,
}

impl StoredTransfer {
    /// The debited and the credited account; `None` of a void, which has none of its own.
    pub(super) fn accounts(&self) -> Option<(AccountIndex, AccountIndex)> {
        match self.movement {
            CompactMovement::Post { debit, credit, .. }
            | CompactMovement::PostUpTo { debit, credit, .. }
            | CompactMovement::Pend { debit, credit, .. }
            | CompactMovement::Close { debit, credit } => Some((debit, credit)),
            CompactMovement::Void { .. } => None,
        }
    }

    /// The timeout of a pending transfer; `None` if it never expires.
    pub(super) fn timeout_seconds(&self) -> Option<u32> {
        match self.movement {
            CompactMovement::Pend { timeout_seconds: timeout_seconds @ 1.., .. } => Some(timeout_seconds),
            CompactMovement::Pend { .. }
            | CompactMovement::Post { .. }
            | CompactMovement::PostUpTo { .. }
            | CompactMovement::Close { .. }
            | CompactMovement::Void { .. } => None,
        }
    }

    /// When a pending transfer expires, in nanoseconds since the Unix epoch; `None` if it never does.
    pub(super) fn expires_at_ns(&self) -> Option<u64> {
        let timeout_ns = u64::from(self.timeout_seconds()?) * NS_PER_SECOND;
        Some(self.timestamp_ns.saturating_add(timeout_ns))
    }
}

impl CompactMovement {
    /// Splits a movement into its compact form and the high half of its amount.
    pub(super) fn split(movement: StoredMovement) -> (Self, u64) {
        let (compact, amount) = match movement {
            StoredMovement::Post { debit, credit, amount } => {
                (Self::Post { debit, credit, amount: amount as u64 }, amount)
            }
            StoredMovement::PostUpTo { debit, credit, amount, bound } => {
                (Self::PostUpTo { debit, credit, amount: amount as u64, bound }, amount)
            }
            StoredMovement::Pend { debit, credit, amount, timeout_seconds } => {
                (Self::Pend { debit, credit, amount: amount as u64, timeout_seconds }, amount)
            }
            StoredMovement::Close { debit, credit } => (Self::Close { debit, credit }, 0),
            StoredMovement::Void { pending } => {
                let pending = pending.as_u128();
                (Self::Void { pending: [(pending >> 64) as u64, pending as u64] }, 0)
            }
        };
        (compact, (amount >> 64) as u64)
    }

    /// The whole movement. `amount_high` is the high half of its amount.
    pub(super) fn join(self, amount_high: u64) -> StoredMovement {
        let whole = |amount: u64| u128::from(amount_high) << 64 | u128::from(amount);
        match self {
            Self::Post { debit, credit, amount } => {
                StoredMovement::Post { debit, credit, amount: whole(amount) }
            }
            Self::PostUpTo { debit, credit, amount, bound } => {
                StoredMovement::PostUpTo { debit, credit, amount: whole(amount), bound }
            }
            Self::Pend { debit, credit, amount, timeout_seconds } => {
                StoredMovement::Pend { debit, credit, amount: whole(amount), timeout_seconds }
            }
            Self::Close { debit, credit } => StoredMovement::Close { debit, credit },
            Self::Void { pending: [high, low] } => {
                let pending = u128::from(high) << 64 | u128::from(low);
                StoredMovement::Void { pending: TransferId::from_u128(pending) }
            }
        }
    }
}

impl TransferState {
    /// Why a transfer in this state cannot be voided; `None` if it can.
    pub(super) fn void_refusal(self) -> Option<Refusal> {
        match self {
            Self::Pending => None,
            Self::IdFailed => Some(Refusal::PendingNotFound),
            Self::NotPending => Some(Refusal::PendingNotPending),
            Self::Voided => Some(Refusal::PendingAlreadyVoided),
            Self::Expired => Some(Refusal::PendingExpired),
        }
    }
}

const _: () = assert!(size_of::<Option<StoredTransfer>>() == 64, "an entry of the slab takes 64 bytes");
