use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::link::Link;
use crate::ledger::{Account, AccountCode, AccountId, AccountRule, LedgerError, NewAccount};

/// The accounts. Each has an index that stays; a table leads from ids to indexes.
///
/// There are two for each of perhaps a million limits, and nothing ever moves on most of those that record debt. So these
/// have indexes of their own, from [`QUIET_FIRST`] on, and balances only once something does.
#[derive(Default)]
pub(super) struct Accounts {
    heads: Vec<Head>,
    /// Of each of these, in its place: both are found by the index, neither by way of the other.
    balances: Vec<Balances>,
    /// What the accounts of debt are.
    quiet: Vec<Head>,
    quiet_balances: HashMap<u32, Balances, DefaultHashBuilder>,
    by_id: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// What was credited last: nearly always the operator.
    last_credited: u32,
}

/// The first index of an account on which nothing moves as a rule.
const QUIET_FIRST: u32 = 1 << 31;

/// What an account is.
pub(super) struct Head {
    pub(super) id: AccountId,
    /// The newest definition that credits it.
    pub(super) newest_record: Link,
    pub(super) rule: AccountRule,
    pub(super) closed: bool,
    code: AccountCode,
}

/// What was moved on an account: one line of the processor's cache.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Balances {
    pub(super) debits_pending: u128,
    pub(super) debits_posted: u128,
    pub(super) credits_pending: u128,
    pub(super) credits_posted: u128,
}

static NOTHING: Balances =
    Balances { debits_pending: 0, debits_posted: 0, credits_pending: 0, credits_posted: 0 };

impl Accounts {
    pub(super) fn find(&self, id: AccountId) -> Option<u32> {
        let is_it = |&index: &u32| self.head(index).id == id;
        self.by_id.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// Finds an account that is to be credited.
    pub(super) fn find_credited(&mut self, id: AccountId) -> Option<u32> {
        let last = self.last_credited;
        if self.heads.get(last as usize).is_some_and(|head| head.id == id) {
            return Some(last);
        }
        self.last_credited = self.find(id)?;
        Some(self.last_credited)
    }

    /// What the account of an index that was found is.
    pub(super) fn head(&self, index: u32) -> &Head {
        head_of(&self.heads, &self.quiet, index)
    }

    pub(super) fn head_mut(&mut self, index: u32) -> &mut Head {
        match self.heads.get_mut(index as usize) {
            Some(head) => head,
            None => &mut self.quiet[(index - QUIET_FIRST) as usize],
        }
    }

    /// What was moved on it.
    pub(super) fn balances(&self, index: u32) -> &Balances {
        self.balances.get(index as usize).unwrap_or_else(|| self.quiet_balances(index))
    }

    #[cold]
    fn quiet_balances(&self, index: u32) -> &Balances {
        self.quiet_balances.get(&index).unwrap_or(&NOTHING)
    }

    fn balances_mut(&mut self, index: u32) -> &mut Balances {
        match self.balances.get_mut(index as usize) {
            Some(balances) => balances,
            None => begun(&mut self.quiet_balances, index),
        }
    }

    /// All of it.
    pub(super) fn account(&self, index: u32) -> Account {
        let &Head { id, closed, .. } = self.head(index);
        let &Balances { debits_pending, debits_posted, credits_pending, credits_posted } =
            self.balances(index);
        Account { id, debits_pending, debits_posted, credits_pending, credits_posted, closed }
    }

    /// Moves an amount for good.
    pub(super) fn post(&mut self, debit: u32, credit: u32, amount: u128) {
        if amount > 0 {
            self.balances_mut(debit).debits_posted += amount;
            self.balances_mut(credit).credits_posted += amount;
        }
    }

    /// Undoes that.
    pub(super) fn unpost(&mut self, debit: u32, credit: u32, amount: u128) {
        if amount > 0 {
            self.balances_mut(debit).debits_posted -= amount;
            self.balances_mut(credit).credits_posted -= amount;
        }
    }

    /// Holds an amount.
    pub(super) fn hold(&mut self, debit: u32, credit: u32, amount: u128) {
        if amount > 0 {
            self.balances_mut(debit).debits_pending += amount;
            self.balances_mut(credit).credits_pending += amount;
        }
    }

    /// Undoes that.
    pub(super) fn unhold(&mut self, debit: u32, credit: u32, amount: u128) {
        if amount > 0 {
            self.balances_mut(debit).debits_pending -= amount;
            self.balances_mut(credit).credits_pending -= amount;
        }
    }

    pub(super) fn open(&mut self, new: &NewAccount) -> Result<(), LedgerError> {
        let &NewAccount { id, rule, code } = new;
        if let Some(index) = self.find(id) {
            let head = self.head(index);
            return if head.rule == rule && head.code == code {
                Ok(())
            } else {
                Err(LedgerError::Unexpected(format!("{id:?} exists as another account")))
            };
        }
        let head = Head { id, newest_record: Link::NONE, rule, closed: false, code };
        let index = self.add(head).ok_or(LedgerError::Overloaded)?;
        let Self { heads, quiet, by_id, hasher, .. } = self;
        let hash = |&index: &u32| hasher.hash_one(head_of(heads, quiet, index).id);
        by_id.insert_unique(hasher.hash_one(id), index, hash);
        Ok(())
    }

    /// Takes an account in; `None` if no index is left.
    fn add(&mut self, head: Head) -> Option<u32> {
        let index = |taken: usize| u32::try_from(taken).ok().filter(|&taken| taken < QUIET_FIRST - 1);
        match head.code {
            AccountCode::Debt => {
                let index = QUIET_FIRST + index(self.quiet.len())?;
                self.quiet.push(head);
                Some(index)
            }
            AccountCode::Operator
            | AccountCode::Registry
            | AccountCode::Limit
            | AccountCode::Spent
            | AccountCode::Clock
            | AccountCode::Borrowed
            | AccountCode::Measure => {
                let index = index(self.heads.len())?;
                self.heads.push(head);
                self.balances.push(Balances::default());
                Some(index)
            }
        }
    }
}

fn head_of<'a>(heads: &'a [Head], quiet: &'a [Head], index: u32) -> &'a Head {
    heads.get(index as usize).unwrap_or_else(|| quiet_head(quiet, index))
}

#[cold]
fn quiet_head(quiet: &[Head], index: u32) -> &Head {
    &quiet[(index - QUIET_FIRST) as usize]
}

/// The balances of an account on which nothing moved as yet.
#[cold]
fn begun(quiet_balances: &mut HashMap<u32, Balances, DefaultHashBuilder>, index: u32) -> &mut Balances {
    quiet_balances.entry(index).or_default()
}
