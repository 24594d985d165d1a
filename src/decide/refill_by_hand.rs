//! Refills on request. A bucket gets tokens; the present step of a window ends. Each happens once per trace.
//!
//! | transfer | from | to | amount | id |
//! | --- | --- | --- | --- | --- |
//! | trace | operator | registry | 0 | of the key and the ULID of the request |
//! | of a window: advance | operator | clock | to when the next step ends, at the earliest | of the clock and its old value |
//! | of a window: count | clock | operator | 1 | fresh |
//! | refill, one or more | spent | limit | at most what is spent | fresh |
//! | repay, if the kind lends | limit | borrowed | at most what is owed | fresh |
//!
//! A closed account is opened behind the traces and closed again at the end, as in `refill.rs`. Of two requests that end the
//! same step, the ledger refuses one at its advance.

use super::Limit;
use super::clock_value::ClockValue;
use super::ids::Ids;
use super::refill::{CatchUp, guarded_chain, refill_transfer};
use crate::ledger::{Chain, Movement, Transfer, TransferCode, TransferId, UserData};
use crate::limit::{Refill, ScheduledKind};
use crate::time::unix_ms;

/// What a refill on request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefillByHand {
    /// It adds tokens to a bucket.
    Tokens(u64),
    /// It ends the present step of a window, if its length has passed.
    Step,
}

impl RefillByHand {
    /// Of a limit; `None` if only time refills it, or if its reservations expire.
    pub(crate) fn of(limit: &Limit) -> Option<Self> {
        let schedule = limit.schedule.as_deref()?;
        match schedule.kind() {
            ScheduledKind::TokenBucket(bucket) => {
                (!bucket.auto_replenish()).then(|| Self::Tokens(bucket.refill().amount().get()))
            }
            ScheduledKind::FixedWindow(_) | ScheduledKind::SlidingWindow(_) | ScheduledKind::Calendar(_) => {
                schedule.by_hand().map(|_| Self::Step)
            }
        }
    }
}

/// The chain of a manual refill or a release into a bucket, which happens once per trace; `None` if the limit has no schedule.
/// The other arguments are those of [`super::refill::catch_up`].
pub(crate) fn add_tokens(
    ids: Ids,
    limit: &Limit,
    trace: TransferId,
    amount: u64,
    closing: Option<TransferId>,
    fresh_ulid: u128,
) -> Option<Chain> {
    let &spent = limit.schedule.as_deref()?.spent().first()?;
    let refill = refill_transfer(ids.fresh(fresh_ulid, 0), spent, limit.account, amount);
    guarded_chain(ids, [trace_of_request(ids, trace)], limit, [refill], closing, fresh_ulid)
}

/// The chain that ends the present step of a window; `None` if its length has not passed at `now_ns`, or if the window is not
/// refilled by hand. The other arguments are those of [`super::refill::catch_up`].
pub(crate) fn end_step(
    ids: Ids,
    limit: &Limit,
    clock: ClockValue,
    now_ns: u64,
    trace: TransferId,
    closing: Option<TransferId>,
    fresh_ulid: u128,
) -> Option<CatchUp> {
    let schedule = limit.schedule.as_deref()?;
    let to = schedule.by_hand()?.ended(clock, unix_ms(now_ns))?;
    let key = &limit.state.definition.key;
    let advance = schedule.advance_clock(ids, key, clock.refilled_to, to.refilled_to);
    let count = Transfer {
        id: ids.fresh(fresh_ulid, u8::MAX - 1),
        code: TransferCode::AdvanceClock,
        user_data: UserData::default(),
        movement: Movement::Post { debit: schedule.clock(), credit: ids.operator(), amount: 1 },
    };
    let indexes = match schedule.kind().refill_between(clock.phase, to.phase) {
        Refill::Accounts(indexes) => indexes,
        // A bucket has no steps that end on request.
        Refill::UpTo(_) => return None,
    };
    let refills = indexes.into_iter().filter_map(|index| {
        let spent = *schedule.spent().get(index)?;
        Some(refill_transfer(ids.fresh(fresh_ulid, index as u8), spent, limit.account, u64::MAX))
    });
    let traces = [trace_of_request(ids, trace), advance, count];
    guarded_chain(ids, traces, limit, refills, closing, fresh_ulid).map(|chain| CatchUp { chain, to })
}

fn trace_of_request(ids: Ids, trace: TransferId) -> Transfer {
    let movement = Movement::Post { debit: ids.operator(), credit: ids.registry(), amount: 0 };
    Transfer { id: trace, code: TransferCode::Refill, user_data: UserData::default(), movement }
}
