use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::state::JobNumber;
use crate::limit::LimitKey;

/// The limits that denied a job and are not asked again until their hint is over: behind a denial every job that needs
/// the same limit waits, instead of being denied on its own.
#[derive(Default)]
pub(super) struct Gates {
    closed: BTreeMap<LimitKey, Gate>,
    openings: BTreeSet<(Instant, LimitKey)>,
}

struct Gate {
    opens_at: Instant,
    waiting: BTreeSet<JobNumber>,
}

impl Gates {
    /// Closes the gate of a limit; one that is closed stays so at least as long as it was to.
    pub(super) fn close(&mut self, key: &LimitKey, opens_at: Instant) {
        let gate =
            self.closed.entry(key.clone()).or_insert_with(|| Gate { opens_at, waiting: BTreeSet::new() });
        self.openings.remove(&(gate.opens_at, key.clone()));
        gate.opens_at = gate.opens_at.max(opens_at);
        self.openings.insert((gate.opens_at, key.clone()));
    }

    /// The first of the keys whose gate is closed.
    pub(super) fn closed<'a>(&self, keys: &'a [LimitKey]) -> Option<&'a LimitKey> {
        keys.iter().find(|key| self.closed.contains_key(*key))
    }

    /// A job waits until the gate opens.
    pub(super) fn wait(&mut self, key: &LimitKey, job: JobNumber) {
        if let Some(gate) = self.closed.get_mut(key) {
            gate.waiting.insert(job);
        }
    }

    /// A job waits no more.
    pub(super) fn leave(&mut self, key: &LimitKey, job: JobNumber) {
        if let Some(gate) = self.closed.get_mut(key) {
            gate.waiting.remove(&job);
        }
    }

    /// Opens what is due and answers who waited there.
    pub(super) fn open_due(&mut self, now: Instant) -> BTreeSet<JobNumber> {
        let mut released = BTreeSet::new();
        while let Some((opens_at, key)) = self.openings.pop_first() {
            if opens_at > now {
                self.openings.insert((opens_at, key));
                break;
            }
            released.extend(self.closed.remove(&key).into_iter().flat_map(|gate| gate.waiting));
        }
        released
    }

    /// When the next gate opens.
    pub(super) fn next_opening(&self) -> Option<Instant> {
        self.openings.first().map(|(opens_at, _)| *opens_at)
    }
}
