//! A bucket as an object of its own, for those who know limiters as one for each key: a reservation may take what will
//! only be there in the future, and is told when.
//!
//! An account keeps what was borrowed of the future. A reservation is one chain: it borrows all that it wants, spends it
//! as every reservation does, and pays back with whatever the limit has. Everything that puts something into the limit
//! pays back behind it, so nothing is available while something is owed.
//!
//! When a reservation may act follows from how much is owed behind it. Its chain measures that: what is owed is moved to
//! an account and back, and the ledger records how much it was. Beside it stands how the bucket was refilled then. So the
//! lease's own transfers tell the date, the same to whoever asks, whatever was borrowed or changed since.

use super::Limit;
use super::command::Reserve;
use super::ids::{Ids, Purpose};
use super::lease::Lease;
use super::reserve::{Leg, impossible_leg, spending_leg};
use super::schedule::{ALL, repay};
use crate::clock::unix_ms;
use crate::ledger::{
    Account, Bound, Chain, ChainOutcome, LedgerError, Movement, Recorded, Refusal, Transfer, TransferCode,
    UserData,
};
use crate::limit::{
    Amount, Definition, Kind, LimitKey, Overage, RefillRate, Status, Steps, Texts, TokenBucket,
};

/// What a reservation may act on, and from when on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    /// How much it took.
    pub tokens: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// When all of it is there, likewise.
    pub acts_unix_ms: u64,
    /// What the bucket was refilled with per second.
    pub per_second: f64,
}

/// What the outcome of the chain means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was made.
    Granted,
    /// It was not, and this lease stays denied: it is more than the bucket holds, or the limit is closed.
    Denied,
    /// The lease was granted before: its transfers tell how it stands.
    Recall,
    /// The bucket has another schedule by now: read the definitions, and try again.
    Replaced,
}

/// How a bucket stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// What it is refilled with per second; 0 if that is done by hand.
    pub per_second: f64,
    /// How much it holds.
    pub burst: u64,
    /// What is available less what is owed.
    pub tokens: i64,
    /// When the last refill was due, in milliseconds since the Unix epoch.
    pub last_unix_ms: u64,
    /// When everything that was borrowed is there, likewise; `None` if nothing is owed.
    pub repaid_unix_ms: Option<u64>,
}

/// The chain that takes what is there and borrows the rest; `None` if the bucket is not refilled by time. `owed` is what
/// was owed a moment ago: the more it is, the longer the lease is remembered. Each attempt spends under an id of its own,
/// all of them borrow under the same.
pub fn borrow(
    ids: Ids,
    command: &Reserve,
    limit: &Limit,
    now_ns: u64,
    owed: u128,
    attempt: u8,
) -> Option<Chain> {
    let requirement = command.requirements().first()?;
    let schedule = limit.schedule.as_deref()?;
    let (refill, steps) = schedule.refills()?;
    let borrowed = schedule.borrowed()?;
    let lease_ids = ids.of_lease(command.lease);
    let part = |nth| lease_ids.transfer(Purpose::Borrow, 0, nth);
    let user_data = |long| UserData { wide: command.lease.as_u128(), long, short: 0 };
    if requirement.amount > limit.state.definition.capacity {
        // The ledger remembers the denial.
        let Leg { code, movement, .. } = impossible_leg(ids, &requirement.key);
        return Chain::new([Transfer { id: part(0), code, user_data: user_data(0), movement }]);
    }
    let amount = requirement.amount.into();
    let spent_max = narrow(owed)
        .saturating_add(requirement.amount.get())
        .saturating_add(limit.state.definition.capacity.get());
    let Leg { code, movement, over_at_ms } = spending_leg(requirement, limit, now_ns, spent_max)?;
    let measure = |id, long, debit, credit| Transfer {
        id,
        code: TransferCode::Measure,
        user_data: user_data(long),
        movement: Movement::PostUpTo { debit, credit, amount: ALL, bound: Bound::Owes },
    };
    Chain::new([
        Transfer {
            id: part(0),
            code: TransferCode::Borrow,
            user_data: user_data(refill.amount().get()),
            movement: Movement::Post { debit: borrowed, credit: limit.account, amount },
        },
        Transfer {
            id: lease_ids.transfer(Purpose::Reserve, attempt, 0),
            code,
            user_data: user_data(over_at_ms),
            movement,
        },
        repay(part(1), limit.account, borrowed),
        measure(part(2), refill.interval_ms(), ids.measure(), borrowed),
        measure(part(3), steps.anchor_ms, borrowed, ids.measure()),
    ])
}

/// What the outcome of the chain means.
pub fn interpret(command: &Reserve, outcome: ChainOutcome) -> Result<Verdict, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return Ok(Verdict::Granted),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(Verdict::Recall),
        Refusal::CreditAccountClosed | Refusal::IdAlreadyFailed if index == 1 => Ok(Verdict::Replaced),
        Refusal::CreditAccountClosed
        | Refusal::IdAlreadyFailed
        | Refusal::ExceedsCredits
        | Refusal::DebitAccountClosed => Ok(Verdict::Denied),
        Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(LedgerError::Unexpected(format!(
            "borrowing for lease {} was refused at transfer {index}: {refusal:?}",
            command.lease
        ))),
    }
}

/// What a lease that was granted then was promised, as its transfers tell; `None` if it borrowed nothing.
pub fn promise(created_unix_ms: u64, transfers: &[Recorded]) -> Option<Promise> {
    let of = |code| transfers.iter().filter(move |recorded| recorded.transfer.code == code);
    let borrow = of(TransferCode::Borrow).next()?.transfer;
    let mut measures = of(TransferCode::Measure).map(|recorded| recorded.transfer);
    let (there, back) = (measures.next()?, measures.next()?);
    let refill = RefillRate::new(Amount::new(borrow.user_data.long).ok()?, there.user_data.long);
    let steps = Steps { anchor_ms: back.user_data.long, span_ms: refill.interval_ms(), per_span: 1 };
    let repaid = repaid_at_ms(refill, steps, created_unix_ms, there.movement.amount());
    Some(Promise {
        tokens: narrow(borrow.movement.amount()),
        created_unix_ms,
        acts_unix_ms: repaid.unwrap_or(created_unix_ms),
        per_second: refill.units_per_second(),
    })
}

/// Whether everything that a lease took was given back.
pub fn is_given_back(lease: &Lease, transfers: &[Recorded]) -> bool {
    let took: u128 = lease.legs.iter().map(|leg| leg.amount).sum();
    let given = transfers.iter().filter(|recorded| recorded.transfer.code == TransferCode::GiveBack);
    given.map(|recorded| recorded.transfer.movement.amount()).sum::<u128>() >= took
}

/// How a bucket stands at a moment up to which everything that was due has come back. `None` if it is none.
pub fn standing(limit: &Limit, now_ns: u64, available: &Account, borrowed: &Account) -> Option<Standing> {
    let schedule = limit.schedule.as_deref()?;
    let (now_ms, owed) = (unix_ms(now_ns), borrowed.owed());
    let refills = schedule.refills();
    let signed = |amount: u128| i64::try_from(amount).unwrap_or(i64::MAX);
    Some(Standing {
        per_second: per_second(limit),
        burst: limit.state.definition.capacity.get(),
        tokens: signed(available.available()).saturating_sub(signed(owed)),
        last_unix_ms: schedule.last_step_ms(now_ns),
        repaid_unix_ms: refills.and_then(|(refill, steps)| repaid_at_ms(refill, steps, now_ms, owed)),
    })
}

/// What a bucket is refilled with per second; 0 if that is done by hand.
pub fn per_second(limit: &Limit) -> f64 {
    let refills = limit.schedule.as_ref().and_then(|schedule| schedule.refills());
    refills.map_or(0.0, |(refill, _)| refill.units_per_second())
}

/// The definition of a bucket of this rate: a new one, or the one that is there with another rate.
pub fn at_rate(current: Option<&Limit>, key: &LimitKey, rate: RefillRate, burst: Amount) -> Definition {
    let kind = Kind::TokenBucket(TokenBucket::at_rate(rate));
    match current.filter(|limit| limit.state.status != Status::Deleted) {
        Some(limit) => Definition { kind, capacity: burst, ..limit.state.definition.clone() },
        None => Definition {
            key: key.clone(),
            kind,
            capacity: burst,
            texts: Texts::default(),
            overage: Overage::default(),
            instances_max: None,
        },
    }
}

/// When refills have paid back what is owed at a moment; `None` if nothing is. Refills that were due by then count as
/// made: where one was not made yet, it is a step later than it might be, and never too early.
fn repaid_at_ms(refill: RefillRate, steps: Steps, now_ms: u64, owed: u128) -> Option<u64> {
    let refills = owed.div_ceil(refill.amount().into());
    (refills > 0).then(|| steps.starts_at_ms(steps.at(now_ms).saturating_add(narrow(refills))))
}

fn narrow(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}
