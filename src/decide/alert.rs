//! Alerts: the accounts of a limit become the thresholds of its usage that were crossed, and the transfer that decides which
//! replica tells of them. `docs/alerts.md` argues why it is one.
//!
//! A limit has an *alert account*, whose posted credits are a number that only grows: the era, and within it the highest
//! threshold that has fired. The id of each step is made of the number that it leaves, so of all replicas one makes it.

use super::Limit;
use super::clock_value::ClockValue;
use super::ids::Ids;
use super::usage::{self, Usage};
use crate::ledger::{
    Account, AccountCode, AccountId, AccountRule, ChainOutcome, LedgerError, Movement, NewAccount, Refusal,
    Transfer, TransferCode, UserData,
};
use crate::limit::AlertThresholds;

/// The numbers of one era: one for each level in percent, and some that are not used.
const LEVELS: u128 = 128;
/// A threshold is armed anew when the usage is below it by so many percents of the capacity, or by half of it if that is less.
const ARMS_BELOW_PERCENT: u64 = 5;

/// What has fired of a limit, as its alert account shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fired {
    /// Of windows that are refilled whole: the end of the window, in milliseconds since the Unix epoch. Of other kinds: how often
    /// thresholds were armed anew.
    era: u128,
    /// The highest threshold that has fired in the era, in percent; 0 if none has.
    level: u64,
}

/// A limit at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) usage: Usage,
    /// The capacity less what is available, in units of the limit.
    pub(crate) used: u128,
    /// When the window of the usage ends, in milliseconds since the Unix epoch, if the kind is refilled whole.
    pub(crate) window_ends_ms: Option<u64>,
    pub(crate) fired: Fired,
    /// Whether the alert account is made.
    pub(crate) has_account: bool,
}

/// A step of an alert account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    from: Fired,
    to: Fired,
    /// The thresholds above this one, up to the new level, were crossed; in percent.
    told_up_to: u64,
}

/// The meaning of the outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepResult {
    /// This attempt made it: tell of what was crossed.
    Made,
    /// Another replica made a step out of the same number.
    MadeByOther,
}

impl Fired {
    fn of_number(number: u128) -> Self {
        // The level is below 128.
        Self { era: number / LEVELS, level: (number % LEVELS) as u64 }
    }

    fn number(self) -> u128 {
        self.era * LEVELS + u128::from(self.level)
    }
}

impl Look {
    /// The step that this look asks for, by the thresholds and the capacity of the limit.
    pub(crate) fn step(&self, thresholds: AlertThresholds, capacity: u64) -> Option<Step> {
        let Self { fired: from, used, window_ends_ms, .. } = *self;
        // Nothing is a percentage of a paused limit.
        if capacity == 0 {
            return None;
        }
        let level = match window_ends_ms.map(u128::from) {
            // Another replica has seen a later window.
            Some(ends_ms) if ends_ms < from.era => return None,
            Some(ends_ms) if ends_ms > from.era => 0,
            Some(_) | None => from.level,
        };
        let reached = last(thresholds, |percent| is_reached(percent, used, capacity));
        if reached > level {
            let era = window_ends_ms.map_or(from.era, u128::from);
            return Some(Step { from, to: Fired { era, level: reached }, told_up_to: level });
        }
        let held = last(thresholds, |percent| percent <= level && !is_armed(percent, used, capacity));
        let is_armed_anew = window_ends_ms.is_none() && held < level;
        let to = Fired { era: from.era + 1, level: held };
        is_armed_anew.then_some(Step { from, to, told_up_to: held })
    }

    /// Whether a threshold has to be armed anew before it can fire again.
    pub(crate) fn waits_to_be_armed(&self) -> bool {
        self.window_ends_ms.is_none() && self.fired.level > 0
    }
}

impl Step {
    /// The percents that were crossed, in ascending order; none if thresholds are only armed anew.
    pub(crate) fn crossed(self, thresholds: AlertThresholds) -> impl Iterator<Item = u64> {
        thresholds.percents().filter(move |&percent| percent > self.told_up_to && percent <= self.to.level)
    }

    /// The chain of the step. `drawn` is a number that no other attempt has.
    pub(crate) fn transfer(self, ids: Ids, limit: &Limit, drawn: u128) -> Transfer {
        let account = account(ids, limit);
        let amount = self.to.number() - self.from.number();
        Transfer {
            id: ids.alert_step(account, self.from.number()),
            code: TransferCode::Alert,
            user_data: UserData { wide: drawn, ..UserData::default() },
            movement: Movement::Post { debit: ids.operator(), credit: account, amount },
        }
    }
}

/// The last threshold for which a condition holds that holds for all before it, in percent; 0 if it holds for none.
fn last(thresholds: AlertThresholds, holds: impl Fn(u64) -> bool) -> u64 {
    thresholds.percents().take_while(|&percent| holds(percent)).last().unwrap_or(0)
}

fn is_reached(percent: u64, used: u128, capacity: u64) -> bool {
    used.saturating_mul(100) >= u128::from(percent) * u128::from(capacity)
}

/// Whether the usage is so far below a threshold that it may fire again.
fn is_armed(percent: u64, used: u128, capacity: u64) -> bool {
    // In halves of a percent.
    let below = 2 * percent - percent.min(2 * ARMS_BELOW_PERCENT);
    used.saturating_mul(200) < u128::from(below) * u128::from(capacity)
}

/// The alert account of a limit.
fn account(ids: Ids, limit: &Limit) -> AccountId {
    let first_spent = limit.schedule.as_ref().and_then(|schedule| schedule.spent().first().copied());
    ids.alert(first_spent.unwrap_or(limit.account))
}

/// The alert account to create before a step.
pub(crate) fn new_account(ids: Ids, limit: &Limit) -> NewAccount {
    let id = account(ids, limit);
    NewAccount { id, rule: AccountRule::Unconstrained, code: AccountCode::Alert }
}

/// The accounts that a [`Look`] needs, in its order.
pub(crate) fn accounts(ids: Ids, limit: &Limit) -> impl Iterator<Item = AccountId> {
    usage::accounts(limit).chain([account(ids, limit)])
}

/// The look at the next limit of several whose accounts were read together, each limit's in the order of [`accounts`].
pub(crate) fn next_look(
    limit: &Limit,
    read: &mut impl Iterator<Item = Option<Account>>,
    now_ns: u64,
) -> Result<Look, LedgerError> {
    let of_usage: Vec<Option<Account>> = read.take(usage::accounts(limit).count()).collect();
    let of_alerts = read.next().flatten();
    let usage = usage::next_usage(limit, &mut of_usage.iter().copied(), now_ns)?;
    let capacity = u128::from(limit.state.definition.capacity);
    let used = capacity.saturating_sub(usage.available);
    let schedule = limit.schedule.as_deref();
    // The accounts of a schedule stand behind those of the limit and its debt; its clock is the first.
    let clock = of_usage.get(2).copied().flatten().and_then(|clock| ClockValue::of(&clock).ok());
    let window_ends_ms = schedule.zip(clock).and_then(|(schedule, clock)| schedule.window_of(clock, now_ns));
    let fired = Fired::of_number(of_alerts.map_or(0, |account| account.credits_posted));
    Ok(Look { usage, used, window_ends_ms, fired, has_account: of_alerts.is_some() })
}

/// The meaning of the outcome of a step.
pub(crate) fn interpret(outcome: ChainOutcome) -> Result<StepResult, LedgerError> {
    let refusal = match outcome {
        ChainOutcome::Created { .. } => return Ok(StepResult::Made),
        ChainOutcome::Refused { refusal, .. } => refusal,
    };
    match refusal {
        // It holds the number that was drawn for this attempt, whose first answer was lost.
        Refusal::Exists => Ok(StepResult::Made),
        Refusal::ExistsWithDifferent(_) => Ok(StepResult::MadeByOther),
        Refusal::IdAlreadyFailed
        | Refusal::ExceedsCredits
        | Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => {
            Err(LedgerError::Unexpected(format!("a step of an alert account was refused: {refusal:?}")))
        }
    }
}

#[cfg(test)]
mod tests;
