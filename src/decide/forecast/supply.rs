//! Supply: what is free of a limit, and when more of it will be. One shape for units that end at known times (reservations that expire,
//! segments that leave their window), another one for a bucket, which is refilled at a rate.

use std::collections::VecDeque;

use crate::decide::Limit;
use crate::decide::schedule::Schedule;
use crate::decide::usage::{self, ScheduleState};
use crate::ledger::{Account, PendingDebit};
use crate::limit::{Kind, Refill, Status, Steps, Tick};
use crate::time::NS_PER_SECOND;

/// When an expiry is expected that is late already, behind the present.
const LATE_NS: u64 = 5_000_000;
/// A caller comes a moment later than it was told, so what it takes ends later too: by this share of the time that it lasts, and by no
/// more than this.
const LATE_SHARE: u64 = 100;
const LATE_MAX_NS: u64 = 50_000_000;
/// How far the ledger's clock may be ahead of what this process knows of it.
const CLOCK_BEHIND_NS: u64 = 100_000_000;

/// What is free of a limit, and when more of it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Supply {
    Expiring(Expiring),
    Bucket(Bucket),
}

/// Units that are free, and units that will be at known times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiring {
    free: u128,
    /// In the order of their times.
    ends: VecDeque<End>,
    again: Again,
}

/// Units that are free from this moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    at_ns: u64,
    units: u128,
}

/// When units that are taken will be free again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Again {
    AfterNs(u64),
    /// When the schedule has refilled them.
    Refilled {
        schedule: Box<Schedule>,
        capacity: u64,
    },
}

/// A bucket that time refills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// What is available, less what is owed, when `step` began.
    level: i128,
    capacity: i128,
    refill_amount: i128,
    steps: Steps,
    step: u64,
}

impl Supply {
    /// The supply of a rolling or concurrency limit whose account has these debits, some of which may have expired. The ledger makes an
    /// expiry up to `lag_ns` late. `None` if debits are missing, or if nothing can be reserved.
    pub(crate) fn of_reservations(
        limit: &Limit,
        account: &Account,
        mut debits: Vec<PendingDebit>,
        lag_ns: u64,
        now_ns: u64,
    ) -> Option<Self> {
        let seconds = match limit.state.definition.kind {
            Kind::Rolling(rolling) => rolling.window_seconds(),
            Kind::Concurrency(concurrency) => concurrency.timeout_seconds(),
            Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
                return None;
            }
        };
        if !is_open(limit, account) {
            return None;
        }
        debits.sort_unstable_by_key(|debit| debit.expires_at_ns);
        let pending = pending_of(&debits, account.debits_pending, now_ns)?;
        let end = |debit: &PendingDebit| End {
            // An expiry that is late comes soon.
            at_ns: debit.expires_at_ns.saturating_add(lag_ns).max(now_ns.saturating_add(LATE_NS)),
            units: debit.units,
        };
        let lasts_ns = u64::from(seconds) * NS_PER_SECOND;
        let margin_ns = (lasts_ns / LATE_SHARE).min(LATE_MAX_NS);
        let again = Again::AfterNs(lasts_ns.saturating_add(lag_ns).saturating_add(margin_ns));
        let ends = pending.iter().map(end).collect();
        Some(Self::Expiring(Expiring { free: account.available(), ends, again }))
    }

    /// The supply of a limit with a schedule. `read` are its [`usage::accounts`]. `None` if nobody can tell when it is refilled, or if
    /// nothing can be reserved.
    pub(crate) fn of_schedule(limit: &Limit, read: &[Account], now_ns: u64) -> Option<Self> {
        let [account, _debt, of_schedule @ ..] = read else { return None };
        let schedule = limit.schedule.as_ref()?;
        if !is_open(limit, account) {
            return None;
        }
        let state = ScheduleState::of(schedule, of_schedule)?;
        // Another replica may have made refills behind `now_ns`.
        let now_ns = match schedule.steps(state.clock) {
            Some(_) => now_ns.max(schedule.refilled_to_ns(state.clock)),
            None => now_ns,
        };
        let free = account.available() + usage::refilled(schedule, state.clock, state.spent, now_ns);
        let capacity = limit.state.definition.capacity.get();
        let Some(rate) = schedule.rate() else {
            let ends = schedule.ends(&state, now_ns)?;
            let again = Again::Refilled { schedule: schedule.clone(), capacity };
            return Some(Self::Expiring(Expiring { free, ends, again }));
        };
        let steps = schedule.steps(state.clock)?;
        Some(Self::Bucket(Bucket {
            level: signed(free) - signed(state.owed),
            capacity: capacity.into(),
            refill_amount: rate.amount().get().into(),
            steps,
            step: steps.at(now_ns),
        }))
    }

    /// The first moment from `from_ns` on at which so many units are free; `None` if that is not known. Nothing is taken before
    /// `from_ns`.
    pub(super) fn earliest_ns(&self, from_ns: u64, units: u64) -> Option<u64> {
        match self {
            Self::Expiring(expiring) => expiring.earliest_ns(from_ns, units.into()),
            Self::Bucket(bucket) => bucket.earliest_ns(from_ns, units.into()),
        }
    }

    /// Takes units that are free at this moment. Moments never go back.
    pub(super) fn take(&mut self, at_ns: u64, units: u64) {
        match self {
            Self::Expiring(expiring) => expiring.take(at_ns, units.into()),
            Self::Bucket(bucket) => bucket.take(at_ns, units.into()),
        }
    }
}

/// The debits that make up what is pending: all but the first of those that have expired by now. `None` if some are missing.
fn pending_of(debits: &[PendingDebit], pending: u128, now_ns: u64) -> Option<&[PendingDebit]> {
    let mut found: u128 = debits.iter().map(|debit| debit.units).sum();
    let mut expired = 0;
    while found > pending {
        let first = debits.get(expired)?;
        if first.expires_at_ns > now_ns.saturating_add(CLOCK_BEHIND_NS) {
            return None;
        }
        (found, expired) = (found - first.units, expired + 1);
    }
    (found == pending).then(|| debits.get(expired..))?
}

/// Whether the limit can be reserved from, and is no template.
fn is_open(limit: &Limit, account: &Account) -> bool {
    limit.state.status == Status::Active && !account.closed && limit.state.definition.instances_max.is_none()
}

fn signed(units: u128) -> i128 {
    i128::try_from(units).unwrap_or(i128::MAX)
}

impl Expiring {
    fn earliest_ns(&self, from_ns: u64, units: u128) -> Option<u64> {
        let (mut free, mut at_ns) = (self.free, from_ns);
        for end in &self.ends {
            if end.at_ns > from_ns && free >= units {
                break;
            }
            free += end.units;
            at_ns = at_ns.max(end.at_ns);
        }
        (free >= units).then_some(at_ns)
    }

    fn take(&mut self, at_ns: u64, units: u128) {
        while let Some(end) = self.ends.front().filter(|end| end.at_ns <= at_ns) {
            self.free += end.units;
            self.ends.pop_front();
        }
        self.free = self.free.saturating_sub(units);
        let again = self.again.at_ns(at_ns).map(|at_ns| End { at_ns, units });
        if let Some(again) = again {
            // It nearly always goes to the end.
            let behind = self.ends.iter().rev().take_while(|other| other.at_ns > again.at_ns).count();
            self.ends.insert(self.ends.len() - behind, again);
        }
    }
}

impl Again {
    fn at_ns(&self, taken_at_ns: u64) -> Option<u64> {
        match self {
            Self::AfterNs(after_ns) => Some(taken_at_ns.saturating_add(*after_ns)),
            Self::Refilled { schedule, capacity } => {
                let target = schedule.spend_target(taken_at_ns, *capacity)?;
                Some(Tick::Millisecond.starts_at_ns(target.refilled_at_ms))
            }
        }
    }
}

impl Bucket {
    /// The level at a moment, and the step of that moment.
    fn level_at(&self, at_ns: u64) -> (i128, u64) {
        let step = self.steps.at(at_ns).max(self.step);
        let refilled = i128::from(step - self.step).saturating_mul(self.refill_amount);
        (self.level.saturating_add(refilled).min(self.capacity), step)
    }

    fn earliest_ns(&self, from_ns: u64, units: i128) -> Option<u64> {
        let (level, step) = self.level_at(from_ns);
        let lacking = units - level;
        if lacking <= 0 {
            return Some(from_ns);
        }
        if units > self.capacity {
            return None;
        }
        let steps_needed = lacking / self.refill_amount + i128::from(lacking % self.refill_amount > 0);
        Some(self.steps.starts_at_ns(step.checked_add(u64::try_from(steps_needed).ok()?)?))
    }

    fn take(&mut self, at_ns: u64, units: i128) {
        let (level, step) = self.level_at(at_ns);
        (self.level, self.step) = (level - units, step);
    }
}

impl Schedule {
    /// When what a window has spent will be refilled, behind the refills that are due at `now_ns`.
    fn ends(&self, state: &ScheduleState<'_>, now_ns: u64) -> Option<VecDeque<End>> {
        let due = match self.due(state.clock, now_ns) {
            Some((_, Refill::Accounts(due))) => due,
            Some((_, Refill::UpTo(_))) | None => Vec::new(),
        };
        let mut left: Vec<u128> = state.spent.iter().map(Account::posted_balance).collect();
        take_all(&mut left, &due);
        let next_ns = Tick::Millisecond.starts_at_ns(self.next_step_ms(state.clock, now_ns)?);
        let Some(steps) = self.steps(state.clock) else {
            // A calendar window: all at its end.
            return Some([End { at_ns: next_ns, units: left.iter().sum() }].into());
        };
        let step = steps.at(now_ns);
        let mut ends = VecDeque::new();
        // A window covers as many steps as it has spent accounts, less one.
        for later in (step + 1)..=(step + left.len() as u64) {
            if let Refill::Accounts(refilled) = self.kind().refill_between(step, later) {
                let units = take_all(&mut left, &refilled);
                ends.push_back(End { at_ns: steps.starts_at_ns(later), units });
            }
        }
        Some(ends)
    }
}

/// Takes what is left at these indexes.
fn take_all(left: &mut [u128], indexes: &[usize]) -> u128 {
    indexes.iter().filter_map(|&index| left.get_mut(index).map(std::mem::take)).sum()
}
