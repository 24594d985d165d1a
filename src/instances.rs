//! Limits that templates make, on first use. Their definitions are in the ledger, in a log that nobody follows: an
//! instance is read when it is asked for, and forgotten when nobody asks for it any more.
//!
//! An instance is made by one chain, as every version of a limit is: its definition, its capacity, and one less that its
//! template may make. So of all callers and replicas that come at once for a new key one makes it, and the others find it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::decide::change;
use crate::ledger::{Ledger, LedgerError};
use crate::limit::LimitKey;
use crate::registry::{Entry, Follower, RefreshError, Registry};
use crate::versions::{Try, VersionError, Versions};

/// How often an instance is tried to be made while other replicas get in first.
const TRIES_MAX: usize = 64;
/// How many new keys are looked into at once here.
const TURNS: usize = 64;

/// Finds the limits that templates make, and makes them.
pub struct Instances<L> {
    ledger: Arc<L>,
    versions: Arc<Versions<L>>,
    follower: Arc<Follower<L>>,
    /// One key of each is looked into at a time: a thousand callers of a new key ask the ledger once.
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
}

/// Why it is not known whether there is an instance.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// It could not be made or read.
    #[error("a limit could not be made from its template, or not be read")]
    Version(#[from] VersionError),
    /// The definitions could not be read.
    #[error("the definitions could not be read")]
    Refresh(#[from] RefreshError),
    /// Other replicas kept changing it.
    #[error("limit {0} is being changed by others")]
    Contended(LimitKey),
}

/// Whether there is a limit for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The registry has what there is.
    Known,
    /// There is none, and no template for it.
    None,
    /// Its template may make no more limits.
    TooMany,
}

enum Step {
    Done(Found),
    Again,
}

impl<L: Ledger> Instances<L> {
    /// Over the same ledger and log as the limiter.
    pub fn new(ledger: Arc<L>, versions: Arc<Versions<L>>, follower: Arc<Follower<L>>) -> Self {
        let turns = std::array::from_fn(|_| Mutex::default());
        Self { ledger, versions, follower, turns, hasher: RandomState::new() }
    }

    fn registry(&self) -> &Arc<Registry> {
        self.follower.registry()
    }

    /// Sees to it that the registry has the limit of a key, if there is one or a template makes it. The definitions have
    /// just been read.
    pub async fn find_or_make(&self, key: &LimitKey) -> Result<Found, InstanceError> {
        let turn = self.hasher.hash_one(key) as usize % TURNS;
        let _turn = match self.turns.get(turn) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        for _ in 0..TRIES_MAX {
            match self.step(key).await? {
                Step::Done(found) => return Ok(found),
                Step::Again => self.follower.refresh().await?,
            }
        }
        Err(InstanceError::Contended(key.clone()))
    }

    async fn step(&self, key: &LimitKey) -> Result<Step, InstanceError> {
        let templates_changed = self.registry().templates_changed();
        let known = self.registry().get(key);
        if known.as_ref().is_some_and(|entry| entry.is_current(templates_changed)) {
            return Ok(Step::Done(Found::Known));
        }
        let Some(template) = self.registry().template_of(key) else {
            // Its template was deleted.
            if let Some(orphan) = &known {
                self.registry().forget(orphan);
            }
            return Ok(Step::Done(Found::None));
        };
        let Some(entry) = self.read(key).await? else {
            return self.make(key, &template).await;
        };
        let is_made_by_newer = entry.limit.state.origin.as_ref().is_some_and(|origin| {
            let known = self.registry().get(&origin.template);
            known.is_none_or(|template| template.limit.version < origin.version)
        });
        if is_made_by_newer || !self.versions.bring_up(Some(&entry)).await? {
            return Ok(Step::Again);
        }
        match change::follow(Some(&entry.limit), key, &template.limit) {
            _ if entry.limit.state.origin.is_none() => Ok(Step::Done(Found::Known)),
            Ok(Some(change)) => {
                self.versions.make(&change).await?;
                Ok(Step::Again)
            }
            Ok(None) => {
                entry.set_current(templates_changed);
                Ok(Step::Done(Found::Known))
            }
            Err(error) => {
                tracing::warn!(%error, "a limit stays as its former template made it");
                entry.set_current(templates_changed);
                Ok(Step::Done(Found::Known))
            }
        }
    }

    async fn make(&self, key: &LimitKey, template: &Entry) -> Result<Step, InstanceError> {
        // Looked at first, so that a flood of keys leaves no accounts behind.
        let accounts =
            self.ledger.accounts(vec![template.limit.account]).await.map_err(VersionError::from)?;
        if accounts.first().copied().flatten().is_none_or(|account| account.available() == 0) {
            return Ok(Step::Done(Found::TooMany));
        }
        // Of no version before, so there is a change and its kind is its own.
        let Ok(Some(change)) = change::follow(None, key, &template.limit) else { return Ok(Step::Again) };
        match self.versions.make(&change).await? {
            Try::Made | Try::Lost => Ok(Step::Again),
            Try::NoRoom => Ok(Step::Done(Found::TooMany)),
        }
    }

    /// Reads the versions of a key into the registry.
    async fn read(&self, key: &LimitKey) -> Result<Option<Arc<Entry>>, VersionError> {
        for version in self.versions.history(key).await? {
            self.registry().learn(self.versions.ids(), version);
        }
        Ok(self.registry().get(key))
    }

    /// The limit of a key as the ledger has it, whoever made it.
    pub async fn known(&self, key: &LimitKey) -> Result<Option<Arc<Entry>>, VersionError> {
        match self.registry().get(key) {
            // The log that all follow has told it.
            Some(entry) if entry.limit.state.origin.is_none() => Ok(Some(entry)),
            Some(_) | None => self.read(key).await,
        }
    }

    /// The limit of a key as it is to be, without making one.
    pub async fn find(&self, key: &LimitKey) -> Result<Option<Arc<Entry>>, InstanceError> {
        match self.known(key).await? {
            Some(entry) if entry.limit.state.origin.is_some() => {
                self.find_or_make(key).await?;
                Ok(self.registry().get(key))
            }
            entry => Ok(entry),
        }
    }
}

/// Forgets the limits made by templates that nobody asks for, for ever: each is gone after one `interval`, or two.
pub async fn forget_idle(registry: &Registry, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        registry.forget_idle();
    }
}

impl From<LedgerError> for InstanceError {
    fn from(error: LedgerError) -> Self {
        Self::Version(error.into())
    }
}
