//! Changes of limits by operators. Each change creates the next version of a key ([`crate::decide::definition_version`]) and takes
//! effect in this process when the version is read back from the log.

use std::sync::Arc;

use tokio::sync::Notify;

use super::definition_store::StoreResult;
use super::entry::Entry;
use super::error::RegistryError;
use super::file::FileError;
use super::{ATTEMPTS_MAX, Registry};
use crate::decide::Limit;
use crate::decide::borrow;
use crate::decide::definition_codec::{CodecError, DefinitionVersion};
use crate::decide::definition_version::{self, KindChange, VersionPlan};
use crate::decide::refill_by_hand::RefillByHand;
use crate::ledger::{AccountId, Ledger, LedgerError};
use crate::limit::{Definition, ExpectedVersion, LimitKey, RateChange, ReplenishId, Status};

/// When a change is saved in the registry file, if the definitions last nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saving {
    /// Before it is made in the ledger: a change that cannot be saved is not made.
    Ahead,
    /// After it was made in the ledger: for changes that are made again if they are lost.
    Later,
}

/// Creates, changes, deletes and shows limits.
pub struct Admin<L> {
    pub(super) registry: Arc<Registry<L>>,
    /// Wakes the loop that applies decreases.
    pub(super) decrease_requested: Notify,
}

/// Why a limit was not changed or cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// No limit has the key.
    #[error("there is no limit {0}")]
    UnknownKey(LimitKey),
    /// The limit was deleted.
    #[error("limit {0} was deleted; only a new definition of this key makes it again")]
    Deleted(LimitKey),
    /// The definition would change the limit's kind.
    #[error(transparent)]
    KindChange(#[from] KindChange),
    /// Nothing is used of a template, and it counts instances that live on.
    #[error("{0} is a template: reset or purge its instances")]
    IsTemplate(LimitKey),
    /// The limit has another version than the change expects, so somebody else has changed it.
    #[error("limit {key} {}; read it again before you change it", found_instead(*.found))]
    VersionConflict {
        /// The limit.
        key: LimitKey,
        /// The version that it has; `None` if there is no such limit.
        found: Option<u64>,
    },
    /// The template has already made more instances than the new `max_instances`.
    #[error("template {0} has already made more instances than the new max_instances")]
    TooManyInstances(LimitKey),
    /// Other replicas changed the limit each time this one tried.
    #[error("limit {0} is being changed by other replicas; try again")]
    Contended(LimitKey),
    /// The registry file could not be written, and the definitions last nowhere else.
    #[error("nothing was changed, because the registry file could not be written")]
    NotSaved(#[from] FileError),
    /// The definitions could not be read or changed. The change may have been made.
    #[error("the definitions could not be read or changed")]
    Registry(#[source] RegistryError),
}

fn found_instead(version: Option<u64>) -> String {
    version.map_or_else(
        || "does not exist any more".to_owned(),
        |version| format!("has version {version} by now"),
    )
}

impl From<RegistryError> for AdminError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Contended(key) => Self::Contended(key),
            error @ (RegistryError::Ledger(_) | RegistryError::Codec(_)) => Self::Registry(error),
        }
    }
}

impl From<LedgerError> for AdminError {
    fn from(error: LedgerError) -> Self {
        RegistryError::from(error).into()
    }
}

impl From<CodecError> for AdminError {
    fn from(error: CodecError) -> Self {
        RegistryError::from(error).into()
    }
}

impl<L: Ledger> Admin<L> {
    /// Changes the limits of a registry.
    pub fn new(registry: Arc<Registry<L>>) -> Self {
        Self { registry, decrease_requested: Notify::new() }
    }

    /// Creates or changes a limit; returns its status after the change.
    pub async fn put(&self, definition: &Definition) -> Result<Status, AdminError> {
        self.put_over(definition, ExpectedVersion::Any).await
    }

    /// The same, if the limit has the expected version. A limit that already is as the definition says is left as it is,
    /// whatever its version: the change may be a repetition.
    pub async fn put_over(
        &self,
        definition: &Definition,
        expected: ExpectedVersion,
    ) -> Result<Status, AdminError> {
        let plan = |current: Option<&Limit>| {
            let version = definition_version::put(current, definition)?;
            if version.is_some() {
                check_version(expected, &definition.key, current)?;
            }
            Ok(version)
        };
        self.change(&definition.key, plan).await
    }

    /// Sets the refill rate or the burst of a bucket, or both, and returns its status after the change. With both it creates the
    /// bucket if there is none. The tokens that the old rate has earned by then are added, fractions of a token included.
    pub async fn set_rate(&self, key: &LimitKey, change: RateChange) -> Result<Status, AdminError> {
        if change.rate.is_none() || change.burst.is_none() {
            self.registry.refresh().await?;
            self.existing(key).await?;
        }
        let plan = |current: Option<&Limit>| match borrow::definition_with_rate(current, key, change) {
            Some(definition) => Ok(definition_version::put(current, &definition)?),
            None => Ok(None),
        };
        self.change(key, plan).await
    }

    async fn change(
        &self,
        key: &LimitKey,
        plan: impl Fn(Option<&Limit>) -> Result<Option<VersionPlan>, AdminError>,
    ) -> Result<Status, AdminError> {
        let entry = self.create_saved_version(key, plan).await?;
        if let Status::Decreasing { .. } = entry.limit.state.status {
            self.decrease_requested.notify_one();
        }
        Ok(entry.limit.state.status)
    }

    /// Deletes a limit: it takes no reservations from now on. Leases on it can still be settled. An instance gives its place
    /// back, and no template makes it again.
    pub async fn delete(&self, key: &LimitKey) -> Result<(), AdminError> {
        self.delete_version(key, ExpectedVersion::Any).await
    }

    /// The same, if the limit has the expected version.
    pub async fn delete_version(&self, key: &LimitKey, expected: ExpectedVersion) -> Result<(), AdminError> {
        let entry = self.newest_known(key).await?;
        if entry.limit.state.status == Status::Deleted {
            return Err(AdminError::Deleted(key.clone()));
        }
        let is_deleted = |limit: &Limit| limit.state.status == Status::Deleted;
        self.remove(key, expected, definition_version::delete, is_deleted).await
    }

    /// Deletes a limit for good, if it has the expected version, or one that was deleted before: its history ends, and a later definition of the key begins
    /// without usage and debt. Leases on it can still be settled.
    pub async fn purge(&self, key: &LimitKey, expected: ExpectedVersion) -> Result<(), AdminError> {
        let entry = self.newest_known(key).await?;
        if entry.limit.state.definition.instances_max.is_some() {
            // Its account counts the instances that live on.
            return Err(AdminError::IsTemplate(key.clone()));
        }
        self.remove(key, expected, definition_version::purge, Limit::is_purged).await
    }

    /// Sets the usage and the debt of a limit to zero, and returns its status after that. A decrease that waits is applied by it.
    /// Leases on the limit can still be settled, which changes nothing of its usage.
    pub async fn reset(&self, key: &LimitKey) -> Result<Status, AdminError> {
        self.registry.refresh().await?;
        let entry = self.existing(key).await?;
        if entry.limit.state.definition.instances_max.is_some() {
            return Err(AdminError::IsTemplate(key.clone()));
        }
        let seen = entry.limit.version;
        // A reset whose answer was lost is not made once more.
        let is_reset = |limit: &Limit| limit.version > seen && limit.has_new_accounts();
        let reset = |current: Option<&Limit>| {
            Ok(current.filter(|limit| !is_reset(limit)).and_then(definition_version::reset))
        };
        let entry = self.create_saved_version(key, reset).await?;
        Ok(entry.limit.state.status)
    }

    /// The newest version of a key that was not purged, even if it is deleted.
    async fn newest_known(&self, key: &LimitKey) -> Result<Arc<Entry>, AdminError> {
        self.registry.refresh().await?;
        let entry = self.registry.newest(key).await?.filter(|entry| !entry.limit.is_purged());
        entry.ok_or_else(|| AdminError::UnknownKey(key.clone()))
    }

    /// Creates the version that takes a limit out of use, until `is_done` holds for the newest one.
    async fn remove(
        &self,
        key: &LimitKey,
        expected: ExpectedVersion,
        plan: impl Fn(&Limit, Option<AccountId>) -> Option<VersionPlan>,
        is_done: impl Fn(&Limit) -> bool,
    ) -> Result<(), AdminError> {
        let registry = &self.registry;
        for _ in 0..ATTEMPTS_MAX {
            let place = registry.place_of(key).await?;
            let remove = |limit: &Limit| {
                let counted_at = place.template.as_ref().and_then(|it| registry.counting_account(it));
                plan(limit, counted_at)
            };
            // Another version may take a place of another template.
            let is_same = |limit: &&Limit| limit.version == place.version;
            let plan = |current: Option<&Limit>| {
                check_version(expected, key, current)?;
                Ok(current.filter(is_same).and_then(remove))
            };
            let entry = self.create_saved_version(key, plan);
            if is_done(&entry.await?.limit) {
                return Ok(());
            }
        }
        Err(AdminError::Contended(key.clone()))
    }

    /// Refills a limit that is refilled by hand, once per id; false if it is not. The present window or segment of a window ends if
    /// its length has passed.
    pub async fn replenish(&self, key: &LimitKey, id: ReplenishId) -> Result<bool, AdminError> {
        let trace = self.registry.ids.replenish(key, id);
        for _ in 0..ATTEMPTS_MAX {
            self.registry.refresh().await?;
            let entry = self.existing(key).await?;
            let Some(refill) = RefillByHand::of(&entry.limit) else { return Ok(false) };
            if self.registry.refiller.refill_by_hand(&entry, trace, refill).await? {
                return Ok(true);
            }
        }
        Err(AdminError::Contended(key.clone()))
    }

    /// The versions of a key since it was last purged, oldest first.
    pub async fn history(&self, key: &LimitKey) -> Result<Vec<DefinitionVersion>, AdminError> {
        self.registry.refresh().await?;
        let versions = definition_version::since_purge(self.registry.store.history(key).await?);
        if versions.is_empty() { Err(AdminError::UnknownKey(key.clone())) } else { Ok(versions) }
    }

    /// A limit that an operator defined or a template made, and that is not deleted. The log has just been read.
    pub(super) async fn existing(&self, key: &LimitKey) -> Result<Arc<Entry>, AdminError> {
        let entry = self.registry.find(key).await?.ok_or_else(|| AdminError::UnknownKey(key.clone()))?;
        match entry.limit.state.status {
            Status::Active | Status::Decreasing { .. } => Ok(entry),
            Status::Deleted if !entry.limit.is_purged() => Err(AdminError::Deleted(key.clone())),
            Status::Deleted | Status::Retired => Err(AdminError::UnknownKey(key.clone())),
        }
    }

    /// Saves and creates the next version of a key as `plan` says.
    async fn create_saved_version(
        &self,
        key: &LimitKey,
        plan: impl Fn(Option<&Limit>) -> Result<Option<VersionPlan>, AdminError>,
    ) -> Result<Arc<Entry>, AdminError> {
        let created = self.create_version(key, Saving::Ahead, plan).await;
        let saver = &self.registry.saver;
        // A version that was saved and then not created is removed from the file.
        if created.is_err() || !saver.saves_ahead() {
            saver.save().await;
        }
        created
    }

    /// Creates the next version of a key as `plan` says, and retries until it is created or there is nothing to change. Returns
    /// the newest version then.
    pub(super) async fn create_version(
        &self,
        key: &LimitKey,
        saving: Saving,
        plan: impl Fn(Option<&Limit>) -> Result<Option<VersionPlan>, AdminError>,
    ) -> Result<Arc<Entry>, AdminError> {
        let unknown = || AdminError::UnknownKey(key.clone());
        let registry = &self.registry;
        let _one_at_a_time = registry.key_locks.lock(key).await;
        for _ in 0..ATTEMPTS_MAX {
            registry.refresh().await?;
            let current = registry.newest(key).await?;
            // Refills due under the current version are made before the next version replaces its schedule.
            if let Some(entry) = &current
                && !registry.catch_up(entry).await?
            {
                continue;
            }
            let Some(version) = plan(current.as_ref().map(|entry| &entry.limit))? else {
                return current.ok_or_else(unknown);
            };
            // Held until the version is read back from the log.
            let _saved_ahead = match saving {
                Saving::Ahead => registry.saver.save_ahead(&version.state).await?,
                Saving::Later => None,
            };
            match registry.store.create(&version).await? {
                StoreResult::Created => {
                    registry.refresh().await?;
                    tracing::info!(%key, version = version.version, state = ?version.state.status, "limit changed");
                    // The log that was read just now does not hold the versions of instances.
                    return registry.newest(key).await?.ok_or_else(unknown);
                }
                StoreResult::Superseded => {}
                StoreResult::NoRoom if version.state.definition.instances_max.is_some() => {
                    return Err(AdminError::TooManyInstances(key.clone()));
                }
                StoreResult::NoRoom => return current.ok_or_else(unknown),
            }
        }
        Err(AdminError::Contended(key.clone()))
    }
}

/// Checks that a limit has the version that a change expects.
fn check_version(
    expected: ExpectedVersion,
    key: &LimitKey,
    current: Option<&Limit>,
) -> Result<(), AdminError> {
    let present = current.filter(|limit| !limit.state.status.is_gone());
    let is_expected = match expected {
        ExpectedVersion::Any => true,
        ExpectedVersion::Undefined => present.is_none_or(|limit| limit.state.origin.is_some()),
        ExpectedVersion::Is(version) => present.is_some_and(|limit| limit.version == version),
    };
    let found = present.map(|limit| limit.version);
    if is_expected { Ok(()) } else { Err(AdminError::VersionConflict { key: key.clone(), found }) }
}
