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
//! the chain is planned again without it or in another way, and sent again.

mod leg_action;
mod steps;

use smallvec::SmallVec;

pub use leg_action::Used;
use leg_action::{Excess, LegAction, Shrink, actions_of};
use steps::{Step, StepKind};

use super::ids::{Ids, LeaseIds};
use super::lease::{HeldLeg, Hold, Lease};
use super::schedule_change::Successor;
use crate::ledger::{AccountId, Chain, ChainOutcome, LedgerError, Refusal, TransferId};
use crate::limit::Overage;

/// The most times that a chain is planned: twice for each leg, and some for interference of other replicas.
const ROUNDS_MAX: u32 = 80;

/// An actual amount names a limit that the lease does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotInLease {
    /// The index of the actual amount.
    pub index: usize,
}

/// Settles one lease. Ask [`Settlement::next`] what to do, report the result, and repeat until it is done.
#[derive(Debug)]
pub struct Settlement {
    ids: Ids,
    lease_ids: LeaseIds,
    lease: Lease,
    actions: SmallVec<[LegAction; 4]>,
    overages: Vec<LegOverage>,
    sent: SmallVec<[Step; 8]>,
    rounds: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Planning,
    FindingClosing { leg: usize },
    FindingSuccessor { leg: usize },
    ReadingLease,
    Done(Ending),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this chain, then report to [`Settlement::apply_outcome`].
    Send(Chain),
    /// Find the closing transfer of this account, then report to [`Settlement::closing_found`].
    FindClosing(AccountId),
    /// A new version closed this spent account: find the account that took over, then report to
    /// [`Settlement::successor_found`].
    FindSuccessor(AccountId),
    /// Read the lease's transfers, then report to [`Settlement::lease_read`].
    ReadLease,
    /// Nothing more.
    Done(Ending),
}

/// How the settlement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This settlement settled the lease.
    Settled,
    /// The lease was settled before, or all of it had expired.
    AlreadyOver,
}

/// Overage of one leg that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegOverage {
    /// The limit's account.
    pub account: AccountId,
    /// The amount.
    pub amount: u128,
    /// Whether it was posted as debt or only counted.
    pub overage: Overage,
}

impl Settlement {
    /// Compares the amounts used with the amounts reserved. A lease that is settled or expired accepts any amounts and does
    /// nothing with them.
    pub fn new(ids: Ids, lease: Lease, used: &[Used], now_ns: u64) -> Result<Self, NotInLease> {
        let is_over = lease.settled || lease.is_expired(now_ns);
        let in_lease = |used: &Used| lease.legs.iter().any(|leg| leg.account == used.account);
        if let Some(index) = used.iter().position(|used| !is_over && !in_lease(used)) {
            return Err(NotInLease { index });
        }
        let actions = actions_of(&lease.legs, used);
        let state = if is_over { State::Done(Ending::AlreadyOver) } else { State::Planning };
        let lease_ids = ids.of_lease(lease.id);
        Ok(Self {
            ids,
            lease_ids,
            lease,
            actions,
            overages: Vec::new(),
            sent: SmallVec::new(),
            rounds: 0,
            state,
        })
    }

    /// The overages that found no room.
    pub fn overages(&self) -> &[LegOverage] {
        &self.overages
    }

    /// What to do next. `now_ns` reads the ledger's time, never ahead of it.
    pub fn next(&mut self, now_ns: impl FnOnce() -> u64) -> Result<Next, LedgerError> {
        match self.state {
            State::Done(ending) => return Ok(Next::Done(ending)),
            State::FindingClosing { leg } => return Ok(Next::FindClosing(self.leg(leg)?.account)),
            State::FindingSuccessor { leg } => {
                return Ok(self.spent(leg)?.map_or(Next::ReadLease, Next::FindSuccessor));
            }
            State::ReadingLease => return Ok(Next::ReadLease),
            State::Planning => {}
        }
        let now_ns = now_ns();
        if self.lease.is_expired(now_ns) {
            self.state = State::Done(Ending::AlreadyOver);
            return Ok(Next::Done(Ending::AlreadyOver));
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
    pub fn apply_outcome(&mut self, outcome: ChainOutcome) -> Result<(), LedgerError> {
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
            | (StepKind::ReserveOverage, Cause::NoRoom | Cause::DebitClosed)
            | (StepKind::ReleaseUnused, Cause::NoRoom | Cause::CreditClosed) => self.leg_refused(leg),
            // A new version closed the spent account and carried its balance over to the new schedule.
            (StepKind::ReleaseUnused, Cause::DebitClosed)
            | (StepKind::ReserveOverage, Cause::CreditClosed) => {
                self.state = State::FindingSuccessor { leg };
                Ok(())
            }
            // No other step can fail in these ways on a ledger that only this program writes.
            (_, _) => Err(unexpected),
        }
    }

    /// Takes the closing transfer of the account that was asked for; `None` if the account is open.
    pub fn closing_found(&mut self, found: Option<TransferId>) -> Result<(), LedgerError> {
        let State::FindingClosing { leg } = self.state else { return Ok(()) };
        self.state = State::Planning;
        if let LegAction::Shrink(shrink) = self.action(leg)? {
            self.set_action(leg, LegAction::Shrink(Shrink { closing: found, ..shrink }))?;
        }
        Ok(())
    }

    /// Takes the account that took over from the closed spent account; `None` if there is none. If all of it was refilled before
    /// `now_ns`, in the ledger's nanoseconds, nothing is left to release.
    pub fn successor_found(&mut self, found: Option<Successor>, now_ns: u64) -> Result<(), LedgerError> {
        let State::FindingSuccessor { leg } = self.state else { return Ok(()) };
        self.state = State::Planning;
        let next = self.action(leg)?.next_attempt();
        match (found.filter(|successor| now_ns < successor.until_ns), next, self.action(leg)?) {
            (Some(successor), Some(next), _) => {
                if let Some(HeldLeg { hold: Hold::Scheduled { spent, .. }, .. }) =
                    self.lease.legs.get_mut(leg)
                {
                    *spent = successor.spent;
                }
                self.set_action(leg, next)
            }
            (_, _, LegAction::ReserveOverage(excess)) => self.exceed(leg, excess),
            (
                _,
                _,
                LegAction::Shrink(_) | LegAction::Keep | LegAction::Release | LegAction::RecordDebt { .. },
            ) => self.set_action(leg, LegAction::Keep),
        }
    }

    /// Takes the lease as it was read again. Starts over with it, unless it is settled or gone.
    pub fn lease_read(&mut self, lease: Option<Lease>, used: &[Used]) {
        match lease.filter(|lease| !lease.settled) {
            Some(lease) => {
                self.actions = actions_of(&lease.legs, used);
                self.lease = lease;
                self.overages.clear();
                self.state = State::Planning;
            }
            None => self.state = State::Done(Ending::AlreadyOver),
        }
    }

    /// The amounts that this settlement released, by account of the limit. Empty until it has settled the lease.
    pub fn released(&self) -> impl Iterator<Item = (AccountId, u128)> {
        let settled = self.state == State::Done(Ending::Settled);
        let legs = self.actions.iter().zip(&self.lease.legs).filter(move |_| settled);
        legs.filter_map(|(action, leg)| match *action {
            LegAction::Release => Some((leg.account, leg.amount)),
            LegAction::Shrink(Shrink { to, .. }) => Some((leg.account, leg.amount.saturating_sub(to))),
            LegAction::Keep | LegAction::ReserveOverage(_) | LegAction::RecordDebt { .. } => None,
        })
    }

    /// The ledger refused what a leg needs. A refused id is used up, so the next attempt takes a new one.
    fn leg_refused(&mut self, leg: usize) -> Result<(), LedgerError> {
        let action = self.action(leg)?;
        match (action, action.next_attempt()) {
            (LegAction::ReserveOverage(excess), _) => self.exceed(leg, excess),
            (LegAction::Shrink(_), Some(next)) => {
                self.set_action(leg, next)?;
                self.state = State::FindingClosing { leg };
                Ok(())
            }
            // In doubt the capacity stays reserved until it expires.
            (
                LegAction::Shrink(_) | LegAction::Keep | LegAction::Release | LegAction::RecordDebt { .. },
                _,
            ) => self.set_action(leg, LegAction::Keep),
        }
    }

    /// Overage finds no room: it is posted as debt or only counted.
    fn exceed(
        &mut self,
        leg: usize,
        Excess { by, overage, debt_account, .. }: Excess,
    ) -> Result<(), LedgerError> {
        self.overages.push(LegOverage { account: self.leg(leg)?.account, amount: by, overage });
        match overage {
            Overage::Debt => self.set_action(leg, LegAction::RecordDebt { by, debt_account }),
            Overage::Deny => self.set_action(leg, LegAction::Keep),
        }
    }

    /// Overage of a leg whose window has ended cannot be reserved.
    fn exceed_expired_legs(&mut self, now_ns: u64) -> Result<(), LedgerError> {
        for leg in 0..self.actions.len() {
            if let (LegAction::ReserveOverage(excess), true) =
                (self.action(leg)?, self.leg(leg)?.is_expired(now_ns))
            {
                self.exceed(leg, excess)?;
            }
        }
        Ok(())
    }

    /// The spent account of a leg on a limit with a schedule.
    fn spent(&self, leg: usize) -> Result<Option<AccountId>, LedgerError> {
        match self.leg(leg)?.hold {
            Hold::Scheduled { spent, .. } => Ok(Some(spent)),
            Hold::Rolling(_) | Hold::Concurrency => Ok(None),
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

/// Why the ledger refused a step, as far as settlement tells the reasons apart.
enum Cause {
    DoneBefore,
    Expired,
    NoRoom,
    /// The debited account is closed.
    DebitClosed,
    /// The credited account is closed.
    CreditClosed,
    /// A bug, or another program that writes to the ledger.
    Impossible,
}

fn cause(refusal: Refusal) -> Cause {
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided => {
            Cause::DoneBefore
        }
        Refusal::PendingExpired => Cause::Expired,
        Refusal::ExceedsCredits | Refusal::IdAlreadyFailed => Cause::NoRoom,
        Refusal::DebitAccountClosed => Cause::DebitClosed,
        Refusal::CreditAccountClosed => Cause::CreditClosed,
        Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::Overflow
        | Refusal::Malformed(_) => Cause::Impossible,
    }
}
