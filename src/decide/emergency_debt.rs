//! Emergency debt: what was used under a lease that no ledger granted becomes one linked chain of debt.
//!
//! The chain begins with its *claim*, which has the id of the first leg of a reserve of the same lease. So of that
//! reserve and this debt the ledger makes one. If the ledger has refused that id for good, no reserve of the lease can
//! be granted any more, and the claim takes the id of the guard instead. `docs/emergency-grants.md` has the argument.

use super::ids::{Ids, Purpose};
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

/// The meaning of the chain's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DebtResult {
    /// The debt is recorded: by this chain, or by one like it before.
    Recorded,
    /// A reserve or a different chain of debt took the id of the claim: the transfers of the lease tell which.
    ReadLease,
    /// The ledger has denied the lease: send the chain again with [`Claim::Guard`].
    Denied,
}

/// The chain that records what was used, in the order of the keys. `None` if nothing is named.
pub(crate) fn plan(ids: Ids, lease: LeaseId, used: &[UsedInEmergency], claim: Claim) -> Option<Chain> {
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
    Chain::new([claim].into_iter().chain(debts))
}

/// The meaning of the outcome of the planned chain.
pub(crate) fn interpret(
    lease: LeaseId,
    claim: Claim,
    outcome: ChainOutcome,
) -> Result<DebtResult, LedgerError> {
    let (index, refusal) = match outcome {
        ChainOutcome::Created { .. } => return Ok(DebtResult::Recorded),
        ChainOutcome::Refused { index, refusal } => (index, refusal),
    };
    let is_claim = index == 0;
    match refusal {
        Refusal::Exists if is_claim => Ok(DebtResult::Recorded),
        // A claim without debts is not linked, and a reserve differs in more.
        Refusal::ExistsWithDifferent(_) if is_claim => Ok(DebtResult::ReadLease),
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
        for (amounts, claim, expected) in [
            (&[5][..], Claim::FirstLeg, vec![(reserve, 0, 0), (debt, 0, 5)]),
            (&[5], Claim::Guard, vec![(guard, 0, 0), (debt, 0, 5)]),
            (&[0, 5, 0, 7], Claim::FirstLeg, vec![(reserve, 0, 0), (debt, 1, 5), (debt, 3, 7)]),
            (&[0], Claim::FirstLeg, vec![(reserve, 0, 0)]),
        ] {
            let chain = plan(Ids::new(1), lease(), &used(amounts), claim).expect("a chain");
            assert_eq!(read(&chain), expected, "{amounts:?} {claim:?}");
            let is_of_lease = |it: &Transfer| it.user_data.wide == lease().as_u128();
            assert!(chain.transfers().iter().all(is_of_lease), "a look-up of the lease finds it");
        }
        assert_eq!(plan(Ids::new(1), lease(), &[], Claim::FirstLeg), None);
    }

    #[test]
    fn the_debt_of_thirty_two_limits_fits_one_chain() {
        let chain = plan(Ids::new(1), lease(), &used(&[1; 32]), Claim::FirstLeg).expect("a chain");
        let ids: std::collections::HashSet<_> = chain.transfers().iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), 33);
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
            (Claim::FirstLeg, 1, Refusal::Exists, None),
            (Claim::FirstLeg, 1, different, None),
            (Claim::FirstLeg, 1, failed, None),
            (Claim::FirstLeg, 0, Refusal::DebitAccountNotFound, None),
            (Claim::FirstLeg, 0, Refusal::ExceedsCredits, None),
            (Claim::FirstLeg, 1, Refusal::Overflow, None),
        ] {
            let result = interpret(lease(), claim, ChainOutcome::Refused { index, refusal });
            assert_eq!(result.ok(), expected, "{claim:?}, transfer {index}: {refusal:?}");
        }
        let created = interpret(lease(), Claim::FirstLeg, ChainOutcome::Created { timestamp_ns: 1 });
        assert_eq!(created.ok(), Some(DebtResult::Recorded));
    }
}
