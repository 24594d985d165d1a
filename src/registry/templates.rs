//! The templates among the definitions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::entry::Entry;
use crate::limit::{KeyTemplate, LimitKey};

/// The templates, the most specific first. They are few, and they are searched only for a new key or after a template has
/// changed.
#[derive(Default)]
pub(super) struct Templates {
    active: RwLock<Vec<(KeyTemplate, Arc<Entry>)>>,
    changes: AtomicU64,
}

impl Templates {
    /// Takes a version of a definition, if it is a template.
    pub(super) fn apply(&self, entry: &Arc<Entry>) {
        let Some(template) = KeyTemplate::of(entry.key()) else { return };
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        active.retain(|(other, _)| *other != template);
        if !entry.limit.state.status.is_gone() {
            active.push((template, Arc::clone(entry)));
            active.sort_by_cached_key(|(template, _)| template.precedence());
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// The most specific template that matches a key.
    pub(super) fn find(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        let matching = active.iter().find(|(template, _)| template.matches(key));
        matching.map(|(_, entry)| Arc::clone(entry))
    }

    /// Counts the changes of templates.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}
