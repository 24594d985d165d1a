//! Force: a reserve that takes everything, whatever is free, becomes one linked chain. Of each limit it reserves what is
//! free, and behind that it posts the excess as debt.
//!
//! What is free is read before the chain is sent, so the ledger may refuse it. A refusal uses the id of the refused leg up for
//! good, so no chain of that attempt is ever created, and the next attempt takes new ids. So of all attempts, by any
//! replicas, the ledger creates one. The first attempt has the ids of an ordinary reserve, which it excludes thereby.

use super::Limit;
use super::ids::{ATTEMPTS_MAX, Ids, Purpose};
use super::look::Room;
use super::reserve::{Denial, plan_leg, takes_reservations};
use crate::ledger::{Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, UserData};
use crate::protocol::Reserve;
use crate::time::unix_ms;

/// The meaning of a chain's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForceResult {
    /// Everything is taken.
    Taken {
        /// The time of the grant, in the ledger's milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// The lease id was granted before: its transfers tell its status.
    AlreadyGranted,
    /// This attempt is used up: read the limits again, and make the next one.
    UsedUp,
}

/// Why nothing can be taken: a limit is unknown, or closed while its capacity is being lowered.
pub(crate) fn denial(command: &Reserve, limits: &[Option<&Limit>], rooms: &[Room]) -> Option<Denial> {
    let requirements = || command.requirements().iter();
    let is_unknown = |limit: &Option<&Limit>| !limit.is_some_and(takes_reservations);
    let unknown = requirements().zip(limits).find(|(_, limit)| is_unknown(limit));
    let closed = requirements().zip(rooms).find(|(_, room)| **room == Room::Closed);
    let unknown = unknown.map(|(requirement, _)| Denial::UnknownKey(requirement.key.clone()));
    unknown.or_else(|| closed.map(|(requirement, _)| Denial::Decreasing(requirement.key.clone())))
}

/// The chain of an attempt. `limits` and `rooms` are in the order of the requirements; every refill that was due at `now_ns`
/// has been made. The last attempt reserves nothing, so nothing can be in its way. `None` if there are no requirements.
pub(crate) fn plan(
    ids: Ids,
    command: &Reserve,
    limits: &[Option<&Limit>],
    rooms: &[Room],
    attempt: u8,
    now_ns: u64,
) -> Option<Chain> {
    let lease_ids = ids.of_lease(command.lease);
    let user_data = UserData { wide: command.lease.as_u128(), ..UserData::default() };
    let is_last = attempt + 1 == ATTEMPTS_MAX;
    let mut transfers = Vec::with_capacity(2 * command.requirements().len());
    for (index, ((requirement, limit), room)) in
        command.requirements().iter().zip(limits).zip(rooms).enumerate()
    {
        let wanted = u128::from(requirement.amount);
        let free = match room {
            Room::Units(units) if !is_last => wanted.min(*units),
            Room::Units(_) | Room::Closed => 0,
        };
        let leg = plan_leg(ids, requirement, *limit, now_ns);
        transfers.push(Transfer {
            id: lease_ids.transfer(Purpose::Reserve, attempt, index),
            code: leg.code,
            user_data: UserData { long: leg.refilled_at_ms, ..user_data },
            movement: with_amount(leg.movement, free),
        });
        if let Some(limit) = limit.filter(|_| wanted > free) {
            let (debit, credit, amount) = (limit.debt_account, ids.operator(), wanted - free);
            transfers.push(Transfer {
                id: lease_ids.transfer(Purpose::Excess, attempt, index),
                code: TransferCode::Excess,
                user_data,
                movement: Movement::Post { debit, credit, amount },
            });
        }
    }
    Chain::from_vec(transfers)
}

/// The same reservation of another amount.
fn with_amount(movement: Movement, amount: u128) -> Movement {
    match movement {
        Movement::Pend { debit, credit, timeout_seconds, .. } => {
            Movement::Pend { debit, credit, amount, timeout_seconds }
        }
        Movement::Post { debit, credit, .. } => Movement::Post { debit, credit, amount },
        other @ (Movement::PostUpTo { .. } | Movement::Close { .. } | Movement::Void { .. }) => other,
    }
}

/// The meaning of the outcome of the planned chain.
pub(crate) fn interpret(command: &Reserve, outcome: ChainOutcome) -> Result<ForceResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { timestamp_ns } => {
            return Ok(ForceResult::Taken { reserved_at_unix_ms: unix_ms(timestamp_ns) });
        }
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(ForceResult::AlreadyGranted),
        Refusal::ExceedsCredits
        | Refusal::IdAlreadyFailed
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::DebitAccountNotFound => Ok(ForceResult::UsedUp),
        Refusal::ExceedsDebits
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(LedgerError::Unexpected(format!(
            "the forced reserve for lease {} was refused at transfer {index}: {refusal:?}",
            command.lease
        ))),
    }
}
