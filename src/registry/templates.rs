use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::Entry;
use crate::limit::{KeyTemplate, LimitKey, Status};

/// The definitions whose keys are templates, the most specific first. They are few, and looked through only for a key
/// that is new here, or after one of them has changed.
#[derive(Default)]
pub(super) struct Templates {
    active: RwLock<Vec<(KeyTemplate, Arc<Entry>)>>,
    changed: AtomicU64,
}

impl Templates {
    /// Takes in a version of a definition, if it is that of a template.
    pub(super) fn learn(&self, entry: &Arc<Entry>) {
        let Some(template) = KeyTemplate::of(entry.key()) else { return };
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        active.retain(|(other, _)| *other != template);
        if entry.limit.state.status != Status::Deleted {
            active.push((template, Arc::clone(entry)));
            active.sort_by_cached_key(|(template, _)| template.precedence());
        }
        self.changed.fetch_add(1, Ordering::Release);
    }

    pub(super) fn find(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        let matching = active.iter().find(|(template, _)| template.matches(key));
        matching.map(|(_, entry)| Arc::clone(entry))
    }

    pub(super) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Acquire)
    }
}
