//! Reserving: a command and the limits it names become one linked chain, a leg for each requirement; what the ledger
//! says of the chain becomes an answer.

use super::Limit;
use super::command::{Requirement, Reserve};
use super::ids::{Ids, Purpose};
use super::lease::Hold;
use super::schedule::Spending;
use crate::clock::unix_ms;
use crate::ledger::{Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, UserData};
use crate::limit::{Kind, LimitKey, Status};

/// More than any limit can hold, and far from overflowing the operator's account.
const IMPOSSIBLE_AMOUNT: u128 = 1 << 120;

/// What the outcome of a chain means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every requirement is reserved, since this millisecond.
    Granted {
        /// The ledger's time, in milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// Nothing is reserved, and this lease stays denied.
    Denied {
        /// Why.
        denial: Denial,
        /// Whether the lease was denied before.
        repeated: bool,
    },
    /// The lease was granted before: its transfers tell how it stands.
    Recall,
}

/// Why nothing could be reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No limit of this name takes reservations.
    UnknownKey(LimitKey),
    /// The amount is over the capacity: it can never fit.
    ExceedsCapacity(LimitKey),
    /// The capacity is being lowered.
    Decreasing(LimitKey),
    /// There is no room now.
    NoRoom(LimitKey),
    /// Its schedule was replaced on the way: there is no room where it was looked for, and may be where it is now.
    Replaced(LimitKey),
}

/// The chain that reserves. `limits` stand in the order of the command's requirements.
///
/// A key that is not known gets a leg that no account can satisfy: every denial is thus a refusal by the ledger, which
/// remembers it, and a denied lease stays denied whatever is defined or freed later.
pub fn plan(ids: Ids, command: &Reserve, limits: &[Option<&Limit>], now_ns: u64) -> Option<Chain> {
    let lease_ids = ids.of_lease(command.lease);
    let legs = command.requirements().iter().zip(limits).enumerate();
    Chain::new(legs.map(|(leg, (requirement, limit))| {
        let Leg { code, movement, over_at_ms } = leg_of(ids, requirement, *limit, now_ns);
        Transfer {
            id: lease_ids.transfer(Purpose::Reserve, 0, leg),
            code,
            user_data: UserData { wide: command.lease.as_u128(), long: over_at_ms, ..UserData::default() },
            movement,
        }
    }))
}

/// What one leg moves, and under which code.
pub(super) struct Leg {
    pub(super) code: TransferCode,
    pub(super) movement: Movement,
    /// When what it spends has come back, in milliseconds since the Unix epoch; 0 if a timeout tells.
    pub(super) over_at_ms: u64,
}

/// The leg of a requirement, at a moment at which what was due of its limit has come back.
pub(super) fn leg_of(ids: Ids, requirement: &Requirement, limit: Option<&Limit>, now_ns: u64) -> Leg {
    let Some(limit) = limit.filter(|limit| takes_reservations(limit)) else {
        return impossible_leg(ids, &requirement.key);
    };
    let definition = &limit.state.definition;
    let pending = |hold: Hold, timeout_seconds| {
        let (debit, credit, amount) = (limit.account, ids.operator(), requirement.amount.into());
        let movement = Movement::Pend { debit, credit, amount, timeout_seconds };
        Leg { code: hold.code(), movement, over_at_ms: 0 }
    };
    match definition.kind {
        Kind::Rolling(rolling) => pending(Hold::Rolling(definition.overage), rolling.window_seconds()),
        Kind::Concurrency(slots) => pending(Hold::Concurrency, slots.timeout_seconds()),
        Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) => {
            spending_leg(requirement, limit, now_ns, definition.capacity.get())
                .unwrap_or_else(|| impossible_leg(ids, &requirement.key))
        }
    }
}

/// A leg that no account can satisfy.
pub(super) fn impossible_leg(ids: Ids, key: &LimitKey) -> Leg {
    Leg {
        code: TransferCode::ReserveRolling,
        movement: Movement::Pend {
            debit: ids.limit(key),
            credit: ids.operator(),
            amount: IMPOSSIBLE_AMOUNT,
            timeout_seconds: 1,
        },
        over_at_ms: 0,
    }
}

/// The leg that spends of a limit with a schedule; `spent_max` is what may be spent of it with this together.
pub(super) fn spending_leg(
    requirement: &Requirement,
    limit: &Limit,
    now_ns: u64,
    spent_max: u64,
) -> Option<Leg> {
    let Spending { spent, over_at_ms } = limit.schedule.as_ref()?.spending(now_ns, spent_max)?;
    let code = Hold::Scheduled { overage: limit.state.definition.overage, spent }.code();
    let (debit, amount) = (limit.account, requirement.amount.into());
    Some(Leg { code, movement: Movement::Post { debit, credit: spent, amount }, over_at_ms })
}

/// Whether the limit exists for callers. A decreasing one does: its account is closed, so the ledger denies.
pub fn takes_reservations(limit: &Limit) -> bool {
    match limit.state.status {
        Status::Active | Status::Decreasing { .. } => true,
        Status::Deleted => false,
    }
}

/// Whether every key names a limit that takes reservations.
pub fn all_known(limits: &[Option<&Limit>]) -> bool {
    limits.iter().all(|limit| limit.is_some_and(takes_reservations))
}

/// Whether a refusal speaks against the definitions known here, which may be stale: look once more before answering.
pub fn doubts_definitions(command: &Reserve, limits: &[Option<&Limit>], outcome: ChainOutcome) -> bool {
    match outcome {
        ChainOutcome::Created { .. } => false,
        ChainOutcome::Refused { index, refusal } => {
            let is_active = |limit: &Limit| limit.state.status == Status::Active;
            let replaced = refusal == Refusal::CreditAccountClosed;
            let closed_unawares = refusal == Refusal::DebitAccountClosed
                && limits.get(index).is_some_and(|limit| limit.is_some_and(is_active));
            // An unknown key was looked for again before the chain was sent.
            replaced || closed_unawares || all_known(limits) && impossible(command, limits).is_some()
        }
    }
}

/// The first requirement that can never be granted under these definitions: they may be stale, so look once more
/// before believing it.
pub fn impossible(command: &Reserve, limits: &[Option<&Limit>]) -> Option<Denial> {
    let each = || command.requirements().iter().zip(limits);
    let unknown = each()
        .find(|(_, limit)| !limit.is_some_and(takes_reservations))
        .map(|(requirement, _)| Denial::UnknownKey(requirement.key.clone()));
    unknown.or_else(|| {
        each()
            .find(|(requirement, limit)| {
                limit.is_some_and(|limit| requirement.amount > limit.state.definition.capacity)
            })
            .map(|(requirement, _)| Denial::ExceedsCapacity(requirement.key.clone()))
    })
}

/// What the outcome of the planned chain means.
pub fn interpret(
    command: &Reserve,
    limits: &[Option<&Limit>],
    outcome: ChainOutcome,
) -> Result<Verdict, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { timestamp_ns } => {
            return Ok(Verdict::Granted { reserved_at_unix_ms: unix_ms(timestamp_ns) });
        }
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(Verdict::Recall),
        Refusal::ExceedsCredits
        | Refusal::IdAlreadyFailed
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::DebitAccountNotFound => {
            let repeated = refusal == Refusal::IdAlreadyFailed;
            Ok(Verdict::Denied { denial: denial(command, limits, index, refusal)?, repeated })
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
            Err(LedgerError::Unexpected(format!("a reservation refused at leg {index}: {refusal:?}")))
        }
    }
}

fn denial(
    command: &Reserve,
    limits: &[Option<&Limit>],
    index: usize,
    refusal: Refusal,
) -> Result<Denial, LedgerError> {
    if let Some(impossible) = impossible(command, limits) {
        return Ok(impossible);
    }
    let (Some(requirement), Some(Some(limit))) = (command.requirements().get(index), limits.get(index))
    else {
        return Err(LedgerError::Unexpected(format!("a refusal at leg {index} of a shorter chain")));
    };
    let key = requirement.key.clone();
    if refusal == Refusal::CreditAccountClosed {
        return Ok(Denial::Replaced(key));
    }
    let closed_before = refusal == Refusal::IdAlreadyFailed && limit.state.status != Status::Active;
    // Room that is missing proves that the account is open, whatever is known of it here.
    let decreasing = refusal == Refusal::DebitAccountClosed || closed_before;
    Ok(if decreasing { Denial::Decreasing(key) } else { Denial::NoRoom(key) })
}
