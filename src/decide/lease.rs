//! A lease, read back from its transfers. The ledger alone tells its status; no memory of this process is needed.

use super::Limit;
use super::ids::Ids;
use super::reservation_ahead::reservation_ahead;
use crate::ledger::{AccountId, Movement, Recorded, Transfer, TransferCode, TransferId};
use crate::limit::{LeaseId, LimitKey, Overage};
use crate::protocol::Reserve;
use crate::time::{NS_PER_MS, NS_PER_SECOND, unix_ms};

/// What a granted lease reserved, and whether it was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lease's id.
    pub(crate) id: LeaseId,
    /// The reservations: those of the grant, sorted by key, then those of extends, by time. Never empty.
    pub(crate) legs: Vec<HeldLeg>,
    /// How many of the legs come from extends.
    pub(crate) extensions: usize,
    /// How many extends and renewals claimed an id of the guard.
    pub(crate) guards_taken: usize,
    /// Whether the lease was completed.
    pub(crate) settled: bool,
    /// For a reservation ahead, which is the first leg: its date to act, in milliseconds since the Unix epoch.
    pub(crate) acts_at_unix_ms: Option<u64>,
}

/// One reservation of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldLeg {
    /// The transfer that reserved.
    pub(crate) transfer: TransferId,
    /// The limit's account.
    pub(crate) account: AccountId,
    /// The amount reserved.
    pub(crate) amount: u128,
    /// What a forced reserve took beyond the room, as debt; 0 otherwise.
    pub(crate) excess: u128,
    /// How the amount becomes available again, as the limit said at the time of the reservation.
    pub(crate) hold: Hold,
    /// When it expires or is refilled, in the ledger's nanoseconds.
    pub(crate) expires_at_ns: u64,
    /// The time from its reservation, or its last renewal, to its expiry; 0 with a schedule.
    pub(crate) timeout_seconds: u32,
    /// When it was reserved, in the ledger's nanoseconds.
    pub(crate) reserved_at_ns: u64,
}

/// How a reservation becomes available again, and what happens to overage that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It expires after the window.
    Rolling(Overage),
    /// Its complete releases it, or it expires after the timeout.
    Concurrency,
    /// The schedule of its limit refills it.
    Scheduled {
        /// What happens to overage that finds no room.
        overage: Overage,
        /// The spent account that holds the amount until then.
        spent: AccountId,
    },
}

/// The status of a lease whose id is sent in another reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseStatus {
    /// The lease is still granted.
    Granted {
        /// The time of the grant, in milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// The lease was granted for other requirements.
    Conflict,
    /// The lease was completed.
    Settled,
    /// A part of the lease has expired, so it is no longer granted as a whole.
    Expired,
}

impl Hold {
    /// The code of a transfer that reserves in this way.
    pub(crate) fn code(self) -> TransferCode {
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
    /// What the lease took on these accounts, extensions and excess included.
    pub(crate) fn taken(&self, accounts: &[AccountId]) -> u128 {
        self.legs.iter().filter(|leg| accounts.contains(&leg.account)).map(HeldLeg::taken).sum()
    }

    /// Reads a lease from its transfers, oldest first. `None` if it reserved nothing.
    ///
    /// An extension that the ledger created after all other legs had expired does not belong to the lease: an expired lease
    /// stays expired.
    pub fn from_transfers(id: LeaseId, transfers: &[Recorded]) -> Option<Self> {
        let mut lease = Self::from_each(id, transfers.iter().copied())?;
        if transfers.iter().any(|recorded| recorded.transfer.code == TransferCode::Borrow) {
            lease.note_reservation_ahead(transfers);
        }
        Some(lease)
    }

    /// A lease that holds nothing yet.
    pub(crate) fn without_legs(id: LeaseId) -> Self {
        Self { id, legs: Vec::new(), extensions: 0, guards_taken: 0, settled: false, acts_at_unix_ms: None }
    }

    /// The lease with more legs behind its own.
    pub(crate) fn with_legs(mut self, legs: &[HeldLeg]) -> Self {
        self.legs.extend_from_slice(legs);
        self
    }

    /// The lease that a chain granted at `timestamp_ns`: the same that its recorded transfers would tell.
    pub fn from_grant(id: LeaseId, chain: &[Transfer], timestamp_ns: u64) -> Option<Self> {
        let recorded = |(nth, &transfer): (usize, &Transfer)| Recorded {
            transfer,
            timestamp_ns: timestamp_ns + nth as u64,
        };
        Self::from_each(id, chain.iter().enumerate().map(recorded))
    }

    fn from_each(id: LeaseId, transfers: impl ExactSizeIterator<Item = Recorded>) -> Option<Self> {
        let mut lease = Self { legs: Vec::with_capacity(transfers.len()), ..Self::without_legs(id) };
        let (mut follows_extend_trace, mut is_leg_held) = (false, true);
        let mut renewal = Renewal::default();
        for recorded in transfers {
            if renewal.legs_left > 0 {
                renewal.read(&recorded, &mut lease.legs);
                continue;
            }
            match HeldLeg::from_recorded(&recorded) {
                Some(leg) if !follows_extend_trace => lease.legs.push(leg),
                Some(leg) => {
                    follows_extend_trace = false;
                    is_leg_held = !lease.is_expired(leg.reserved_at_ns);
                    if is_leg_held {
                        lease.legs.push(leg);
                        lease.extensions += 1;
                    }
                }
                None if recorded.transfer.code == TransferCode::Extend => {
                    follows_extend_trace = true;
                    lease.guards_taken += 1;
                }
                None if recorded.transfer.code == TransferCode::Renew => {
                    renewal.legs_left = recorded.transfer.user_data.short;
                    lease.guards_taken += 1;
                }
                None if recorded.transfer.code == TransferCode::Excess => {
                    if let Some(leg) = lease.legs.last_mut().filter(|_| is_leg_held) {
                        leg.excess = recorded.transfer.movement.amount();
                    }
                }
                // These accompany a reservation ahead; the pass, a later attempt.
                None if matches!(
                    recorded.transfer.code,
                    TransferCode::Borrow | TransferCode::Measure | TransferCode::Allow | TransferCode::Pass
                ) => {}
                None => lease.settled = true,
            }
        }
        if lease.legs.is_empty() { None } else { Some(lease) }
    }

    /// A reservation ahead can be cancelled until its date to act, even if the bucket is full earlier.
    fn note_reservation_ahead(&mut self, transfers: &[Recorded]) {
        let ahead = reservation_ahead(self.reserved_at_unix_ms(), transfers);
        if let (Some(ahead), Some(leg)) = (ahead, self.legs.first_mut()) {
            leg.expires_at_ns = leg.expires_at_ns.max(ahead.acts_at_unix_ms.saturating_mul(NS_PER_MS));
            self.acts_at_unix_ms = Some(ahead.acts_at_unix_ms);
        }
    }

    /// The time of the grant, in milliseconds since the Unix epoch.
    pub(crate) fn reserved_at_unix_ms(&self) -> u64 {
        self.legs.first().map_or(0, |leg| unix_ms(leg.reserved_at_ns))
    }

    /// The limits of which its reserve took more than was free, if the lease was granted for this command.
    pub(crate) fn would_deny(&self, command: &Reserve) -> Box<[LimitKey]> {
        let each = command.requirements().iter().zip(&self.legs);
        each.filter(|(_, leg)| leg.excess > 0).map(|(requirement, _)| requirement.key.clone()).collect()
    }

    /// The accounts on which the lease holds the limit: the limit's present account, replaced ones, or both, after an extend.
    pub(crate) fn accounts_of(&self, ids: Ids, limit: &Limit) -> impl Iterator<Item = AccountId> {
        self.legs.iter().map(|leg| leg.account).filter(move |&account| limit.has_or_had_account(ids, account))
    }

    /// Whether it borrowed tokens that were not available when it was granted ([`super::borrow`]).
    pub(crate) fn borrowed_ahead(&self) -> bool {
        self.acts_at_unix_ms.is_some_and(|acts_at_unix_ms| acts_at_unix_ms > self.reserved_at_unix_ms())
    }

    /// Whether every leg has expired.
    pub(crate) fn is_expired(&self, now_ns: u64) -> bool {
        self.legs.iter().all(|leg| leg.is_expired(now_ns))
    }

    /// Whether a part of the lease has expired, because its window or its timeout has passed. A refill is no expiry:
    /// units that were spent of a bucket or a window stay spent. A lease that only spent units has expired after
    /// their last refill.
    fn has_expired_part(&self, now_ns: u64) -> bool {
        let expires = |leg: &HeldLeg| match leg.hold {
            Hold::Rolling(_) | Hold::Concurrency => true,
            Hold::Scheduled { .. } => false,
        };
        self.legs.iter().any(|leg| expires(leg) && leg.is_expired(now_ns)) || self.is_expired(now_ns)
    }

    /// The status of the lease for a command with its id. `limits` are in the order of the command's requirements.
    pub(crate) fn status(
        &self,
        ids: Ids,
        command: &Reserve,
        limits: &[Option<&Limit>],
        now_ns: u64,
    ) -> LeaseStatus {
        if !self.was_granted_for(ids, command, limits) {
            LeaseStatus::Conflict
        } else if self.settled {
            LeaseStatus::Settled
        } else if self.has_expired_part(now_ns) {
            LeaseStatus::Expired
        } else {
            LeaseStatus::Granted { reserved_at_unix_ms: self.reserved_at_unix_ms() }
        }
    }

    /// Whether the lease was granted for exactly these requirements. Legs and requirements are both sorted by key.
    fn was_granted_for(&self, ids: Ids, command: &Reserve, limits: &[Option<&Limit>]) -> bool {
        let wanted = command.requirements();
        wanted.len() + self.extensions == self.legs.len()
            && wanted.iter().zip(limits).zip(&self.legs).all(|((requirement, limit), leg)| {
                let is_its_account = limit.map_or_else(
                    || leg.account == ids.limit(&requirement.key),
                    |limit| limit.has_or_had_account(ids, leg.account),
                );
                is_its_account && leg.taken() == u128::from(requirement.amount)
            })
    }
}

/// A renewal while its transfers are read: for each leg a void and a new reservation.
#[derive(Default)]
struct Renewal {
    legs_left: u32,
    voided: Option<TransferId>,
}

impl Renewal {
    /// Takes the next transfer behind the trace.
    fn read(&mut self, recorded: &Recorded, legs: &mut [HeldLeg]) {
        match recorded.transfer.movement {
            Movement::Void { pending } => self.voided = Some(pending),
            Movement::Pend { .. }
            | Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Close { .. } => {
                self.legs_left -= 1;
                let held = legs.iter_mut().find(|leg| Some(leg.transfer) == self.voided);
                if let (Some(held), Some(renewed)) = (held, HeldLeg::from_recorded(recorded)) {
                    let &mut HeldLeg { reserved_at_ns, excess, .. } = held;
                    *held = HeldLeg { reserved_at_ns, excess, ..renewed };
                }
            }
        }
    }
}

impl HeldLeg {
    /// The leg that a transfer reserved; `None` if the transfer has another purpose.
    fn from_recorded(recorded: &Recorded) -> Option<Self> {
        let Transfer { id, code, user_data, movement } = recorded.transfer;
        let reserved_at_ns = recorded.timestamp_ns;
        let leg = |account, amount, hold, expires_at_ns, timeout_seconds| {
            let excess = 0;
            Some(Self {
                transfer: id,
                account,
                amount,
                excess,
                hold,
                expires_at_ns,
                timeout_seconds,
                reserved_at_ns,
            })
        };
        let pending = |hold| match movement {
            Movement::Pend { debit, amount, timeout_seconds, .. } => {
                let timeout_ns = u64::from(timeout_seconds) * NS_PER_SECOND;
                leg(debit, amount, hold, reserved_at_ns.saturating_add(timeout_ns), timeout_seconds)
            }
            Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Close { .. }
            | Movement::Void { .. } => None,
        };
        let spent = |overage| match movement {
            Movement::Post { debit, credit, amount } => {
                let refilled_at_ns = user_data.long.saturating_mul(NS_PER_MS);
                leg(debit, amount, Hold::Scheduled { overage, spent: credit }, refilled_at_ns, 0)
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
            | TransferCode::KeepReserved
            | TransferCode::ClearDebt
            | TransferCode::Shrink
            | TransferCode::Overage
            | TransferCode::Debt
            | TransferCode::Complete
            | TransferCode::Extend
            | TransferCode::Renew
            | TransferCode::Excess
            | TransferCode::Release
            | TransferCode::AdvanceClock
            | TransferCode::Refill
            | TransferCode::Borrow
            | TransferCode::Repay
            | TransferCode::Measure
            | TransferCode::Allow
            | TransferCode::Allot
            | TransferCode::Pass
            | TransferCode::Announce
            | TransferCode::AnnounceUrl
            | TransferCode::Alert => None,
        }
    }

    /// What its reserve took: the amount reserved, and the excess that is debt.
    pub(crate) fn taken(&self) -> u128 {
        self.amount.saturating_add(self.excess)
    }

    /// Whether it has expired or was refilled by schedule.
    pub(crate) fn is_expired(&self, now_ns: u64) -> bool {
        self.expires_at_ns <= now_ns
    }

    /// The time left in whole seconds, rounded up so that a new reservation for it never expires early. `None` if none is
    /// left.
    pub(crate) fn remaining_seconds(&self, now_ns: u64) -> Option<u32> {
        let remaining_ns = self.expires_at_ns.checked_sub(now_ns).filter(|&ns| ns > 0)?;
        u32::try_from(remaining_ns.div_ceil(NS_PER_SECOND)).ok()
    }
}
