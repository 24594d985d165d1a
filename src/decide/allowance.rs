//! A bound on the tokens that a bucket owes. The ledger itself holds it: it refuses these transfers if the bucket
//! owes more.
//!
//! | transfer | from | to | amount |
//! | --- | --- | --- | --- |
//! | allow | measure | allowance | the most that may be owed |
//! | measure | allowance | borrowed | what is owed |
//! | allow | allowance | measure | what is left of the allowance |
//! | measure | borrowed | measure | what is owed |
//!
//! The allowance account must not be overdrawn. So the ledger refuses the second transfer, and the chain with it, if
//! more is owed than was allowed. Otherwise the fourth transfer restores the owed amount, and all accounts are as
//! before. The chain is atomic, so callers at any number of replicas can share the two accounts.

use super::ids::Ids;
use super::refill::EVERYTHING;
use crate::ledger::{AccountId, Bound, Movement, Transfer, TransferCode, TransferId, UserData};

/// The index of the transfer that the ledger refuses if too much is owed.
pub(super) const REFUSED_INDEX: usize = 1;

/// The transfers that the ledger refuses if `borrowed` owes more than `owed_max`. `id` gives the id of each.
pub(super) fn owes_at_most(
    ids: Ids,
    borrowed: AccountId,
    owed_max: u64,
    id: impl Fn(usize) -> TransferId,
) -> [Transfer; 4] {
    let (measure, allowance) = (ids.measure(), ids.allowance());
    let up_to_all = |debit, credit, bound| Movement::PostUpTo { debit, credit, amount: EVERYTHING, bound };
    let allow = Movement::Post { debit: measure, credit: allowance, amount: owed_max.into() };
    let steps = [
        (TransferCode::Allow, allow),
        (TransferCode::Measure, up_to_all(allowance, borrowed, Bound::CreditOwed)),
        (TransferCode::Allow, up_to_all(allowance, measure, Bound::DebitBalance)),
        (TransferCode::Measure, up_to_all(borrowed, measure, Bound::CreditOwed)),
    ];
    let mut index = 0;
    steps.map(|(code, movement)| {
        let id = id(index);
        index += 1;
        Transfer { id, code, user_data: UserData::default(), movement }
    })
}
