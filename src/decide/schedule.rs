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
//! What comes back is moved under fresh ids, because it may be refused for a passing reason (the account is closed while
//! its capacity is being lowered), which uses an id up; the trace keeps it from happening twice.

use super::Limit;
use super::ids::Ids;
use super::record::Version;
use crate::clock::unix_ms;
use crate::ledger::{
    AccountCode, AccountId, AccountRule, Chain, ChainOutcome, LedgerError, Movement, NewAccount, Refusal,
    Transfer, TransferCode, TransferId, UserData,
};
use crate::limit::{Amount, ComesBack, LimitKey, Scheduled, Steps};

/// A schedule in force, with its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    kind: Scheduled,
    /// The version of the limit that set it. A later schedule has other accounts for what is spent, and closes these.
    since_version: u64,
    since_ms: u64,
    spent: Box<[AccountId]>,
    clock: AccountId,
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
        Self { kind, since_version, since_ms, spent, clock: ids.clock(key) }
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

    /// The accounts to be made before the schedule comes into force.
    pub fn accounts(&self) -> Vec<NewAccount> {
        let spent = self.spent.iter().map(|&id| NewAccount {
            id,
            rule: AccountRule::DebitsMustNotExceedCredits,
            code: AccountCode::Spent,
        });
        let rule = AccountRule::Unconstrained;
        spent.chain([NewAccount { id: self.clock, rule, code: AccountCode::Clock }]).collect()
    }

    /// Where what is reserved now is kept, and until when.
    pub fn spending(&self, now_ns: u64, capacity: Amount) -> Option<Spending> {
        let now_ms = unix_ms(now_ns);
        let step = self.steps().map_or(0, |steps| steps.at(now_ms));
        let spent = *self.spent.get(self.kind.place(step))?;
        Some(Spending { spent, over_at_ms: self.kind.over_at_ms(now_ms, step, capacity) })
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
    let trace = ids.advance(&limit.state.definition.key, clock_ms);
    let chain = behind_trace(ids, limit, trace, to_ms.saturating_sub(clock_ms), comes_back, closing, drawn)?;
    Some(Advance { chain, to_ms })
}

/// What somebody asks to come back, of a bucket that is refilled by hand; `None` if it is no such bucket. The same
/// `replenishment` does so once: its trace is left on the clock, which stays where it is. `closing` and `drawn` are as
/// for [`advance`].
pub fn replenish(
    ids: Ids,
    limit: &Limit,
    replenishment: u128,
    closing: Option<TransferId>,
    drawn: u128,
) -> Option<Chain> {
    let Scheduled::TokenBucket(bucket) = limit.schedule.as_deref()?.kind else { return None };
    if bucket.auto_replenish() {
        return None;
    }
    let trace = ids.replenish(&limit.state.definition.key, replenishment);
    let refill = ComesBack::Amount(bucket.refill_amount().get());
    behind_trace(ids, limit, trace, 0, refill, closing, drawn)
}

/// A trace that moves the clock on by so much, and behind it what comes back.
fn behind_trace(
    ids: Ids,
    limit: &Limit,
    trace: TransferId,
    clock_goes_on_ms: u64,
    comes_back: ComesBack,
    closing: Option<TransferId>,
    drawn: u128,
) -> Option<Chain> {
    let schedule = limit.schedule.as_deref()?;
    let plain = |id, code, movement| Transfer { id, code, user_data: UserData::default(), movement };
    let (debit, credit, amount) = (ids.operator(), schedule.clock, clock_goes_on_ms.into());
    let trace = plain(trace, TransferCode::Advance, Movement::Post { debit, credit, amount });
    let back = |(place, amount): (usize, u64)| {
        let (debit, credit) = (*schedule.spent.get(place)?, limit.account);
        let movement = Movement::PostUpTo { debit, credit, amount: amount.into() };
        Some(plain(ids.around(drawn, place as u8), TransferCode::ComeBack, movement))
    };
    let returns = match comes_back {
        ComesBack::Amount(amount) => vec![(0, amount)],
        ComesBack::Places(places) => places.into_iter().map(|place| (place, u64::MAX)).collect(),
    };
    let returns = returns.into_iter().filter_map(back);
    match closing {
        None => Chain::new(std::iter::once(trace).chain(returns)),
        // A closed account takes nothing, so it is opened for the length of the chain.
        Some(closing) => {
            let [open, close] = around_closed(ids, limit.account, closing);
            Chain::new([trace, open].into_iter().chain(returns).chain([close]))
        }
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
