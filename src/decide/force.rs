//! Force: a reserve that takes whatever is free, and owes the rest, becomes one linked chain. Of each forced limit it
//! reserves what is free, and behind that it posts the excess as debt. A reserve forces the limits in shadow mode, if one of
//! them has too little room, or all of its limits, if its caller says so.
//!
//! What is free is read before the chain is sent, so the ledger may refuse it. A refusal uses the id of the refused leg up for
//! good, so no chain of that attempt is ever created, and the next attempt takes new ids. So of all attempts, by any
//! replicas, the ledger creates one. The first attempt has the ids of an ordinary reserve, which it excludes thereby.
//!
//! The legs of limits that enforce have the same ids in all attempts. So if one of them denies, no attempt is ever created, and
//! the lease stays denied. `docs/shadow-mode.md` has the argument.

use super::Limit;
use super::ids::{ATTEMPTS_MAX, Ids, Purpose};
use super::look::Room;
use super::refill::reopen_and_close;
use super::renew::Closing;
use super::reserve::{Denial, is_shadow, plan_leg, takes_reservations, uses_attempt_up};
use crate::ledger::{Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, UserData};
use crate::limit::LimitKey;
use crate::protocol::Reserve;

/// The limits of which a reserve takes what is free and owes the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forced {
    /// All that it names.
    All,
    /// Those in shadow mode. The others enforce.
    Shadow,
    /// Those in shadow mode, by a lease that waited. The seals exclude its first attempt, so all its legs have the ids of the attempt.
    ShadowOfWaiter,
}

/// Which attempt a chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbering {
    pub(super) attempt: u8,
    /// The last one reserves nothing of forced limits.
    pub(super) is_last: bool,
}

/// The meaning of a chain's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForceResult {
    /// Everything is taken.
    Taken {
        /// The time of the grant, in the ledger's nanoseconds since the Unix epoch.
        timestamp_ns: u64,
    },
    /// The lease id was granted before: its transfers tell its status.
    AlreadyGranted,
    /// This attempt is used up: read the limits again, and make the next one.
    UsedUp,
    /// A closed account was opened or closed meanwhile: find the closing transfers again, and repeat this attempt.
    ClosingChanged,
    /// A limit that enforces refused.
    Denied {
        /// The index of its requirement.
        index: usize,
        /// Why.
        refusal: Refusal,
    },
}

impl Forced {
    /// Whether the reserve takes what is free of this limit and owes the rest.
    pub(crate) fn applies_to(self, limit: Option<&Limit>) -> bool {
        match self {
            Self::All => true,
            Self::Shadow | Self::ShadowOfWaiter => limit.is_some_and(is_shadow),
        }
    }

    /// The attempt whose id a leg gets.
    fn attempt_of_leg(self, is_forced: bool, attempt: u8) -> u8 {
        match self {
            Self::All | Self::ShadowOfWaiter => attempt,
            Self::Shadow => {
                if is_forced {
                    attempt
                } else {
                    0
                }
            }
        }
    }
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
/// has been made. `closings` are the closed accounts that the chain opens for its time, because a closed account takes not even
/// a reservation of 0. The last attempt reserves nothing of forced limits, so nothing can be in its way. `None` if there are
/// no requirements.
#[expect(clippy::too_many_arguments, reason = "the inputs of one plan")]
pub(crate) fn plan(
    ids: Ids,
    command: &Reserve,
    forced: Forced,
    limits: &[Option<&Limit>],
    rooms: &[Room],
    closings: &[Closing],
    attempt: u8,
    now_ns: u64,
) -> Option<Chain> {
    let numbering = Numbering { attempt, is_last: attempt + 1 == ATTEMPTS_MAX };
    let around: Vec<[Transfer; 2]> =
        closings.iter().map(|&(account, closing)| reopen_and_close(ids, account, closing)).collect();
    let mut transfers: Vec<Transfer> = around.iter().map(|[open, _]| *open).collect();
    transfers.extend(plan_legs(ids, command, forced, limits, rooms, numbering, now_ns));
    transfers.extend(around.iter().map(|[_, close]| *close));
    Chain::from_vec(transfers)
}

/// The legs of an attempt, in the order of the requirements, each with its excess behind it.
pub(super) fn plan_legs(
    ids: Ids,
    command: &Reserve,
    forced: Forced,
    limits: &[Option<&Limit>],
    rooms: &[Room],
    numbering: Numbering,
    now_ns: u64,
) -> Vec<Transfer> {
    let Numbering { attempt, is_last } = numbering;
    let lease_ids = ids.of_lease(command.lease);
    let user_data = UserData { wide: command.lease.as_u128(), ..UserData::default() };
    let mut transfers = Vec::with_capacity(2 * command.requirements().len());
    for (index, ((requirement, limit), room)) in
        command.requirements().iter().zip(limits).zip(rooms).enumerate()
    {
        let wanted = u128::from(requirement.amount);
        let is_forced = forced.applies_to(*limit);
        let free = match room {
            Room::Units(_) | Room::Closed if !is_forced => wanted,
            Room::Units(units) if !is_last => wanted.min(*units),
            Room::Units(_) | Room::Closed => 0,
        };
        let leg = plan_leg(ids, requirement, *limit, now_ns);
        transfers.push(Transfer {
            id: lease_ids.transfer(Purpose::Reserve, forced.attempt_of_leg(is_forced, attempt), index),
            code: leg.code,
            user_data: UserData { long: leg.refilled_at_ms, ..user_data },
            movement: if is_forced { with_amount(leg.movement, free) } else { leg.movement },
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
    transfers
}

/// The limits of which the chain takes more than is free.
pub(crate) fn would_deny(command: &Reserve, chain: &Chain) -> Box<[LimitKey]> {
    let is_excess = |&(_, transfer): &(usize, &Transfer)| transfer.code == TransferCode::Excess;
    let excesses = chain.transfers().iter().enumerate().filter(is_excess);
    let key = |(index, _)| Some(command.requirements().get(requirement_at(chain, index)?)?.key.clone());
    excesses.filter_map(key).collect()
}

/// The index of the requirement to which the transfer at `index` belongs. `None` if it opens or closes an account, or is a pass.
pub(super) fn requirement_at(chain: &Chain, index: usize) -> Option<usize> {
    let is_around = |transfer: &Transfer| matches!(transfer.code, TransferCode::Close | TransferCode::Pass);
    let is_leg = |transfer: &&Transfer| !is_around(transfer) && transfer.code != TransferCode::Excess;
    let transfer = chain.transfers().get(index).filter(|transfer| !is_around(transfer))?;
    let legs_before = chain.transfers().iter().take(index).filter(is_leg).count();
    if is_leg(&transfer) { Some(legs_before) } else { legs_before.checked_sub(1) }
}

/// The same reservation of another amount.
pub(super) fn with_amount(movement: Movement, amount: u128) -> Movement {
    match movement {
        Movement::Pend { debit, credit, timeout_seconds, .. } => {
            Movement::Pend { debit, credit, amount, timeout_seconds }
        }
        Movement::Post { debit, credit, .. } => Movement::Post { debit, credit, amount },
        other @ (Movement::PostUpTo { .. } | Movement::Close { .. } | Movement::Void { .. }) => other,
    }
}

/// The meaning of the outcome of the planned chain.
pub(crate) fn interpret(
    command: &Reserve,
    forced: Forced,
    limits: &[Option<&Limit>],
    chain: &Chain,
    outcome: ChainOutcome,
) -> Result<ForceResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { timestamp_ns } => return Ok(ForceResult::Taken { timestamp_ns }),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    let Some(requirement) = requirement_at(chain, index) else {
        let is_changed = matches!(
            refusal,
            Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided
        );
        return if is_changed {
            Ok(ForceResult::ClosingChanged)
        } else {
            Err(unexpected(command, index, refusal))
        };
    };
    let is_forced = forced.applies_to(limits.get(requirement).copied().flatten());
    if matches!(refusal, Refusal::Exists | Refusal::ExistsWithDifferent(_)) {
        Ok(ForceResult::AlreadyGranted)
    } else if !is_forced {
        Ok(ForceResult::Denied { index: requirement, refusal })
    } else if uses_attempt_up(refusal) {
        Ok(ForceResult::UsedUp)
    } else {
        Err(unexpected(command, index, refusal))
    }
}

fn unexpected(command: &Reserve, index: usize, refusal: Refusal) -> LedgerError {
    LedgerError::Unexpected(format!(
        "the forced reserve for lease {} was refused at transfer {index}: {refusal:?}",
        command.lease
    ))
}
