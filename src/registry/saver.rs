//! Decides when the registry file is written.
//!
//! In memory mode the definitions last only in the file: a change is saved first, and made in the ledger afterwards.
//! So a change that cannot be saved is not made, and its answer is an error. A change that was saved and then not
//! made is removed from the file. Beside TigerBeetle the ledger is the truth: a change is made first, and a write
//! that fails is logged and repeated.
//!
//! Changes that wait for a write share the next one. Among 5,000 limits one change at a time takes 20 ms, and each of 256 in flight
//! 1 ms, on two busy cores (`cargo bench --no-default-features --features server --bench registry_file`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::{FileError, LockedFile};
use super::snapshot::Snapshot;
use crate::limit::{LimitKey, LimitState, Status};
use crate::telemetry::with_sources;

/// Writes the registry file.
pub(super) struct Saver {
    file: Option<LockedFile>,
    wanted: Arc<Wanted>,
    /// The value of [`Wanted::changes`] up to which the file is written. Callers that wait for the lock share the
    /// next write.
    saved: tokio::sync::Mutex<u64>,
    /// Whether the snapshot has every limit that the file had at the start. Until then the file may be all that has them.
    is_seeded: AtomicBool,
    /// Whether the last write failed. A failure is logged once.
    is_failing: AtomicBool,
    counts: Arc<SaveCounts>,
}

/// How often the registry file was written.
#[derive(Debug, Default)]
pub struct SaveCounts {
    written: AtomicU64,
    failed: AtomicU64,
}

/// The content that the next write gives the file.
struct Wanted {
    snapshot: Arc<Snapshot>,
    /// The changes that the file holds before the ledger does.
    ahead: Mutex<BTreeMap<LimitKey, LimitState>>,
    /// Counts the changes of both.
    changes: AtomicU64,
}

/// A change that the file holds and the ledger does not have yet. Dropped, it is removed from the file with the next write.
pub(super) struct SavedAhead<'a> {
    wanted: &'a Wanted,
    key: LimitKey,
}

impl Saver {
    pub(super) fn new(snapshot: Arc<Snapshot>, file: Option<LockedFile>) -> Self {
        let wanted = Wanted { snapshot, ahead: Mutex::default(), changes: AtomicU64::new(0) };
        Self {
            file,
            wanted: Arc::new(wanted),
            saved: tokio::sync::Mutex::default(),
            is_seeded: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            counts: Arc::default(),
        }
    }

    pub(super) fn counts(&self) -> Arc<SaveCounts> {
        Arc::clone(&self.counts)
    }

    /// Whether changes are saved before they are made.
    pub(super) fn saves_ahead(&self) -> bool {
        self.lasting_file().is_some()
    }

    /// The file, if the definitions last nowhere else.
    fn lasting_file(&self) -> Option<&LockedFile> {
        self.file.as_ref().filter(|file| !file.is_copy())
    }

    /// The snapshot has every limit that the file had at the start.
    pub(super) fn seeded(&self) {
        self.is_seeded.store(true, Ordering::SeqCst);
    }

    /// The snapshot has a new version.
    pub(super) fn version_read(&self) {
        self.wanted.changed();
    }

    /// Saves the state that a change is about to give a limit, if it lasts nowhere else. The caller holds the lock of the key.
    pub(super) async fn save_ahead(&self, state: &LimitState) -> Result<Option<SavedAhead<'_>>, FileError> {
        let Some(file) = self.lasting_file() else { return Ok(None) };
        if !self.is_seeded.load(Ordering::SeqCst) {
            return Err(file.not_read_yet());
        }
        let ahead = SavedAhead::new(&self.wanted, state.clone());
        let change = self.wanted.changed();
        let mut saved = self.saved.lock().await;
        if *saved < change
            && let Err(error) = self.write(file, &mut saved).await
        {
            // This ends before the lock is free, because the next write must not hold the change that failed.
            drop(ahead);
            return Err(error);
        }
        Ok(Some(ahead))
    }

    /// Brings the file up to date, if its limits are in the ledger. A failure is logged; the next call tries again.
    pub(super) async fn save(&self) {
        let Some(file) = self.file.as_ref().filter(|_| self.is_seeded.load(Ordering::SeqCst)) else { return };
        let mut saved = self.saved.lock().await;
        if *saved >= self.wanted.changes.load(Ordering::SeqCst) {
            return;
        }
        match self.write(file, &mut saved).await {
            Ok(()) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the registry file is up to date again");
                }
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        error = with_sources(&error),
                        "the registry file cannot be brought up to date; trying again"
                    );
                }
            }
        }
    }

    async fn write(&self, file: &LockedFile, saved: &mut u64) -> Result<(), FileError> {
        // Read before the write begins, so that the file holds at least these changes.
        let changes = self.wanted.changes.load(Ordering::SeqCst);
        let wanted = Arc::clone(&self.wanted);
        let written = file.write(move || wanted.states()).await;
        let count = if written.is_ok() { &self.counts.written } else { &self.counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
        written?;
        *saved = changes;
        Ok(())
    }
}

impl SaveCounts {
    /// The writes that succeeded.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// The writes that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Wanted {
    /// Counts a change; returns the number of changes.
    fn changed(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn lock_ahead(&self) -> MutexGuard<'_, BTreeMap<LimitKey, LimitState>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits of operators as the changes ahead will leave them, sorted by key.
    fn states(&self) -> Vec<LimitState> {
        // Read before the snapshot: a change that is made between the two readings is then in both, and not in neither.
        let ahead = self.lock_ahead().clone();
        let mut states = self.snapshot.states();
        if ahead.is_empty() {
            return states;
        }
        states.retain(|state| !ahead.contains_key(&state.definition.key));
        states.extend(ahead.into_values().filter(|state| state.status != Status::Deleted));
        states.sort_unstable_by(|a, b| a.definition.key.cmp(&b.definition.key));
        states
    }
}

impl<'a> SavedAhead<'a> {
    fn new(wanted: &'a Wanted, state: LimitState) -> Self {
        let key = state.definition.key.clone();
        wanted.lock_ahead().insert(key.clone(), state);
        Self { wanted, key }
    }
}

impl Drop for SavedAhead<'_> {
    fn drop(&mut self) {
        self.wanted.lock_ahead().remove(&self.key);
        self.wanted.changed();
    }
}
