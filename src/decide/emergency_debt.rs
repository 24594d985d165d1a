//! Emergency debt: what was used under a lease that no ledger granted becomes one linked chain of debt.
//!
//! The chain begins with its *claim*, which has the id of the first leg of a reserve of the same lease. So of that
//! reserve and this debt the ledger makes one. If the ledger has refused that id for good, no reserve of the lease can
//! be granted any more, and the claim takes the id of the guard instead. `docs/emergency-grants.md` has the argument.
//!
//! Behind the claim stands the pass of the lease, which excludes the later attempts of a reserve that waits. If the ledger has
//! refused its id for good, it makes no later attempt any more, and the chain goes without it.

use super::ids::{Ids, Purpose};
use super::later_attempt;
use crate::ledger::{
    AccountId, Chain, ChainOutcome, LedgerError, Movement, Refusal, Transfer, TransferCode, UserData,
};
use crate::limit::LeaseId;

/// What was used of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsedInEmergency {
    /// The account of the limit's debt.
    pub(crate) debt_account: AccountId,
    /// The amount; 0 for a concurrency limit.
    pub(crate) amount: u64,
}

/// The id that the claim takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// That of the first leg of a reserve. This excludes the reserve.
    FirstLeg,
    /// That of the guard, because the id of the first leg has failed for good.
    Guard,
}

/// Whether the chain has the pass of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithPass {
    /// It has. This excludes later attempts.
    Yes,
    /// The id of the pass has failed for good.
    Waived,
}

/// The meaning of the chain's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DebtResult {
    /// The debt is recorded: by this chain, or by one like it before.
    Recorded,
    /// A reserve or a different chain of debt took the id of the claim or the pass: the transfers of the lease tell which.
    ReadLease,
    /// The ledger has denied the lease: send the chain again with [`Claim::Guard`].
    Denied,
    /// The pass is used up: send the chain again with [`WithPass::Waived`].
    PassWaived,
}

/// The chain that records what was used, in the order of the keys. `None` if nothing is named.
pub(crate) fn plan(
    ids: Ids,
    lease: LeaseId,
    used: &[UsedInEmergency],
    claim: Claim,
    with_pass: WithPass,
) -> Option<Chain> {
    let lease_ids = ids.of_lease(lease);
    let transfer = |id, debit, amount| Transfer {
        id,
        code: TransferCode::Debt,
        user_data: UserData { wide: lease.as_u128(), ..UserData::default() },
        movement: Movement::Post { debit, credit: ids.operator(), amount },
    };
    let claim_id = match claim {
        Claim::FirstLeg => lease_ids.transfer(Purpose::Reserve, 0, 0),
        Claim::Guard => lease_ids.transfer(Purpose::Guard, 0, 0),
    };
    let claim = transfer(claim_id, used.first()?.debt_account, 0);
    let debts = used.iter().enumerate().filter(|(_, used)| used.amount > 0).map(|(leg, used)| {
        transfer(lease_ids.transfer(Purpose::Debt, 0, leg), used.debt_account, used.amount.into())
    });
    let pass = (with_pass == WithPass::Yes).then(|| later_attempt::pass(ids, lease));
    Chain::new([claim].into_iter().chain(pass).chain(debts))
}

/// The meaning of the outcome of the planned chain.
pub(crate) fn interpret(
    lease: LeaseId,
    claim: Claim,
    with_pass: WithPass,
    outcome: ChainOutcome,
) -> Result<DebtResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return Ok(DebtResult::Recorded),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    let is_claim = index == 0;
    let is_pass = index == 1 && with_pass == WithPass::Yes;
    match refusal {
        Refusal::Exists if is_claim => Ok(DebtResult::Recorded),
        // A claim without debts is not linked, and a reserve differs in more.
        Refusal::ExistsWithDifferent(_) if is_claim => Ok(DebtResult::ReadLease),
        Refusal::Exists | Refusal::ExistsWithDifferent(_) if is_pass => Ok(DebtResult::ReadLease),
        Refusal::IdAlreadyFailed if is_pass => Ok(DebtResult::PassWaived),
        Refusal::IdAlreadyFailed if is_claim && claim == Claim::FirstLeg => Ok(DebtResult::Denied),
        Refusal::Exists
        | Refusal::ExistsWithDifferent(_)
        | Refusal::IdAlreadyFailed
        | Refusal::ExceedsCredits
        | Refusal::ExceedsDebits
        | Refusal::DebitAccountNotFound
        | Refusal::CreditAccountNotFound
        | Refusal::DebitAccountClosed
        | Refusal::CreditAccountClosed
        | Refusal::PendingNotFound
        | Refusal::PendingNotPending
        | Refusal::PendingAlreadyPosted
        | Refusal::PendingAlreadyVoided
        | Refusal::PendingExpired
        | Refusal::Overflow
        | Refusal::Malformed(_) => Err(LedgerError::Unexpected(format!(
            "the emergency debt of lease {lease} was refused at transfer {index}: {refusal:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Field;

    fn lease() -> LeaseId {
        LeaseId::from_ulid(ulid::Ulid(7)).expect("not zero")
    }

    fn used(amounts: &[u64]) -> Vec<UsedInEmergency> {
        let used = |(number, &amount): (u128, &u64)| UsedInEmergency {
            debt_account: AccountId::from_u128(number),
            amount,
        };
        (100..).zip(amounts).map(used).collect()
    }

    /// The purpose, leg and amount of each transfer, as its id and movement tell.
    fn read(chain: &Chain) -> Vec<(u16, u16, u128)> {
        let read = |transfer: &Transfer| {
            let tail = transfer.id.tail();
            (tail >> 8, tail & 0b1_1111, transfer.movement.amount())
        };
        chain.transfers().iter().map(read).collect()
    }

    #[test]
    fn a_claim_precedes_what_was_used() {
        let (reserve, debt, guard) = (Purpose::Reserve as u16, Purpose::Debt as u16, Purpose::Guard as u16);
        let pass = (Purpose::Pass as u16, 0, 0);
        let (yes, waived) = (WithPass::Yes, WithPass::Waived);
        for (amounts, claim, with_pass, expected) in [
            (&[5][..], Claim::FirstLeg, yes, vec![(reserve, 0, 0), pass, (debt, 0, 5)]),
            (&[5], Claim::FirstLeg, waived, vec![(reserve, 0, 0), (debt, 0, 5)]),
            (&[5], Claim::Guard, yes, vec![(guard, 0, 0), pass, (debt, 0, 5)]),
            (&[0, 5, 0, 7], Claim::FirstLeg, yes, vec![(reserve, 0, 0), pass, (debt, 1, 5), (debt, 3, 7)]),
            (&[0], Claim::FirstLeg, yes, vec![(reserve, 0, 0), pass]),
        ] {
            let chain = plan(Ids::new(1), lease(), &used(amounts), claim, with_pass).expect("a chain");
            assert_eq!(read(&chain), expected, "{amounts:?} {claim:?} {with_pass:?}");
            let is_of_lease = |it: &Transfer| it.user_data.wide == lease().as_u128();
            assert!(chain.transfers().iter().all(is_of_lease), "a look-up of the lease finds it");
        }
        assert_eq!(plan(Ids::new(1), lease(), &[], Claim::FirstLeg, yes), None);
    }

    #[test]
    fn the_debt_of_thirty_two_limits_fits_one_chain() {
        let chain =
            plan(Ids::new(1), lease(), &used(&[1; 32]), Claim::FirstLeg, WithPass::Yes).expect("a chain");
        let ids: std::collections::HashSet<_> = chain.transfers().iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), 34);
    }

    #[test]
    fn every_refusal_has_a_meaning() {
        let (different, failed) = (Refusal::ExistsWithDifferent(Field::Flags), Refusal::IdAlreadyFailed);
        for (claim, index, refusal, expected) in [
            (Claim::FirstLeg, 0, Refusal::Exists, Some(DebtResult::Recorded)),
            (Claim::FirstLeg, 0, different, Some(DebtResult::ReadLease)),
            (Claim::FirstLeg, 0, failed, Some(DebtResult::Denied)),
            (Claim::Guard, 0, Refusal::Exists, Some(DebtResult::Recorded)),
            (Claim::Guard, 0, different, Some(DebtResult::ReadLease)),
            (Claim::Guard, 0, failed, None),
            (Claim::FirstLeg, 1, Refusal::Exists, Some(DebtResult::ReadLease)),
            (Claim::FirstLeg, 1, different, Some(DebtResult::ReadLease)),
            (Claim::FirstLeg, 1, failed, Some(DebtResult::PassWaived)),
            (Claim::FirstLeg, 2, Refusal::Exists, None),
            (Claim::FirstLeg, 2, failed, None),
            (Claim::FirstLeg, 0, Refusal::DebitAccountNotFound, None),
            (Claim::FirstLeg, 0, Refusal::ExceedsCredits, None),
            (Claim::FirstLeg, 1, Refusal::Overflow, None),
        ] {
            let result = interpret(lease(), claim, WithPass::Yes, ChainOutcome::Refused { index, refusal });
            assert_eq!(result.ok(), expected, "{claim:?}, transfer {index}: {refusal:?}");
        }
        let refused = ChainOutcome::Refused { index: 1, refusal: failed };
        assert!(interpret(lease(), Claim::FirstLeg, WithPass::Waived, refused).is_err());
        let created =
            interpret(lease(), Claim::FirstLeg, WithPass::Yes, ChainOutcome::Created { timestamp_ns: 1 });
        assert_eq!(created.ok(), Some(DebtResult::Recorded));
    }
}
