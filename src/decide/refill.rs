//! Refill: a limit with a schedule whose time has advanced becomes one linked chain that refills what is due.
//!
//! Such a limit has an account for what is available, one or more *spent accounts*, and a *refill clock*: an account whose
//! posted credits are the ticks since the Unix epoch up to which every refill has been made. A tick is a millisecond; for steps
//! shorter than that it is a nanosecond, and the clock is another account. A reservation moves tokens from available to spent.
//! A refill moves them back, in a chain that begins with a trace:
//!
//! | transfer | from | to | amount | id |
//! | --- | --- | --- | --- | --- |
//! | trace | operator | clock | the ticks that the clock advances | of the key and the clock's old value |
//! | open, if the limit is closed | void of the closing transfer | | | |
//! | refill, one or more | spent | limit | at most what is spent | fresh |
//! | repay, if the kind lends | limit | borrowed | at most what is owed | fresh |
//! | close again | | | | |
//!
//! Of all replicas that read the same clock value, one creates the trace; a chain that was delayed finds its id taken. So each
//! refill happens once, however many replicas, crashes and repetitions there are. Everything that adds to a bucket repays in the
//! same chain, so nothing is available while something is owed.
//!
//! The clock of a calendar window shows the end of the present window instead (`window_end.rs`).
//!
//! Refills have fresh ids because the ledger may refuse them for a passing reason (the limit is closed while its capacity is
//! being lowered), which uses an id up. The trace keeps them from acting twice.

use super::Limit;
use super::clock_value::ClockValue;
use super::definition_codec::DefinitionVersion;
use super::ids::Ids;
use super::window_end::WindowEnd;
use crate::ledger::{
    AccountCode, AccountId, AccountRule, Bound, Chain, ChainOutcome, LedgerError, Movement, NewAccount,
    Refusal, Transfer, TransferCode, TransferId, UserData,
};
use crate::limit::{CalendarWindow, LimitKey, Refill, RefillRate, ScheduledKind, Steps, Tick};
use crate::time::unix_ms;

/// More than any account holds or owes. A spent account may hold nearly twice the largest amount: a full bucket and what it owes.
pub(super) const EVERYTHING: u128 = u128::MAX;

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
}

/// Where a reservation moves what it spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpendTarget {
    /// The spent account.
    pub(crate) spent: AccountId,
    /// When all of it has been refilled, in milliseconds since the Unix epoch.
    pub(crate) refilled_at_ms: u64,
}

/// A chain that makes every refill that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUp {
    /// The chain.
    pub chain: Chain,
    /// The clock's value after the chain.
    pub to: ClockValue,
}

/// The meaning of the outcome of a refill chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefillResult {
    /// The chain was created.
    Refilled,
    /// Another chain took the trace's id: the clock has another value than was read. For a manual refill: it was made before.
    TraceTaken,
    /// The limit's account was closed or opened meanwhile: find its closing transfer again.
    ClosingChanged,
    /// A new version replaced the schedule: read the definitions again.
    ScheduleReplaced,
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
        let (clock, window_end) = match kind {
            // Its clock may be ahead of the time, so no later schedule shares it.
            ScheduledKind::Calendar(window) => {
                let first = WindowEnd::new(window.ends_after_ms(since_ns));
                (ids.window_end(key, since_version), Some(first))
            }
            ScheduledKind::TokenBucket(_)
            | ScheduledKind::FixedWindow(_)
            | ScheduledKind::SlidingWindow(_) => (ids.clock(key, kind.tick()), None),
        };
        Self { kind, since_ns, phases_from_ns: since_ns, spent, clock, borrowed, window_end }
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
    pub(crate) fn clock_read(&self, clock: u64) {
        if let Some(window_end) = &self.window_end {
            window_end.read(clock);
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
        let step = self.steps_without_phase().map_or(0, |steps| steps.at(now_ns));
        let spent = *self.spent.get(self.kind.spent_account_index(step))?;
        Some(SpendTarget {
            spent,
            refilled_at_ms: self.kind.refilled_at_ms(unix_ms(now_ns), step, spent_max),
        })
    }

    /// The start of the current step, in milliseconds since the Unix epoch. For a manually refilled bucket: when the schedule
    /// took effect.
    pub(crate) fn last_step_ms(&self, clock: ClockValue, now_ns: u64) -> u64 {
        let last_step_ns =
            self.steps(clock).map_or(self.since_ns, |steps| steps.starts_at_ns(steps.at(now_ns)));
        unix_ms(last_step_ns)
    }

    /// The start of the next step, in milliseconds since the Unix epoch, rounded up. `None` for a manually refilled bucket.
    pub(crate) fn next_step_ms(&self, clock: ClockValue, now_ns: u64) -> Option<u64> {
        if let Some((window, end)) = self.calendar() {
            return Some(end_after(window, end.known_ms(), now_ns));
        }
        let steps = self.steps(clock)?;
        Some(steps.starts_at_ms(steps.at(now_ns) + 1))
    }

    /// When refills have added `lacking` units, at the earliest, in the ledger's nanoseconds. `None` for a manually refilled bucket.
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
        if let Some(end) = &self.window_end {
            return Tick::Millisecond.starts_at_ns(end.by_clock(clock.refilled_to)).saturating_sub(1);
        }
        self.steps(clock).map_or(u64::MAX, |steps| {
            let next_step = steps.at(self.refilled_to_ns(clock)).saturating_add(1);
            steps.starts_at_ns(next_step).saturating_sub(1)
        })
    }

    /// The steps at which refills are due; `None` for a manually refilled bucket.
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
        let id = match &self.window_end {
            Some(_) => ids.advance_window(self.clock, from),
            None => ids.advance_clock(key, self.kind.tick(), from),
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

/// The chain that makes every refill that is due and advances the limit's clock from `clock`; `None` if nothing is due.
/// `closing` is the transfer that holds the limit's account closed, if any; `fresh_ulid` seeds the ids of the refills.
pub fn catch_up(
    ids: Ids,
    limit: &Limit,
    clock: ClockValue,
    now_ns: u64,
    closing: Option<TransferId>,
    fresh_ulid: u128,
) -> Option<CatchUp> {
    let schedule = limit.schedule.as_deref()?;
    let (refilled_to, refill) = schedule.due(clock, now_ns)?;
    let to = ClockValue { refilled_to, ..clock };
    let trace = schedule.advance_clock(ids, &limit.state.definition.key, clock.refilled_to, refilled_to);
    let accounts = match refill {
        Refill::UpTo(amount) => vec![(0, amount)],
        Refill::Accounts(indexes) => indexes.into_iter().map(|index| (index, u64::MAX)).collect(),
    };
    let refills = accounts.into_iter().filter_map(|(index, amount)| {
        let spent = *schedule.spent.get(index)?;
        Some(refill_transfer(ids.fresh(fresh_ulid, index as u8), spent, limit.account, amount))
    });
    guarded_chain(ids, [trace], limit, refills, closing, fresh_ulid).map(|chain| CatchUp { chain, to })
}

/// The chain of a manual refill or a release into a bucket, which happens once per trace; `None` if the limit has no schedule.
/// The other arguments are those of [`catch_up`].
pub(crate) fn manual_refill(
    ids: Ids,
    limit: &Limit,
    trace: TransferId,
    amount: u64,
    closing: Option<TransferId>,
    fresh_ulid: u128,
) -> Option<Chain> {
    let &spent = limit.schedule.as_deref()?.spent.first()?;
    let movement = Movement::Post { debit: ids.operator(), credit: ids.registry(), amount: 0 };
    let (code, user_data) = (TransferCode::Refill, UserData::default());
    let trace = Transfer { id: trace, code, user_data, movement };
    let refill = refill_transfer(ids.fresh(fresh_ulid, 0), spent, limit.account, amount);
    guarded_chain(ids, [trace], limit, [refill], closing, fresh_ulid)
}

/// The tokens that one manual refill adds; `None` if the limit is not a manually refilled bucket.
pub(crate) fn manual_refill_amount(limit: &Limit) -> Option<u64> {
    match limit.schedule.as_deref()?.kind {
        ScheduledKind::TokenBucket(bucket) if !bucket.auto_replenish() => {
            Some(bucket.refill().amount().get())
        }
        ScheduledKind::TokenBucket(_)
        | ScheduledKind::FixedWindow(_)
        | ScheduledKind::SlidingWindow(_)
        | ScheduledKind::Calendar(_) => None,
    }
}

/// Puts refills behind their trace, and the repayment of borrowed tokens behind the refills.
pub(super) fn guarded_chain(
    ids: Ids,
    trace: impl IntoIterator<Item = Transfer>,
    limit: &Limit,
    refills: impl IntoIterator<Item = Transfer>,
    closing: Option<TransferId>,
    fresh_ulid: u128,
) -> Option<Chain> {
    let mut refills = refills.into_iter().peekable();
    if refills.peek().is_none() {
        return Chain::new(trace);
    }
    let borrowed = limit.schedule.as_deref()?.borrowed;
    let repayment = borrowed.map(|borrowed| repay(ids.fresh(fresh_ulid, u8::MAX), limit.account, borrowed));
    let steps = refills.chain(repayment);
    match closing {
        None => Chain::new(trace.into_iter().chain(steps)),
        // A closed account takes nothing, so the chain opens it and closes it again.
        Some(closing) => {
            let [open, close] = reopen_and_close(ids, limit.account, closing);
            Chain::new(trace.into_iter().chain([open]).chain(steps).chain([close]))
        }
    }
}

/// Repays borrowed tokens, as far as the limit has tokens available.
pub(super) fn repay(id: TransferId, limit: AccountId, borrowed: AccountId) -> Transfer {
    Transfer {
        id,
        code: TransferCode::Repay,
        user_data: UserData::default(),
        movement: Movement::PostUpTo {
            debit: limit,
            credit: borrowed,
            amount: EVERYTHING,
            bound: Bound::Both,
        },
    }
}

/// Moves at most `amount` of what was spent back to the limit.
pub(super) fn refill_transfer(id: TransferId, spent: AccountId, limit: AccountId, amount: u64) -> Transfer {
    Transfer {
        id,
        code: TransferCode::Refill,
        user_data: UserData::default(),
        movement: Movement::PostUpTo {
            debit: spent,
            credit: limit,
            amount: amount.into(),
            bound: Bound::DebitBalance,
        },
    }
}

/// The transfers that open a closed account at the front of a chain and close it again at the end.
pub(super) fn reopen_and_close(ids: Ids, account: AccountId, closing: TransferId) -> [Transfer; 2] {
    let transfer =
        |id, movement| Transfer { id, code: TransferCode::Close, user_data: UserData::default(), movement };
    [
        transfer(ids.reopen(closing), Movement::Void { pending: closing }),
        transfer(ids.close_again(closing), Movement::Close { debit: account, credit: ids.operator() }),
    ]
}

/// The meaning of the outcome of a refill chain.
pub(crate) fn interpret(limit: &Limit, outcome: ChainOutcome) -> Result<RefillResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return Ok(RefillResult::Refilled),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) if index == 0 => Ok(RefillResult::TraceTaken),
        Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided => {
            Ok(RefillResult::ClosingChanged)
        }
        Refusal::CreditAccountClosed => Ok(RefillResult::ClosingChanged),
        Refusal::DebitAccountClosed => Ok(RefillResult::ScheduleReplaced),
        Refusal::IdAlreadyFailed
        | Refusal::ExceedsCredits
        | Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(LedgerError::Unexpected(format!(
            "the refill of limit {} was refused at transfer {index}: {refusal:?}",
            limit.state.definition.key
        ))),
    }
}
