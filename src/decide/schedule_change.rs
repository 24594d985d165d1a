//! A version that replaces a refill schedule: up to one moment everything follows the old schedule, from then on the new one.
//!
//! The old rate of a bucket is settled to that moment: whole tokens are refilled by the version's chain, and the
//! fraction of a token that is left moves the start of the new steps to an earlier moment, by the time that the new
//! rate takes for it. So each of two alternating rates adds exactly the tokens that it should.
//!
//! The chain advances the refill clock from the value that was read, with the trace of a refill. If a refill by the
//! old schedule comes first, the ledger therefore refuses the version, which is planned again. If the clock is at
//! that moment already, the chain does not advance it. A refill that comes first then counts at most a fraction of a
//! token twice.
//!
//! What was spent is carried over to an account of the new schedule. The transfer that closes the old account names it, and says
//! until when the new schedule keeps it there. So a complete of an earlier lease finds what it can release.

use super::clock_value::ClockValue;
use super::schedule::{Schedule, SpendTarget};
use crate::ledger::{AccountId, Recorded, UserData};
use crate::limit::{RefillRate, Steps};
use crate::time::NS_PER_MS;

/// What the ledger says of a replaced schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplacedBalances {
    /// The value of its refill clock.
    pub clock: ClockValue,
    /// The tokens spent and not yet refilled.
    pub spent: u128,
    /// The tokens borrowed and not yet repaid.
    pub owed: u128,
}

/// What the rate of a bucket has earned since its last refill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Earned {
    /// The moment up to which it is earned, in ticks of the refill clock.
    pub(super) to: u64,
    /// The same moment, in nanoseconds since the Unix epoch.
    pub(super) at_ns: u64,
    /// Whole tokens.
    pub(super) tokens: u64,
    /// The rest, in parts of a token.
    rest: u128,
    /// How many parts make a token.
    parts: u128,
}

impl Earned {
    /// What a bucket has earned at `now_ns`; `None` if time does not refill it.
    pub(super) fn at(schedule: &Schedule, balances: ReplacedBalances, now_ns: u64) -> Option<Self> {
        let clock = balances.clock;
        let (refill, steps) = schedule.timed_refill(clock)?;
        // A clock that another replica has advanced may be ahead of the time that is known here.
        let to = steps.tick.at(now_ns).max(clock.refilled_to);
        let at_ns = steps.tick.starts_at_ns(to).max(steps.anchor_ns);
        let refills = steps.at(at_ns).saturating_sub(steps.at(schedule.refilled_to_ns(clock)));
        let (passed, parts) = passed_of_step(steps, at_ns);
        let of_step = passed * u128::from(refill.amount().get());
        let whole = u64::try_from(of_step / parts).unwrap_or(u64::MAX);
        let tokens = refills.saturating_mul(refill.amount().get()).saturating_add(whole);
        // A full bucket earns nothing.
        let rest = if balances.spent <= tokens.into() { 0 } else { of_step % parts };
        Some(Self { to, at_ns, tokens, rest, parts })
    }

    /// From when the steps of the new rate count: the earlier, the larger the fraction that is left. It is rounded to a
    /// nanosecond more, so that no rounding delays a token, but never to a whole token, which would count as refilled.
    pub(super) fn since_ns(&self, next: RefillRate) -> u64 {
        let span_ns = u128::from(next.interval_ms()) * u128::from(NS_PER_MS);
        let units = u128::from(next.amount().get()) * u128::from(next.per_interval().get());
        let earlier_ns = (self.rest * span_ns).div_ceil(self.parts).div_ceil(units);
        let less_than_token_ns = span_ns.div_ceil(units) - 1;
        let earlier_ns = earlier_ns.min(less_than_token_ns);
        self.at_ns.saturating_sub(u64::try_from(earlier_ns).unwrap_or(u64::MAX))
    }
}

/// How much of a step has passed, and what a whole step counts.
fn passed_of_step(steps: Steps, at_ns: u64) -> (u128, u128) {
    let span_ns = u128::from(steps.span_ms.max(1)) * u128::from(NS_PER_MS);
    let since_ns = u128::from(at_ns.saturating_sub(steps.anchor_ns));
    (since_ns * u128::from(steps.per_span) % span_ns, span_ns)
}

/// The account that took over what was spent under a replaced schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Successor {
    /// The spent account of the new schedule.
    pub(crate) spent: AccountId,
    /// When all of it has been refilled, in nanoseconds since the Unix epoch.
    pub(crate) until_ns: u64,
}

/// The user data of the transfer that closes a replaced spent account. Without a target, earlier leases can release
/// nothing: a window that replaced a bucket cannot tell what they spent from what later leases spend.
pub(super) fn closing_data(target: Option<SpendTarget>) -> UserData {
    target.map_or_else(UserData::default, |target| UserData {
        wide: target.spent.as_u128(),
        long: target.refilled_at_ms,
        short: 0,
    })
}

/// Reads the successor from the transfer that closed a spent account; `None` if it names none, as those of version 0.1.
pub(crate) fn successor_of(closing: &Recorded) -> Option<Successor> {
    let UserData { wide, long, .. } = closing.transfer.user_data;
    (wide != 0)
        .then(|| Successor { spent: AccountId::from_u128(wide), until_ns: long.saturating_mul(NS_PER_MS) })
}
