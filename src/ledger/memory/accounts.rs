use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

use super::link::Link;
use crate::ledger::{Account, AccountCode, AccountId, AccountRule, LedgerError, NewAccount};

/// The accounts. Each has an index that stays; a table leads from ids to indexes.
#[derive(Default)]
pub(super) struct Accounts {
    entries: Vec<Entry>,
    by_id: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// What was credited last: nearly always the operator.
    last_credited: u32,
}

/// An account, and where its newest transfers that belong to no lease are.
pub(super) struct Entry {
    pub(super) account: Account,
    pub(super) rule: AccountRule,
    code: AccountCode,
    pub(super) newest_debit: Link,
    pub(super) newest_credit: Link,
}

impl Accounts {
    pub(super) fn find(&self, id: AccountId) -> Option<u32> {
        let is_it = |&index: &u32| self.entry(index).account.id == id;
        self.by_id.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// Finds an account that is to be credited.
    pub(super) fn find_credited(&mut self, id: AccountId) -> Option<u32> {
        let last = self.last_credited;
        if self.entries.get(last as usize).is_some_and(|entry| entry.account.id == id) {
            return Some(last);
        }
        self.last_credited = self.find(id)?;
        Some(self.last_credited)
    }

    /// The account of an index that was found.
    pub(super) fn entry(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    pub(super) fn entry_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    pub(super) fn open(&mut self, new: &NewAccount) -> Result<(), LedgerError> {
        let &NewAccount { id, rule, code } = new;
        if let Some(index) = self.find(id) {
            let entry = self.entry(index);
            return if entry.rule == rule && entry.code == code {
                Ok(())
            } else {
                Err(LedgerError::Unexpected(format!("{id:?} exists as another account")))
            };
        }
        let index = u32::try_from(self.entries.len()).map_err(|_| LedgerError::Overloaded)?;
        let account = Account {
            id,
            debits_pending: 0,
            debits_posted: 0,
            credits_pending: 0,
            credits_posted: 0,
            closed: false,
        };
        self.entries.push(Entry { account, rule, code, newest_debit: Link::NONE, newest_credit: Link::NONE });
        let entries = &self.entries;
        let hash = |&index: &u32| self.hasher.hash_one(entries[index as usize].account.id);
        self.by_id.insert_unique(self.hasher.hash_one(id), index, hash);
        Ok(())
    }
}
