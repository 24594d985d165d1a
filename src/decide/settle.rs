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

use smallvec::SmallVec;

use super::ids::{ATTEMPTS_MAX, Ids, LeaseIds, Purpose};
use super::lease::{Hold, Lease, Leg};
use super::schedule::{around_closed, repay};
use super::share::{Part, Remainder};
use crate::ledger::{
    AccountId, Bound, Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode,
    TransferId, UserData,
};
use crate::limit::Overage;

/// A chain is planned anew at most this often: twice for each leg, and some for other replicas in the way.
const ROUNDS_MAX: u32 = 80;

/// What was really used of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The limit's account.
    pub account: AccountId,
    /// How much was used.
    pub amount: u64,
    /// Where debt is recorded.
    pub debt_account: AccountId,
    /// Of a limit that lends of its future, what was borrowed: what is given back pays it back.
    pub borrowed: Option<AccountId>,
}

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

/// What is to become of a leg. To shrink is to keep that much of it, of what a schedule brings back even nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Keep,
    Release,
    Shrink { to: u128, attempt: u8, way: ShrinkWay, borrowed: Option<AccountId> },
    Extend { by: u128, overage: Overage, debt_account: AccountId },
    Debt { by: u128, debt_account: AccountId },
}

/// On a closed account nothing can be reserved again, so it is reopened for the length of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShrinkWay {
    Open,
    Through { closing: TransferId },
}

/// Which transfer of the chain stands at an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Marker,
    Void { leg: usize },
    Reopen { leg: usize },
    Reserve { leg: usize },
    GiveBack { leg: usize },
    Repay { leg: usize },
    CloseAgain { leg: usize },
    Debt { leg: usize },
}

/// The chain as it is put together.
struct Steps {
    roles: SmallVec<[Role; 8]>,
    transfers: Vec<Transfer>,
}

impl Steps {
    /// With room for a guard and for what most settlements do with so many legs.
    fn for_legs(legs: usize) -> Self {
        Self { roles: SmallVec::new(), transfers: Vec::with_capacity(1 + 2 * legs) }
    }

    fn push(&mut self, (role, transfer): (Role, Transfer)) {
        self.roles.push(role);
        self.transfers.push(transfer);
    }

    fn extend(&mut self, steps: impl IntoIterator<Item = (Role, Transfer)>) {
        steps.into_iter().for_each(|step| self.push(step));
    }
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

    fn plan(&mut self, now_ns: u64) -> Result<Chain, LedgerError> {
        self.exceed_expired(now_ns)?;
        let guard = self.guard();
        let mut steps = Steps::for_legs(self.goals.len());
        steps.push(self.guard_step(guard)?);
        for leg in (0..self.goals.len()).filter(|&leg| Some(leg) != guard) {
            self.plan_leg(leg, now_ns, &mut steps)?;
        }
        self.sent = steps.roles;
        Chain::from_vec(steps.transfers)
            .ok_or_else(|| LedgerError::Unexpected("a settlement without transfers".to_owned()))
    }

    /// The leg whose void heads the chain, if there is one.
    fn guard(&self) -> Option<usize> {
        let releases = |(goal, leg): (&Goal, &Leg)| *goal == Goal::Release && leg.hold == Hold::Concurrency;
        self.goals.iter().zip(&self.lease.legs).position(releases)
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

    fn plan_leg(&self, leg: usize, now_ns: u64, steps: &mut Steps) -> Result<(), LedgerError> {
        let reservation = self.leg(leg)?;
        let remaining_seconds = reservation.remaining_seconds(now_ns);
        match (self.goal(leg)?, remaining_seconds) {
            (Goal::Keep, _) | (Goal::Extend { .. } | Goal::Shrink { .. }, None) => {}
            (Goal::Release, _) => steps.push(self.void(leg)?),
            (Goal::Shrink { to, attempt, way, borrowed }, Some(seconds)) => {
                let mut shrink: SmallVec<[_; 2]> = SmallVec::new();
                match reservation.hold {
                    Hold::Scheduled { spent, .. } => {
                        shrink.push(self.give_back(leg, attempt, to, spent)?);
                        shrink.extend(self.repay(leg, attempt, borrowed)?);
                    }
                    Hold::Rolling(_) | Hold::Concurrency => {
                        shrink.push(self.void(leg)?);
                        shrink.push(self.reserve(leg, Purpose::Shrink, attempt, to, seconds)?);
                    }
                }
                match way {
                    ShrinkWay::Open => steps.extend(shrink),
                    ShrinkWay::Through { closing } => {
                        let closing = self.closed_again(leg, closing, &steps.roles)?;
                        let [open, close] = around_closed(self.ids, reservation.account, closing);
                        steps.push((Role::Reopen { leg }, open));
                        steps.extend(shrink);
                        steps.push((Role::CloseAgain { leg }, close));
                    }
                }
            }
            (Goal::Extend { by, .. }, Some(seconds)) => {
                steps.push(self.reserve(leg, Purpose::Extend, 0, by, seconds)?);
            }
            (Goal::Debt { by, debt_account }, _) => {
                let movement =
                    Movement::Post { debit: debt_account, credit: self.ids.operator(), amount: by };
                let id = self.lease_ids.transfer(Purpose::Debt, 0, leg);
                steps.push((Role::Debt { leg }, self.transfer(id, TransferCode::Debt, movement)));
            }
        }
        Ok(())
    }

    /// What heads the chain: the void of a leg, or a marker.
    fn guard_step(&self, leg: Option<usize>) -> Result<(Role, Transfer), LedgerError> {
        if let Some(leg) = leg {
            return self.void_as(leg, self.guard_id());
        }
        let movement = Movement::Post { debit: self.ids.operator(), credit: self.ids.registry(), amount: 0 };
        Ok((Role::Marker, self.transfer(self.guard_id(), TransferCode::Complete, movement)))
    }

    fn guard_id(&self) -> TransferId {
        self.lease_ids.transfer(Purpose::Guard, 0, self.lease.top_ups)
    }

    fn void(&self, leg: usize) -> Result<(Role, Transfer), LedgerError> {
        self.void_as(leg, self.lease_ids.transfer(Purpose::Void, 0, leg))
    }

    fn void_as(&self, leg: usize, id: TransferId) -> Result<(Role, Transfer), LedgerError> {
        let reservation = self.leg(leg)?;
        let code = reservation.hold.code();
        let movement = Movement::Void { pending: reservation.transfer };
        Ok((Role::Void { leg }, self.transfer(id, code, movement)))
    }

    fn reserve(
        &self,
        leg: usize,
        purpose: Purpose,
        attempt: u8,
        amount: u128,
        timeout_seconds: u32,
    ) -> Result<(Role, Transfer), LedgerError> {
        let code = if purpose == Purpose::Extend { TransferCode::Extend } else { TransferCode::Shrink };
        let reservation = self.leg(leg)?;
        let debit = reservation.account;
        let movement = match reservation.hold {
            Hold::Scheduled { spent, .. } => Movement::Post { debit, credit: spent, amount },
            Hold::Rolling(_) | Hold::Concurrency => {
                Movement::Pend { debit, credit: self.ids.operator(), amount, timeout_seconds }
            }
        };
        let id = self.lease_ids.transfer(purpose, attempt, leg);
        Ok((Role::Reserve { leg }, self.transfer(id, code, movement)))
    }

    /// What holds a leg's account closed, after earlier legs of the chain have opened it and closed it again.
    fn closed_again(
        &self,
        leg: usize,
        closing: TransferId,
        roles: &[Role],
    ) -> Result<TransferId, LedgerError> {
        let account = self.leg(leg)?.account;
        let opened = roles.iter().filter(|role| match **role {
            Role::Reopen { leg } => self.lease.legs.get(leg).is_some_and(|other| other.account == account),
            Role::Marker
            | Role::Void { .. }
            | Role::Reserve { .. }
            | Role::GiveBack { .. }
            | Role::CloseAgain { .. }
            | Role::Repay { .. }
            | Role::Debt { .. } => false,
        });
        Ok(opened.fold(closing, |closing, _| self.ids.close_again(closing)))
    }

    /// Moves what was not used of a leg back to its limit, unless that has come back by itself.
    fn give_back(
        &self,
        leg: usize,
        attempt: u8,
        used: u128,
        spent: AccountId,
    ) -> Result<(Role, Transfer), LedgerError> {
        let reservation = self.leg(leg)?;
        let amount = reservation.amount.saturating_sub(used);
        let (credit, bound) = (reservation.account, Bound::Has);
        let movement = Movement::PostUpTo { debit: spent, credit, amount, bound };
        let id = self.lease_ids.transfer(Purpose::Shrink, attempt, leg);
        Ok((Role::GiveBack { leg }, self.transfer(id, TransferCode::GiveBack, movement)))
    }

    /// Pays back what was borrowed of the leg's limit, out of what was given back.
    fn repay(
        &self,
        leg: usize,
        attempt: u8,
        borrowed: Option<AccountId>,
    ) -> Result<Option<(Role, Transfer)>, LedgerError> {
        let limit = self.leg(leg)?.account;
        let id = self.lease_ids.transfer(Purpose::Repay, attempt, leg);
        Ok(borrowed.map(|borrowed| (Role::Repay { leg }, repay(id, limit, borrowed))))
    }

    fn transfer(&self, id: TransferId, code: TransferCode, movement: Movement) -> Transfer {
        let user_data = UserData { wide: self.lease.id.as_u128(), ..UserData::default() };
        Transfer { id, code, user_data, movement }
    }

    fn leg(&self, leg: usize) -> Result<Leg, LedgerError> {
        self.lease.legs.get(leg).copied().ok_or_else(|| self.no_leg(leg))
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

fn goals_of(legs: &[Leg], used: &[Used]) -> SmallVec<[Goal; 4]> {
    let goal = |(place, leg): (usize, &Leg)| match used.iter().find(|used| used.account == leg.account) {
        Some(used) => goal_of(leg, Some((share_of(legs, place, used.amount), used))),
        None => goal_of(leg, None),
    };
    legs.iter().enumerate().map(goal).collect()
}

/// What a leg has to bear of an actual amount: the legs of one limit are filled in order, and the last one, which is held
/// for longest, bears whatever is left.
fn share_of(legs: &[Leg], place: usize, actual: u64) -> u128 {
    let same_limit = |leg: &&Leg| legs.get(place).is_some_and(|this| this.account == leg.account);
    let before: u128 = legs.iter().take(place).filter(same_limit).map(|leg| leg.amount).sum();
    let left = u128::from(actual).saturating_sub(before);
    match legs.get(place) {
        Some(leg) if legs.iter().skip(place + 1).any(|later| same_limit(&later)) => left.min(leg.amount),
        Some(_) | None => left,
    }
}

/// Of `used` the leg has to bear so much.
fn goal_of(leg: &Leg, used: Option<(u128, &Used)>) -> Goal {
    let (overage, actual, used) = match (leg.hold, used) {
        (Hold::Concurrency, _) => return Goal::Release,
        (Hold::Rolling(_) | Hold::Scheduled { .. }, None) => return Goal::Keep,
        (Hold::Rolling(overage) | Hold::Scheduled { overage, .. }, Some((actual, used))) => {
            (overage, actual, used)
        }
    };
    let is_pending = !matches!(leg.hold, Hold::Scheduled { .. });
    if actual == 0 && is_pending {
        Goal::Release
    } else if actual < leg.amount {
        Goal::Shrink { to: actual, attempt: 0, way: ShrinkWay::Open, borrowed: used.borrowed }
    } else if actual > leg.amount {
        Goal::Extend { by: actual - leg.amount, overage, debt_account: used.debt_account }
    } else {
        Goal::Keep
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
