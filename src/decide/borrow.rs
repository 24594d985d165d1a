//! Reservations ahead: a reservation on a bucket may borrow tokens that later refills will add, and learns when they are
//! available, its *date to act*.
//!
//! | transfer | from | to | amount | user data |
//! | --- | --- | --- | --- | --- |
//! | borrow | borrowed | limit | all tokens wanted | refill amount |
//! | spend | limit | spent | all tokens wanted | when they are refilled |
//! | repay | limit | borrowed | what is available, at most what is owed | |
//! | allow | measure | allowance | the most that may be owed | |
//! | measure | allowance | borrowed | what is owed now | refill interval; refills in it |
//! | allow | allowance | measure | what is left of the allowance | |
//! | measure | borrowed | measure | what is owed now | anchor of the steps, in milliseconds; nanoseconds below that |
//!
//! The chain repays at once with what is available, and every later chain that adds to the bucket repays too. So nothing is
//! available while something is owed.
//!
//! The last four transfers bound the wait (`allowance.rs`): the ledger refuses the chain if more is owed than the refills
//! within the longest wait repay. So the bound holds for any number of callers at once, at any number of replicas.
//!
//! The date to act follows from what is owed once the reservation has borrowed. The chain measures it: balancing
//! transfers move it to the borrowed account and back, and the ledger records the amount. The rate at that time is in
//! their user data. So the lease's own transfers tell its date to act, the same at every replica, whatever was
//! borrowed or changed since.

use super::Limit;
use super::allowance::{self, owes_at_most};
use super::clock_value::ClockValue;
use super::ids::{Ids, Purpose};
use super::lease::Lease;
use super::refill::repay;
use super::reservation_ahead::{millisecond_end_ns, narrow, repaid_at_ms};
use super::reserve::{PlannedLeg, plan_spending_leg, unsatisfiable_leg};
use super::schedule::Schedule;
use super::settle::Behind;
use crate::ledger::{
    Account, Chain, ChainOutcome, LedgerError, Movement, Recorded, Refusal, Transfer, TransferCode, UserData,
};
use crate::limit::{
    AlertThresholds, Amount, BucketRate, Definition, Kind, LimitKey, OnUnavailable, Overage, Queueing,
    RateChange, RefillRate, Status, Steps, Texts, WaitMax,
};
use crate::protocol::Reserve;
use crate::time::{NS_PER_MS, unix_ms};

/// The index of the transfer that spends.
const SPEND_INDEX: usize = 1;
/// The index of the first transfer that bounds what is owed.
const BOUND_INDEX: usize = 3;

/// The meaning of the chain's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BorrowResult {
    /// The reservation was made.
    Granted,
    /// Nothing is reserved, and the lease id stays denied: the tokens exceed the burst, or the limit is closed.
    Denied,
    /// Nothing is reserved, and the lease id stays denied: the refills that the reservation needs take longer than it may wait.
    WaitTooLong,
    /// The lease id was granted before: its transfers tell its status.
    AlreadyGranted,
    /// A new version replaced the bucket's schedule: read the definitions again, and retry.
    ScheduleReplaced,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BucketState {
    /// The refill rate in tokens per second; 0 if the bucket is refilled manually.
    pub(crate) per_second: f64,
    /// The most tokens the bucket holds.
    pub(crate) burst: u64,
    /// Tokens available less tokens owed.
    pub(crate) tokens: i64,
    /// When the last refill was due, in milliseconds since the Unix epoch.
    pub(crate) last_refill_unix_ms: u64,
    /// When refills will have repaid everything owed, in milliseconds since the Unix epoch; `None` if nothing is owed.
    pub(crate) repaid_at_unix_ms: Option<u64>,
}

/// A reservation ahead that is wanted of a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The lease and the tokens.
    pub(crate) command: &'a Reserve,
    /// The bucket. Every refill that was due at `now_ns` has been made.
    pub(crate) limit: &'a Limit,
    /// The value of its refill clock.
    pub(crate) clock: ClockValue,
    /// The longest that the caller waits, in milliseconds; `None` for as long as the bucket allows.
    pub(crate) wait_max_ms: Option<u64>,
    /// The time to plan at, in the ledger's nanoseconds.
    pub(crate) now_ns: u64,
}

/// The chain that takes available tokens and borrows the rest; `None` if time does not refill the bucket. `owed` is
/// what was owed a moment ago: if more is owed, the lease can be cancelled for longer. Each attempt spends under its
/// own id; all attempts borrow under the same id.
pub(crate) fn borrow(ids: Ids, wanted: Wanted<'_>, owed: u128, attempt: u8) -> Option<Chain> {
    let Wanted { command, limit, clock, now_ns, .. } = wanted;
    let requirement = command.requirements().first()?;
    let schedule = limit.schedule.as_deref()?;
    let (refill, steps) = schedule.timed_refill(clock)?;
    let borrowed = schedule.borrowed()?;
    let lease_ids = ids.of_lease(command.lease);
    let part = |nth| lease_ids.transfer(Purpose::Borrow, 0, nth);
    let user_data = |long| UserData { wide: command.lease.as_u128(), long, short: 0 };
    if !limit.state.definition.capacity.holds(requirement.amount) {
        // The ledger refuses this leg and remembers the denial.
        let PlannedLeg { code, movement, .. } = unsatisfiable_leg(ids, &requirement.key);
        return Chain::new([Transfer { id: part(0), code, user_data: user_data(0), movement }]);
    }
    let amount = requirement.amount.into();
    let spent_max = narrow(owed)
        .saturating_add(requirement.amount.get())
        .saturating_add(limit.state.definition.capacity.get());
    let PlannedLeg { code, movement, refilled_at_ms } =
        plan_spending_leg(requirement, limit, now_ns, spent_max)?;
    let owed_max = owed_max(limit, refill, steps, unix_ms(now_ns), wanted.wait_max_ms);
    let [allow, measure, rest, restore] = owes_at_most(ids, borrowed, owed_max, |nth| part(2 + nth));
    let per_interval = refill.per_interval().get();
    // Fewer than a million.
    let below_ms = (steps.anchor_ns % NS_PER_MS) as u32;
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
            user_data: user_data(refilled_at_ms),
            movement,
        },
        repay(part(1), limit.account, borrowed),
        allow,
        Transfer {
            user_data: UserData { short: per_interval, ..user_data(refill.interval_ms()) },
            ..measure
        },
        rest,
        Transfer {
            user_data: UserData { short: below_ms, ..user_data(unix_ms(steps.anchor_ns)) },
            ..restore
        },
    ])
}

/// The most that a bucket may owe: what the refills within the longest wait repay. It is at most the largest amount, so that
/// no sum of tokens leaves 64 bits.
fn owed_max(limit: &Limit, refill: RefillRate, steps: Steps, now_ms: u64, wait_max_ms: Option<u64>) -> u64 {
    let wait_max_ms = wait_max_ms.unwrap_or(u64::MAX).min(limit.state.definition.wait_max.ms());
    let until_ns = now_ms.saturating_add(wait_max_ms).saturating_mul(NS_PER_MS);
    // As [`repaid_at_ms`], this assumes that every refill due until the end of the millisecond has been made.
    let refills = steps.at(until_ns).saturating_sub(steps.at(millisecond_end_ns(now_ms)));
    refills.saturating_mul(refill.amount().get()).min(Amount::MAX.get())
}

/// How long a reservation of `tokens` would wait at `now_ns`, in milliseconds. `None` if time does not refill the bucket.
pub(crate) fn wait_ms(
    limit: &Limit,
    clock: ClockValue,
    now_ns: u64,
    tokens: Amount,
    available: &Account,
    borrowed: &Account,
) -> Option<u64> {
    let (refill, steps) = limit.schedule.as_deref()?.timed_refill(clock)?;
    let owed = (borrowed.owed() + u128::from(tokens)).saturating_sub(available.available());
    let now_ms = unix_ms(now_ns);
    Some(repaid_at_ms(refill, steps, now_ms, owed).unwrap_or(now_ms).saturating_sub(now_ms))
}

/// The meaning of the chain's outcome.
pub(crate) fn interpret(command: &Reserve, outcome: ChainOutcome) -> Result<BorrowResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return Ok(BorrowResult::Granted),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(BorrowResult::AlreadyGranted),
        Refusal::CreditAccountClosed | Refusal::IdAlreadyFailed if index == SPEND_INDEX => {
            Ok(BorrowResult::ScheduleReplaced)
        }
        Refusal::ExceedsCredits | Refusal::IdAlreadyFailed
            if index == BOUND_INDEX + allowance::REFUSED_INDEX =>
        {
            Ok(BorrowResult::WaitTooLong)
        }
        Refusal::CreditAccountClosed
        | Refusal::IdAlreadyFailed
        | Refusal::ExceedsCredits
        | Refusal::DebitAccountClosed
        // The tokens exceed the burst of an instance that is not made, so the chain could not make it.
        | Refusal::DebitAccountNotFound => Ok(BorrowResult::Denied),
        Refusal::ExceedsDebits
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

/// Whether the lease was settled with nothing used. The user data of its releases holds the unused amount; the
/// released amount may be less.
pub(crate) fn is_cancelled(lease: &Lease, transfers: &[Recorded]) -> bool {
    let taken: u128 = lease.legs.iter().map(|leg| leg.amount).sum();
    let releases = transfers.iter().filter(|recorded| recorded.transfer.code == TransferCode::Release);
    // Earlier versions released the whole unused amount, and did not record it apart.
    let unused = |&Recorded { transfer, .. }: &Recorded| {
        transfer.movement.amount().max(transfer.user_data.long.into())
    };
    releases.map(unused).sum::<u128>() >= taken
}

/// What is owed behind a reservation ahead: the part of `owed` that refills repay after its date to act. `now_ns` is the
/// ledger's time, at which every due refill has been made.
pub(crate) fn behind(
    limit: &Limit,
    clock: ClockValue,
    now_ns: u64,
    acts_at_unix_ms: u64,
    owed: u128,
) -> Behind {
    let refills = limit.schedule.as_deref().and_then(|schedule| schedule.timed_refill(clock));
    let repaid_before = refills.map_or(0, |(refill, steps)| {
        let refills = steps.at(acts_at_unix_ms.saturating_mul(NS_PER_MS)).saturating_sub(steps.at(now_ns));
        u128::from(refills) * u128::from(refill.amount())
    });
    Behind { owed: narrow(owed), tokens: owed.saturating_sub(repaid_before) }
}

/// The state of a bucket at `now_ns`, after every refill that was due then. `None` if the limit has no schedule.
pub(crate) fn state(
    limit: &Limit,
    clock: ClockValue,
    now_ns: u64,
    available: &Account,
    borrowed: &Account,
) -> Option<BucketState> {
    let schedule = limit.schedule.as_deref()?;
    let (now_ms, owed) = (unix_ms(now_ns), borrowed.owed());
    let refills = schedule.timed_refill(clock);
    let signed = |amount: u128| i64::try_from(amount).unwrap_or(i64::MAX);
    Some(BucketState {
        per_second: per_second(limit),
        burst: limit.state.definition.capacity.get(),
        tokens: signed(available.available()).saturating_sub(signed(owed)),
        last_refill_unix_ms: schedule.last_step_ms(clock, now_ns),
        repaid_at_unix_ms: refills.and_then(|(refill, steps)| repaid_at_ms(refill, steps, now_ms, owed)),
    })
}

/// The refill rate of a bucket in tokens per second; 0 if it is refilled manually.
pub(crate) fn per_second(limit: &Limit) -> f64 {
    limit.schedule.as_deref().and_then(Schedule::rate).map_or(0.0, RefillRate::units_per_second)
}

/// The definition of a bucket after a change of its rate or capacity: the current one changed, or a new one. `None` if there is
/// no bucket and the change does not say both.
pub(crate) fn definition_with_rate(
    current: Option<&Limit>,
    key: &LimitKey,
    change: RateChange,
) -> Option<Definition> {
    let Some(limit) = current.filter(|limit| !limit.state.status.is_gone()) else {
        let (rate, capacity) = (change.rate?, change.burst?);
        return Some(Definition {
            key: key.clone(),
            kind: Kind::TokenBucket(rate.bucket(capacity)),
            capacity,
            texts: Texts::default(),
            overage: Overage::default(),
            instances_max: None,
            wait_max: WaitMax::default(),
            on_unavailable: OnUnavailable::default(),
            enforce: true,
            queueing: Queueing::default(),
            allotment: None,
            unit_micros: None,
            alerts: AlertThresholds::default(),
        });
    };
    let definition = &limit.state.definition;
    let capacity = match limit.state.status {
        Status::Decreasing { to } => to,
        Status::Active | Status::Deleted | Status::Retired => definition.capacity,
    };
    let capacity = change.burst.unwrap_or(capacity);
    let kind = match (definition.kind, change.rate) {
        // A refill by hand adds what it did.
        (Kind::TokenBucket(bucket), None) if !bucket.auto_replenish() => definition.kind,
        (Kind::TokenBucket(bucket), None) => Kind::TokenBucket(BucketRate::from(bucket).bucket(capacity)),
        // Another kind than a bucket is not changed to one: the plan of the version says so.
        (_, rate) => Kind::TokenBucket(rate.unwrap_or(BucketRate::Never).bucket(capacity)),
    };
    Some(Definition { kind, capacity, ..definition.clone() })
}
