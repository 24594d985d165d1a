//! A lease as the ledger tells it: no memory of this process is needed to know how it stands.

use super::Limit;
use super::command::Reserve;
use super::ids::Ids;
use super::object;
use crate::clock::{NS_PER_MS, NS_PER_SECOND, unix_ms};
use crate::ledger::{AccountId, Movement, Recorded, Transfer, TransferCode, TransferId};
use crate::limit::{LeaseId, Overage};

/// What a granted lease reserved, and whether it was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// Its reservations: those that it was granted at first, sorted by key, then its top-ups. Never empty.
    pub legs: Vec<Leg>,
    /// How many of them are top-ups.
    pub top_ups: usize,
    /// Whether it was completed.
    pub settled: bool,
}

/// One reservation of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The pending transfer.
    pub transfer: TransferId,
    /// The limit's account.
    pub account: AccountId,
    /// How much was reserved.
    pub amount: u128,
    /// How it comes back. The limit may have changed since.
    pub hold: Hold,
    /// When it comes back by itself, in the ledger's nanoseconds.
    pub expires_at_ns: u64,
    /// When it was reserved, likewise.
    pub reserved_at_ns: u64,
}

/// How a reservation comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// After its window only. What is used beyond it and does not fit is treated as its limit said when it was
    /// reserved.
    Rolling(Overage),
    /// On complete.
    Concurrency,
    /// By its limit's schedule, out of the account that keeps it until then. What is used beyond it is treated likewise.
    Scheduled {
        /// What becomes of what is used beyond it and does not fit.
        overage: Overage,
        /// The account that keeps it.
        spent: AccountId,
    },
}

/// How a lease stands that is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Still granted.
    Granted {
        /// The first grant, in milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// It was granted for other requirements.
    Conflict,
    /// It was completed, or all of it has expired.
    Settled,
}

impl Hold {
    /// The code of a transfer that reserves so.
    pub fn code(self) -> TransferCode {
        match self {
            Hold::Rolling(Overage::Debt) => TransferCode::ReserveRolling,
            Hold::Rolling(Overage::Deny) => TransferCode::ReserveRollingDeny,
            Hold::Concurrency => TransferCode::ReserveConcurrency,
            Hold::Scheduled { overage: Overage::Debt, .. } => TransferCode::Spend,
            Hold::Scheduled { overage: Overage::Deny, .. } => TransferCode::SpendDeny,
        }
    }
}

impl Lease {
    /// Reads a lease's transfers, oldest first. `None` if it reserved nothing.
    ///
    /// A top-up that came when everything else had expired is none of its: a lease that is over stays so.
    pub fn from_transfers(id: LeaseId, transfers: &[Recorded]) -> Option<Self> {
        let mut lease = Self::from_each(id, transfers.iter().copied())?;
        if transfers.iter().any(|recorded| recorded.transfer.code == TransferCode::Borrow) {
            lease.hold_until_it_acts(transfers);
        }
        Some(lease)
    }

    fn from_each(id: LeaseId, transfers: impl ExactSizeIterator<Item = Recorded>) -> Option<Self> {
        let mut lease = Self { id, legs: Vec::with_capacity(transfers.len()), top_ups: 0, settled: false };
        let mut is_top_up = false;
        for recorded in transfers {
            match Leg::from_recorded(&recorded) {
                Some(leg) if !is_top_up => lease.legs.push(leg),
                Some(leg) => {
                    is_top_up = false;
                    if !lease.is_expired(leg.reserved_at_ns) {
                        lease.legs.push(leg);
                        lease.top_ups += 1;
                    }
                }
                None if recorded.transfer.code == TransferCode::TopUp => is_top_up = true,
                // What stands beside a reservation that took of the future.
                None if matches!(recorded.transfer.code, TransferCode::Borrow | TransferCode::Measure) => {}
                None => lease.settled = true,
            }
        }
        if lease.legs.is_empty() { None } else { Some(lease) }
    }

    /// What it took can be given back until it may act, however soon the bucket is full then.
    fn hold_until_it_acts(&mut self, transfers: &[Recorded]) {
        let promise = object::promise(self.reserved_at_unix_ms(), transfers);
        if let (Some(promise), Some(leg)) = (promise, self.legs.first_mut()) {
            leg.expires_at_ns = leg.expires_at_ns.max(promise.acts_unix_ms.saturating_mul(NS_PER_MS));
        }
    }

    /// What a chain that was just created reserved: the same that its transfers would tell.
    pub fn from_grant(id: LeaseId, chain: &[Transfer], timestamp_ns: u64) -> Option<Self> {
        let recorded = |(nth, &transfer): (usize, &Transfer)| Recorded {
            transfer,
            timestamp_ns: timestamp_ns + nth as u64,
        };
        Self::from_each(id, chain.iter().enumerate().map(recorded))
    }

    /// When it was granted, in milliseconds since the Unix epoch.
    pub fn reserved_at_unix_ms(&self) -> u64 {
        self.legs.first().map_or(0, |leg| unix_ms(leg.reserved_at_ns))
    }

    /// Whether every reservation has come back by itself.
    pub fn is_expired(&self, now_ns: u64) -> bool {
        self.legs.iter().all(|leg| leg.is_expired(now_ns))
    }

    /// How it stands for a command that bears its id.
    pub fn standing(&self, ids: Ids, command: &Reserve, limits: &[Option<&Limit>], now_ns: u64) -> Standing {
        if !self.is_of(ids, command, limits) {
            Standing::Conflict
        } else if self.settled || self.is_expired(now_ns) {
            Standing::Settled
        } else {
            Standing::Granted { reserved_at_unix_ms: self.reserved_at_unix_ms() }
        }
    }

    /// Whether it was granted exactly what the command wants; the legs of both are sorted by key.
    fn is_of(&self, ids: Ids, command: &Reserve, limits: &[Option<&Limit>]) -> bool {
        let wanted = command.requirements();
        wanted.len() + self.top_ups == self.legs.len()
            && wanted.iter().zip(limits).zip(&self.legs).all(|((requirement, limit), leg)| {
                let account = limit.map_or_else(|| ids.limit(&requirement.key), |limit| limit.account);
                leg.account == account && leg.amount == u128::from(requirement.amount)
            })
    }
}

impl Leg {
    fn from_recorded(recorded: &Recorded) -> Option<Self> {
        let Transfer { id, code, user_data, movement } = recorded.transfer;
        let reserved_at_ns = recorded.timestamp_ns;
        let leg = |account, amount, hold, expires_at_ns| {
            Some(Self { transfer: id, account, amount, hold, expires_at_ns, reserved_at_ns })
        };
        let pending = |hold| match movement {
            Movement::Pend { debit, amount, timeout_seconds, .. } => {
                let held_ns = u64::from(timeout_seconds) * NS_PER_SECOND;
                leg(debit, amount, hold, reserved_at_ns.saturating_add(held_ns))
            }
            Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Close { .. }
            | Movement::Void { .. } => None,
        };
        let spent = |overage| match movement {
            Movement::Post { debit, credit, amount } => {
                let over_at_ns = user_data.long.saturating_mul(NS_PER_MS);
                leg(debit, amount, Hold::Scheduled { overage, spent: credit }, over_at_ns)
            }
            Movement::Pend { .. }
            | Movement::PostUpTo { .. }
            | Movement::Close { .. }
            | Movement::Void { .. } => None,
        };
        match code {
            TransferCode::ReserveRolling => pending(Hold::Rolling(Overage::Debt)),
            TransferCode::ReserveRollingDeny => pending(Hold::Rolling(Overage::Deny)),
            TransferCode::ReserveConcurrency => pending(Hold::Concurrency),
            TransferCode::Spend => spent(Overage::Debt),
            TransferCode::SpendDeny => spent(Overage::Deny),
            TransferCode::Grant
            | TransferCode::Cut
            | TransferCode::Definition
            | TransferCode::Close
            | TransferCode::Shrink
            | TransferCode::Extend
            | TransferCode::Debt
            | TransferCode::Complete
            | TransferCode::TopUp
            | TransferCode::GiveBack
            | TransferCode::Advance
            | TransferCode::ComeBack
            | TransferCode::Borrow
            | TransferCode::Repay
            | TransferCode::Measure => None,
        }
    }

    /// Whether it has come back by itself.
    pub fn is_expired(&self, now_ns: u64) -> bool {
        self.expires_at_ns <= now_ns
    }

    /// What is left of its time in whole seconds, rounded up so that nothing comes back early. `None` if it is over.
    pub fn remaining_seconds(&self, now_ns: u64) -> Option<u32> {
        let remaining_ns = self.expires_at_ns.checked_sub(now_ns).filter(|&ns| ns > 0)?;
        u32::try_from(remaining_ns.div_ceil(NS_PER_SECOND)).ok()
    }
}
