use std::fmt;
use std::num::NonZeroU128;

use smallvec::SmallVec;

use super::AccountId;

/// The id of a transfer. Never 0 and never the largest number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(NonZeroU128);

impl TransferId {
    /// Takes a number as an id; the two that a ledger reserves are moved aside.
    pub fn from_u128(number: u128) -> Self {
        Self(NonZeroU128::new(number.min(u128::MAX - 1)).unwrap_or(NonZeroU128::MIN))
    }

    /// The id as a number.
    pub fn as_u128(self) -> u128 {
        self.0.get()
    }
}

/// What ids have in common that differ in their last 16 bits only. All transfers that name a lease are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransferFamily(u128);

impl TransferId {
    /// The family that it belongs to.
    pub fn family(self) -> TransferFamily {
        TransferFamily(self.as_u128() >> 16)
    }

    /// The bits that are its own in its family.
    pub(crate) fn tail(self) -> u16 {
        self.as_u128() as u16
    }
}

impl TransferFamily {
    /// Its transfer with this tail.
    pub(crate) fn transfer(self, tail: u16) -> TransferId {
        TransferId::from_u128(self.0 << 16 | u128::from(tail))
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transfer:{:032x}", self.0)
    }
}

/// One transfer to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Its id; the same id never acts twice.
    pub id: TransferId,
    /// What it is for. A void carries the code of what it voids.
    pub code: TransferCode,
    /// What it carries along.
    pub user_data: UserData,
    /// What it moves.
    pub movement: Movement,
}

/// What a transfer moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// Moves an amount for good.
    Post {
        /// The account that is debited.
        debit: AccountId,
        /// The account that is credited.
        credit: AccountId,
        /// How much.
        amount: u128,
    },
    /// Moves for good as much as there is, at most an amount. As it is recorded, the amount is what it moved.
    PostUpTo {
        /// The account that is debited.
        debit: AccountId,
        /// The account that is credited.
        credit: AccountId,
        /// How much at the most.
        amount: u128,
        /// What tells how much there is.
        bound: Bound,
    },
    /// Holds an amount until it is voided or `timeout_seconds` have passed.
    Pend {
        /// The account that is debited.
        debit: AccountId,
        /// The account that is credited.
        credit: AccountId,
        /// How much.
        amount: u128,
        /// For how long; 0 is without end.
        timeout_seconds: u32,
    },
    /// Closes the debited account to everything but voids, until this is voided. Moves nothing.
    Close {
        /// The account that is closed.
        debit: AccountId,
        /// The other end.
        credit: AccountId,
    },
    /// Undoes a pending or closing transfer. Without user data of its own it takes over that transfer's.
    Void {
        /// What it undoes.
        pending: TransferId,
    },
}

impl Movement {
    /// How much it moves, of its own.
    pub fn amount(self) -> u128 {
        match self {
            Self::Post { amount, .. } | Self::PostUpTo { amount, .. } | Self::Pend { amount, .. } => amount,
            Self::Close { .. } | Self::Void { .. } => 0,
        }
    }
}

/// What a transfer that moves as much as there is never moves more than.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// What the debited account has.
    Has,
    /// What the credited account owes: its posted debits less its credits.
    Owes,
    /// Either.
    HasAndOwes,
}

/// What a transfer is for, so that the ledger can be read as an audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum TransferCode {
    /// Capacity given to a limit.
    Grant = 1,
    /// Capacity taken from a limit.
    Cut = 2,
    /// A piece of an encoded definition.
    Definition = 3,
    /// The closing of a limit.
    Close = 4,
    /// A reservation on a rolling limit; what is used beyond it and does not fit becomes debt.
    ReserveRolling = 10,
    /// A reservation on a concurrency limit.
    ReserveConcurrency = 11,
    /// What stays reserved of a rolling reservation that settled below its estimate.
    Shrink = 12,
    /// What was reserved on top of a rolling reservation that settled above its estimate.
    Extend = 13,
    /// What a rolling reservation used beyond what could be reserved.
    Debt = 14,
    /// The trace of a complete that moves nothing at its head.
    Complete = 15,
    /// A reservation on a rolling limit; what is used beyond it and does not fit is only counted.
    ReserveRollingDeny = 16,
    /// The trace of a top-up, in front of what it reserves.
    TopUp = 17,
    /// A reservation on a limit of which what is spent comes back by a schedule; what is used beyond it and does not fit
    /// becomes debt.
    Spend = 20,
    /// Likewise; what is used beyond it and does not fit is only counted.
    SpendDeny = 21,
    /// What of a reservation on such a limit was not used.
    GiveBack = 22,
    /// The trace of time that has gone on to a later step of a limit's schedule, in front of what comes back by it.
    Advance = 23,
    /// What comes back by a schedule, or because somebody asked for it.
    ComeBack = 24,
    /// What a reservation takes that will only be there in the future, or may be.
    Borrow = 25,
    /// What was borrowed is paid back.
    Repay = 26,
    /// What is owed behind a reservation, moved away and back to be seen.
    Measure = 27,
}

impl TransferCode {
    /// Every code.
    pub const ALL: [TransferCode; 20] = [
        TransferCode::Grant,
        TransferCode::Cut,
        TransferCode::Definition,
        TransferCode::Close,
        TransferCode::ReserveRolling,
        TransferCode::ReserveConcurrency,
        TransferCode::Shrink,
        TransferCode::Extend,
        TransferCode::Debt,
        TransferCode::Complete,
        TransferCode::ReserveRollingDeny,
        TransferCode::TopUp,
        TransferCode::Spend,
        TransferCode::SpendDeny,
        TransferCode::GiveBack,
        TransferCode::Advance,
        TransferCode::ComeBack,
        TransferCode::Borrow,
        TransferCode::Repay,
        TransferCode::Measure,
    ];

    /// The code that a number stands for.
    pub fn from_u16(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|&code| code as u16 == number)
    }

    /// Whether such transfers belong to a lease, which their user data names.
    pub fn is_of_lease(self) -> bool {
        match self {
            Self::Grant
            | Self::Cut
            | Self::Definition
            | Self::Close
            | Self::Advance
            | Self::ComeBack
            | Self::Repay => false,
            Self::ReserveRolling
            | Self::ReserveRollingDeny
            | Self::ReserveConcurrency
            | Self::Shrink
            | Self::Extend
            | Self::Debt
            | Self::Complete
            | Self::TopUp
            | Self::Spend
            | Self::SpendDeny
            | Self::GiveBack
            | Self::Borrow
            | Self::Measure => true,
        }
    }

    /// Whether such transfers are ever asked for by their account. Others are known by their ids only, and forgotten in time.
    pub fn is_of_log(self) -> bool {
        match self {
            Self::Definition | Self::Close => true,
            Self::Grant
            | Self::Cut
            | Self::ReserveRolling
            | Self::ReserveRollingDeny
            | Self::ReserveConcurrency
            | Self::Shrink
            | Self::Extend
            | Self::Debt
            | Self::Complete
            | Self::TopUp
            | Self::Spend
            | Self::SpendDeny
            | Self::GiveBack
            | Self::Advance
            | Self::ComeBack
            | Self::Borrow
            | Self::Repay
            | Self::Measure => false,
        }
    }
}

/// What a transfer carries along, uninterpreted by the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserData {
    /// 16 bytes; of a transfer that belongs to a lease, the lease.
    pub wide: u128,
    /// 8 bytes; of what a lease spends, when all of it has come back, in milliseconds since the Unix epoch.
    pub long: u64,
    /// 4 bytes.
    pub short: u32,
}

/// A transfer as the ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The transfer.
    pub transfer: Transfer,
    /// When it was made, in nanoseconds since the Unix epoch; unique in its ledger.
    pub timestamp_ns: u64,
}

/// Transfers that are made all together or not at all. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(SmallVec<[Transfer; 1]>);

impl Chain {
    /// A chain of these transfers, or `None` of none.
    pub fn new(transfers: impl IntoIterator<Item = Transfer>) -> Option<Self> {
        let transfers: SmallVec<_> = transfers.into_iter().collect();
        if transfers.is_empty() { None } else { Some(Self(transfers)) }
    }

    /// The same of a list, without copying it.
    pub fn from_vec(transfers: Vec<Transfer>) -> Option<Self> {
        if transfers.is_empty() { None } else { Some(Self(SmallVec::from_vec(transfers))) }
    }

    /// Its transfers, in order.
    pub fn transfers(&self) -> &[Transfer] {
        &self.0
    }
}
