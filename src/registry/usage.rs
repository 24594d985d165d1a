//! The usage of limits, read from the ledger without changing it.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::admin::{Admin, AdminError};
use super::entry::Entry;
use super::filter::LimitFilter;
use crate::decide::Limit;
use crate::decide::usage::{self, Usage};
use crate::ledger::{Ledger, LedgerError};
use crate::limit::{LimitKey, LimitState};

/// The accounts read at once, so that they are of one moment; a ledger's answer holds no more than 8,189.
const ACCOUNTS_READ_MAX: usize = 8_189;
/// How often a limit is read again because it changed between the readings of its definition and of its accounts.
const REREADS_MAX: usize = 4;

/// A limit and its usage.
#[derive(Debug, Clone)]
pub struct LimitUsage {
    pub(crate) entry: Arc<Entry>,
    /// What can be reserved now. For a template: the instances that it may still make.
    pub available: u128,
    /// What is reserved. For a template: the instances that it has made.
    pub reserved: u128,
    /// Overage that found no room, in total since the limit was made or reset.
    pub debt: u128,
    /// The units that callers wait for in this process.
    pub waiting: u128,
}

/// A page of the list of limits, sorted by key.
#[derive(Debug, Clone)]
pub struct LimitPage {
    /// The limits, with their usage.
    pub limits: Vec<LimitUsage>,
    /// The key after which the next page begins. `None` if this page is the last.
    pub next_after: Option<LimitKey>,
}

impl LimitUsage {
    fn new(entry: Arc<Entry>, usage: Usage, waiting: u128) -> Self {
        let Usage { available, reserved, debt, is_closed: _ } = usage;
        Self { entry, available, reserved, debt, waiting }
    }

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

    /// Whether definition and accounts are of one moment: then available and reserved add up to the capacity.
    fn is_of_one_moment(&self) -> bool {
        let definition = &self.entry.limit.state.definition;
        let capacity = u128::from(definition.capacity.get());
        definition.instances_max.is_some() || self.available + self.reserved == capacity
    }
}

impl<L: Ledger> Admin<L> {
    /// Every limit that an operator defined, with its usage, sorted by key.
    pub async fn list(&self) -> Result<Vec<LimitUsage>, AdminError> {
        Ok(self.page(&LimitFilter::default(), usize::MAX, |_| true).await?.limits)
    }

    /// The first `count_max` limits that a filter lets through and for which `allows` holds, with their usage.
    ///
    /// The instances of a template are shown as their last use left them: an instance takes over a change of its template when
    /// it is used next.
    pub async fn page(
        &self,
        filter: &LimitFilter,
        count_max: usize,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> Result<LimitPage, AdminError> {
        self.registry.refresh().await?;
        let (entries, next_after) = match &filter.template {
            None => {
                let mut entries = self.registry.snapshot().list(&filter.keys, one_more(count_max), allows);
                let next_after = cut_page(&mut entries, count_max, |entry| entry.key());
                (entries, next_after)
            }
            Some(template) => self.instances(template, filter, count_max, allows).await?,
        };
        Ok(LimitPage { limits: self.usages(entries).await?, next_after })
    }

    /// One limit with its usage.
    pub async fn get(&self, key: &LimitKey) -> Result<LimitUsage, AdminError> {
        self.registry.refresh().await?;
        let entry = self.existing(key).await?;
        let usages = self.usages(vec![entry]).await?;
        usages.into_iter().next().ok_or_else(|| AdminError::UnknownKey(key.clone()))
    }

    /// The usage of the limits with these keys. Keys without a limit are left out.
    pub async fn usage_of(&self, keys: &[LimitKey]) -> Result<Vec<LimitUsage>, AdminError> {
        self.registry.refresh().await?;
        let entries = try_join_all(keys.iter().map(|key| async {
            match self.existing(key).await {
                Ok(entry) => Ok(Some(entry)),
                Err(AdminError::UnknownKey(_) | AdminError::Deleted(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }));
        self.usages(entries.await?.into_iter().flatten().collect()).await
    }

    /// The usage of limits, all at one moment if one look-up can read them. A limit that was deleted meanwhile is left out.
    async fn usages(&self, entries: Vec<Arc<Entry>>) -> Result<Vec<LimitUsage>, AdminError> {
        let mut usages = self.read(&entries).await?;
        for _ in 0..REREADS_MAX {
            if usages.iter().all(LimitUsage::is_of_one_moment) {
                break;
            }
            self.registry.refresh().await?;
            let mut changed = Vec::new();
            for torn in usages.extract_if(.., |usage| !usage.is_of_one_moment()) {
                match self.existing(torn.key()).await {
                    Ok(entry) => changed.push(entry),
                    Err(AdminError::UnknownKey(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            usages.extend(self.read(&changed).await?);
            usages.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        }
        Ok(usages)
    }

    /// Reads the accounts of limits. Those of one limit are always read together.
    async fn read(&self, entries: &[Arc<Entry>]) -> Result<Vec<LimitUsage>, AdminError> {
        // One moment for all: up to it, refills are counted as made.
        let now_ns = self.registry.ledger.now_ns();
        let (mut accounts_max, mut rest) = (ACCOUNTS_READ_MAX, entries);
        let mut usages = Vec::with_capacity(entries.len());
        while !rest.is_empty() {
            let (group, others) = rest.split_at(first_group(rest, accounts_max));
            let ids = group.iter().flat_map(|entry| usage::accounts(&entry.limit)).collect();
            let accounts = match self.registry.ledger.accounts(ids).await {
                // The ledger is set to smaller requests than usual.
                Err(LedgerError::RequestTooLarge) if group.len() > 1 => {
                    accounts_max /= 2;
                    continue;
                }
                accounts => accounts?,
            };
            let mut accounts = accounts.into_iter();
            for entry in group {
                let usage = usage::next_usage(&entry.limit, &mut accounts, now_ns)?;
                let waiting = self.registry.snapshot().waiting(entry.key());
                usages.push(LimitUsage::new(Arc::clone(entry), usage, waiting));
            }
            rest = others;
        }
        Ok(usages)
    }

    /// The first instances of a template that a filter lets through and for which `allows` holds, sorted by key, and the key after which the next page
    /// begins.
    async fn instances(
        &self,
        template: &LimitKey,
        filter: &LimitFilter,
        count_max: usize,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> Result<(Vec<Arc<Entry>>, Option<LimitKey>), AdminError> {
        let registry = &self.registry;
        let is_known = registry.snapshot().get(template).is_some_and(|entry| {
            entry.limit.state.definition.instances_max.is_some() && !entry.limit.state.status.is_gone()
        });
        if !is_known {
            return Err(AdminError::UnknownKey(template.clone()));
        }
        let listed = registry.instance_log.list(template, &filter.keys, one_more(count_max), allows);
        let mut logged = listed.await?;
        let next_after = cut_page(&mut logged, count_max, |logged| &logged.key);
        // Together, so that the look-ups share requests to the ledger.
        let entries = try_join_all(logged.iter().map(|logged| async {
            match registry.snapshot().get(&logged.key) {
                Some(known) if known.limit.version >= logged.version => Ok(Some(known)),
                Some(_) | None => registry.newest(&logged.key).await,
            }
        }));
        let is_of_template = |entry: &Arc<Entry>| {
            let origin = entry.limit.state.origin.as_ref();
            let is_gone = entry.limit.state.status.is_gone();
            origin.is_some_and(|origin| origin.template == *template) && !is_gone
        };
        Ok((entries.await?.into_iter().flatten().filter(is_of_template).collect(), next_after))
    }
}

/// As many as tell whether there is another page.
fn one_more(count_max: usize) -> usize {
    count_max.saturating_add(1)
}

/// Cuts a list to the length of a page. Returns the key after which the next page begins, if there is one.
fn cut_page<T>(list: &mut Vec<T>, count_max: usize, key: impl Fn(&T) -> &LimitKey) -> Option<LimitKey> {
    let is_last = list.len() <= count_max;
    list.truncate(count_max);
    list.last().filter(|_| !is_last).map(|last| key(last).clone())
}

/// How many of the first limits have at most so many accounts together; at least one.
fn first_group(entries: &[Arc<Entry>], accounts_max: usize) -> usize {
    let mut accounts = 0;
    let fits = |entry: &&Arc<Entry>| {
        accounts += usage::accounts(&entry.limit).count();
        accounts <= accounts_max
    };
    entries.iter().take_while(fits).count().max(1)
}
