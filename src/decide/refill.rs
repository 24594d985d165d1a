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
//! The clock of a calendar window shows the end of the present window instead (`window_end.rs`). Refills by hand are in
//! `refill_by_hand.rs`.
//!
//! Refills have fresh ids because the ledger may refuse them for a passing reason (the limit is closed while its capacity is
//! being lowered), which uses an id up. The trace keeps them from acting twice.

use super::Limit;
use super::clock_value::ClockValue;
use super::ids::Ids;
use crate::ledger::{
    AccountId, Bound, Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode,
    TransferId, UserData,
};
use crate::limit::Refill;

/// More than any account holds or owes. A spent account may hold nearly twice the largest amount: a full bucket and what it owes.
pub(super) const EVERYTHING: u128 = u128::MAX;

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
        let spent = *schedule.spent().get(index)?;
        Some(refill_transfer(ids.fresh(fresh_ulid, index as u8), spent, limit.account, amount))
    });
    guarded_chain(ids, [trace], limit, refills, closing, fresh_ulid).map(|chain| CatchUp { chain, to })
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
    let borrowed = limit.schedule.as_deref()?.borrowed();
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
