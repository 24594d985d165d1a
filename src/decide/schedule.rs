//! What comes back by a schedule: a limit whose time has gone on to a later step, and what was spent of it, become one
//! linked chain.
//!
//! Such a limit has an account for what is available, one or several for what was spent, and a clock: an account whose
//! posted credits are the milliseconds up to which everything that was due has come back. Reserving moves from available
//! to spent. Before that, whatever has become due is moved back, by a chain that begins with a trace. The trace moves the
//! clock on, and its id is made of where the clock stood: of all replicas that find the same standing one moves it, and
//! a chain that was held up on its way finds its id taken. So a refill happens once, however many replicas, crashes and
//! repetitions there are, and however late one is.
//!
//! What was borrowed of a bucket's future is in an account of its own. Whatever puts something into the bucket pays back
//! in the same chain, so that nothing is available while something is owed.
//!
//! What comes back is moved under fresh ids, because it may be refused for a passing reason (the account is closed while
//! its capacity is being lowered), which uses an id up; the trace keeps it from happening twice.

use super::Limit;
use super::ids::Ids;
use super::record::Version;
use crate::clock::unix_ms;
use crate::ledger::{
    AccountCode, AccountId, AccountRule, Bound, Chain, ChainOutcome, LedgerError, Movement, NewAccount,
    Refusal, Transfer, TransferCode, TransferId, UserData,
};
use crate::limit::{ComesBack, LimitKey, RefillRate, Scheduled, Steps};

/// More than any account has or owes.
pub(super) const ALL: u128 = u64::MAX as u128;

/// A schedule in force, with its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    kind: Scheduled,
    /// The version of the limit that set it. A later schedule has other accounts for what is spent, and closes these.
    since_version: u64,
    since_ms: u64,
    spent: Box<[AccountId]>,
    clock: AccountId,
    /// The account of what was borrowed of the future, if the kind lends.
    borrowed: Option<AccountId>,
}

/// Where a reservation moves what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    /// The account that keeps it until it comes back.
    pub spent: AccountId,
    /// When all of it has come back, in milliseconds since the Unix epoch.
    pub over_at_ms: u64,
}

/// A chain that moves a limit's clock on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The chain.
    pub chain: Chain,
    /// Where the clock stands when it was made, in milliseconds since the Unix epoch.
    pub to_ms: u64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The clock was moved on.
    Made,
    /// It stood elsewhere: read it. A refill by hand was made before.
    Moved,
    /// The limit's account was closed, or opened, meanwhile: find what holds it closed.
    ClosedOrOpened,
    /// The schedule was replaced by another: read the definitions.
    Replaced,
}

impl Schedule {
    /// The schedule of a limit that has been of this kind since a version of it, made at `since_ms`.
    pub fn new(ids: Ids, key: &LimitKey, kind: Scheduled, since_version: u64, since_ms: u64) -> Self {
        let spent = (0..kind.places()).map(|place| ids.spent(key, since_version, place)).collect();
        let borrowed = kind.lends().then(|| ids.borrowed(key));
        Self { kind, since_version, since_ms, spent, clock: ids.clock(key), borrowed }
    }

    /// The schedule of a version of a limit, which may be that of the version before.
    pub fn of_version(ids: Ids, earlier: Option<&Limit>, version: &Version) -> Option<Box<Self>> {
        let kind = version.state.scheduled()?;
        let earlier = earlier.filter(|earlier| !version.state.begins_schedule(Some(&earlier.state)));
        let same = earlier.and_then(|earlier| earlier.schedule.clone());
        Some(same.unwrap_or_else(|| {
            let key = &version.state.definition.key;
            Box::new(Self::new(ids, key, kind, version.number, unix_ms(version.timestamp_ns)))
        }))
    }

    /// The accounts that keep what was spent.
    pub fn spent(&self) -> &[AccountId] {
        &self.spent
    }

    /// The account that is the limit's clock.
    pub fn clock(&self) -> AccountId {
        self.clock
    }

    /// The account of what was borrowed of the future, if the kind lends.
    pub fn borrowed(&self) -> Option<AccountId> {
        self.borrowed
    }

    /// Of a bucket that is refilled by time: with how much, and when.
    pub fn refills(&self) -> Option<(RefillRate, Steps)> {
        match self.kind {
            Scheduled::TokenBucket(bucket) => Some((bucket.refill(), self.steps()?)),
            Scheduled::FixedWindow(_) | Scheduled::SlidingWindow(_) => None,
        }
    }

    /// The accounts to be made before the schedule comes into force.
    pub fn accounts(&self) -> Vec<NewAccount> {
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

    /// Where what is reserved now is kept, and until when, if at most so much is spent then.
    pub fn spending(&self, now_ns: u64, spent_max: u64) -> Option<Spending> {
        let now_ms = unix_ms(now_ns);
        let step = self.steps().map_or(0, |steps| steps.at(now_ms));
        let spent = *self.spent.get(self.kind.place(step))?;
        Some(Spending { spent, over_at_ms: self.kind.over_at_ms(now_ms, step, spent_max) })
    }

    /// When the step of this moment began, in milliseconds since the Unix epoch; if nothing comes back by time, when the
    /// schedule came into force.
    pub fn last_step_ms(&self, now_ns: u64) -> u64 {
        self.steps().map_or(self.since_ms, |steps| steps.starts_at_ms(steps.at(unix_ms(now_ns))))
    }

    /// When the next step begins, in milliseconds since the Unix epoch. `None` if nothing comes back by time.
    pub fn next_step_ms(&self, now_ns: u64) -> Option<u64> {
        let steps = self.steps()?;
        Some(steps.starts_at_ms(steps.at(unix_ms(now_ns)) + 1))
    }

    /// Whether everything that is due has come back once the clock stands there.
    pub fn is_up_to_date(&self, clock_ms: u64, now_ns: u64) -> bool {
        let began =
            |steps: Steps| clock_ms.max(self.since_ms) >= steps.starts_at_ms(steps.at(unix_ms(now_ns)));
        self.steps().is_none_or(began)
    }

    /// When something comes back; `None` if somebody must ask for it.
    pub fn steps(&self) -> Option<Steps> {
        self.kind.steps(self.since_ms)
    }

    /// The steps between where the clock stands and now, and what they bring back.
    fn due(&self, clock_ms: u64, now_ns: u64) -> Option<(u64, ComesBack)> {
        let steps = self.steps()?;
        let to_step = steps.at(unix_ms(now_ns));
        let to_ms = steps.starts_at_ms(to_step);
        let from_ms = clock_ms.max(self.since_ms);
        (from_ms < to_ms).then(|| (to_ms, self.kind.comes_back(steps.at(from_ms), to_step)))
    }
}

/// The chain that moves a limit's clock on from `clock_ms`; `None` if nothing is due. `closing` is the transfer that
/// holds its account closed, and `drawn` a fresh ULID.
pub fn advance(
    ids: Ids,
    limit: &Limit,
    clock_ms: u64,
    now_ns: u64,
    closing: Option<TransferId>,
    drawn: u128,
) -> Option<Advance> {
    let schedule = limit.schedule.as_deref()?;
    let (to_ms, comes_back) = schedule.due(clock_ms, now_ns)?;
    let trace = Transfer {
        id: ids.advance(&limit.state.definition.key, clock_ms),
        code: TransferCode::Advance,
        user_data: UserData::default(),
        movement: Movement::Post {
            debit: ids.operator(),
            credit: schedule.clock,
            amount: to_ms.saturating_sub(clock_ms).into(),
        },
    };
    let back = |(place, amount): (usize, u64)| {
        let debit = *schedule.spent.get(place)?;
        Some(come_back(ids, debit, limit.account, amount, drawn, place))
    };
    let returns = match comes_back {
        ComesBack::Amount(amount) => vec![(0, amount)],
        ComesBack::Places(places) => places.into_iter().map(|place| (place, u64::MAX)).collect(),
    };
    let returns = returns.into_iter().filter_map(back);
    behind(ids, trace, limit, returns, closing, drawn).map(|chain| Advance { chain, to_ms })
}

/// The chain that moves something that was spent back to its limit because somebody asks for it; `None` if the limit has
/// no schedule. The same `trace` does so once; the rest is as for [`advance`].
pub fn put_back(
    ids: Ids,
    limit: &Limit,
    trace: TransferId,
    amount: u64,
    closing: Option<TransferId>,
    drawn: u128,
) -> Option<Chain> {
    let &spent = limit.schedule.as_deref()?.spent.first()?;
    let movement = Movement::Post { debit: ids.operator(), credit: ids.registry(), amount: 0 };
    let (code, user_data) = (TransferCode::ComeBack, UserData::default());
    let trace = Transfer { id: trace, code, user_data, movement };
    let returns = [come_back(ids, spent, limit.account, amount, drawn, 0)];
    behind(ids, trace, limit, returns, closing, drawn)
}

/// What one refill puts into a bucket that is refilled by hand; `None` if it is no such bucket.
pub fn refill_by_hand(limit: &Limit) -> Option<u64> {
    match limit.schedule.as_deref()?.kind {
        Scheduled::TokenBucket(bucket) if !bucket.auto_replenish() => Some(bucket.refill().amount().get()),
        Scheduled::TokenBucket(_) | Scheduled::FixedWindow(_) | Scheduled::SlidingWindow(_) => None,
    }
}

/// A chain of what comes back behind its trace. Out of it, what was borrowed is paid back.
fn behind(
    ids: Ids,
    trace: Transfer,
    limit: &Limit,
    returns: impl IntoIterator<Item = Transfer>,
    closing: Option<TransferId>,
    drawn: u128,
) -> Option<Chain> {
    let borrowed = limit.schedule.as_deref()?.borrowed;
    let repaid = borrowed.map(|borrowed| repay(ids.around(drawn, u8::MAX), limit.account, borrowed));
    let steps = returns.into_iter().chain(repaid);
    match closing {
        None => Chain::new(std::iter::once(trace).chain(steps)),
        // A closed account takes nothing, so it is opened for the length of the chain.
        Some(closing) => {
            let [open, close] = around_closed(ids, limit.account, closing);
            Chain::new([trace, open].into_iter().chain(steps).chain([close]))
        }
    }
}

/// Pays back what was borrowed, as far as the limit has something.
pub(super) fn repay(id: TransferId, limit: AccountId, borrowed: AccountId) -> Transfer {
    Transfer {
        id,
        code: TransferCode::Repay,
        user_data: UserData::default(),
        movement: Movement::PostUpTo {
            debit: limit,
            credit: borrowed,
            amount: ALL,
            bound: Bound::HasAndOwes,
        },
    }
}

fn come_back(
    ids: Ids,
    debit: AccountId,
    credit: AccountId,
    amount: u64,
    drawn: u128,
    nth: usize,
) -> Transfer {
    Transfer {
        id: ids.around(drawn, nth as u8),
        code: TransferCode::ComeBack,
        user_data: UserData::default(),
        movement: Movement::PostUpTo { debit, credit, amount: amount.into(), bound: Bound::Has },
    }
}

/// What opens a closed account in front of a chain's steps, and what closes it behind them.
pub(super) fn around_closed(ids: Ids, account: AccountId, closing: TransferId) -> [Transfer; 2] {
    let plain =
        |id, movement| Transfer { id, code: TransferCode::Close, user_data: UserData::default(), movement };
    [
        plain(ids.reopen(closing), Movement::Void { pending: closing }),
        plain(ids.close_again(closing), Movement::Close { debit: account, credit: ids.operator() }),
    ]
}

/// What the chain's outcome means.
pub fn interpret(limit: &Limit, outcome: ChainOutcome) -> Result<Verdict, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return Ok(Verdict::Made),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) if index == 0 => Ok(Verdict::Moved),
        Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided => {
            Ok(Verdict::ClosedOrOpened)
        }
        Refusal::CreditAccountClosed => Ok(Verdict::ClosedOrOpened),
        Refusal::DebitAccountClosed => Ok(Verdict::Replaced),
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
            "what was due of limit {} was refused at transfer {index}: {refusal:?}",
            limit.state.definition.key
        ))),
    }
}
