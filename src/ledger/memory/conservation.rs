//! The conservation laws of the ledger. Debug builds check them after every chain.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::slots::AccountIndex;
use super::state::LedgerState;
use crate::ledger::{Account, AccountRule, ChainOutcome, Movement, Transfer};

/// The accounts that a chain may change, read before it is applied.
pub(super) struct BalancesBefore(BTreeMap<AccountIndex, Account>);

impl BalancesBefore {
    /// Reads the accounts that transfers debit or credit, themselves or in the transfer that they void.
    pub(super) fn of(transfers: &[Transfer], state: &LedgerState) -> Self {
        let accounts = transfers.iter().flat_map(|transfer| match transfer.movement {
            Movement::Post { debit, credit, .. }
            | Movement::PostUpTo { debit, credit, .. }
            | Movement::Pend { debit, credit, .. }
            | Movement::Close { debit, credit } => [debit, credit].map(|id| state.accounts.find(id)),
            Movement::Void { pending } => {
                let voided = state.transfers.find(pending).transfer;
                let accounts = voided.and_then(|slot| state.transfers.get(slot).accounts());
                accounts.map_or([None, None], |(debit, credit)| [Some(debit), Some(credit)])
            }
        });
        Self(accounts.flatten().map(|index| (index, state.accounts.account(index))).collect())
    }

    /// Checks the accounts after the chain:
    ///
    /// - a chain adds as much to debits as to credits, to the pending ones and to the posted ones;
    /// - no account with the rule against it has more debits than credits;
    /// - a refused chain changes no account.
    pub(super) fn check(&self, outcome: ChainOutcome, accounts: &Accounts) {
        if matches!(outcome, ChainOutcome::Refused { .. }) {
            for (&index, before) in &self.0 {
                debug_assert_eq!(*before, accounts.account(index), "a refused chain changed an account");
            }
            return;
        }
        // Sums may pass the largest number, but differences of sums are exact modulo 2^128.
        let added = |sum: fn(&Account) -> u128| {
            self.0.iter().fold(0_u128, |total, (&index, before)| {
                total.wrapping_add(sum(&accounts.account(index))).wrapping_sub(sum(before))
            })
        };
        debug_assert_eq!(
            added(|account| account.debits_posted),
            added(|account| account.credits_posted),
            "a chain posted other debits than credits"
        );
        debug_assert_eq!(
            added(|account| account.debits_pending),
            added(|account| account.credits_pending),
            "a chain changed pending debits and pending credits by different amounts"
        );
        for &index in self.0.keys() {
            debug_assert!(!is_overdrawn(index, accounts), "overdrawn: {:?}", accounts.account(index));
        }
    }
}

/// Whether an account breaks the rule that its debits must not exceed its credits.
fn is_overdrawn(index: AccountIndex, accounts: &Accounts) -> bool {
    let Account { debits_pending, debits_posted, credits_posted, .. } = accounts.account(index);
    match accounts.info(index).rule {
        AccountRule::Unconstrained => false,
        AccountRule::DebitsMustNotExceedCredits => {
            debits_posted.checked_add(debits_pending).is_none_or(|debits| debits > credits_posted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::memory::MemoryBounds;
    use crate::ledger::{AccountCode, AccountId, NewAccount, TransferCode, TransferId, UserData};

    const CREATED: ChainOutcome = ChainOutcome::Created { timestamp_ns: 1 };
    const REFUSED: ChainOutcome =
        ChainOutcome::Refused { index: 0, refusal: crate::ledger::Refusal::ExceedsCredits };

    /// A state with an operator and a limit of capacity 10, what a transfer between them may change, and
    /// their indexes.
    fn state() -> (LedgerState, BalancesBefore, [AccountIndex; 2]) {
        let mut state = LedgerState::new(MemoryBounds::default().with_retention(std::time::Duration::ZERO));
        let ids = [1, 2].map(AccountId::from_u128);
        let rules = [AccountRule::Unconstrained, AccountRule::DebitsMustNotExceedCredits];
        for ((id, rule), code) in ids.into_iter().zip(rules).zip([AccountCode::Operator, AccountCode::Limit])
        {
            state.create_account(&NewAccount { id, rule, code }).expect("a new account");
        }
        let [operator, limit] = ids.map(|id| state.accounts.find(id).expect("it was created"));
        state.accounts.post(operator, limit, 10);
        let transfer = Transfer {
            id: TransferId::from_u128(1),
            code: TransferCode::Grant,
            user_data: UserData::default(),
            movement: Movement::Post { debit: ids[1], credit: ids[0], amount: 1 },
        };
        let before = BalancesBefore::of(&[transfer], &state);
        (state, before, [operator, limit])
    }

    #[test]
    fn a_balanced_change_keeps_the_laws() {
        let (mut state, before, [operator, limit]) = state();
        state.accounts.post(limit, operator, 3);
        state.accounts.pend(limit, operator, 7);
        before.check(CREATED, &state.accounts);
    }

    #[test]
    #[should_panic(expected = "a chain posted other debits than credits")]
    fn a_credit_to_a_third_account_is_found() {
        let (mut state, before, [_, limit]) = state();
        let third = AccountId::from_u128(3);
        let code = AccountCode::Spent;
        let new = NewAccount { id: third, rule: AccountRule::Unconstrained, code };
        state.create_account(&new).expect("a new account");
        let third = state.accounts.find(third).expect("it was created");
        state.accounts.post(limit, third, 1);
        before.check(CREATED, &state.accounts);
    }

    #[test]
    #[should_panic(expected = "overdrawn")]
    fn an_overdraft_is_found() {
        let (mut state, before, [operator, limit]) = state();
        state.accounts.pend(limit, operator, 11);
        before.check(CREATED, &state.accounts);
    }

    #[test]
    #[should_panic(expected = "a refused chain changed an account")]
    fn a_change_by_a_refused_chain_is_found() {
        let (mut state, before, [operator, limit]) = state();
        state.accounts.post(limit, operator, 1);
        before.check(REFUSED, &state.accounts);
    }

    #[test]
    #[should_panic(expected = "releasing 2 of 1 pending debits")]
    fn a_release_of_more_than_is_pending_is_found() {
        let (mut state, _, [operator, limit]) = state();
        state.accounts.pend(limit, operator, 1);
        state.accounts.release(limit, operator, 2);
    }
}
