//! The definitions: a snapshot to read without a lock, kept up to date from the ledger's log, and a copy in a file.

mod clock;
pub mod file;
mod follow;
mod templates;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::DefaultHashBuilder;

pub use clock::KnownClock;
pub use follow::{Follower, RefreshError};

use templates::Templates;

use crate::decide::Limit;
use crate::decide::ids::Ids;
use crate::decide::record::Version;
use crate::decide::schedule::Schedule;
use crate::limit::{LimitKey, LimitState, Status};

/// The newest version of every limit, deleted ones included.
#[derive(Default)]
pub struct Registry {
    limits: papaya::HashMap<LimitKey, Arc<Entry>, DefaultHashBuilder>,
    decreasing: Mutex<BTreeSet<LimitKey>>,
    templates: Templates,
}

/// A limit, and how often in a row it denied.
#[derive(Debug)]
pub struct Entry {
    /// The limit.
    pub limit: Limit,
    denials_in_a_row: AtomicU32,
    /// Of a limit that has or had a schedule.
    clock: Option<Arc<KnownClock>>,
    /// Of a limit that a template made, the state of the templates that it was compared with.
    followed: AtomicU64,
    /// Whether it was asked for since [`Registry::forget_idle`] came by.
    asked_for: AtomicBool,
}

impl Registry {
    /// The newest version of a limit that was ever defined, even if it was deleted since.
    pub fn get(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        self.limits.pin().get(key).cloned()
    }

    /// The same for several limits, each in its place.
    pub fn get_all<'a, B: FromIterator<Option<Arc<Entry>>>>(
        &self,
        keys: impl Iterator<Item = &'a LimitKey>,
    ) -> B {
        let limits = self.limits.pin();
        keys.map(|key| limits.get(key).cloned()).collect()
    }

    /// The definition that is for a key by its template, unless it has one of its own.
    pub fn template_of(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        self.templates.find(key)
    }

    /// Counts the changes of templates.
    pub(crate) fn templates_changed(&self) -> u64 {
        self.templates.changed()
    }

    /// Forgets a limit that a template made; the ledger has it still.
    pub(crate) fn forget(&self, entry: &Arc<Entry>) {
        let is_it = |_: &LimitKey, known: &Arc<Entry>| Arc::ptr_eq(known, entry);
        let mut decreasing = self.decreasing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another version of it may have come meanwhile, and stays.
        if let Ok(Some((key, _))) = self.limits.pin().remove_if(entry.key(), is_it) {
            decreasing.remove(key);
        }
    }

    /// Forgets the limits made by templates that nobody has asked for since this was last called. One whose decrease waits
    /// stays until that is applied.
    pub fn forget_idle(&self) {
        let limits = self.limits.pin();
        for entry in limits.values().filter(|entry| entry.limit.state.origin.is_some()) {
            let is_idle = !entry.asked_for.swap(false, Ordering::Relaxed);
            if is_idle && entry.limit.state.status == Status::Active {
                self.forget(entry);
            }
        }
    }

    /// How many limits are known here, deleted ones included.
    pub fn known(&self) -> usize {
        self.limits.len()
    }

    /// Every definition of an operator that is not deleted, sorted by key.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let limits = self.limits.pin();
        let is_listed = |entry: &&Arc<Entry>| {
            let state = &entry.limit.state;
            state.status != Status::Deleted && state.origin.is_none()
        };
        let mut list: Vec<_> = limits.values().filter(is_listed).cloned().collect();
        list.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        list
    }

    /// The state of every limit that is not deleted, sorted by key.
    pub fn states(&self) -> Vec<LimitState> {
        self.list().iter().map(|entry| entry.limit.state.clone()).collect()
    }

    /// The limits whose decrease waits to be applied.
    pub fn decreasing(&self) -> Vec<LimitKey> {
        self.decreasing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes a version in, unless a newer one is known.
    pub(crate) fn learn(&self, ids: Ids, version: Version) {
        let key = version.state.definition.key.clone();
        // For all of it: the follower and whoever reads an instance may come with versions of one key at once.
        let mut decreasing = self.decreasing.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = self.limits.pin();
        let known = limits.get(&key);
        if known.is_some_and(|entry| entry.limit.version >= version.number) {
            return;
        }
        let (account, debt_account) = known
            .map_or_else(|| (ids.limit(&key), ids.debt(&key)), |e| (e.limit.account, e.limit.debt_account));
        match version.state.status {
            Status::Decreasing { .. } => decreasing.insert(key.clone()),
            Status::Active | Status::Deleted => decreasing.remove(&key),
        };
        let schedule = Schedule::of_version(ids, known.map(|entry| &entry.limit), &version);
        let known_clock = known.and_then(|entry| entry.clock.clone());
        let clock = known_clock.or_else(|| schedule.as_ref().map(|_| Arc::default()));
        let limit = Limit { version: version.number, state: version.state, account, debt_account, schedule };
        let entry = Arc::new(Entry::new(limit, clock));
        limits.insert(key, Arc::clone(&entry));
        self.templates.learn(&entry);
    }
}

impl Entry {
    fn new(limit: Limit, clock: Option<Arc<KnownClock>>) -> Self {
        Self {
            limit,
            denials_in_a_row: AtomicU32::new(0),
            clock,
            followed: AtomicU64::new(0),
            asked_for: AtomicBool::new(true),
        }
    }

    /// Whether it is what it should be by the templates as they are now. Asking counts as asking for the limit.
    pub(crate) fn is_current(&self, templates_changed: u64) -> bool {
        if self.limit.state.origin.is_none() {
            return true;
        }
        if !self.asked_for.load(Ordering::Relaxed) {
            self.asked_for.store(true, Ordering::Relaxed);
        }
        self.followed.load(Ordering::Relaxed) >= templates_changed
    }

    /// Whether it takes reservations, and is what it should be by the templates as they are now.
    pub(crate) fn is_in_force(&self, templates_changed: u64) -> bool {
        self.is_current(templates_changed) && self.limit.state.status != Status::Deleted
    }

    /// It is what it should be by the templates as they were then.
    pub(crate) fn set_current(&self, templates_changed: u64) {
        self.followed.fetch_max(templates_changed, Ordering::Relaxed);
    }

    /// The limit's name.
    pub fn key(&self) -> &LimitKey {
        &self.limit.state.definition.key
    }

    /// Whether something of it may have come back by its schedule that this process has not seen to.
    pub fn is_due(&self, now_ns: u64) -> bool {
        let schedule = self.limit.schedule.as_ref();
        let known_ms = || self.clock().map_or(0, KnownClock::known_ms);
        schedule.is_some_and(|schedule| !schedule.is_up_to_date(known_ms(), now_ns))
    }

    /// What is known of where its clock stands, if it has a schedule.
    pub(crate) fn clock(&self) -> Option<&KnownClock> {
        self.clock.as_deref()
    }

    /// Counts a denial; answers how many came before it in a row.
    pub fn denied(&self) -> u32 {
        self.denials_in_a_row.fetch_add(1, Ordering::Relaxed)
    }

    /// How many denials there were in a row.
    pub fn denials_in_a_row(&self) -> u32 {
        self.denials_in_a_row.load(Ordering::Relaxed)
    }

    /// Ends a row of denials.
    pub fn granted(&self) {
        // Reading first keeps the line shared among the cores that grant.
        if self.denials_in_a_row() != 0 {
            self.denials_in_a_row.store(0, Ordering::Relaxed);
        }
    }
}
