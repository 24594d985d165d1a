//! Reserve: a command and its limits become one linked chain, a leg for each requirement; the chain's outcome becomes a
//! result.

use super::Limit;
use super::ids::{Ids, Purpose};
use super::lease::Hold;
use super::schedule::SpendTarget;
use crate::ledger::{Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, UserData};
use crate::limit::{Kind, LimitKey, Status};
use crate::protocol::{Requirement, Reserve};
use crate::time::unix_ms;

/// More than any limit can hold, and too little to overflow the operator's account.
const UNSATISFIABLE_AMOUNT: u128 = 1 << 120;

/// The meaning of a chain's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveResult {
    /// Every requirement is reserved.
    Granted {
        /// The time of the grant, in the ledger's milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// Nothing is reserved, and the lease id stays denied.
    Denied {
        /// Why.
        denial: Denial,
        /// Whether the ledger had denied this lease id before.
        repeated: bool,
    },
    /// The lease id was granted before: its transfers tell its status.
    AlreadyGranted,
}

/// Why nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No limit with this key takes reservations.
    UnknownKey(LimitKey),
    /// The amount is above the capacity: it can never fit.
    ExceedsCapacity(LimitKey),
    /// The capacity is being lowered.
    Decreasing(LimitKey),
    /// There is no room now.
    NoRoom(LimitKey),
    /// A new version replaced accounts of the limit meanwhile, or opened the limit again. There may be room now.
    Replaced(LimitKey),
}

/// One leg of a chain to be sent: what it moves, under which code.
pub(super) struct PlannedLeg {
    pub(super) code: TransferCode,
    pub(super) movement: Movement,
    /// When everything that it spends is refilled, in milliseconds since the Unix epoch; 0 for a reservation with a timeout.
    pub(super) refilled_at_ms: u64,
}

/// The chain that reserves. `limits` are in the order of the command's requirements; every refill that was due at `now_ns` has
/// been made. `None` if there are no requirements.
///
/// An unknown key becomes a leg that no account can satisfy. Thus the ledger itself refuses every denial and remembers it, and
/// a denied lease id stays denied whatever is defined or released later.
pub fn plan(ids: Ids, command: &Reserve, limits: &[Option<&Limit>], now_ns: u64) -> Option<Chain> {
    Chain::new(plan_legs(ids, command, limits, 0, now_ns))
}

/// The legs of an attempt, in the order of the requirements.
pub(super) fn plan_legs(
    ids: Ids,
    command: &Reserve,
    limits: &[Option<&Limit>],
    attempt: u8,
    now_ns: u64,
) -> impl Iterator<Item = Transfer> {
    let lease_ids = ids.of_lease(command.lease);
    let legs = command.requirements().iter().zip(limits).enumerate();
    legs.map(move |(index, (requirement, limit))| {
        let PlannedLeg { code, movement, refilled_at_ms } = plan_leg(ids, requirement, *limit, now_ns);
        let wide = command.lease.as_u128();
        Transfer {
            id: lease_ids.transfer(Purpose::Reserve, attempt, index),
            code,
            user_data: UserData { wide, long: refilled_at_ms, ..UserData::default() },
            movement,
        }
    })
}

/// The leg for a requirement. Every refill of the limit that was due at `now_ns` has been made.
pub(super) fn plan_leg(
    ids: Ids,
    requirement: &Requirement,
    limit: Option<&Limit>,
    now_ns: u64,
) -> PlannedLeg {
    let Some(limit) = limit.filter(|limit| takes_reservations(limit)) else {
        return unsatisfiable_leg(ids, &requirement.key);
    };
    let definition = &limit.state.definition;
    let pending = |hold: Hold, timeout_seconds| {
        let (debit, credit, amount) = (limit.account, ids.operator(), requirement.amount.into());
        let movement = Movement::Pend { debit, credit, amount, timeout_seconds };
        PlannedLeg { code: hold.code(), movement, refilled_at_ms: 0 }
    };
    match definition.kind {
        Kind::Rolling(rolling) => pending(Hold::Rolling(definition.overage), rolling.window_seconds()),
        Kind::Concurrency(concurrency) => pending(Hold::Concurrency, concurrency.timeout_seconds()),
        Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
            plan_spending_leg(requirement, limit, now_ns, definition.capacity.get())
                .unwrap_or_else(|| unsatisfiable_leg(ids, &requirement.key))
        }
    }
}

/// A leg that no account can satisfy.
pub(super) fn unsatisfiable_leg(ids: Ids, key: &LimitKey) -> PlannedLeg {
    let movement = Movement::Pend {
        debit: ids.limit(key),
        credit: ids.operator(),
        amount: UNSATISFIABLE_AMOUNT,
        timeout_seconds: 1,
    };
    PlannedLeg { code: TransferCode::ReserveRolling, movement, refilled_at_ms: 0 }
}

/// The leg that spends from a limit with a schedule; `None` if it has none. `spent_max` is the most that is spent then in
/// total, this leg included.
pub(super) fn plan_spending_leg(
    requirement: &Requirement,
    limit: &Limit,
    now_ns: u64,
    spent_max: u64,
) -> Option<PlannedLeg> {
    let SpendTarget { spent, refilled_at_ms } = limit.schedule.as_ref()?.spend_target(now_ns, spent_max)?;
    let code = Hold::Scheduled { overage: limit.state.definition.overage, spent }.code();
    let (debit, amount) = (limit.account, requirement.amount.into());
    Some(PlannedLeg { code, movement: Movement::Post { debit, credit: spent, amount }, refilled_at_ms })
}

/// Whether the limit exists for callers. A decreasing limit does: its account is closed, so the ledger denies.
pub(crate) fn takes_reservations(limit: &Limit) -> bool {
    !limit.state.status.is_gone()
}

/// Whether the limit is in shadow mode: it grants every reserve, and what finds no room is debt.
pub(crate) fn is_shadow(limit: &Limit) -> bool {
    takes_reservations(limit) && !limit.state.definition.enforce
}

/// Whether the chain was refused only because a limit in shadow mode would deny.
pub(crate) fn refused_by_shadow(limits: &[Option<&Limit>], outcome: ChainOutcome) -> bool {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return false,
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    limits.get(index).is_some_and(|limit| limit.is_some_and(is_shadow)) && uses_attempt_up(refusal)
}

/// Whether this refusal of a leg uses the leg's id up for good, so that no chain with that id is ever created.
pub(super) fn uses_attempt_up(refusal: Refusal) -> bool {
    match refusal {
        Refusal::ExceedsCredits
        | Refusal::IdAlreadyFailed
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::DebitAccountNotFound => true,
        Refusal::Exists
        | Refusal::ExistsWithDifferent(_)
        | Refusal::ExceedsDebits
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => false,
    }
}

/// Whether every key names a limit that takes reservations.
pub(crate) fn all_known(limits: &[Option<&Limit>]) -> bool {
    limits.iter().all(|limit| limit.is_some_and(takes_reservations))
}

/// The first requirement that these definitions can never grant. An unknown key comes before an amount above the capacity.
/// The definitions may be stale: read them again before answering so.
pub(crate) fn impossible(command: &Reserve, limits: &[Option<&Limit>]) -> Option<Denial> {
    let each = || command.requirements().iter().zip(limits);
    let unknown = each()
        .find(|(_, limit)| !limit.is_some_and(takes_reservations))
        .map(|(requirement, _)| Denial::UnknownKey(requirement.key.clone()));
    unknown.or_else(|| {
        each()
            .find(|(requirement, limit)| {
                limit.is_some_and(|limit| {
                    !is_shadow(limit) && !limit.state.definition.capacity.holds(requirement.amount)
                })
            })
            .map(|(requirement, _)| Denial::ExceedsCapacity(requirement.key.clone()))
    })
}

/// Whether a refusal contradicts the definitions known here, which may be stale. The argument `impossible` is the
/// result of the function of that name for them.
pub(crate) fn contradicts_definitions(
    limits: &[Option<&Limit>],
    outcome: ChainOutcome,
    impossible: Option<&Denial>,
) -> bool {
    match outcome {
        ChainOutcome::Created { .. } => false,
        ChainOutcome::Refused { index, refusal } => {
            let is_active = |limit: &Limit| limit.state.status == Status::Active;
            let replaced = refusal == Refusal::CreditAccountClosed;
            let closed_unexpectedly = refusal == Refusal::DebitAccountClosed
                && limits.get(index).is_some_and(|limit| limit.is_some_and(is_active));
            // An unknown key needs no second look: it was looked up before the chain was sent.
            replaced || closed_unexpectedly || all_known(limits) && impossible.is_some()
        }
    }
}

/// The meaning of the outcome of the planned chain. The argument `impossible` is the result of the function of that
/// name for the same limits.
pub fn interpret(
    command: &Reserve,
    limits: &[Option<&Limit>],
    outcome: ChainOutcome,
    impossible: Option<Denial>,
) -> Result<ReserveResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { timestamp_ns } => {
            return Ok(ReserveResult::Granted { reserved_at_unix_ms: unix_ms(timestamp_ns) });
        }
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(ReserveResult::AlreadyGranted),
        Refusal::ExceedsCredits
        | Refusal::IdAlreadyFailed
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::DebitAccountNotFound => {
            let repeated = refusal == Refusal::IdAlreadyFailed;
            let denial = match impossible {
                Some(impossible) => impossible,
                None => denial(command, limits, index, refusal)?,
            };
            Ok(ReserveResult::Denied { denial, repeated })
        }
        Refusal::ExceedsDebits
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => {
            let lease = command.lease;
            let message =
                format!("the reservation for lease {lease} was refused at leg {index}: {refusal:?}");
            Err(LedgerError::Unexpected(message))
        }
    }
}

fn denial(
    command: &Reserve,
    limits: &[Option<&Limit>],
    index: usize,
    refusal: Refusal,
) -> Result<Denial, LedgerError> {
    let (Some(requirement), Some(Some(limit))) = (command.requirements().get(index), limits.get(index))
    else {
        let (lease, legs) = (command.lease, command.requirements().len());
        let message =
            format!("the reservation for lease {lease} has {legs} legs and was refused at leg {index}");
        return Err(LedgerError::Unexpected(message));
    };
    let key = requirement.key.clone();
    let is_active = limit.state.status == Status::Active;
    if refusal == Refusal::CreditAccountClosed || refusal == Refusal::DebitAccountClosed && is_active {
        return Ok(Denial::Replaced(key));
    }
    let closed_before = refusal == Refusal::IdAlreadyFailed && !is_active;
    // A refusal for lack of room proves that the account is open, whatever status is known here.
    let decreasing = refusal == Refusal::DebitAccountClosed || closed_before;
    Ok(if decreasing { Denial::Decreasing(key) } else { Denial::NoRoom(key) })
}
