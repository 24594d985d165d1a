//! Pacing: the refills of a bucket that a reserve finds full count from that reserve. `docs/pacing.md` has the argument.
//!
//! | transfer | from | to | amount | id |
//! | --- | --- | --- | --- | --- |
//! | trace | operator | clock | the ticks that the clock advances | of the key and the clock's old value |
//! | phase | clock | operator | the ticks that the phase advances | fresh |
//! | refill and repay, if anything is spent | as in [`super::refill`] | | | |
//!
//! A bucket is full exactly if its spent account is empty: what is available plus what is spent, less what is owed, is the
//! capacity, and nothing is available while something is owed.

use super::Limit;
use super::clock_value::ClockValue;
use super::ids::Ids;
use super::refill::{CatchUp, guarded_chain, refill_transfer};
use super::schedule::Schedule;
use crate::ledger::{Movement, Transfer, TransferCode, TransferId, UserData};
use crate::limit::Refill;

/// After a reserve has found a bucket full, others rely on that for the step divided by this number. Without it, each of many
/// calls that another limit denies would start the interval again.
const LOOKS_PER_STEP: u64 = 10;

/// The moment at which the refills of a bucket fill it, in nanoseconds since the Unix epoch, if `spent` is spent now and nobody
/// takes or releases any: not after `now_ns` if those fill it that are due. `None` if time does not refill it.
pub(crate) fn full_at_ns(schedule: &Schedule, clock: ClockValue, spent: u128, now_ns: u64) -> Option<u64> {
    let (refill, steps) = schedule.timed_refill(clock)?;
    let refills = u64::try_from(spent.div_ceil(refill.amount().into())).unwrap_or(u64::MAX);
    if refills == 0 {
        return Some(now_ns);
    }
    Some(steps.starts_at_ns(steps.at(schedule.refilled_to_ns(clock)).saturating_add(refills)))
}

/// The moment from which a reserve looks again whether a bucket is full that was full at `now_ns`, unless somebody takes
/// tokens before.
pub(crate) fn looks_again_at_ns(schedule: &Schedule, clock: ClockValue, now_ns: u64) -> u64 {
    let step_ns = schedule.steps(clock).map_or(0, |steps| steps.starts_at_ns(1) - steps.starts_at_ns(0));
    now_ns.saturating_add((step_ns / LOOKS_PER_STEP).max(1))
}

/// The chain that starts the interval of a full bucket at `now_ns`, and makes the refills that fill it. `spent` is what is
/// spent before them. `None` if the interval starts at this moment already. The other arguments are those of
/// [`super::refill::catch_up`].
pub(crate) fn start_interval(
    ids: Ids,
    limit: &Limit,
    clock: ClockValue,
    spent: u128,
    now_ns: u64,
    closing: Option<TransferId>,
    fresh_ulid: u128,
) -> Option<CatchUp> {
    let schedule = limit.schedule.as_deref()?;
    let steps = schedule.steps(clock)?;
    // Rounded up, so that no token comes early.
    let phase = now_ns.div_ceil(steps.tick.ns());
    // A trace that advances nothing would use up the id of the next one. There the clock is at a step that began in this very
    // tick, so the interval starts here anyway.
    if steps.tick.starts_at_ns(phase) <= schedule.refilled_to_ns(clock) {
        return None;
    }
    let to = ClockValue { refilled_to: phase, phase };
    let trace = schedule.advance_clock(ids, &limit.state.definition.key, clock.refilled_to, to.refilled_to);
    let moved = Transfer {
        id: ids.fresh(fresh_ulid, u8::MAX - 1),
        code: TransferCode::AdvanceClock,
        user_data: UserData::default(),
        movement: Movement::Post {
            debit: schedule.clock(),
            credit: ids.operator(),
            amount: phase.saturating_sub(clock.phase).into(),
        },
    };
    let due = match schedule.due(clock, now_ns).filter(|_| spent > 0) {
        Some((_, Refill::UpTo(amount))) => amount,
        Some((_, Refill::Accounts(_))) | None => 0,
    };
    // With nothing to refill, the chain leaves the limit's account alone, which may be closed.
    let refill = (due > 0).then_some(*schedule.spent().first()?);
    let refill = refill.map(|spent| refill_transfer(ids.fresh(fresh_ulid, 0), spent, limit.account, due));
    let chain = guarded_chain(ids, [trace, moved], limit, refill, closing, fresh_ulid)?;
    Some(CatchUp { chain, to })
}
