//! The snapshot: the newest known version of each limit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hashbrown::DefaultHashBuilder;

use super::entry::Entry;
use super::filter::KeyRange;
use super::refill_clock::RefillClock;
use super::templates::Templates;
use crate::decide::Limit;
use crate::decide::definition_codec::DefinitionVersion;
use crate::decide::ids::Ids;
use crate::decide::schedule::Schedule;
use crate::limit::{LimitKey, LimitState, Status};

/// The newest known version of each limit, deleted ones included. Reads take no lock.
#[derive(Default)]
pub(crate) struct Snapshot {
    limits: papaya::HashMap<LimitKey, Arc<Entry>, DefaultHashBuilder>,
    /// The limits with a waiting decrease. Its lock also serialises changes of the map.
    decreasing: Mutex<BTreeSet<LimitKey>>,
    templates: Templates,
    waiters: OnceLock<Arc<dyn Waiters>>,
    /// If somebody looks for crossed thresholds: the limits with alerts that were used, each once.
    used_with_alerts: OnceLock<Mutex<Vec<Arc<Entry>>>>,
}

/// Those who wait for limits in this process.
pub(crate) trait Waiters: Send + Sync {
    /// This process has read a new version of the limit.
    fn defined(&self, key: &LimitKey);
    /// The units of the limit that are waited for.
    fn units(&self, key: &LimitKey) -> u128;
}

impl Snapshot {
    /// Tells `waiters` of every new version from now on. Only the first ones are told.
    pub(super) fn set_waiters(&self, waiters: Arc<dyn Waiters>) {
        self.waiters.get_or_init(|| waiters);
    }

    /// The units of a limit that are waited for in this process.
    pub(super) fn waiting(&self, key: &LimitKey) -> u128 {
        self.waiters.get().map_or(0, |waiters| waiters.units(key))
    }

    /// Records that a caller used the limit.
    pub(crate) fn note_use(&self, entry: &Arc<Entry>) {
        entry.mark_used();
        self.note_usage_changed(entry);
    }

    /// Records that the usage of the limit may have changed.
    pub(crate) fn note_usage_changed(&self, entry: &Arc<Entry>) {
        if entry.tells_of_use()
            && let Some(used) = self.used_with_alerts.get()
            && entry.begins_use()
        {
            used.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(entry));
        }
    }

    /// The limits with alerts whose usage may have changed since the last call. None are noted before the first call.
    pub(crate) fn take_used_with_alerts(&self) -> Vec<Arc<Entry>> {
        let used = self.used_with_alerts.get_or_init(Mutex::default);
        let used = std::mem::take(&mut *used.lock().unwrap_or_else(PoisonError::into_inner));
        used.iter().for_each(|entry| entry.await_use());
        used
    }

    /// The newest known version of a limit, even if it is deleted.
    pub(crate) fn get(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        self.limits.pin().get(key).cloned()
    }

    /// The newest known versions of several limits, in the order of the keys.
    pub(crate) fn get_all<'a, B: FromIterator<Option<Arc<Entry>>>>(
        &self,
        keys: impl Iterator<Item = &'a LimitKey>,
    ) -> B {
        let limits = self.limits.pin();
        keys.map(|key| limits.get(key).cloned()).collect()
    }

    /// The most specific template that matches a key.
    pub(crate) fn template_of(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        self.templates.find(key)
    }

    /// Counts the changes of templates.
    pub(crate) fn template_changes(&self) -> u64 {
        self.templates.changes()
    }

    /// Removes this version of an instance. The ledger still has it; it is read again at its next use.
    pub(crate) fn forget(&self, entry: &Arc<Entry>) {
        let is_same = |_: &LimitKey, known: &Arc<Entry>| Arc::ptr_eq(known, entry);
        let mut decreasing = self.decreasing.lock().unwrap_or_else(PoisonError::into_inner);
        // A newer version that arrived meanwhile stays.
        if let Ok(Some((key, _))) = self.limits.pin().remove_if(entry.key(), is_same) {
            decreasing.remove(key);
        }
    }

    /// The instances that nobody has used since the last call, sorted by key. An instance with a waiting decrease is left out.
    pub(crate) fn take_idle_instances(&self) -> Vec<Arc<Entry>> {
        let limits = self.limits.pin();
        let is_idle = |entry: &&Arc<Entry>| match entry.limit.state.status {
            Status::Active | Status::Deleted | Status::Retired => entry.is_instance() && !entry.take_used(),
            Status::Decreasing { .. } => false,
        };
        let mut idle: Vec<_> = limits.values().filter(is_idle).cloned().collect();
        idle.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        idle
    }

    /// How many limits are known, deleted ones included.
    pub(crate) fn len(&self) -> usize {
        self.limits.len()
    }

    /// The first `count_max` definitions of operators in a range of keys for which `allows` holds, sorted by key. Deleted
    /// ones are left out.
    pub(crate) fn list(
        &self,
        range: &KeyRange,
        count_max: usize,
        allows: impl Fn(&LimitKey) -> bool,
    ) -> Vec<Arc<Entry>> {
        let limits = self.limits.pin();
        let is_listed = |entry: &&Arc<Entry>| {
            let is_gone = entry.limit.state.status.is_gone();
            !is_gone && !entry.is_instance() && range.holds(entry.key()) && allows(entry.key())
        };
        let mut list: Vec<_> = limits.values().filter(is_listed).cloned().collect();
        let by_key = |a: &Arc<Entry>, b: &Arc<Entry>| a.key().cmp(b.key());
        // A page of few among many limits sorts these few.
        if count_max < list.len() {
            list.select_nth_unstable_by(count_max, by_key);
            list.truncate(count_max);
        }
        list.sort_unstable_by(by_key);
        list
    }

    /// The limits whose keys `allows` holds for, deleted ones and instances included.
    pub(crate) fn matching(&self, allows: impl Fn(&LimitKey) -> bool) -> Vec<Arc<Entry>> {
        self.limits.pin().values().filter(|entry| allows(entry.key())).cloned().collect()
    }

    /// The states of all definitions of operators, sorted by key. Deleted ones are left out.
    pub(crate) fn states(&self) -> Vec<LimitState> {
        let all = self.list(&KeyRange::default(), usize::MAX, |_| true);
        all.iter().map(|entry| entry.limit.state.clone()).collect()
    }

    /// The limits with a waiting decrease.
    pub(crate) fn decreasing(&self) -> Vec<LimitKey> {
        self.decreasing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes a version, unless the same or a newer one is known.
    pub(crate) fn apply(&self, ids: Ids, version: DefinitionVersion) {
        let key = version.state.definition.key.clone();
        // Held throughout: the follower and a reader of an instance may bring versions of one key at the same time.
        let mut decreasing = self.decreasing.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = self.limits.pin();
        let known = limits.get(&key);
        if known.is_some_and(|entry| entry.limit.version >= version.number) {
            return;
        }
        let same_accounts =
            known.filter(|entry| entry.limit.state.accounts_since == version.state.accounts_since);
        let (account, debt_account) = same_accounts.map_or_else(
            || (ids.limit_of(&version.state), ids.debt(&key)),
            |entry| (entry.limit.account, entry.limit.debt_account),
        );
        match version.state.status {
            Status::Decreasing { .. } => decreasing.insert(key.clone()),
            Status::Active | Status::Deleted | Status::Retired => decreasing.remove(&key),
        };
        let schedule = Schedule::of_version(ids, known.map(|entry| &entry.limit), &version);
        let clock = clock_of(known.map(|entry| &**entry), schedule.as_deref());
        let limit = Limit { version: version.number, state: version.state, account, debt_account, schedule };
        let entry = Arc::new(Entry::new(limit, clock));
        // A lower capacity may have made a bucket full.
        entry.note_given_back();
        limits.insert(key, Arc::clone(&entry));
        // With another capacity, the same usage may cross a threshold.
        self.note_usage_changed(&entry);
        self.templates.apply(&entry);
        drop(decreasing);
        if let Some(waiters) = self.waiters.get() {
            waiters.defined(entry.key());
        }
    }
}

/// What is known of the refill clock of a new version. A version that replaces a schedule may have advanced the
/// clock, so its value is read again. Once the memory ledger has forgotten the trace, a refill from an older value
/// would repeat earlier refills.
fn clock_of(known: Option<&Entry>, schedule: Option<&Schedule>) -> Option<Arc<RefillClock>> {
    let known_clock = known.and_then(Entry::shared_clock);
    let replaces = schedule.is_some_and(|new| known.and_then(|it| it.limit.schedule.as_deref()) != Some(new));
    match (known_clock, schedule) {
        (Some(clock), Some(schedule)) if replaces => Some(Arc::new(clock.of_next(schedule))),
        (Some(clock), _) => Some(clock),
        (None, schedule) => schedule.map(|schedule| Arc::new(RefillClock::new(schedule))),
    }
}
