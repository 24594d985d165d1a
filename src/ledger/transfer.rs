//! Transfers, and the chains in which they are created.

use std::fmt;
use std::num::NonZeroU128;

use smallvec::SmallVec;

use super::AccountId;

/// The id of a transfer. Never 0 and never the largest number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(NonZeroU128);

impl TransferId {
    /// Takes a number as an id. The ledger reserves 0 and 2^128-1: they become 1 and 2^128-2.
    pub fn from_u128(number: u128) -> Self {
        Self(NonZeroU128::new(number.min(u128::MAX - 1)).unwrap_or(NonZeroU128::MIN))
    }

    /// The id as a number.
    pub fn as_u128(self) -> u128 {
        self.0.get()
    }
}

/// The upper 112 bits of transfer ids. All transfers of a lease share them: they are one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TransferFamily(u128);

impl TransferId {
    /// The family of this id.
    pub(crate) fn family(self) -> TransferFamily {
        TransferFamily(self.as_u128() >> 16)
    }

    /// The lower 16 bits, which tell the id from others of its family.
    pub(crate) fn tail(self) -> u16 {
        self.as_u128() as u16
    }
}

impl TransferFamily {
    /// The id with these lower 16 bits.
    pub(crate) fn transfer(self, tail: u16) -> TransferId {
        TransferId::from_u128(self.0 << 16 | u128::from(tail))
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transfer:{:032x}", self.0)
    }
}

/// A transfer to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The id. Two transfers with one id never both take effect.
    pub id: TransferId,
    /// The purpose. A void carries the code of the transfer that it voids.
    pub code: TransferCode,
    /// Data that the ledger stores and does not interpret.
    pub user_data: UserData,
    /// The accounts and the amount.
    pub movement: Movement,
}

/// What a transfer does to accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// Moves an amount.
    Post {
        /// The account that is debited.
        debit: AccountId,
        /// The account that is credited.
        credit: AccountId,
        /// The amount.
        amount: u128,
    },
    /// Moves as much as the bound allows, at most an amount. The recorded transfer holds the amount that it moved.
    PostUpTo {
        /// The account that is debited.
        debit: AccountId,
        /// The account that is credited.
        credit: AccountId,
        /// The most to move.
        amount: u128,
        /// What bounds the amount.
        bound: Bound,
    },
    /// Reserves an amount until it is voided or expires.
    Pend {
        /// The account that is debited.
        debit: AccountId,
        /// The account that is credited.
        credit: AccountId,
        /// The amount.
        amount: u128,
        /// The time until it expires, in seconds; 0 means never.
        timeout_seconds: u32,
    },
    /// Closes the debited account: until this transfer is voided, the account refuses everything but voids.
    Close {
        /// The account that is closed.
        debit: AccountId,
        /// The account that is credited, with nothing.
        credit: AccountId,
    },
    /// Undoes a pending or closing transfer. A void without user data inherits that of the transfer.
    Void {
        /// The transfer to undo.
        pending: TransferId,
    },
}

impl Movement {
    /// The amount; 0 for closings and voids.
    pub fn amount(self) -> u128 {
        match self {
            Self::Post { amount, .. } | Self::PostUpTo { amount, .. } | Self::Pend { amount, .. } => amount,
            Self::Close { .. } | Self::Void { .. } => 0,
        }
    }
}

/// What bounds the amount of a balancing transfer ([`Movement::PostUpTo`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The debited account's available balance.
    DebitBalance,
    /// What the credited account owes: its posted debits less its credits.
    CreditOwed,
    /// The smaller of the two.
    Both,
}

/// The purpose of a transfer, so that the ledger can be read as an audit log. The numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum TransferCode {
    /// Capacity given to a limit.
    Grant = 1,
    /// Capacity taken from a limit.
    Cut = 2,
    /// One part of an encoded definition version.
    Definition = 3,
    /// Closes an account, or the void that reopens it.
    Close = 4,
    /// What stays reserved on the new account of a limit for leases on the account that it replaced.
    KeepReserved = 5,
    /// Sets the debt of a limit to zero.
    ClearDebt = 6,
    /// A reservation on a rolling limit; overage that finds no room becomes debt.
    ReserveRolling = 10,
    /// A reservation on a concurrency limit.
    ReserveConcurrency = 11,
    /// What stays reserved of a rolling reservation that settled below its amount.
    Shrink = 12,
    /// What was reserved in addition for a reservation that settled above its amount.
    Overage = 13,
    /// Overage that found no room.
    Debt = 14,
    /// The marker at the head of a complete that voids no concurrency reservation.
    Complete = 15,
    /// A reservation on a rolling limit; overage that finds no room is only counted.
    ReserveRollingDeny = 16,
    /// The trace of an extend, at the head of its chain.
    Extend = 17,
    /// The trace of a renewal, at the head of its chain.
    Renew = 18,
    /// What a forced reserve took beyond the room of a limit, as debt; behind the reservation of that limit.
    Excess = 19,
    /// A reservation on a limit with a refill schedule; overage that finds no room becomes debt.
    Spend = 20,
    /// A reservation on a limit with a refill schedule; overage that finds no room is only counted.
    SpendDeny = 21,
    /// Releases the unused part of a reservation on a limit with a refill schedule.
    Release = 22,
    /// Advances a limit's refill clock, at the head of the refills that are due.
    AdvanceClock = 23,
    /// A refill: by schedule, or on request.
    Refill = 24,
    /// Borrows tokens ahead of refills.
    Borrow = 25,
    /// Repays borrowed tokens.
    Repay = 26,
    /// Moves what is owed to the measure account and back, so that the ledger records how much it is.
    Measure = 27,
    /// Gives the allowance account the most that a bucket may owe, or takes back what is left of it.
    Allow = 28,
    /// An allotment: what a replica reserved of a limit to serve callers from; or what stays reserved of one.
    Allot = 29,
    /// The transfer with which every later attempt at a reserve begins. It has one id for each lease.
    Pass = 30,
    /// A replica lives, until the transfer expires or is voided.
    Announce = 31,
    /// A part of the URL under which a replica answers the others.
    AnnounceUrl = 32,
    /// A step of a limit's alert account: thresholds of its usage were crossed, or are armed anew.
    Alert = 36,
}

impl TransferCode {
    /// Every code.
    pub(crate) const ALL: [TransferCode; 30] = [
        TransferCode::Grant,
        TransferCode::Cut,
        TransferCode::Definition,
        TransferCode::Close,
        TransferCode::KeepReserved,
        TransferCode::ClearDebt,
        TransferCode::ReserveRolling,
        TransferCode::ReserveConcurrency,
        TransferCode::Shrink,
        TransferCode::Overage,
        TransferCode::Debt,
        TransferCode::Complete,
        TransferCode::ReserveRollingDeny,
        TransferCode::Extend,
        TransferCode::Renew,
        TransferCode::Excess,
        TransferCode::Spend,
        TransferCode::SpendDeny,
        TransferCode::Release,
        TransferCode::AdvanceClock,
        TransferCode::Refill,
        TransferCode::Borrow,
        TransferCode::Repay,
        TransferCode::Measure,
        TransferCode::Allow,
        TransferCode::Allot,
        TransferCode::Pass,
        TransferCode::Announce,
        TransferCode::AnnounceUrl,
        TransferCode::Alert,
    ];

    /// The code with this number.
    pub fn from_u16(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|&code| code as u16 == number)
    }

    /// Whether transfers of this code belong to a lease, which their user data names, or to what is named like one.
    pub(crate) fn is_of_lease(self) -> bool {
        match self {
            Self::Grant
            | Self::Cut
            | Self::Definition
            | Self::Close
            | Self::KeepReserved
            | Self::ClearDebt
            | Self::AdvanceClock
            | Self::Refill
            | Self::Repay
            | Self::Allow
            | Self::Announce
            | Self::Alert => false,
            Self::ReserveRolling
            | Self::ReserveRollingDeny
            | Self::ReserveConcurrency
            | Self::Shrink
            | Self::Overage
            | Self::Debt
            | Self::Complete
            | Self::Extend
            | Self::Renew
            | Self::Excess
            | Self::Spend
            | Self::SpendDeny
            | Self::Release
            | Self::Borrow
            | Self::Measure
            | Self::Allot
            | Self::Pass
            | Self::AnnounceUrl => true,
        }
    }

    /// Whether the memory ledger keeps transfers of this code. Others are looked up by id only, and it forgets them in time.
    pub(crate) fn is_of_log(self) -> bool {
        match self {
            Self::Definition | Self::Close | Self::Announce | Self::AnnounceUrl => true,
            Self::Grant
            | Self::Cut
            | Self::KeepReserved
            | Self::ClearDebt
            | Self::ReserveRolling
            | Self::ReserveRollingDeny
            | Self::ReserveConcurrency
            | Self::Shrink
            | Self::Overage
            | Self::Debt
            | Self::Complete
            | Self::Extend
            | Self::Renew
            | Self::Excess
            | Self::Spend
            | Self::SpendDeny
            | Self::Release
            | Self::AdvanceClock
            | Self::Refill
            | Self::Borrow
            | Self::Repay
            | Self::Measure
            | Self::Allow
            | Self::Allot
            | Self::Pass
            | Self::Alert => false,
        }
    }
}

/// Data of a transfer that the ledger stores and does not interpret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserData {
    /// 16 bytes: the lease, for a transfer that belongs to one.
    pub wide: u128,
    /// 8 bytes: for a reservation on a limit with a schedule, when all of it is refilled, in milliseconds since the Unix epoch.
    pub long: u64,
    /// 4 bytes.
    pub short: u32,
}

/// A transfer as the ledger recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The transfer.
    pub transfer: Transfer,
    /// When the ledger created it, in nanoseconds since the Unix epoch; unique in the ledger.
    pub timestamp_ns: u64,
}

/// Transfers that the ledger creates all together or not at all. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(SmallVec<[Transfer; 1]>);

impl Chain {
    /// A chain of these transfers; `None` if there are none.
    pub fn new(transfers: impl IntoIterator<Item = Transfer>) -> Option<Self> {
        let transfers: SmallVec<_> = transfers.into_iter().collect();
        if transfers.is_empty() { None } else { Some(Self(transfers)) }
    }

    /// A chain of these transfers, without copying the list; `None` if it is empty.
    pub fn from_vec(transfers: Vec<Transfer>) -> Option<Self> {
        if transfers.is_empty() { None } else { Some(Self(SmallVec::from_vec(transfers))) }
    }

    /// The transfers, in order.
    pub fn transfers(&self) -> &[Transfer] {
        &self.0
    }
}
