//! Renew: a running lease and a renew command become one linked chain, a trace and then a void and a new reservation for each
//! slot. Nobody sees a slot free in between, and a slot that has expired is not revived: the ledger refuses its void.
//!
//! The trace takes the id that the guard of a complete would take, as the trace of an extend does ([`super::extend`]). So
//! completes, extends and renewals of one lease are made one after the other.
//!
//! The trace holds a hash of the renew id, by which a repeated renewal is known.

use super::ids::{Ids, Purpose, RENEWAL_ATTEMPTS_MAX};
use super::lease::{HeldLeg, Hold, Lease};
use super::refill::reopen_and_close;
use crate::ledger::{
    AccountId, Chain, ChainOutcome, LEASE_TRANSFERS_MAX, LedgerError, Movement, Recorded, Refusal, Transfer,
    TransferCode, TransferId, UserData,
};
use crate::protocol::{EXTENDS_MAX, Renew};
use crate::time::unix_ms;

/// What to do for a renew command, by the state of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RenewPlan {
    /// The lease is running: send this chain.
    Send(Chain),
    /// The same renewal was made before.
    AlreadyRenewed {
        /// When, in milliseconds since the Unix epoch.
        renewed_at_unix_ms: u64,
    },
    /// The lease is settled or unknown.
    NotRunning,
    /// A slot of the lease has expired.
    Expired,
    /// The lease holds no slot.
    NoSlots,
    /// The lease was extended and renewed [`EXTENDS_MAX`] times already, or one look-up could not read another renewal.
    TooMany,
}

/// The meaning of the chain's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewResult {
    /// Every slot is held for its whole timeout again.
    Renewed {
        /// When, in the ledger's milliseconds since the Unix epoch.
        renewed_at_unix_ms: u64,
    },
    /// A slot expired before the chain was created.
    Expired,
    /// Another operation on the lease was first: read the lease again.
    ReadAgain,
    /// This account is closed, or it was opened or closed anew: find its closing transfer, and send the next attempt.
    ClosingChanged(AccountId),
}

/// A closed account, and the transfer that holds it closed.
pub(crate) type Closing = (AccountId, TransferId);

/// What to do for the command. `transfers` are those of the lease, oldest first; `closings` are the closed accounts that the
/// chain opens for its time. Each chain that was refused for an account takes another `attempt`.
pub(crate) fn plan(
    ids: Ids,
    command: &Renew,
    transfers: &[Recorded],
    closings: &[Closing],
    attempt: u8,
    now_ns: u64,
) -> RenewPlan {
    let tag = ids.of_lease(command.lease).renewal_tag(command.renew_id);
    let is_its_trace = |recorded: &&Recorded| {
        let Transfer { code, user_data, .. } = recorded.transfer;
        code == TransferCode::Renew && user_data.long == tag
    };
    let lease = Lease::from_transfers(command.lease, transfers);
    let Some(lease) = lease.filter(|lease| !lease.settled) else { return RenewPlan::NotRunning };
    let slots: Vec<(usize, &HeldLeg)> =
        lease.legs.iter().enumerate().filter(|(_, leg)| leg.hold == Hold::Concurrency).collect();
    if lease.is_expired(now_ns) || slots.iter().any(|(_, leg)| leg.is_expired(now_ns)) {
        return RenewPlan::Expired;
    }
    if let Some(earlier) = transfers.iter().find(is_its_trace) {
        return RenewPlan::AlreadyRenewed { renewed_at_unix_ms: unix_ms(earlier.timestamp_ns) };
    }
    if slots.is_empty() {
        return RenewPlan::NoSlots;
    }
    // Behind the renewal the look-up must still reach the guard of a complete.
    let transfers_after = transfers.len() + 1 + 2 * slots.len() + 1;
    if lease.guards_taken >= EXTENDS_MAX || transfers_after > LEASE_TRANSFERS_MAX {
        return RenewPlan::TooMany;
    }
    let chain = chain(ids, command, &lease, &slots, closings, attempt, tag);
    chain.map_or(RenewPlan::NotRunning, RenewPlan::Send)
}

fn chain(
    ids: Ids,
    command: &Renew,
    lease: &Lease,
    slots: &[(usize, &HeldLeg)],
    closings: &[Closing],
    attempt: u8,
    tag: u64,
) -> Option<Chain> {
    let (lease_ids, renewal) = (ids.of_lease(command.lease), lease.guards_taken);
    let of_lease = UserData { wide: command.lease.as_u128(), ..UserData::default() };
    let legs = u32::try_from(slots.len()).ok()?;
    let trace = Transfer {
        id: lease_ids.transfer(Purpose::Guard, 0, renewal),
        code: TransferCode::Renew,
        user_data: UserData { long: tag, short: legs, ..of_lease },
        movement: Movement::Post { debit: ids.operator(), credit: ids.registry(), amount: 0 },
    };
    let slot =
        |id, movement| Transfer { id, code: TransferCode::ReserveConcurrency, user_data: of_lease, movement };
    let renewals = slots.iter().flat_map(|&(index, leg)| {
        let (debit, credit) = (leg.account, ids.operator());
        let (amount, timeout_seconds) = (leg.amount, leg.timeout_seconds);
        let pend = Movement::Pend { debit, credit, amount, timeout_seconds };
        [
            slot(lease_ids.renewal_void(renewal, index), Movement::Void { pending: leg.transfer }),
            slot(lease_ids.renewal(renewal, attempt, index), pend),
        ]
    });
    let is_of_slot = |&&(account, _): &&Closing| slots.iter().any(|(_, leg)| leg.account == account);
    let around = || {
        let closings = closings.iter().filter(is_of_slot);
        closings.map(|&(account, closing)| reopen_and_close(ids, account, closing))
    };
    let reopen = around().map(|[reopen, _]| reopen);
    let close = around().map(|[_, close]| close);
    Chain::new([trace].into_iter().chain(reopen).chain(renewals).chain(close))
}

/// The meaning of the chain's outcome.
///
/// # Errors
///
/// A refusal that a ledger which only this program writes cannot give.
pub(crate) fn interpret(
    command: &Renew,
    chain: &Chain,
    closings: &[Closing],
    outcome: ChainOutcome,
) -> Result<RenewResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { timestamp_ns } => {
            // The chain was created at its first transfer's time or later. The slots expire no earlier.
            return Ok(RenewResult::Renewed { renewed_at_unix_ms: unix_ms(timestamp_ns) });
        }
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    let unexpected = || {
        LedgerError::Unexpected(format!(
            "a renewal of lease {}, transfer {index}: {refusal:?}",
            command.lease
        ))
    };
    let Transfer { code, movement, .. } = chain.transfers().get(index).ok_or_else(unexpected)?;
    let already_voided = |pending: TransferId| {
        let of_account = closings.iter().find(|(_, closing)| *closing == pending);
        match of_account.filter(|_| *code == TransferCode::Close) {
            Some(&(account, _)) => RenewResult::ClosingChanged(account),
            None => RenewResult::ReadAgain,
        }
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) | Refusal::PendingAlreadyVoided => {
            match *movement {
                Movement::Post { .. } => Ok(RenewResult::ReadAgain),
                Movement::Void { pending } => Ok(already_voided(pending)),
                Movement::PostUpTo { .. } | Movement::Pend { .. } | Movement::Close { .. } => {
                    Err(unexpected())
                }
            }
        }
        Refusal::PendingExpired => Ok(RenewResult::Expired),
        // A refused transfer uses its id up: an earlier chain of this renewal was refused so.
        Refusal::DebitAccountClosed | Refusal::IdAlreadyFailed | Refusal::ExceedsCredits => match *movement {
            Movement::Pend { debit, .. } => Ok(RenewResult::ClosingChanged(debit)),
            Movement::Post { .. }
            | Movement::PostUpTo { .. }
            | Movement::Close { .. }
            | Movement::Void { .. } => Err(unexpected()),
        },
        Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::CreditAccountClosed
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(unexpected()),
    }
}

/// Whether there is an id for this attempt.
pub(crate) fn has_attempt(attempt: u8) -> bool {
    attempt < RENEWAL_ATTEMPTS_MAX
}
