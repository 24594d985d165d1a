//! Which replica serves a lease: what the answer to its reserve said, to send along with its later calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limit::LeaseId;

/// The most leases that are remembered; the oldest go first. Without it a service asks its peers.
const LEASES_MAX: usize = 65_536;

/// The replicas that serve the leases of this client.
#[derive(Debug, Default)]
pub(super) struct ServedBy(Mutex<BTreeMap<LeaseId, Arc<str>>>);

impl ServedBy {
    /// Notes what the answer to a reserve said.
    pub(super) fn note(&self, lease: LeaseId, url: Option<&str>) {
        let Some(url) = url else { return };
        let mut leases = self.lock();
        // A client meets few replicas.
        let known = leases.last_key_value().map(|(_, known)| known).filter(|known| &***known == url);
        let url = known.map_or_else(|| url.into(), Arc::clone);
        leases.insert(lease, url);
        if leases.len() > LEASES_MAX {
            leases.pop_first();
        }
    }

    /// The replica that serves a lease, if it is known.
    pub(super) fn of(&self, lease: LeaseId) -> Option<String> {
        self.lock().get(&lease).map(ToString::to_string)
    }

    /// The lease is settled.
    pub(super) fn forget(&self, lease: LeaseId) {
        self.lock().remove(&lease);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(number: usize) -> LeaseId {
        LeaseId::from_ulid(ulid::Ulid(number as u128 + 1)).expect("not zero")
    }

    #[test]
    fn the_oldest_leases_are_forgotten_first() {
        let served_by = ServedBy::default();
        for number in 0..=LEASES_MAX {
            served_by.note(lease(number), Some("http://a"));
        }
        served_by.note(lease(LEASES_MAX + 1), None);
        assert_eq!(served_by.of(lease(0)), None);
        assert_eq!(served_by.of(lease(1)).as_deref(), Some("http://a"));
        assert_eq!(served_by.of(lease(LEASES_MAX + 1)), None, "no replica serves it");
        served_by.forget(lease(1));
        assert_eq!(served_by.of(lease(1)), None);
    }
}
