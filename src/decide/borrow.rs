//! Reservations ahead: a reservation on a bucket may borrow tokens that later refills will add, and learns when they are
//! available, its *date to act*.
//!
//! | transfer | from | to | amount | user data |
//! | --- | --- | --- | --- | --- |
//! | borrow | borrowed | limit | all tokens wanted | refill amount |
//! | spend | limit | spent | all tokens wanted | when they are refilled |
//! | repay | limit | borrowed | what is available, at most what is owed | |
//! | measure | measure | borrowed | what is owed now | refill interval; refills in it |
//! | measure | borrowed | measure | the same | anchor of the steps, in milliseconds; nanoseconds below that |
//!
//! The chain repays at once with what is available, and every later chain that adds to the bucket repays too. So nothing is
//! available while something is owed.
//!
//! The date to act follows from what is owed behind the reservation. The chain measures it: balancing transfers move it to the
//! measure account and back, and the ledger records the amount. The rate at that time is in their user data. So the lease's own
//! transfers tell its date to act, the same at every replica, whatever was borrowed or changed since.

use super::Limit;
use super::ids::{Ids, Purpose};
use super::lease::Lease;
use super::refill::{EVERYTHING, repay};
use super::reservation_ahead::{narrow, repaid_at_ms};
use super::reserve::{PlannedLeg, plan_spending_leg, unsatisfiable_leg};
use crate::ledger::{
    Account, Bound, Chain, ChainOutcome, LedgerError, Movement, Recorded, Refusal, Transfer, TransferCode,
    UserData,
};
use crate::limit::{Amount, Definition, Kind, LimitKey, Overage, RefillRate, Status, Texts, TokenBucket};
use crate::protocol::Reserve;
use crate::time::{NS_PER_MS, unix_ms};

/// The meaning of the chain's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BorrowResult {
    /// The reservation was made.
    Granted,
    /// Nothing is reserved, and the lease id stays denied: the tokens exceed the burst, or the limit is closed.
    Denied,
    /// The lease id was granted before: its transfers tell its status.
    AlreadyGranted,
    /// A new version replaced the bucket's schedule: read the definitions again, and retry.
    ScheduleReplaced,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketState {
    /// The refill rate in tokens per second; 0 if the bucket is refilled manually.
    pub per_second: f64,
    /// The most tokens the bucket holds.
    pub burst: u64,
    /// Tokens available less tokens owed.
    pub tokens: i64,
    /// When the last refill was due, in milliseconds since the Unix epoch.
    pub last_refill_unix_ms: u64,
    /// When refills will have repaid everything owed, in milliseconds since the Unix epoch; `None` if nothing is owed.
    pub repaid_at_unix_ms: Option<u64>,
}

/// The chain that takes available tokens and borrows the rest; `None` if time does not refill the bucket. `owed` is what was
/// owed a moment ago: the more is owed, the longer the lease can be cancelled. Each attempt spends under its own id; all
/// attempts borrow under the same id.
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
    let (refill, steps) = schedule.timed_refill()?;
    let borrowed = schedule.borrowed()?;
    let lease_ids = ids.of_lease(command.lease);
    let part = |nth| lease_ids.transfer(Purpose::Borrow, 0, nth);
    let user_data = |long| UserData { wide: command.lease.as_u128(), long, short: 0 };
    if requirement.amount > limit.state.definition.capacity {
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
    let measure = |id, long, short, debit, credit| Transfer {
        id,
        code: TransferCode::Measure,
        user_data: UserData { short, ..user_data(long) },
        movement: Movement::PostUpTo { debit, credit, amount: EVERYTHING, bound: Bound::CreditOwed },
    };
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
        measure(part(2), refill.interval_ms(), refill.per_interval().get(), ids.measure(), borrowed),
        measure(part(3), unix_ms(steps.anchor_ns), below_ms, borrowed, ids.measure()),
    ])
}

/// The meaning of the chain's outcome.
pub fn interpret(command: &Reserve, outcome: ChainOutcome) -> Result<BorrowResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return Ok(BorrowResult::Granted),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(BorrowResult::AlreadyGranted),
        Refusal::CreditAccountClosed | Refusal::IdAlreadyFailed if index == 1 => {
            Ok(BorrowResult::ScheduleReplaced)
        }
        Refusal::CreditAccountClosed
        | Refusal::IdAlreadyFailed
        | Refusal::ExceedsCredits
        | Refusal::DebitAccountClosed => Ok(BorrowResult::Denied),
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

/// Whether everything that the lease took was released.
pub fn is_released(lease: &Lease, transfers: &[Recorded]) -> bool {
    let taken: u128 = lease.legs.iter().map(|leg| leg.amount).sum();
    let releases = transfers.iter().filter(|recorded| recorded.transfer.code == TransferCode::Release);
    releases.map(|recorded| recorded.transfer.movement.amount()).sum::<u128>() >= taken
}

/// The state of a bucket at `now_ns`, after every refill that was due then. `None` if the limit has no schedule.
pub fn state(limit: &Limit, now_ns: u64, available: &Account, borrowed: &Account) -> Option<BucketState> {
    let schedule = limit.schedule.as_deref()?;
    let (now_ms, owed) = (unix_ms(now_ns), borrowed.owed());
    let refills = schedule.timed_refill();
    let signed = |amount: u128| i64::try_from(amount).unwrap_or(i64::MAX);
    Some(BucketState {
        per_second: per_second(limit),
        burst: limit.state.definition.capacity.get(),
        tokens: signed(available.available()).saturating_sub(signed(owed)),
        last_refill_unix_ms: schedule.last_step_ms(now_ns),
        repaid_at_unix_ms: refills.and_then(|(refill, steps)| repaid_at_ms(refill, steps, now_ms, owed)),
    })
}

/// The refill rate of a bucket in tokens per second; 0 if it is refilled manually.
pub fn per_second(limit: &Limit) -> f64 {
    let refills = limit.schedule.as_ref().and_then(|schedule| schedule.timed_refill());
    refills.map_or(0.0, |(refill, _)| refill.units_per_second())
}

/// The definition of a bucket with this rate and burst: the current definition changed, or a new one.
pub fn definition_with_rate(
    current: Option<&Limit>,
    key: &LimitKey,
    rate: RefillRate,
    burst: Amount,
) -> Definition {
    let kind = Kind::TokenBucket(TokenBucket::at_rate(rate.for_burst(burst)));
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
