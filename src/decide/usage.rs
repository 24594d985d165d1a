//! Usage: the accounts of a limit become what is available, reserved and owed as debt now.
//!
//! A refill that is due is counted as made. So usage is read without a refill, for any number of limits in one look-up, and
//! says what the next caller will find.

use super::Limit;
use super::clock_value::ClockValue;
use super::schedule::Schedule;
use crate::ledger::{Account, AccountId, LedgerError};
use crate::limit::Refill;

/// What is used of a limit, in its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What can be reserved now. For a template: the instances that it may still make.
    pub available: u128,
    /// What is reserved. For a template: the instances that it has made.
    pub reserved: u128,
    /// Overage that found no room, in total since the limit was made or reset.
    pub debt: u128,
    /// Whether the account is closed. Then nothing can be reserved, whatever is available.
    pub is_closed: bool,
}

/// The accounts that [`usage`] needs, in its order.
pub(crate) fn accounts(limit: &Limit) -> impl Iterator<Item = AccountId> {
    let of_schedule = limit.schedule.iter().flat_map(|schedule| {
        std::iter::once(schedule.clock()).chain(schedule.borrowed()).chain(schedule.spent().iter().copied())
    });
    [limit.account, limit.debt_account].into_iter().chain(of_schedule)
}

/// The usage of the next limit of several whose accounts were read together, each limit's in the order of [`accounts`].
pub(crate) fn next_usage(
    limit: &Limit,
    read: &mut impl Iterator<Item = Option<Account>>,
    now_ns: u64,
) -> Result<Usage, LedgerError> {
    let accounts: Option<Vec<Account>> = read.take(accounts(limit).count()).collect();
    accounts.and_then(|accounts| usage(limit, &accounts, now_ns)).ok_or_else(|| {
        LedgerError::Unexpected(format!("an account of limit {} is missing", limit.state.definition.key))
    })
}

/// The usage of a limit at `now_ns`. `read` are its [`accounts`], all of one moment. `None` if one is missing.
fn usage(limit: &Limit, read: &[Account], now_ns: u64) -> Option<Usage> {
    let [of_limit, of_debt, of_schedule @ ..] = read else { return None };
    let (available, pending, debt) = (of_limit.available(), of_limit.debits_pending, of_debt.owed());
    let is_closed = of_limit.closed;
    if let Some(instances_max) = limit.state.definition.instances_max {
        let reserved = u128::from(instances_max).saturating_sub(available);
        return Some(Usage { available, reserved, debt, is_closed });
    }
    let Some(schedule) = limit.schedule.as_deref() else {
        return Some(Usage { available, reserved: pending, debt, is_closed });
    };
    let ScheduleState { clock, owed, spent } = ScheduleState::of(schedule, of_schedule)?;
    let refilled = refilled(schedule, clock, spent, now_ns);
    // Nothing is available while something is owed.
    let repaid = owed.min(available + refilled);
    let spent: u128 = spent.iter().map(Account::posted_balance).sum();
    // Borrowed tokens are in the spent accounts too, and were never part of the capacity.
    let still_spent = spent.saturating_sub(refilled).saturating_sub(owed - repaid);
    Some(Usage { available: available + refilled - repaid, reserved: pending + still_spent, debt, is_closed })
}

/// What the accounts of a schedule say.
pub(super) struct ScheduleState<'a> {
    pub(super) clock: ClockValue,
    /// What the bucket owes, before the due refills.
    pub(super) owed: u128,
    pub(super) spent: &'a [Account],
}

impl<'a> ScheduleState<'a> {
    /// `read` are the accounts of the schedule, in the order of [`accounts`]. `None` if one is missing.
    pub(super) fn of(schedule: &Schedule, read: &'a [Account]) -> Option<Self> {
        let [clock, read @ ..] = read else { return None };
        let (owed, spent) = match (schedule.borrowed(), read) {
            (Some(_), [borrowed, spent @ ..]) => (borrowed.owed(), spent),
            (Some(_), []) => return None,
            (None, spent) => (0, spent),
        };
        Some(Self { clock: ClockValue::of(clock).ok()?, owed, spent })
    }
}

/// What the refills add that are due at `now_ns`.
pub(super) fn refilled(schedule: &Schedule, clock: ClockValue, spent: &[Account], now_ns: u64) -> u128 {
    let balance = |index: usize| spent.get(index).map_or(0, Account::posted_balance);
    match schedule.due(clock, now_ns) {
        None => 0,
        Some((_, Refill::UpTo(amount))) => balance(0).min(amount.into()),
        Some((_, Refill::Accounts(indexes))) => indexes.into_iter().map(balance).sum(),
    }
}
