//! The accounts and their balances.

use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slots::{AccountIndex, DefinitionIndex};
use crate::ledger::{Account, AccountCode, AccountId, AccountRule, LedgerError, NewAccount};

/// The accounts. Each keeps its index forever, and a hash table maps ids to indexes.
///
/// Every limit has a debt account, and nothing ever moves on most of these. So a debt account has an index of
/// [`LAZY_FIRST`] or more, and gets balances with its first movement. With balances from the start an idle
/// limit took 63 bytes more (`scripts/bench --only resident`).
#[derive(Default)]
pub(super) struct Accounts {
    infos: Vec<AccountInfo>,
    /// The balances of the accounts in `infos`, by the same index: reading them does not wait for the info.
    balances: Vec<Balances>,
    lazy_infos: Vec<AccountInfo>,
    lazy_balances: HashMap<AccountIndex, Balances, DefaultHashBuilder>,
    by_id: HashTable<AccountIndex>,
    hasher: DefaultHashBuilder,
    /// The account that was credited last: usually the operator. Without it a four-limit reserve and complete
    /// took 3 % longer (`scripts/bench --only pairs`).
    last_credited: Option<AccountIndex>,
}

/// The first index of the accounts with lazy balances.
const LAZY_FIRST: usize = 1 << 31;

/// Everything about an account but its balances.
pub(super) struct AccountInfo {
    pub(super) id: AccountId,
    /// The newest definition that credits the account.
    pub(super) newest_definition: Option<DefinitionIndex>,
    pub(super) rule: AccountRule,
    pub(super) closed: bool,
    code: AccountCode,
}

/// The sums of everything that moved on an account.
#[derive(Default)]
pub(super) struct Balances {
    pub(super) debits_pending: u128,
    pub(super) debits_posted: u128,
    pub(super) credits_pending: u128,
    pub(super) credits_posted: u128,
}

static ZERO: Balances =
    Balances { debits_pending: 0, debits_posted: 0, credits_pending: 0, credits_posted: 0 };

impl Accounts {
    pub(super) fn find(&self, id: AccountId) -> Option<AccountIndex> {
        let is_match = |&index: &AccountIndex| self.info(index).id == id;
        self.by_id.find(self.hasher.hash_one(id), is_match).copied()
    }

    /// Finds an account that is to be credited: without the table if it was credited last.
    pub(super) fn find_credited(&self, id: AccountId) -> Option<AccountIndex> {
        self.last_credited.filter(|&index| self.info(index).id == id).or_else(|| self.find(id))
    }

    pub(super) fn info(&self, index: AccountIndex) -> &AccountInfo {
        info_of(&self.infos, &self.lazy_infos, index)
    }

    pub(super) fn info_mut(&mut self, index: AccountIndex) -> &mut AccountInfo {
        match self.infos.get_mut(index.get()) {
            Some(info) => info,
            None => &mut self.lazy_infos[index.get() - LAZY_FIRST],
        }
    }

    pub(super) fn balances(&self, index: AccountIndex) -> &Balances {
        self.balances.get(index.get()).unwrap_or_else(|| self.lazy_balances(index))
    }

    // The functions on lazy accounts are cold, which keeps them out of the code for all others. Without the
    // attribute a reserve among a million limits took 5 % longer (`scripts/bench --only growth-memory`).
    #[cold]
    fn lazy_balances(&self, index: AccountIndex) -> &Balances {
        self.lazy_balances.get(&index).unwrap_or(&ZERO)
    }

    fn balances_mut(&mut self, index: AccountIndex) -> &mut Balances {
        match self.balances.get_mut(index.get()) {
            Some(balances) => balances,
            None => lazy_balances_mut(&mut self.lazy_balances, index),
        }
    }

    /// The account with its balances.
    pub(super) fn account(&self, index: AccountIndex) -> Account {
        let &AccountInfo { id, closed, .. } = self.info(index);
        let &Balances { debits_pending, debits_posted, credits_pending, credits_posted } =
            self.balances(index);
        Account { id, debits_pending, debits_posted, credits_pending, credits_posted, closed }
    }

    /// Moves an amount.
    pub(super) fn post(&mut self, debit: AccountIndex, credit: AccountIndex, amount: u128) {
        self.balances_mut(debit).debits_posted += amount;
        self.balances_mut(credit).credits_posted += amount;
        self.last_credited = Some(credit);
    }

    /// Undoes [`Accounts::post`].
    pub(super) fn undo_post(&mut self, debit: AccountIndex, credit: AccountIndex, amount: u128) {
        self.balances_mut(debit).debits_posted -= amount;
        self.balances_mut(credit).credits_posted -= amount;
    }

    /// Adds an amount to what is pending.
    pub(super) fn pend(&mut self, debit: AccountIndex, credit: AccountIndex, amount: u128) {
        self.balances_mut(debit).debits_pending += amount;
        self.balances_mut(credit).credits_pending += amount;
        self.last_credited = Some(credit);
    }

    /// Takes an amount off what is pending.
    pub(super) fn release(&mut self, debit: AccountIndex, credit: AccountIndex, amount: u128) {
        let (from, to) = (self.balances(debit).debits_pending, self.balances(credit).credits_pending);
        debug_assert!(
            from >= amount && to >= amount,
            "releasing {amount} of {from} pending debits and {to} pending credits"
        );
        self.balances_mut(debit).debits_pending -= amount;
        self.balances_mut(credit).credits_pending -= amount;
    }

    /// Creates an account, unless it exists with the same rule and code.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unexpected`] if it exists with another rule or code, [`LedgerError::Overloaded`] if no
    /// index is free.
    pub(super) fn create(&mut self, new: &NewAccount) -> Result<(), LedgerError> {
        let &NewAccount { id, rule, code } = new;
        if let Some(index) = self.find(id) {
            let info = self.info(index);
            return if info.rule == rule && info.code == code {
                Ok(())
            } else {
                Err(LedgerError::Unexpected(format!("{id:?} exists with another rule or code")))
            };
        }
        let info = AccountInfo { id, newest_definition: None, rule, closed: false, code };
        let index = self.push(info).ok_or(LedgerError::Overloaded)?;
        let Self { infos, lazy_infos, by_id, hasher, .. } = self;
        let hash = |&index: &AccountIndex| hasher.hash_one(info_of(infos, lazy_infos, index).id);
        by_id.insert_unique(hasher.hash_one(id), index, hash);
        Ok(())
    }

    /// Gives an account an index; `None` if no index is free.
    fn push(&mut self, info: AccountInfo) -> Option<AccountIndex> {
        // Lazy indexes end below the largest number of 32 bits, too.
        let free = |used: usize| (used < LAZY_FIRST - 1).then_some(used);
        match info.code {
            AccountCode::Debt => {
                let index = LAZY_FIRST + free(self.lazy_infos.len())?;
                self.lazy_infos.push(info);
                Some(AccountIndex::new(index))
            }
            AccountCode::Operator
            | AccountCode::Registry
            | AccountCode::Limit
            | AccountCode::Spent
            | AccountCode::Clock
            | AccountCode::Borrowed
            | AccountCode::Measure
            | AccountCode::Allowance
            | AccountCode::Alert => {
                let index = free(self.infos.len())?;
                self.infos.push(info);
                self.balances.push(Balances::default());
                Some(AccountIndex::new(index))
            }
        }
    }
}

fn info_of<'a>(
    infos: &'a [AccountInfo],
    lazy_infos: &'a [AccountInfo],
    index: AccountIndex,
) -> &'a AccountInfo {
    infos.get(index.get()).unwrap_or_else(|| lazy_info(lazy_infos, index))
}

#[cold]
fn lazy_info(lazy_infos: &[AccountInfo], index: AccountIndex) -> &AccountInfo {
    &lazy_infos[index.get() - LAZY_FIRST]
}

#[cold]
fn lazy_balances_mut(
    lazy_balances: &mut HashMap<AccountIndex, Balances, DefaultHashBuilder>,
    index: AccountIndex,
) -> &mut Balances {
    lazy_balances.entry(index).or_default()
}
