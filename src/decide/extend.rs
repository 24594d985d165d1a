//! Extend: a running lease and an extend command become one linked chain of two transfers, a trace and the additional
//! reservation.
//!
//! The trace takes the id that the guard of a complete would take. If an extend and a complete race, at any replicas,
//! the ledger accepts one and refuses the other. The refused one reads the lease again: a complete finds more to
//! settle, an extend finds the lease settled. Two extends of one lease that race are ordered in the same way.
//!
//! The reservation's id follows from the extend id. A repeated extend meets its own reservation, and a denied extend id stays
//! denied.
//!
//! If a limit in shadow mode refuses the reservation, a second chain reserves nothing under another id, and posts the additional
//! amount as debt behind that.

use super::Limit;
use super::force::with_amount;
use super::ids::{Ids, Purpose};
use super::lease::Lease;
use super::reserve::{self, Denial, PlannedLeg, ReserveResult};
use crate::ledger::{
    AccountId, Chain, ChainOutcome, LEASE_TRANSFERS_MAX, LedgerError, Movement, Recorded, Refusal, Transfer,
    TransferCode, UserData,
};
use crate::limit::LeaseId;
use crate::protocol::{EXTENDS_MAX, Extend, REQUIREMENTS_MAX};
use crate::time::unix_ms;

/// What to do for an extend command, by the state of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExtendPlan {
    /// The lease is running: send this chain.
    Send {
        /// The chain.
        chain: Chain,
        /// When the last leg of the lease expires, in the ledger's nanoseconds.
        lease_expires_at_ns: u64,
    },
    /// The same extend was granted before.
    AlreadyGranted {
        /// The time of that grant, in milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
        /// Whether it is debt, because the limit is in shadow mode and had too little room.
        is_debt: bool,
    },
    /// The extend id was used for another amount or limit.
    Conflict,
    /// Another extend of the lease happens to have the same transfer id. A new extend id gets another transfer id.
    IdCollision,
    /// The lease is settled, expired or unknown.
    NotRunning,
    /// The lease does not hold the limit.
    NotInLease,
    /// The lease was extended and renewed [`EXTENDS_MAX`] times already, or one look-up could not read another extend.
    TooMany,
}

/// The meaning of the chain's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExtendResult {
    /// The lease holds the additional amount.
    Granted {
        /// The time of the grant, in the ledger's milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
    },
    /// The lease expired before the chain was created. The additional reservation belongs to no lease, and expires.
    Expired,
    /// The lease holds what it held before.
    Denied {
        /// Why.
        denial: Denial,
        /// Whether this extend id was denied before.
        repeated: bool,
    },
    /// Another extend or a complete was first: read the lease again.
    ReadAgain,
}

/// What to do for the command. `limit` is the limit to reserve more of; `transfers` are those of the lease, oldest first.
pub(crate) fn plan(
    ids: Ids,
    command: &Extend,
    limit: Option<&Limit>,
    transfers: &[Recorded],
    in_debt: bool,
    now_ns: u64,
) -> ExtendPlan {
    let lease_ids = ids.of_lease(command.lease);
    let (id, tag) = lease_ids.extension(command.extend_id);
    let id_in_debt = lease_ids.extension_in_debt(command.extend_id);
    let is_its_account = |account: AccountId| {
        limit.map_or_else(
            || account == ids.limit(&command.requirement.key),
            |limit| limit.has_or_had_account(ids, account),
        )
    };
    let lease = Lease::from_transfers(command.lease, transfers);
    let Some(lease) = lease.filter(|lease| !lease.settled && !lease.is_expired(now_ns)) else {
        return ExtendPlan::NotRunning;
    };
    let is_earlier = |recorded: &Recorded| [id, id_in_debt].contains(&recorded.transfer.id);
    if let Some(index) = transfers.iter().position(is_earlier)
        && let Some(earlier) = transfers.get(index)
    {
        let behind = transfers.get(index + 1).map(|behind| behind.transfer);
        let excess = behind.filter(|behind| behind.code == TransferCode::Excess);
        let excess = excess.map_or(0, |excess| excess.movement.amount());
        return match earlier.transfer {
            Transfer { movement, user_data, .. } if user_data != tagged(user_data, movement, tag) => {
                ExtendPlan::IdCollision
            }
            Transfer {
                movement: Movement::Pend { debit, amount, .. } | Movement::Post { debit, amount, .. },
                ..
            } if is_its_account(debit) && amount + excess == u128::from(command.requirement.amount) => {
                let reserved_at_unix_ms = unix_ms(earlier.timestamp_ns);
                ExtendPlan::AlreadyGranted { reserved_at_unix_ms, is_debt: excess > 0 }
            }
            Transfer { .. } => ExtendPlan::Conflict,
        };
    }
    if !lease.legs.iter().any(|leg| is_its_account(leg.account)) {
        return ExtendPlan::NotInLease;
    }
    if lease.guards_taken >= EXTENDS_MAX || transfers.len() + 3 >= LEASE_TRANSFERS_MAX {
        return ExtendPlan::TooMany;
    }
    let PlannedLeg { code, movement, refilled_at_ms } =
        reserve::plan_leg(ids, &command.requirement, limit, now_ns);
    let user_data = UserData { wide: command.lease.as_u128(), ..UserData::default() };
    let trace = Transfer {
        id: lease_ids.transfer(Purpose::Guard, 0, lease.guards_taken),
        code: TransferCode::Extend,
        user_data,
        movement: Movement::Post { debit: ids.operator(), credit: ids.registry(), amount: 0 },
    };
    let user_data = tagged(UserData { long: refilled_at_ms, ..user_data }, movement, tag);
    let mut transfers = vec![trace, Transfer { id, code, user_data, movement }];
    if let (true, Some(limit)) = (in_debt, limit) {
        let (debit, credit) = (limit.debt_account, ids.operator());
        let excess = Transfer {
            id: lease_ids.transfer(Purpose::Excess, 0, REQUIREMENTS_MAX + lease.guards_taken),
            code: TransferCode::Excess,
            user_data: UserData { wide: command.lease.as_u128(), ..UserData::default() },
            movement: Movement::Post { debit, credit, amount: command.requirement.amount.into() },
        };
        let nothing = Transfer { id: id_in_debt, code, user_data, movement: with_amount(movement, 0) };
        transfers = vec![trace, nothing, excess];
    }
    let lease_expires_at_ns = lease.legs.iter().map(|leg| leg.expires_at_ns).max().unwrap_or(0);
    // The chain has at least two transfers, so it is never empty.
    Chain::from_vec(transfers)
        .map_or(ExtendPlan::NotRunning, |chain| ExtendPlan::Send { chain, lease_expires_at_ns })
}

/// The user data with the tag of an extend id. A reservation on a limit with a schedule keeps its refill time in `long`, so its
/// tag is shorter.
fn tagged(user_data: UserData, movement: Movement, tag: u64) -> UserData {
    match movement {
        Movement::Post { .. } => UserData { short: tag as u32, ..user_data },
        Movement::Pend { .. }
        | Movement::PostUpTo { .. }
        | Movement::Close { .. }
        | Movement::Void { .. } => UserData { long: tag, ..user_data },
    }
}

/// The outcome of the chain's second transfer, the reservation. `None` if the ledger refused the trace.
pub(crate) fn reservation_outcome(outcome: ChainOutcome) -> Option<ChainOutcome> {
    match outcome {
        ChainOutcome::Created { .. } => Some(outcome),
        ChainOutcome::Refused { index, refusal } => {
            index.checked_sub(1).map(|index| ChainOutcome::Refused { index, refusal })
        }
    }
}

/// The meaning of the chain's outcome. `interpret_reservation` is [`reserve::interpret`] for [`Extend::as_reserve`].
pub(crate) fn interpret(
    lease: LeaseId,
    lease_expires_at_ns: u64,
    outcome: ChainOutcome,
    interpret_reservation: impl FnOnce(ChainOutcome) -> Result<ReserveResult, LedgerError>,
) -> Result<ExtendResult, LedgerError> {
    if let ChainOutcome::Created { timestamp_ns } = outcome
        && lease_expires_at_ns <= timestamp_ns
    {
        return Ok(ExtendResult::Expired);
    }
    match (reservation_outcome(outcome), outcome) {
        (Some(of_reservation), _) => Ok(match interpret_reservation(of_reservation)? {
            ReserveResult::Granted { reserved_at_unix_ms } => ExtendResult::Granted { reserved_at_unix_ms },
            ReserveResult::Denied { denial, repeated } => ExtendResult::Denied { denial, repeated },
            ReserveResult::AlreadyGranted => ExtendResult::ReadAgain,
        }),
        (None, ChainOutcome::Refused { refusal: Refusal::Exists | Refusal::ExistsWithDifferent(_), .. }) => {
            Ok(ExtendResult::ReadAgain)
        }
        (None, _) => {
            Err(LedgerError::Unexpected(format!("the trace of an extend of lease {lease}: {outcome:?}")))
        }
    }
}
