//! Instances: the limits that templates make on first use. Their versions are in a log of their own, which no replica follows:
//! an instance is read when it is used, and forgotten when it is idle.
//!
//! One chain makes an instance: its definition, its capacity, and 1 less on its template's account, and behind them the first
//! reservation (`new_instance.rs`). So of all callers and replicas that use a new key at the same time one makes the instance,
//! and the others find it.

use std::sync::Arc;

use super::definition_store::StoreResult;
use super::entry::Entry;
use super::error::RegistryError;
use super::new_instance::NewInstance;
use super::{ATTEMPTS_MAX, Registry};
use crate::decide::definition_version::{self, KindChange, Lowering};
use crate::ledger::Ledger;
use crate::limit::{LimitKey, Status};

/// The limit for a key, if there is one.
#[derive(Debug)]
pub(crate) enum InstanceLookup {
    /// The limit. It may be deleted.
    Found(Arc<Entry>),
    /// No limit has the key, or a retired one. A template makes it with its next reservation.
    New(Box<NewInstance>),
    /// No limit has the key, and no template matches it.
    NotFound,
}

/// One step towards the current version of an instance.
enum Step {
    Done(InstanceLookup),
    Retry,
}

impl<L: Ledger> Registry<L> {
    /// The keys of the instances of all templates for which `allows` holds. The log of instances is read, and kept in memory.
    pub(crate) async fn logged_instances(
        &self,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> Result<Vec<LimitKey>, RegistryError> {
        Ok(self.instance_log.keys(allows).await?)
    }

    /// The limit for a key, current by its template. The log has just been read.
    pub(crate) async fn find_current(&self, key: &LimitKey) -> Result<InstanceLookup, RegistryError> {
        let _one_at_a_time = self.key_locks.lock(key).await;
        for _ in 0..ATTEMPTS_MAX {
            match self.step_to_current(key).await? {
                Step::Done(lookup) => return Ok(lookup),
                Step::Retry => self.refresh().await?,
            }
        }
        Err(RegistryError::Contended(key.clone()))
    }

    async fn step_to_current(&self, key: &LimitKey) -> Result<Step, RegistryError> {
        let template_changes = self.snapshot.template_changes();
        let known = self.snapshot.get(key);
        if let Some(entry) = known.as_ref().filter(|entry| entry.is_current(template_changes)) {
            return Ok(Step::Done(InstanceLookup::Found(Arc::clone(entry))));
        }
        let Some(template) = self.snapshot.template_of(key) else {
            // The template of a known instance was deleted.
            if let Some(orphan) = &known {
                self.snapshot.forget(orphan);
            }
            return Ok(Step::Done(InstanceLookup::NotFound));
        };
        let Some(entry) = self.read_instance(key).await? else {
            return Ok(self.plan_new(key, &template, None));
        };
        let is_made_by_newer_template = entry.limit.state.origin.as_ref().is_some_and(|origin| {
            let known = self.snapshot.get(&origin.template);
            known.is_none_or(|template| template.limit.version < origin.version)
        });
        if is_made_by_newer_template {
            return Ok(Step::Retry);
        }
        if entry.limit.state.status == Status::Retired {
            // Treated as if it had never been made: its next reservation makes it.
            self.snapshot.forget(&entry);
            return Ok(self.plan_new(key, &template, Some(entry)));
        }
        if !self.catch_up(&entry).await? {
            return Ok(Step::Retry);
        }
        if !entry.is_instance() {
            return Ok(Step::Done(InstanceLookup::Found(entry)));
        }
        let follow = |lowering| {
            definition_version::follow_template(Some(&entry.limit), key, &template.limit, lowering)
        };
        match follow(Lowering::AtOnce) {
            Ok(Some(plan)) => {
                // A lower capacity waits, and closes the limit, only if there is no room for it.
                if self.store.create(&plan).await? == StoreResult::NoRoom
                    && let Ok(Some(plan)) = follow(Lowering::Waits)
                {
                    self.store.create(&plan).await?;
                }
                return Ok(Step::Retry);
            }
            Ok(None) => {}
            Err(KindChange { .. }) => {
                self.store.create(&definition_version::close_instance(&entry.limit)).await?;
                return Ok(Step::Retry);
            }
        }
        entry.set_current(template_changes);
        Ok(Step::Done(InstanceLookup::Found(entry)))
    }

    fn plan_new(&self, key: &LimitKey, template: &Entry, retired: Option<Arc<Entry>>) -> Step {
        let new = NewInstance::plan(self.ids, key, template, retired, self.ledger.now_ns());
        new.map_or(Step::Retry, |new| Step::Done(InstanceLookup::New(Box::new(new))))
    }

    /// Reads the versions of a key into the snapshot.
    async fn read_instance(&self, key: &LimitKey) -> Result<Option<Arc<Entry>>, RegistryError> {
        for version in self.store.history(key).await? {
            self.snapshot.apply(self.ids, version);
        }
        Ok(self.snapshot.get(key))
    }

    /// Reads the newest versions of these limits into the snapshot.
    pub(crate) async fn refresh_limits(
        &self,
        keys: impl Iterator<Item = &LimitKey>,
    ) -> Result<(), RegistryError> {
        self.refresh().await?;
        for key in keys {
            self.newest(key).await?;
        }
        Ok(())
    }

    /// The newest version of a limit in the ledger, whether an operator or a template made it. The log has just been read.
    pub(super) async fn newest(&self, key: &LimitKey) -> Result<Option<Arc<Entry>>, RegistryError> {
        match self.snapshot.get(key) {
            // The log that this process follows holds the versions of operators.
            Some(entry) if !entry.is_instance() => Ok(Some(entry)),
            Some(_) | None => self.read_instance(key).await,
        }
    }

    /// The limit for a key, current by its template, if it is made. The log has just been read.
    pub(crate) async fn find(&self, key: &LimitKey) -> Result<Option<Arc<Entry>>, RegistryError> {
        match self.newest(key).await? {
            Some(entry) if entry.is_instance() => match self.find_current(key).await? {
                InstanceLookup::Found(entry) => Ok(Some(entry)),
                InstanceLookup::New(_) | InstanceLookup::NotFound => Ok(None),
            },
            entry => Ok(entry),
        }
    }
}
