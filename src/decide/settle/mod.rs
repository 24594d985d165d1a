//! Settle: a lease and its actual amounts become **one** linked chain, so that a complete happens whole or not at all,
//! whatever crashes meanwhile.
//!
//! The chain begins with its *guard*. Every complete of a lease begins with a transfer of the same id: the void of the first
//! concurrency reservation that has not expired or, if there is none, a zero-amount marker. The first complete to reach the
//! ledger settles the lease; the ledger refuses every later one at the guard.
//!
//! An extend takes the id that the guard would take, and the next guard takes the next id. So a complete that is refused at the
//! guard reads the lease again: either it is settled, or it holds more than was known.
//!
//! If the ledger refuses a transfer behind the guard (a reservation has expired, overage finds no room, an account is closed),
//! the chain is planned again without it or in another way, and sent again. Overage without room is split: what the limit has
//! left is reserved, and the rest is debt or only counted, so that using more never leaves more available.
//!
//! A lease that has expired has nothing to release. Its overage is settled all the same, for as long as the ledger knows the
//! lease.
//!
//! A complete of a reservation ahead does not release tokens that later reservations ahead borrowed. It reads first
//! what the bucket owes. The ledger refuses the chain if the bucket owes more by then, and the complete reads again.
//! The last attempt releases nothing.

mod cause;
mod leg_action;
mod next;
mod steps;

use smallvec::SmallVec;

use cause::{Cause, cause};
pub(crate) use leg_action::Behind;
pub use leg_action::Used;
use leg_action::{Exceed, LegAction, Shrink, actions_of};
pub use next::{Ending, Next};
use steps::{Step, StepKind};

use super::ids::{ATTEMPTS_MAX, Ids, LeaseIds};
use super::lease::{HeldLeg, Hold, Lease};
use super::schedule_change::Successor;
use crate::ledger::{AccountId, ChainOutcome, LedgerError, TransferId};
use crate::limit::Overage;

/// The most times that a chain is planned: twice for each leg, and some for interference of other replicas.
const ROUNDS_MAX: u32 = 80;

/// The index of the leg that a reservation ahead holds.
const AHEAD_LEG: usize = 0;

/// The index of the first amount of a limit that the lease does not hold. A lease that is settled or expired accepts amounts of
/// any limit.
pub(crate) fn index_outside_lease(lease: &Lease, used: &[Used], now_ns: u64) -> Option<usize> {
    let in_lease = |used: &Used| lease.legs.iter().any(|leg| used.is_of(leg.account));
    let index = used.iter().position(|used| !in_lease(used))?;
    let is_over = lease.settled || lease.is_expired(now_ns);
    (!is_over).then_some(index)
}

/// Settles one lease. Ask [`Settlement::next`] what to do, report the result, and repeat until it is done.
#[derive(Debug)]
pub struct Settlement {
    ids: Ids,
    lease_ids: LeaseIds,
    lease: Lease,
    actions: SmallVec<[LegAction; 4]>,
    sent: SmallVec<[Step; 8]>,
    rounds: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Planning,
    FindingClosing { leg: usize },
    FindingRoom { leg: usize },
    ReadingOwed { acts_at_unix_ms: u64 },
    FindingSuccessor { leg: usize },
    ReadingLease,
    Done(Ending),
}

/// Overage of one leg that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LegOverage {
    /// The limit's account.
    pub(crate) account: AccountId,
    /// The amount.
    pub(crate) amount: u128,
    /// Whether it was posted as debt or only counted.
    pub(crate) overage: Overage,
}

impl Settlement {
    /// Compares the amounts used with the amounts reserved. Amounts of limits that the lease does not hold change nothing; see
    /// `index_outside_lease`.
    pub fn new(ids: Ids, lease: Lease, used: &[Used]) -> Self {
        let actions = actions_of(&lease.legs, used);
        let state = if lease.settled { State::Done(Ending::AlreadyOver) } else { State::Planning };
        let lease_ids = ids.of_lease(lease.id);
        Self { ids, lease_ids, lease, actions, sent: SmallVec::new(), rounds: 0, state }
    }

    /// The overages that found no room. Final when the settlement is done.
    pub(crate) fn overages(&self) -> impl Iterator<Item = LegOverage> {
        self.actions.iter().zip(&self.lease.legs).filter_map(|(action, leg)| match *action {
            LegAction::Exceed(Exceed { unreserved, overage, .. }) if unreserved > 0 => {
                Some(LegOverage { account: leg.account, amount: unreserved, overage })
            }
            LegAction::Keep | LegAction::Release | LegAction::Shrink(_) | LegAction::Exceed(_) => None,
        })
    }

    /// What to do next. `now_ns` reads the ledger's time, never ahead of it.
    pub fn next(&mut self, now_ns: impl FnOnce() -> u64) -> Result<Next, LedgerError> {
        match self.state {
            State::Done(ending) => return Ok(Next::Done(ending)),
            State::FindingClosing { leg } => return Ok(Next::FindClosing(self.leg(leg)?.account)),
            State::FindingRoom { leg } => return Ok(Next::FindRoom(self.leg(leg)?.account)),
            State::FindingSuccessor { leg } => {
                return Ok(self.spent(leg)?.map_or(Next::ReadLease, Next::FindSuccessor));
            }
            State::ReadingLease => return Ok(Next::ReadLease),
            State::ReadingOwed { acts_at_unix_ms } => return self.read_owed(acts_at_unix_ms),
            State::Planning => {}
        }
        let now_ns = now_ns();
        self.exceed_expired_legs(now_ns);
        if self.lease.is_expired(now_ns) && !self.keep_only_overages() {
            self.state = State::Done(Ending::AlreadyOver);
            return Ok(Next::Done(Ending::AlreadyOver));
        }
        if let Some(acts_at_unix_ms) = self.date_to_read_owed_behind() {
            self.state = State::ReadingOwed { acts_at_unix_ms };
            return self.read_owed(acts_at_unix_ms);
        }
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            let message = format!("lease {} did not settle after {ROUNDS_MAX} attempts", self.lease.id);
            return Err(LedgerError::Unexpected(message));
        }
        let chain = self.plan(now_ns)?;
        Ok(Next::Send(chain))
    }

    /// Takes the outcome of the chain that was sent.
    pub(crate) fn apply_outcome(&mut self, outcome: ChainOutcome) -> Result<(), LedgerError> {
        let (index, refusal) = match outcome {
            ChainOutcome::Created { .. } => {
                self.state = State::Done(Ending::Settled);
                return Ok(());
            }
            ChainOutcome::Refused { index, refusal } => (index, refusal),
        };
        let unexpected = LedgerError::Unexpected(format!(
            "the settlement of lease {} was refused at transfer {index}: {refusal:?}",
            self.lease.id
        ));
        let Some(&Step { kind, leg }) = self.sent.get(index) else { return Err(unexpected) };
        let is_guard = index == 0;
        match (kind, cause(refusal)) {
            (StepKind::Marker | StepKind::Void, Cause::DoneBefore) if is_guard => {
                self.state = State::ReadingLease;
                Ok(())
            }
            (StepKind::Void, Cause::DoneBefore | Cause::Expired) => self.set_action(leg, LegAction::Keep),
            (StepKind::Reopen, Cause::DoneBefore) => {
                self.state = State::FindingClosing { leg };
                Ok(())
            }
            (StepKind::ReserveRemainder, Cause::NoRoom | Cause::DebitClosed | Cause::CreditClosed)
            | (StepKind::ReleaseUnused, Cause::NoRoom | Cause::CreditClosed) => self.shrink_refused(leg),
            (StepKind::ReserveOverage, Cause::NoRoom) => {
                self.state = State::FindingRoom { leg };
                Ok(())
            }
            // Nothing is reserved on a closed account.
            (StepKind::ReserveOverage, Cause::DebitClosed) => self.reserve_overage(leg, 0),
            // A new version closed the spent account and carried its balance over to the new schedule.
            (StepKind::ReleaseUnused, Cause::DebitClosed)
            | (StepKind::ReserveOverage, Cause::CreditClosed) => {
                self.state = State::FindingSuccessor { leg };
                Ok(())
            }
            (StepKind::BoundOwed, Cause::NoRoom) => self.owes_more(leg),
            // No other step can fail in these ways on a ledger that only this program writes.
            (_, _) => Err(unexpected),
        }
    }

    /// Takes the closing transfer of the account that was asked for; `None` if the account is open.
    pub(crate) fn closing_found(&mut self, found: Option<TransferId>) -> Result<(), LedgerError> {
        let State::FindingClosing { leg } = self.state else { return Ok(()) };
        self.state = State::Planning;
        if let LegAction::Shrink(shrink) = self.action(leg)? {
            self.set_action(leg, LegAction::Shrink(Shrink { closing: found, ..shrink }))?;
        }
        Ok(())
    }

    /// Takes the amount that is available on the account: the settlement then reserves at most this much of the overage.
    pub(crate) fn room_found(&mut self, available: u128) -> Result<(), LedgerError> {
        let State::FindingRoom { leg } = self.state else { return Ok(()) };
        self.state = State::Planning;
        self.reserve_overage(leg, available)
    }

    /// Takes what is owed behind the reservation ahead.
    pub(crate) fn owed_read(&mut self, behind: Behind) -> Result<(), LedgerError> {
        self.state = State::Planning;
        match self.action(AHEAD_LEG)? {
            LegAction::Shrink(shrink) => {
                self.set_action(AHEAD_LEG, LegAction::Shrink(Shrink { behind: Some(behind), ..shrink }))
            }
            LegAction::Keep | LegAction::Release | LegAction::Exceed(_) => Ok(()),
        }
    }

    fn read_owed(&self, acts_at_unix_ms: u64) -> Result<Next, LedgerError> {
        Ok(Next::ReadOwed { account: self.leg(AHEAD_LEG)?.account, acts_at_unix_ms })
    }

    /// The date to act of a reservation ahead of which a part is to be released, if what is owed behind it was not read.
    fn date_to_read_owed_behind(&self) -> Option<u64> {
        match self.actions.get(AHEAD_LEG)? {
            LegAction::Shrink(Shrink { borrowed: Some(_), behind: None, .. }) => self.lease.acts_at_unix_ms,
            LegAction::Shrink(_) | LegAction::Keep | LegAction::Release | LegAction::Exceed(_) => None,
        }
    }

    /// More was reserved behind a reservation ahead since what is owed was read. The last attempt releases nothing.
    fn owes_more(&mut self, leg: usize) -> Result<(), LedgerError> {
        let next = match self.action(leg)?.next_attempt() {
            Some(LegAction::Shrink(next)) => {
                let behind = (next.attempt + 1 == ATTEMPTS_MAX).then_some(Behind::EVERYTHING);
                LegAction::Shrink(Shrink { behind, ..next })
            }
            Some(LegAction::Keep | LegAction::Release | LegAction::Exceed(_)) | None => LegAction::Keep,
        };
        self.set_action(leg, next)
    }

    /// Takes the account that took over from the closed spent account; `None` if there is none. If all of it was refilled before
    /// `now_ns`, in the ledger's nanoseconds, nothing is left to release.
    pub(crate) fn successor_found(
        &mut self,
        found: Option<Successor>,
        now_ns: u64,
    ) -> Result<(), LedgerError> {
        let State::FindingSuccessor { leg } = self.state else { return Ok(()) };
        self.state = State::Planning;
        let found = found.filter(|successor| now_ns < successor.until_ns);
        let action = self.action(leg)?;
        let action = match (found.zip(action.next_attempt()), action) {
            (Some((successor, next)), _) => {
                self.set_spent(leg, successor.spent);
                next
            }
            (None, LegAction::Exceed(exceed)) => LegAction::Exceed(exceed.within(0)),
            (None, LegAction::Shrink(_) | LegAction::Keep | LegAction::Release) => LegAction::Keep,
        };
        self.set_action(leg, action)
    }

    /// Takes the lease as it was read again. Starts over with it, unless it is settled or gone.
    pub(crate) fn lease_read(&mut self, lease: Option<Lease>, used: &[Used]) {
        match lease.filter(|lease| !lease.settled) {
            Some(lease) => {
                self.actions = actions_of(&lease.legs, used);
                self.lease = lease;
                self.state = State::Planning;
            }
            None => self.state = State::Done(Ending::AlreadyOver),
        }
    }

    /// The accounts of the limits that the lease holds.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.lease.legs.iter().map(|leg| leg.account)
    }

    /// The amounts that this settlement released, by account of the limit. Empty until it has settled the lease.
    pub(crate) fn released(&self) -> impl Iterator<Item = (AccountId, u128)> {
        let settled = self.state == State::Done(Ending::Settled);
        let legs = self.actions.iter().zip(&self.lease.legs).filter(move |_| settled);
        legs.filter_map(|(action, leg)| match *action {
            LegAction::Release => Some((leg.account, leg.amount)),
            LegAction::Shrink(shrink) => Some((leg.account, shrink.releases(leg.amount))),
            LegAction::Keep | LegAction::Exceed(_) => None,
        })
    }

    /// The ledger refused what the shrink of a leg needs. A refused id is used up, so the next attempt takes a new one.
    fn shrink_refused(&mut self, leg: usize) -> Result<(), LedgerError> {
        match self.action(leg)?.next_attempt() {
            Some(next) => {
                self.set_action(leg, next)?;
                self.state = State::FindingClosing { leg };
                Ok(())
            }
            // In doubt the capacity stays reserved until it expires.
            None => self.set_action(leg, LegAction::Keep),
        }
    }

    /// Reserves at most `room` of a leg's overage from now on, and under a new id. After the last attempt it reserves nothing.
    fn reserve_overage(&mut self, leg: usize, room: u128) -> Result<(), LedgerError> {
        if let LegAction::Exceed(exceed) = self.action(leg)? {
            let attempt = exceed.attempt + 1;
            let room = if attempt < ATTEMPTS_MAX { room } else { 0 };
            self.set_action(leg, LegAction::Exceed(Exceed { attempt, ..exceed.within(room) }))?;
        }
        Ok(())
    }

    /// Overage of a leg whose window has ended cannot be reserved.
    fn exceed_expired_legs(&mut self, now_ns: u64) {
        for (action, leg) in self.actions.iter_mut().zip(&self.lease.legs) {
            if let LegAction::Exceed(exceed) = action
                && leg.is_expired(now_ns)
            {
                *exceed = exceed.within(0);
            }
        }
    }

    /// Leaves only the overages to be settled; returns whether there are any.
    fn keep_only_overages(&mut self) -> bool {
        let is_overage = |action: &LegAction| matches!(action, LegAction::Exceed(_));
        self.actions
            .iter_mut()
            .filter(|action| !is_overage(action))
            .for_each(|action| *action = LegAction::Keep);
        self.actions.iter().any(is_overage)
    }

    /// The spent account of a leg on a limit with a schedule.
    fn spent(&self, leg: usize) -> Result<Option<AccountId>, LedgerError> {
        match self.leg(leg)?.hold {
            Hold::Scheduled { spent, .. } => Ok(Some(spent)),
            Hold::Rolling(_) | Hold::Concurrency => Ok(None),
        }
    }

    fn set_spent(&mut self, leg: usize, account: AccountId) {
        if let Some(HeldLeg { hold: Hold::Scheduled { spent, .. }, .. }) = self.lease.legs.get_mut(leg) {
            *spent = account;
        }
    }

    fn leg(&self, leg: usize) -> Result<&HeldLeg, LedgerError> {
        self.lease.legs.get(leg).ok_or_else(|| self.no_leg(leg))
    }

    fn action(&self, leg: usize) -> Result<LegAction, LedgerError> {
        self.actions.get(leg).copied().ok_or_else(|| self.no_leg(leg))
    }

    fn set_action(&mut self, leg: usize, action: LegAction) -> Result<(), LedgerError> {
        match self.actions.get_mut(leg) {
            Some(slot) => *slot = action,
            None => return Err(self.no_leg(leg)),
        }
        Ok(())
    }

    fn no_leg(&self, leg: usize) -> LedgerError {
        LedgerError::Unexpected(format!("lease {} has no leg {leg}", self.lease.id))
    }
}
