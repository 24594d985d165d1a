//! Later attempts: a reserve that waits is tried more than once under one lease id, and still has one outcome.
//! `docs/waiting.md` has the argument.
//!
//! Every later attempt begins with the *pass*, which has one id for each lease. A *seal* uses up the id of a leg of the first
//! attempt, the *waiver* the id of the pass. The ledger refuses both always: no account can satisfy them.

use super::Limit;
use super::force::{self, Forced, Numbering};
use super::ids::{Ids, Purpose};
use super::look::Room;
use super::reserve::{PlannedLeg, plan_legs, unsatisfiable_leg};
use crate::ledger::{
    Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, TransferId, UserData,
};
use crate::limit::LeaseId;
use crate::protocol::Reserve;

/// The number of the last attempt of a reserve that waits. The attempts behind it are left to forced reserves.
pub(crate) const LAST_ATTEMPT: u8 = 5;

/// The meaning of an attempt's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptResult {
    /// Every requirement is reserved.
    Granted {
        /// When the first leg was made, in the ledger's nanoseconds.
        reserved_at_ns: u64,
    },
    /// The ledger refused this leg for good, and nobody was told so before.
    RefusedFresh {
        /// The index of the leg.
        leg: usize,
    },
    /// The attempt is used up: a leg of it was refused for good before. Somebody may have been told so.
    UsedUp,
    /// The pass is used up: the lease was denied for good, or is about to be.
    Waived,
    /// An attempt at this lease was created before: its transfers tell its status.
    AlreadyGranted,
}

/// The meaning of the outcome of a seal or a waiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExclusionResult {
    /// The id is used up from now on. The ledger says this once for each id.
    Fresh,
    /// The id was used up before.
    Before,
    /// Another transfer has the id: what should be excluded was created.
    Created,
}

/// The pass of a lease.
pub(super) fn pass(ids: Ids, lease: LeaseId) -> Transfer {
    Transfer {
        id: pass_id(ids, lease),
        code: TransferCode::Pass,
        user_data: UserData { wide: lease.as_u128(), ..UserData::default() },
        movement: Movement::Post { debit: ids.operator(), credit: ids.registry(), amount: 0 },
    }
}

fn pass_id(ids: Ids, lease: LeaseId) -> TransferId {
    ids.of_lease(lease).transfer(Purpose::Pass, 0, 0)
}

/// The chain of an attempt; the first one is that of any reserve. `limits` are in the order of the command's requirements; every
/// refill that was due at `now_ns` has been made. `None` if there are no requirements.
pub(crate) fn plan(
    ids: Ids,
    command: &Reserve,
    limits: &[Option<&Limit>],
    attempt: u8,
    now_ns: u64,
) -> Option<Chain> {
    debug_assert!(attempt <= LAST_ATTEMPT);
    if command.requirements().is_empty() {
        return None;
    }
    let pass = (attempt > 0).then(|| pass(ids, command.lease));
    Chain::new(pass.into_iter().chain(plan_legs(ids, command, limits, attempt, now_ns)))
}

/// The chain of an attempt at a lease of which a limit went into shadow mode while it waited. It takes what is free of that limit, and
/// owes the rest. `rooms` are in the order of the requirements. The last attempt takes nothing of it.
pub(crate) fn plan_in_shadow(
    ids: Ids,
    command: &Reserve,
    limits: &[Option<&Limit>],
    rooms: &[Room],
    attempt: u8,
    now_ns: u64,
) -> Option<Chain> {
    let pass = (attempt > 0).then(|| pass(ids, command.lease));
    let numbering = Numbering { attempt, is_last: attempt >= LAST_ATTEMPT };
    let legs = force::plan_legs(ids, command, Forced::ShadowOfWaiter, limits, rooms, numbering, now_ns);
    Chain::new(pass.into_iter().chain(legs))
}

/// The seal of a leg of the first attempt. `None` if the command has no such leg.
pub(crate) fn seal(ids: Ids, command: &Reserve, leg: usize) -> Option<Chain> {
    command.requirements().get(leg)?;
    exclusion(ids, command, ids.of_lease(command.lease).transfer(Purpose::Reserve, 0, leg))
}

/// The seals of all legs of the first attempt but one.
pub(crate) fn seals_but(ids: Ids, command: &Reserve, refused: usize) -> Vec<Chain> {
    let legs = 0..command.requirements().len();
    legs.filter(|&leg| leg != refused).filter_map(|leg| seal(ids, command, leg)).collect()
}

/// The waiver. `None` if there are no requirements.
pub(crate) fn waiver(ids: Ids, command: &Reserve) -> Option<Chain> {
    exclusion(ids, command, pass_id(ids, command.lease))
}

fn exclusion(ids: Ids, command: &Reserve, id: TransferId) -> Option<Chain> {
    let PlannedLeg { code, movement, .. } = unsatisfiable_leg(ids, &command.requirements().first()?.key);
    let user_data = UserData { wide: command.lease.as_u128(), ..UserData::default() };
    Chain::new([Transfer { id, code, user_data, movement }])
}

/// The meaning of the outcome of an attempt's chain.
pub(crate) fn interpret(
    command: &Reserve,
    chain: &Chain,
    outcome: ChainOutcome,
) -> Result<AttemptResult, LedgerError> {
    let is_pass = |transfer: &&Transfer| transfer.code == TransferCode::Pass;
    let passes = chain.transfers().iter().take_while(is_pass).count();
    let (index, refusal) = match outcome {
        // The ledger numbers the transfers of a chain one nanosecond apart.
        ChainOutcome::Created { timestamp_ns } => {
            return Ok(AttemptResult::Granted { reserved_at_ns: timestamp_ns + passes as u64 });
        }
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    let leg = force::requirement_at(chain, index);
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(AttemptResult::AlreadyGranted),
        Refusal::IdAlreadyFailed if leg.is_none() => Ok(AttemptResult::Waived),
        Refusal::IdAlreadyFailed => Ok(AttemptResult::UsedUp),
        Refusal::ExceedsCredits
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::DebitAccountNotFound => leg
            .map(|leg| AttemptResult::RefusedFresh { leg })
            .ok_or_else(|| unexpected(command, "the pass", index, refusal)),
        Refusal::ExceedsDebits
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(unexpected(command, "the reservation", index, refusal)),
    }
}

/// The meaning of the outcome of a seal or a waiver.
pub(crate) fn interpret_exclusion(
    command: &Reserve,
    outcome: ChainOutcome,
) -> Result<ExclusionResult, LedgerError> {
    let created = || {
        let lease = command.lease;
        LedgerError::Unexpected(format!("a transfer that nothing can satisfy was created for lease {lease}"))
    };
    let refusal = match outcome {
        ChainOutcome::Created { .. } => return Err(created()),
        ChainOutcome::Refused { refusal, .. } => refusal,
    };
    match refusal {
        Refusal::Exists | Refusal::ExistsWithDifferent(_) => Ok(ExclusionResult::Created),
        Refusal::IdAlreadyFailed => Ok(ExclusionResult::Before),
        Refusal::ExceedsCredits
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::DebitAccountNotFound => Ok(ExclusionResult::Fresh),
        Refusal::ExceedsDebits
        | Refusal::CreditAccountNotFound
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(unexpected(command, "an exclusion", 0, refusal)),
    }
}

fn unexpected(command: &Reserve, what: &str, index: usize, refusal: Refusal) -> LedgerError {
    let lease = command.lease;
    LedgerError::Unexpected(format!("{what} for lease {lease} was refused at transfer {index}: {refusal:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Field;
    use crate::limit::{Amount, LimitKey};
    use crate::protocol::Requirement;

    fn command(legs: usize) -> Reserve {
        let lease = LeaseId::from_ulid(ulid::Ulid(7)).expect("not zero");
        let requirement = |nth: usize| Requirement {
            key: LimitKey::parse(&format!("limit:{nth}")).expect("valid"),
            amount: Amount::ONE,
        };
        Reserve::new(lease, String::new(), (0..legs).map(requirement).collect()).expect("valid")
    }

    fn ids_of(chain: &Chain) -> Vec<TransferId> {
        chain.transfers().iter().map(|transfer| transfer.id).collect()
    }

    #[test]
    fn later_attempts_share_the_pass_and_no_leg() {
        let (ids, command) = (Ids::new(1), command(2));
        let limits = [None, None];
        let attempts: Vec<_> = (0..=LAST_ATTEMPT)
            .map(|attempt| ids_of(&plan(ids, &command, &limits, attempt, 0).expect("a chain")))
            .collect();
        assert_eq!(
            attempts[0],
            ids_of(&super::super::reserve::plan(ids, &command, &limits, 0).expect("one"))
        );
        let waiver = ids_of(&waiver(ids, &command).expect("a chain"));
        assert!(attempts[1..].iter().all(|attempt| attempt.first() == waiver.first()));
        let legs: std::collections::HashSet<_> =
            attempts.iter().flat_map(|attempt| attempt.iter().rev().take(2)).collect();
        assert_eq!(legs.len(), 12);
    }

    #[test]
    fn seals_take_the_ids_of_the_other_legs() {
        let (ids, command) = (Ids::new(1), command(3));
        let first = ids_of(&plan(ids, &command, &[None, None, None], 0, 0).expect("a chain"));
        let seals: Vec<_> = seals_but(ids, &command, 1).iter().flat_map(ids_of).collect();
        assert_eq!(seals, [first[0], first[2]]);
        assert_eq!(seal(ids, &command, 3), None);
    }

    #[test]
    fn every_refusal_of_an_attempt_has_a_meaning() {
        let (different, failed) = (Refusal::ExistsWithDifferent(Field::Flags), Refusal::IdAlreadyFailed);
        let chain = |attempt| plan(Ids::new(1), &command(2), &[None, None], attempt, 0).expect("a chain");
        for (attempt, index, refusal, expected) in [
            (0, 1, Refusal::ExceedsCredits, Some(AttemptResult::RefusedFresh { leg: 1 })),
            (0, 0, failed, Some(AttemptResult::UsedUp)),
            (0, 0, Refusal::Exists, Some(AttemptResult::AlreadyGranted)),
            (1, 0, failed, Some(AttemptResult::Waived)),
            (1, 0, different, Some(AttemptResult::AlreadyGranted)),
            (1, 0, Refusal::ExceedsCredits, None),
            (1, 1, Refusal::ExceedsCredits, Some(AttemptResult::RefusedFresh { leg: 0 })),
            (5, 2, Refusal::DebitAccountClosed, Some(AttemptResult::RefusedFresh { leg: 1 })),
            (5, 2, failed, Some(AttemptResult::UsedUp)),
            (1, 1, Refusal::Overflow, None),
        ] {
            let chain = chain(attempt);
            let result = interpret(&command(2), &chain, ChainOutcome::Refused { index, refusal });
            assert_eq!(result.ok(), expected, "attempt {attempt}, transfer {index}: {refusal:?}");
        }
        for (attempt, reserved_at_ns) in [(0, 10), (3, 11)] {
            let created = interpret(&command(2), &chain(attempt), ChainOutcome::Created { timestamp_ns: 10 });
            assert_eq!(created.ok(), Some(AttemptResult::Granted { reserved_at_ns }));
        }
    }

    #[test]
    fn an_exclusion_tells_who_was_first() {
        for (refusal, expected) in [
            (Refusal::ExceedsCredits, Some(ExclusionResult::Fresh)),
            (Refusal::DebitAccountNotFound, Some(ExclusionResult::Fresh)),
            (Refusal::IdAlreadyFailed, Some(ExclusionResult::Before)),
            (Refusal::ExistsWithDifferent(Field::Flags), Some(ExclusionResult::Created)),
            (Refusal::Overflow, None),
        ] {
            let result = interpret_exclusion(&command(1), ChainOutcome::Refused { index: 0, refusal });
            assert_eq!(result.ok(), expected, "{refusal:?}");
        }
        assert!(interpret_exclusion(&command(1), ChainOutcome::Created { timestamp_ns: 1 }).is_err());
    }
}
