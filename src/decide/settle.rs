//! Settling: a lease and its actual amounts become **one** linked chain, so that a complete happens whole or not at
//! all, whatever dies in between.
//!
//! The chain begins with its *guard*, a transfer whose id every complete of the lease begins with: the void of its first
//! concurrency reservation, or, where it has none that is still held, a zero-amount marker. Whoever sends it first
//! settles the lease; everybody after is refused at the guard.
//!
//! A top-up takes the id that the guard would have, and each further guard has the next one. So who is refused at the
//! guard looks at the lease once more: either it is settled, or there is more of it to settle.
//!
//! What was spent of a limit with a schedule is in an account from which it comes back. Of that, what was not used is
//! given back: as much of it as has not come back meanwhile.
//!
//! What the ledger refuses behind the guard (a reservation that expired, an extension without room, a closed account)
//! is planned anew, without it or another way, and sent again.

mod goals;
mod plan;

use smallvec::SmallVec;

pub use goals::Used;
use goals::{Goal, ShrinkWay, goals_of};
use plan::Role;

use super::ids::{ATTEMPTS_MAX, Ids, LeaseIds};
use super::lease::{Hold, Lease, Leg};
use super::share::{Part, Remainder};
use crate::ledger::{AccountId, Chain, ChainOutcome, LedgerError, Refusal, TransferId};
use crate::limit::Overage;

/// A chain is planned anew at most this often: twice for each leg, and some for other replicas in the way.
const ROUNDS_MAX: u32 = 80;

/// An amount names a limit that the lease reserved nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotInLease {
    /// Its place among the amounts.
    pub index: usize,
}

/// The settling of one lease: ask [`Settlement::next`] what to do, tell what came of it, until it says done.
#[derive(Debug)]
pub struct Settlement {
    ids: Ids,
    lease_ids: LeaseIds,
    lease: Lease,
    goals: SmallVec<[Goal; 4]>,
    excesses: Vec<Excess>,
    sent: SmallVec<[Role; 8]>,
    rounds: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Planning,
    Finding { leg: usize },
    Recalling,
    Done(Ending),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this, then tell [`Settlement::heard`].
    Send(Chain),
    /// Find the closing transfer of this account, then tell [`Settlement::found_closing`].
    FindClosing(AccountId),
    /// Read the lease's transfers, then tell [`Settlement::recalled`].
    Recall,
    /// Nothing.
    Done(Ending),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This settled the lease.
    Settled,
    /// It was settled before, or all of it had expired.
    AlreadyOver,
}

/// An actual amount above the reserved one that could not be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// The limit's account.
    pub account: AccountId,
    /// How much.
    pub amount: u128,
    /// Whether it was recorded as debt or only counted.
    pub overage: Overage,
}

impl Settlement {
    /// Compares what was used with what is reserved. A lease that is over takes any amounts: nothing comes of them.
    pub fn new(ids: Ids, lease: Lease, used: &[Used], now_ns: u64) -> Result<Self, NotInLease> {
        let over = lease.settled || lease.is_expired(now_ns);
        let in_lease = |used: &Used| lease.legs.iter().any(|leg| leg.account == used.account);
        if let Some(index) = used.iter().position(|used| !over && !in_lease(used)) {
            return Err(NotInLease { index });
        }
        let goals = goals_of(&lease.legs, used);
        let state = if over { State::Done(Ending::AlreadyOver) } else { State::Planning };
        let lease_ids = ids.of_lease(lease.id);
        Ok(Self {
            ids,
            lease_ids,
            lease,
            goals,
            excesses: Vec::new(),
            sent: SmallVec::new(),
            rounds: 0,
            state,
        })
    }

    /// What was used and could not be reserved.
    pub fn excesses(&self) -> &[Excess] {
        &self.excesses
    }

    /// What to do now. `now_ns` reads the ledger's time, not ahead of it.
    pub fn next(&mut self, now_ns: impl FnOnce() -> u64) -> Result<Next, LedgerError> {
        match self.state {
            State::Done(ending) => return Ok(Next::Done(ending)),
            State::Finding { leg } => return Ok(Next::FindClosing(self.leg(leg)?.account)),
            State::Recalling => return Ok(Next::Recall),
            State::Planning => {}
        }
        let now_ns = now_ns();
        if self.lease.is_expired(now_ns) {
            self.state = State::Done(Ending::AlreadyOver);
            return Ok(Next::Done(Ending::AlreadyOver));
        }
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(LedgerError::Unexpected(format!("lease {} does not settle", self.lease.id)));
        }
        let chain = self.plan(now_ns)?;
        Ok(Next::Send(chain))
    }

    /// Takes in what became of the chain.
    pub fn heard(&mut self, outcome: ChainOutcome) -> Result<(), LedgerError> {
        let (index, refusal) = match outcome {
            ChainOutcome::Created { .. } => {
                self.state = State::Done(Ending::Settled);
                return Ok(());
            }
            ChainOutcome::Refused { index, refusal } => (index, refusal),
        };
        let unexpected = LedgerError::Unexpected(format!(
            "settling lease {} was refused at transfer {index}: {refusal:?}",
            self.lease.id
        ));
        let Some(&role) = self.sent.get(index) else { return Err(unexpected) };
        let at_guard = index == 0;
        match (role, reaction(refusal)) {
            (Role::Marker | Role::Void { .. }, Reaction::DoneBefore) if at_guard => {
                self.state = State::Recalling;
                Ok(())
            }
            (Role::Void { leg }, Reaction::DoneBefore | Reaction::Expired) => self.set_goal(leg, Goal::Keep),
            (Role::Reopen { leg }, Reaction::DoneBefore) => {
                self.state = State::Finding { leg };
                Ok(())
            }
            (Role::Reserve { leg }, Reaction::NoRoom | Reaction::FromClosed | Reaction::ToClosed)
            | (Role::GiveBack { leg }, Reaction::NoRoom | Reaction::ToClosed) => self.reserve_refused(leg),
            // The schedule was replaced, and its account closed: what it kept comes back by the new one.
            (Role::GiveBack { leg }, Reaction::FromClosed) => self.set_goal(leg, Goal::Keep),
            (
                Role::Marker
                | Role::Void { .. }
                | Role::Reopen { .. }
                | Role::Reserve { .. }
                | Role::GiveBack { .. }
                | Role::Repay { .. }
                | Role::CloseAgain { .. }
                | Role::Debt { .. },
                Reaction::DoneBefore
                | Reaction::Expired
                | Reaction::NoRoom
                | Reaction::FromClosed
                | Reaction::ToClosed
                | Reaction::Bug,
            ) => Err(unexpected),
        }
    }

    /// Takes in the closing transfer of the account that was asked for, `None` if the account is open.
    pub fn found_closing(&mut self, closing: Option<TransferId>) -> Result<(), LedgerError> {
        let State::Finding { leg } = self.state else { return Ok(()) };
        self.state = State::Planning;
        if let Goal::Shrink { to, attempt, borrowed, .. } = self.goal(leg)? {
            let way = closing.map_or(ShrinkWay::Open, |closing| ShrinkWay::Through { closing });
            self.set_goal(leg, Goal::Shrink { to, attempt, way, borrowed })?;
        }
        Ok(())
    }

    /// Takes in the lease as it stands now, and begins anew with it unless it is over.
    pub fn recalled(&mut self, lease: Option<Lease>, used: &[Used]) {
        match lease.filter(|lease| !lease.settled) {
            Some(lease) => {
                self.goals = goals_of(&lease.legs, used);
                self.lease = lease;
                self.excesses.clear();
                self.state = State::Planning;
            }
            None => self.state = State::Done(Ending::AlreadyOver),
        }
    }

    /// An id that was refused is used up, so each further attempt has its own.
    fn reserve_refused(&mut self, leg: usize) -> Result<(), LedgerError> {
        match self.goal(leg)? {
            Goal::Shrink { to, attempt, way, borrowed } if attempt + 1 < ATTEMPTS_MAX => {
                self.set_goal(leg, Goal::Shrink { to, attempt: attempt + 1, way, borrowed })?;
                self.state = State::Finding { leg };
                Ok(())
            }
            Goal::Extend { by, overage, debt_account } => self.exceed(leg, by, overage, debt_account),
            // On any doubt capacity stays taken, and comes back when it expires.
            Goal::Shrink { .. } | Goal::Keep | Goal::Release | Goal::Debt { .. } => {
                self.set_goal(leg, Goal::Keep)
            }
        }
    }

    /// An excess cannot be reserved: it becomes debt, or is only told.
    fn exceed(
        &mut self,
        leg: usize,
        by: u128,
        overage: Overage,
        debt_account: AccountId,
    ) -> Result<(), LedgerError> {
        self.excesses.push(Excess { account: self.leg(leg)?.account, amount: by, overage });
        match overage {
            Overage::Debt => self.set_goal(leg, Goal::Debt { by, debt_account }),
            Overage::Deny => self.set_goal(leg, Goal::Keep),
        }
    }

    /// What was used beyond a window that is over has no room to be reserved in.
    fn exceed_expired(&mut self, now_ns: u64) -> Result<(), LedgerError> {
        for leg in 0..self.goals.len() {
            if let (Goal::Extend { by, overage, debt_account }, true) =
                (self.goal(leg)?, self.leg(leg)?.is_expired(now_ns))
            {
                self.exceed(leg, by, overage, debt_account)?;
            }
        }
        Ok(())
    }

    /// What it does in a chain that it shares with others; `None` if it has nothing to share, or must go by itself.
    pub fn part(&self, now_ns: u64) -> Option<Part> {
        if self.state != State::Planning || self.lease.is_expired(now_ns) {
            return None;
        }
        let guard = self.guard();
        let mut part = Part { transfers: SmallVec::new(), remainders: SmallVec::new() };
        part.transfers.push(self.guard_step(guard).ok()?.1);
        for (leg, goal) in self.goals.iter().enumerate().filter(|&(leg, _)| Some(leg) != guard) {
            match *goal {
                Goal::Keep => {}
                Goal::Release => part.transfers.push(self.void(leg).ok()?.1),
                Goal::Shrink { to, attempt, borrowed, .. } => {
                    let reservation = self.lease.legs.get(leg)?;
                    let timeout_seconds = reservation.remaining_seconds(now_ns)?;
                    if let Hold::Scheduled { spent, .. } = reservation.hold {
                        part.transfers.push(self.give_back(leg, attempt, to, spent).ok()?.1);
                        part.transfers.extend(self.repay(leg, attempt, borrowed).ok()?.map(|step| step.1));
                        continue;
                    }
                    part.transfers.push(self.void(leg).ok()?.1);
                    let account = reservation.account;
                    part.remainders.push(Remainder { account, amount: to, timeout_seconds });
                }
                Goal::Extend { .. } | Goal::Debt { .. } => return None,
            }
        }
        (!part.remainders.is_empty()).then_some(part)
    }

    /// A chain that it shared with others was made.
    pub fn settled_together(&mut self) {
        self.state = State::Done(Ending::Settled);
    }

    /// What a settlement that was made gave back: of which account, and how much.
    pub fn freed(&self) -> impl Iterator<Item = (AccountId, u128)> {
        let settled = self.state == State::Done(Ending::Settled);
        let legs = self.goals.iter().zip(&self.lease.legs).filter(move |_| settled);
        legs.filter_map(|(goal, leg)| match *goal {
            Goal::Release => Some((leg.account, leg.amount)),
            Goal::Shrink { to, .. } => Some((leg.account, leg.amount.saturating_sub(to))),
            Goal::Keep | Goal::Extend { .. } | Goal::Debt { .. } => None,
        })
    }

    fn leg(&self, leg: usize) -> Result<&Leg, LedgerError> {
        self.lease.legs.get(leg).ok_or_else(|| self.no_leg(leg))
    }

    fn goal(&self, leg: usize) -> Result<Goal, LedgerError> {
        self.goals.get(leg).copied().ok_or_else(|| self.no_leg(leg))
    }

    fn set_goal(&mut self, leg: usize, goal: Goal) -> Result<(), LedgerError> {
        match self.goals.get_mut(leg) {
            Some(slot) => *slot = goal,
            None => return Err(self.no_leg(leg)),
        }
        Ok(())
    }

    fn no_leg(&self, leg: usize) -> LedgerError {
        LedgerError::Unexpected(format!("lease {} has no leg {leg}", self.lease.id))
    }
}

/// What a refusal means to a settlement.
enum Reaction {
    DoneBefore,
    Expired,
    NoRoom,
    /// The account that it comes from is closed.
    FromClosed,
    /// The account that it goes to is.
    ToClosed,
    Bug,
}

fn reaction(refusal: Refusal) -> Reaction {
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided => {
            Reaction::DoneBefore
        }
        Refusal::PendingExpired => Reaction::Expired,
        Refusal::ExceedsCredits | Refusal::IdAlreadyFailed => Reaction::NoRoom,
        Refusal::DebitAccountClosed => Reaction::FromClosed,
        Refusal::CreditAccountClosed => Reaction::ToClosed,
        Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::Overflow
        | Refusal::Malformed(_) => Reaction::Bug,
    }
}
