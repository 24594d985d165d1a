//! The refill schedule of a limit: its accounts, its steps, and what is due at a moment. `refill.rs` makes the refills.

use super::Limit;
use super::clock_value::ClockValue;
use super::definition_codec::DefinitionVersion;
use super::ids::Ids;
use super::steps_by_hand::StepsByHand;
use super::window_end::WindowEnd;
use crate::ledger::{
    AccountCode, AccountId, AccountRule, Movement, NewAccount, Transfer, TransferCode, UserData,
};
use crate::limit::{CalendarWindow, LimitKey, Refill, RefillRate, ScheduledKind, Steps, Tick};
use crate::time::unix_ms;

/// The refill schedule of a limit, with its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    kind: ScheduledKind,
    /// The moment from which the steps count if the clock has no phase, in nanoseconds since the Unix epoch.
    since_ns: u64,
    /// A phase before this moment is one of an earlier schedule, in nanoseconds since the Unix epoch.
    phases_from_ns: u64,
    spent: Box<[AccountId]>,
    clock: AccountId,
    /// The account of tokens borrowed ahead of refills, if the kind lends.
    borrowed: Option<AccountId>,
    /// For a calendar window.
    window_end: Option<WindowEnd>,
    /// For a window that is refilled by hand.
    by_hand: Option<StepsByHand>,
}

/// Where a reservation moves what it spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpendTarget {
    /// The spent account.
    pub(crate) spent: AccountId,
    /// When all of it has been refilled, in milliseconds since the Unix epoch.
    pub(crate) refilled_at_ms: u64,
}

impl Schedule {
    /// The schedule of a limit that has been of this kind since the given version. Its steps count from `since_ns`.
    pub(crate) fn new(
        ids: Ids,
        key: &LimitKey,
        kind: ScheduledKind,
        since_version: u64,
        since_ns: u64,
    ) -> Self {
        let spent = (0..kind.spent_accounts()).map(|index| ids.spent(key, since_version, index)).collect();
        let borrowed = kind.lends().then(|| ids.borrowed(key));
        let by_hand = StepsByHand::new(kind, unix_ms(since_ns));
        let window_end = match kind {
            ScheduledKind::Calendar(window) => Some(WindowEnd::new(window.ends_after_ms(since_ns))),
            ScheduledKind::TokenBucket(_)
            | ScheduledKind::FixedWindow(_)
            | ScheduledKind::SlidingWindow(_) => None,
        };
        let shows_window_end = window_end.is_some() || by_hand.is_some();
        // A clock that shows the end of a window may be ahead of the time, so no later schedule shares it.
        let clock =
            if shows_window_end { ids.window_end(key, since_version) } else { ids.clock(key, kind.tick()) };
        Self { kind, since_ns, phases_from_ns: since_ns, spent, clock, borrowed, window_end, by_hand }
    }

    /// The schedule of a definition version: its own, or that of the version before if it continues.
    pub(crate) fn of_version(
        ids: Ids,
        earlier: Option<&Limit>,
        version: &DefinitionVersion,
    ) -> Option<Box<Self>> {
        let kind = version.state.scheduled()?;
        let earlier = earlier.filter(|earlier| !version.state.starts_new_schedule(Some(&earlier.state)));
        let same = earlier.and_then(|earlier| earlier.schedule.clone());
        Some(same.unwrap_or_else(|| {
            let key = &version.state.definition.key;
            let since_ns = version.schedule_since_ns.unwrap_or_else(|| whole_ms_ns(version.timestamp_ns));
            let schedule = Self::new(ids, key, kind, version.number, since_ns);
            // The steps of a new rate may count from before the version, and so from before the last phase of the old rate.
            let phases_from_ns = match version.schedule_since_ns {
                Some(_) => version.timestamp_ns.next_multiple_of(kind.tick().ns()),
                None => since_ns,
            };
            let window_end = version.first_window_ends_ms.map(WindowEnd::new).or(schedule.window_end);
            Box::new(Self { phases_from_ns, window_end, ..schedule })
        }))
    }

    /// When the present window ends, as far as this process knows the ledger, in milliseconds since the Unix epoch. `None` for
    /// another kind than a calendar window.
    pub(crate) fn window_ends_ms(&self) -> Option<u64> {
        self.window_end.as_ref().map(WindowEnd::known_ms)
    }

    /// Takes a value of the refill clock that the ledger has.
    pub(crate) fn clock_read(&self, clock: ClockValue) {
        if let Some(window_end) = &self.window_end {
            window_end.read(clock.refilled_to);
        }
        if let Some(by_hand) = &self.by_hand {
            by_hand.read(clock);
        }
    }

    /// The steps of a window that is refilled by hand.
    pub(super) fn by_hand(&self) -> Option<&StepsByHand> {
        self.by_hand.as_ref()
    }

    /// Whether the clock is read before each reserve, once its known value has passed: another process may have advanced it.
    pub(crate) fn rereads_clock(&self) -> bool {
        self.by_hand.is_some()
    }

    /// When the window ends that a refill clock with this value shows, in milliseconds since the Unix epoch. A clock that is ahead
    /// of `now_ns` decides: the ledger is never behind it. `None` for kinds that are not refilled whole.
    pub(crate) fn window_of(&self, clock: ClockValue, now_ns: u64) -> Option<u64> {
        match self.kind {
            ScheduledKind::Calendar(window) => {
                let ends_ms = self.window_end.as_ref()?.by_clock(clock.refilled_to);
                Some(end_after(window, ends_ms, now_ns))
            }
            ScheduledKind::FixedWindow(_) => {
                let steps = self.steps_without_phase()?;
                let at_ns = now_ns.max(self.refilled_to_ns(clock));
                Some(steps.starts_at_ms(steps.at(at_ns) + 1))
            }
            ScheduledKind::TokenBucket(_) | ScheduledKind::SlidingWindow(_) => None,
        }
    }

    fn calendar(&self) -> Option<(CalendarWindow, &WindowEnd)> {
        match self.kind {
            ScheduledKind::Calendar(window) => Some((window, self.window_end.as_ref()?)),
            ScheduledKind::TokenBucket(_)
            | ScheduledKind::FixedWindow(_)
            | ScheduledKind::SlidingWindow(_) => None,
        }
    }

    /// The kind with its fields.
    pub(super) fn kind(&self) -> ScheduledKind {
        self.kind
    }

    /// The spent accounts.
    pub(crate) fn spent(&self) -> &[AccountId] {
        &self.spent
    }

    /// The refill clock's account.
    pub fn clock(&self) -> AccountId {
        self.clock
    }

    /// The account of tokens borrowed ahead of refills, if the kind lends.
    pub(crate) fn borrowed(&self) -> Option<AccountId> {
        self.borrowed
    }

    /// The refill rate of a bucket that time refills. `None` for windows and manually refilled buckets.
    pub(crate) fn rate(&self) -> Option<RefillRate> {
        match self.kind {
            ScheduledKind::TokenBucket(bucket) => bucket.auto_replenish().then(|| bucket.refill()),
            ScheduledKind::FixedWindow(_) | ScheduledKind::SlidingWindow(_) | ScheduledKind::Calendar(_) => {
                None
            }
        }
    }

    /// The same, and its steps.
    pub(crate) fn timed_refill(&self, clock: ClockValue) -> Option<(RefillRate, Steps)> {
        self.rate().zip(self.steps(clock))
    }

    /// The accounts to create before the schedule takes effect.
    pub(crate) fn accounts(&self) -> Vec<NewAccount> {
        let spent = self.spent.iter().map(|&id| NewAccount {
            id,
            rule: AccountRule::DebitsMustNotExceedCredits,
            code: AccountCode::Spent,
        });
        let unconstrained = |id, code| NewAccount { id, rule: AccountRule::Unconstrained, code };
        let clock = unconstrained(self.clock, AccountCode::Clock);
        let borrowed = self.borrowed.map(|id| unconstrained(id, AccountCode::Borrowed));
        spent.chain([clock]).chain(borrowed).collect()
    }

    /// Where a reservation at `now_ns` moves what it spends, if at most `spent_max` is spent then in total.
    pub(crate) fn spend_target(&self, now_ns: u64, spent_max: u64) -> Option<SpendTarget> {
        if let Some((window, end)) = self.calendar() {
            let refilled_at_ms = end_after(window, end.known_ms(), now_ns);
            let number = window.number_of_boundary(refilled_at_ms);
            let spent = *self.spent.get(self.kind.spent_account_index(number))?;
            return Some(SpendTarget { spent, refilled_at_ms });
        }
        if let Some(by_hand) = &self.by_hand {
            let (step, refilled_at_ms) = by_hand.spent_at(unix_ms(now_ns));
            let spent = *self.spent.get(self.kind.spent_account_index(step))?;
            return Some(SpendTarget { spent, refilled_at_ms });
        }
        let step = self.steps_without_phase().map_or(0, |steps| steps.at(now_ns));
        let spent = *self.spent.get(self.kind.spent_account_index(step))?;
        let refilled_at_ms = self.kind.refilled_at_ms(unix_ms(now_ns), step, spent_max)?;
        Some(SpendTarget { spent, refilled_at_ms })
    }

    /// The start of the current step, in milliseconds since the Unix epoch. If the limit is refilled by hand: when the
    /// schedule took effect.
    pub(crate) fn last_step_ms(&self, clock: ClockValue, now_ns: u64) -> u64 {
        let last_step_ns =
            self.steps(clock).map_or(self.since_ns, |steps| steps.starts_at_ns(steps.at(now_ns)));
        unix_ms(last_step_ns)
    }

    /// The start of the next step, in milliseconds since the Unix epoch, rounded up. `None` if it is refilled by hand.
    pub(crate) fn next_step_ms(&self, clock: ClockValue, now_ns: u64) -> Option<u64> {
        if let Some((window, end)) = self.calendar() {
            return Some(end_after(window, end.known_ms(), now_ns));
        }
        let steps = self.steps(clock)?;
        Some(steps.starts_at_ms(steps.at(now_ns) + 1))
    }

    /// When refills have added `lacking` units, at the earliest, in the ledger's nanoseconds. `None` if it is refilled by
    /// hand.
    pub(crate) fn adds_at_ns(&self, lacking: u128, clock: ClockValue, now_ns: u64) -> Option<u64> {
        if let Some((window, end)) = self.calendar() {
            return Some(Tick::Millisecond.starts_at_ns(end_after(window, end.known_ms(), now_ns)));
        }
        let steps = self.steps(clock)?;
        let steps_needed = match self.rate() {
            Some(rate) => u64::try_from(lacking.div_ceil(rate.amount().into())).ok()?,
            // The next step of a window may add all.
            None => 1,
        };
        Some(steps.starts_at_ns(steps.at(now_ns).checked_add(steps_needed)?))
    }

    /// The last moment, in the ledger's nanoseconds, at which a refill clock with this value shows that nothing is due.
    pub(crate) fn up_to_date_until_ns(&self, clock: ClockValue) -> u64 {
        let window_end_ms = self.window_end.as_ref().map(|end| end.by_clock(clock.refilled_to));
        let window_end_ms = window_end_ms.or_else(|| Some(self.by_hand.as_ref()?.ends_ms(clock)));
        if let Some(ends_ms) = window_end_ms {
            return Tick::Millisecond.starts_at_ns(ends_ms).saturating_sub(1);
        }
        self.steps(clock).map_or(u64::MAX, |steps| {
            let next_step = steps.at(self.refilled_to_ns(clock)).saturating_add(1);
            steps.starts_at_ns(next_step).saturating_sub(1)
        })
    }

    /// The steps at which refills are due; `None` if the limit is refilled by hand.
    pub(crate) fn steps(&self, clock: ClockValue) -> Option<Steps> {
        let steps = self.steps_without_phase()?;
        let phase_ns = steps.tick.starts_at_ns(clock.phase);
        let is_phase = self.rate().is_some() && clock.phase > 0 && phase_ns >= self.phases_from_ns;
        Some(if is_phase { Steps { anchor_ns: phase_ns, ..steps } } else { steps })
    }

    /// The steps of a window; those of a bucket whose clock has no phase.
    fn steps_without_phase(&self) -> Option<Steps> {
        self.kind.steps(self.since_ns)
    }

    /// The moment up to which a refill clock with this value shows every refill as made.
    pub(super) fn refilled_to_ns(&self, clock: ClockValue) -> u64 {
        self.kind.tick().starts_at_ns(clock.refilled_to.max(clock.phase)).max(self.since_ns)
    }

    /// The trace that advances the refill clock from one value to another, in ticks.
    pub(super) fn advance_clock(&self, ids: Ids, key: &LimitKey, from: u64, to: u64) -> Transfer {
        let amount = to.saturating_sub(from).into();
        let shows_window_end = self.window_end.is_some() || self.by_hand.is_some();
        let id = if shows_window_end {
            ids.advance_window(self.clock, from)
        } else {
            ids.advance_clock(key, self.kind.tick(), from)
        };
        Transfer {
            id,
            code: TransferCode::AdvanceClock,
            user_data: UserData::default(),
            movement: Movement::Post { debit: ids.operator(), credit: self.clock, amount },
        }
    }

    /// What is due between the clock's value and now, and the value that the clock advances to, in ticks.
    pub(super) fn due(&self, clock: ClockValue, now_ns: u64) -> Option<(u64, Refill)> {
        if let Some((window, end)) = self.calendar() {
            let is_over = end.by_clock(clock.refilled_to) <= unix_ms(now_ns);
            let all = || Refill::Accounts((0..self.spent.len()).collect());
            return is_over.then(|| (window.ends_after_ms(now_ns), all()));
        }
        let steps = self.steps(clock)?;
        let to_step = steps.at(now_ns);
        let (from_ns, to_ns) = (self.refilled_to_ns(clock), steps.starts_at_ns(to_step));
        let refill = || self.kind.refill_between(steps.at(from_ns), to_step);
        (from_ns < to_ns).then(|| (steps.tick.at(to_ns), refill()))
    }
}

/// The end of the window of this moment: the one that is known, or if that has passed, the one by the rules of this program.
fn end_after(window: CalendarWindow, known_ms: u64, now_ns: u64) -> u64 {
    if unix_ms(now_ns) < known_ms { known_ms } else { window.ends_after_ms(now_ns) }
}

/// The millisecond of a moment, in nanoseconds.
pub(super) fn whole_ms_ns(unix_ns: u64) -> u64 {
    Tick::Millisecond.starts_at_ns(Tick::Millisecond.at(unix_ns))
}
