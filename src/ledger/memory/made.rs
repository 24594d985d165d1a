use super::link::Link;
use crate::ledger::{Bound, Refusal, TransferCode, TransferId, UserData};
use crate::time::NS_PER_SECOND;

/// A transfer that was made, or an id that was used up by one that could not be. There are millions of them, and each is
/// one line of the processor's cache.
#[repr(align(64))]
pub(super) struct Made {
    pub(super) moved: Packed,
    /// The long part of its user data; or where its [`More`] is.
    pub(super) long_or_more: u64,
    pub(super) timestamp_ns: u64,
    pub(super) family: u32,
    pub(super) next_of_family: Link,
    /// Its neighbours among those that expire after the same time; when it has left them, those that it had.
    pub(super) before: Link,
    pub(super) behind: Link,
    pub(super) tail: u16,
    pub(super) code: TransferCode,
    pub(super) state: State,
    /// Whether another transfer was linked behind it.
    pub(super) linked: bool,
    pub(super) has_more: bool,
}

/// What seldom differs from transfer to transfer of a family, or is seldom so large.
pub(super) struct More {
    pub(super) wide: u128,
    pub(super) long: u64,
    pub(super) amount_high: u64,
    pub(super) short: u32,
}

/// What a transfer moved, as it is kept: the low half of its amount.
#[derive(Clone, Copy)]
pub(super) enum Packed {
    Post { debit: u32, credit: u32, amount: u64 },
    PostUpTo { debit: u32, credit: u32, amount: u64, bound: Bound },
    Pend { debit: u32, credit: u32, amount: u64, timeout_seconds: u32 },
    Close { debit: u32, credit: u32 },
    Void { pending: [u64; 2] },
}

/// A transfer to be taken in.
pub(super) struct New {
    pub(super) id: TransferId,
    pub(super) code: TransferCode,
    pub(super) user_data: UserData,
    pub(super) moved: Moved,
    pub(super) state: State,
    pub(super) linked: bool,
    pub(super) timestamp_ns: u64,
}

/// What a transfer moved, between accounts of these indexes.
#[derive(Clone, Copy)]
pub(super) enum Moved {
    Post { debit: u32, credit: u32, amount: u128 },
    PostUpTo { debit: u32, credit: u32, amount: u128, bound: Bound },
    Pend { debit: u32, credit: u32, amount: u128, timeout_seconds: u32 },
    Close { debit: u32, credit: u32 },
    Void { pending: TransferId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its id was used up, and nothing was made.
    Burnt,
    NotPending,
    Held,
    Voided,
    Expired,
}

impl Made {
    /// The account that it debits; a void debits none of its own.
    pub(super) fn debit(&self) -> Option<u32> {
        match self.moved {
            Packed::Post { debit, .. }
            | Packed::PostUpTo { debit, .. }
            | Packed::Pend { debit, .. }
            | Packed::Close { debit, .. } => Some(debit),
            Packed::Void { .. } => None,
        }
    }

    /// After how many seconds it comes back by itself; `None` if it does not.
    pub(super) fn timeout_seconds(&self) -> Option<u32> {
        match self.moved {
            Packed::Pend { timeout_seconds: timeout_seconds @ 1.., .. } => Some(timeout_seconds),
            Packed::Pend { .. }
            | Packed::Post { .. }
            | Packed::PostUpTo { .. }
            | Packed::Close { .. }
            | Packed::Void { .. } => None,
        }
    }

    /// When it comes back by itself.
    pub(super) fn expires_at_ns(&self) -> Option<u64> {
        let timeout_ns = u64::from(self.timeout_seconds()?) * NS_PER_SECOND;
        Some(self.timestamp_ns.saturating_add(timeout_ns))
    }
}

impl Packed {
    /// With the high half of the amount.
    pub(super) fn of(moved: Moved) -> (Self, u64) {
        let (moved, amount) = match moved {
            Moved::Post { debit, credit, amount } => {
                (Self::Post { debit, credit, amount: amount as u64 }, amount)
            }
            Moved::PostUpTo { debit, credit, amount, bound } => {
                (Self::PostUpTo { debit, credit, amount: amount as u64, bound }, amount)
            }
            Moved::Pend { debit, credit, amount, timeout_seconds } => {
                (Self::Pend { debit, credit, amount: amount as u64, timeout_seconds }, amount)
            }
            Moved::Close { debit, credit } => (Self::Close { debit, credit }, 0),
            Moved::Void { pending } => {
                let pending = pending.as_u128();
                (Self::Void { pending: [(pending >> 64) as u64, pending as u64] }, 0)
            }
        };
        (moved, (amount >> 64) as u64)
    }

    pub(super) fn with_high(self, amount_high: u64) -> Moved {
        let whole = |amount: u64| u128::from(amount_high) << 64 | u128::from(amount);
        match self {
            Self::Post { debit, credit, amount } => Moved::Post { debit, credit, amount: whole(amount) },
            Self::PostUpTo { debit, credit, amount, bound } => {
                Moved::PostUpTo { debit, credit, amount: whole(amount), bound }
            }
            Self::Pend { debit, credit, amount, timeout_seconds } => {
                Moved::Pend { debit, credit, amount: whole(amount), timeout_seconds }
            }
            Self::Close { debit, credit } => Moved::Close { debit, credit },
            Self::Void { pending: [high, low] } => {
                Moved::Void { pending: TransferId::from_u128(u128::from(high) << 64 | u128::from(low)) }
            }
        }
    }
}

impl State {
    /// What stands in the way of voiding such a transfer.
    pub(super) fn refuses_void(self) -> Option<Refusal> {
        match self {
            State::Held => None,
            State::Burnt => Some(Refusal::PendingNotFound),
            State::NotPending => Some(Refusal::PendingNotPending),
            State::Voided => Some(Refusal::PendingAlreadyVoided),
            State::Expired => Some(Refusal::PendingExpired),
        }
    }
}

/// A transfer, and its place in the slab, is one line of the processor's cache.
const _: () = assert!(size_of::<Option<Made>>() == 64);
