//! Retires idle instances: they give their places back to their templates, and the next use of the key makes them again.
//!
//! An instance is idle at this process if no caller has used it here for long. The ledger itself refuses to retire an
//! instance of which anything is reserved, spent or owed. All replicas give the retiring version the same id, so only
//! one of them gives the place back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::definition_store::StoreResult;
use super::entry::Entry;
use super::error::RegistryError;
use super::log::LogReader;
use super::{LIMITS_PAGE, Registry};
use crate::decide::definition_codec::DefinitionVersion;
use crate::decide::definition_version;
use crate::decide::instance_place::counting_template;
use crate::ledger::{AccountId, Ledger, LedgerError};
use crate::limit::{LimitKey, LimitState, Status};

/// The pages of the log that one search reads. The next search goes on behind them.
const SEARCH_PAGES_MAX: usize = 16;

impl<L: Ledger> Registry<L> {
    /// Forgets the instances that no caller has used since the last call, and retires those of them of which nothing
    /// is taken. Then it searches the log for instances older than `idle` that this process does not remember, and
    /// retires them, too.
    pub async fn retire_idle_instances(&self, idle: Duration) -> Result<(), RegistryError> {
        let unused = self.snapshot.take_idle_instances();
        let retired = self.retire(&unused).await;
        // They are forgotten even if the ledger did not answer: a later search finds them in the log.
        for entry in unused.iter().filter(|entry| !entry.is_used()) {
            self.snapshot.forget(entry);
        }
        retired.and(self.retire_forgotten(idle).await)
    }

    /// Retires the instances of which nothing is taken. A failure of one does not stop the others; the first failure is
    /// returned.
    async fn retire(&self, instances: &[Arc<Entry>]) -> Result<(), RegistryError> {
        let active: Vec<_> =
            instances.iter().filter(|entry| entry.limit.state.status == Status::Active).collect();
        if active.is_empty() {
            return Ok(());
        }
        self.refresh().await?;
        let mut result = Ok(());
        for page in active.chunks(LIMITS_PAGE) {
            // Together, so that the refills and look-ups share requests to the ledger.
            for caught_up in join_all(page.iter().map(|entry| self.catch_up(entry))).await {
                // If a new version has replaced the schedule, another replica uses the instance.
                result = result.and(caught_up.map(drop));
            }
            // A refused chain costs more than a look-up of the accounts.
            let accounts =
                self.ledger.accounts(page.iter().map(|entry| entry.limit.account).collect()).await?;
            let is_full =
                |entry: &Entry, available| available >= entry.limit.state.definition.capacity.get().into();
            let full = page.iter().zip(accounts).filter(|(entry, account)| {
                account.is_some_and(|account| !account.closed && is_full(entry, account.available()))
            });
            for retired in join_all(full.map(|(entry, _)| self.retire_one(entry))).await {
                result = result.and(retired);
            }
        }
        result
    }

    /// Retires an instance, unless it is used or changed meanwhile, or its template is deleted.
    async fn retire_one(&self, entry: &Entry) -> Result<(), RegistryError> {
        let key = entry.key();
        let _one_at_a_time = self.key_locks.lock(key).await;
        let place = self.place_of(key).await?;
        let counted_at = place.template.and_then(|template| self.counting_account(&template));
        if place.version == entry.limit.version
            && !entry.is_used()
            && let Some(counted_at) = counted_at
        {
            let retired = self.store.create(&definition_version::retire(&entry.limit, counted_at)).await?;
            match retired {
                StoreResult::Created => tracing::debug!(%key, "idle instance retired"),
                StoreResult::Superseded | StoreResult::NoRoom => {}
            }
        }
        Ok(())
    }

    /// Searches the log for instances that this process does not remember, as after a restart, and retires them.
    async fn retire_forgotten(&self, idle: Duration) -> Result<(), RegistryError> {
        let mut result = Ok(());
        let found = self.search_forgotten(idle).await?;
        let found: Vec<_> = found.into_iter().collect();
        for page in found.chunks(LIMITS_PAGE) {
            let accounts = self.ledger.accounts(page.iter().map(|(_, account)| *account).collect()).await?;
            // Retired instances are closed. The others are read, because a refill may be due.
            let open = page.iter().zip(accounts).filter(|(_, account)| account.is_some_and(|it| !it.closed));
            let entries = join_all(open.map(|((key, _), _)| self.newest(key))).await;
            let mut forgotten = Vec::new();
            for entry in entries {
                match entry {
                    Ok(entry) => forgotten.extend(entry.filter(|entry| entry.is_instance())),
                    Err(error) => result = result.and(Err(error)),
                }
            }
            // A read entry counts as used.
            for entry in &forgotten {
                entry.take_used();
            }
            result = result.and(self.retire(&forgotten).await);
            forgotten.iter().for_each(|entry| self.snapshot.forget(entry));
        }
        result
    }

    /// The accounts of some active instances in the log that are older than `idle` and not in the snapshot.
    async fn search_forgotten(&self, idle: Duration) -> Result<BTreeMap<LimitKey, AccountId>, LedgerError> {
        let idle_ns = u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = self.ledger.now_ns().saturating_sub(idle_ns);
        let mut log = self.idle_search.lock().await;
        let mut found = BTreeMap::new();
        let mut take = |version: DefinitionVersion| {
            let LimitState { definition, status, .. } = &version.state;
            let is_idle = *status == Status::Active && version.timestamp_ns <= until_ns;
            if is_idle && self.snapshot.get(&definition.key).is_none() {
                found.insert(definition.key.clone(), self.ids.limit_of(&version.state));
            } else {
                found.remove(&definition.key);
            }
        };
        for _ in 0..SEARCH_PAGES_MAX {
            if !log.read_page(&*self.ledger, &mut take).await? {
                *log = LogReader::new(self.ids.instances());
                break;
            }
        }
        Ok(found)
    }

    /// The place that an instance takes now.
    pub(super) async fn place_of(&self, key: &LimitKey) -> Result<Place, RegistryError> {
        let history = self.store.history(key).await?;
        let version = history.last().map_or(0, |newest| newest.number);
        Ok(Place { version, template: counting_template(&history).cloned() })
    }

    /// The account on which a template counts its instances. `None` if the template is deleted: then it is closed.
    pub(super) fn counting_account(&self, template: &LimitKey) -> Option<AccountId> {
        let entry = self.snapshot.get(template).filter(|entry| !entry.limit.state.status.is_gone())?;
        Some(entry.limit.account)
    }
}

/// The place that an instance takes among those that a template may make.
pub(super) struct Place {
    /// The instance's newest version; 0 if it has none.
    pub(super) version: u64,
    /// The template that counts it, if one does.
    pub(super) template: Option<LimitKey>,
}
