//! The usage of limits, read from the ledger.

use std::sync::Arc;

use super::admin::{Admin, AdminError};
use super::entry::Entry;
use crate::decide::Limit;
use crate::ledger::{Account, AccountId, Ledger, LedgerError};
use crate::limit::{LimitKey, LimitState};

/// The limits looked up or created at once: as many as fit into the smallest request that TigerBeetle can be set to.
pub(super) const LIMITS_PAGE: usize = 100;
/// The accounts looked up or created at once.
pub(super) const ACCOUNTS_PAGE: usize = 200;

/// A limit and its usage.
#[derive(Debug, Clone)]
pub struct LimitUsage {
    pub(crate) entry: Arc<Entry>,
    /// What can be reserved now. For a template: the instances that it may still make.
    pub available: u128,
    /// What is reserved. For a template: the instances that it has made.
    pub reserved: u128,
    /// Overage that found no room, in total since the limit was made.
    pub debt: u128,
}

impl LimitUsage {
    /// The limit's key.
    pub fn key(&self) -> &LimitKey {
        self.entry.key()
    }

    /// The newest version of the limit, with its accounts.
    pub fn limit(&self) -> &Limit {
        &self.entry.limit
    }

    /// The limit's definition and status.
    pub fn state(&self) -> &LimitState {
        &self.entry.limit.state
    }

    /// The number of the limit's version.
    pub fn version(&self) -> u64 {
        self.entry.limit.version
    }
}

impl<L: Ledger> Admin<L> {
    /// Every limit that an operator defined, with its usage, sorted by key.
    pub async fn list(&self) -> Result<Vec<LimitUsage>, AdminError> {
        self.registry.refresh().await?;
        let mut list = Vec::new();
        for page in self.registry.snapshot().list().chunks(LIMITS_PAGE) {
            list.extend(self.usage(page).await?);
        }
        Ok(list)
    }

    /// One limit with its usage.
    pub async fn get(&self, key: &LimitKey) -> Result<LimitUsage, AdminError> {
        self.registry.refresh().await?;
        let entry = self.existing(key).await?;
        let usage = self.usage(&[entry]).await?;
        usage.into_iter().next().ok_or_else(|| AdminError::UnknownKey(key.clone()))
    }

    async fn usage(&self, entries: &[Arc<Entry>]) -> Result<Vec<LimitUsage>, AdminError> {
        let mut ids = Vec::with_capacity(2 * entries.len());
        for entry in entries {
            // If a new version has replaced the schedule, the usage shown is a moment old.
            self.registry.catch_up(entry).await?;
            ids.extend([entry.limit.account, entry.limit.debt_account]);
            ids.extend(schedule_accounts(entry));
        }
        let mut accounts = Vec::with_capacity(ids.len());
        for page in ids.chunks(ACCOUNTS_PAGE) {
            accounts.extend(self.registry.ledger.accounts(page.to_vec()).await?);
        }
        let mut accounts = accounts.into_iter();
        let mut usages = Vec::with_capacity(entries.len());
        for entry in entries {
            let count = 2 + schedule_accounts(entry).count();
            let accounts: Option<Vec<Account>> = accounts.by_ref().take(count).collect();
            let Some([limit, debt, of_schedule @ ..]) = accounts.as_deref() else {
                let missing = format!("an account of limit {} is missing", entry.key());
                return Err(LedgerError::Unexpected(missing).into());
            };
            usages.push(usage_of(Arc::clone(entry), limit, debt, of_schedule));
        }
        Ok(usages)
    }
}

/// The spent accounts of a limit's schedule, and the account of borrowed tokens.
fn schedule_accounts(entry: &Entry) -> impl Iterator<Item = AccountId> {
    let schedule = entry.limit.schedule.iter();
    schedule.flat_map(|schedule| schedule.spent().iter().copied().chain(schedule.borrowed()))
}

fn usage_of(entry: Arc<Entry>, limit: &Account, debt: &Account, of_schedule: &[Account]) -> LimitUsage {
    let available = limit.available();
    let spent: u128 = of_schedule.iter().map(Account::posted_balance).sum();
    let owed: u128 = of_schedule.iter().map(Account::owed).sum();
    let reserved = match entry.limit.state.definition.instances_max {
        Some(instances_max) => u128::from(instances_max).saturating_sub(available),
        // Borrowed tokens are in the spent accounts too, and were never part of the capacity.
        None => limit.debits_pending + spent.saturating_sub(owed),
    };
    LimitUsage { entry, available, reserved, debt: debt.debits_posted }
}
