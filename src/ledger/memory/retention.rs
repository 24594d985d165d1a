//! The queue of families that wait for their removal.

use std::collections::{BTreeMap, VecDeque};

use super::slots::FamilySlot;

/// Which families to remove, and when. An entry may be outdated: its family has pending transfers again,
/// finishes at another moment, or was removed.
pub(super) struct Retention {
    retention_ns: u64,
    /// The families that finished, and when, oldest first.
    finished: VecDeque<(FamilySlot, u64)>,
    /// The families that will finish, by that moment.
    finishing: BTreeMap<u64, Vec<FamilySlot>>,
}

impl Retention {
    pub(super) fn new(retention_ns: u64) -> Self {
        Self { retention_ns, finished: VecDeque::new(), finishing: BTreeMap::new() }
    }

    /// Enters a family that finishes at `finished_at_ns`, which is `now_ns` or later.
    pub(super) fn schedule(&mut self, family: FamilySlot, finished_at_ns: u64, now_ns: u64) {
        if finished_at_ns > now_ns {
            self.finishing.entry(finished_at_ns).or_default().push(family);
        } else {
            self.finished.push_back((family, finished_at_ns));
        }
    }

    /// Takes the next entry whose retention is over: the family, and when it finished.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(FamilySlot, u64)> {
        while let Some(first) = self.finishing.first_entry().filter(|first| *first.key() <= now_ns) {
            let (finished_at_ns, families) = first.remove_entry();
            self.finished.extend(families.into_iter().map(|family| (family, finished_at_ns)));
        }
        let &(_, finished_at_ns) = self.finished.front()?;
        let is_due = finished_at_ns.saturating_add(self.retention_ns) <= now_ns;
        if is_due { self.finished.pop_front() } else { None }
    }
}
