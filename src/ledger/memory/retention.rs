//! The queues of families that wait for their removal.

use std::collections::{BTreeMap, VecDeque};

use super::slots::FamilySlot;

/// Which families to remove, and when. An entry may be outdated: its family has pending transfers again,
/// finishes at another moment, or was removed.
#[derive(Default)]
pub(super) struct Retention {
    /// The leases that finished, and when, oldest first.
    finished: VecDeque<Finished>,
    /// The leases that were denied, oldest first. A queue of their own, so that a flood of denials removes no granted lease.
    denied: VecDeque<Finished>,
    /// The families that will finish, by that moment.
    finishing: BTreeMap<u64, Vec<FamilySlot>>,
}

/// A queue with less room than this never gives memory back.
const SPARSE_MIN: usize = 4_096;

/// A family, and when it finished.
pub(super) type Finished = (FamilySlot, u64);

/// What a family that finishes is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its id failed, and nothing else is stored of it.
    Denied,
    /// Nothing of it is pending any more.
    Finished,
}

impl Retention {
    /// Enters a family that finishes at `finished_at_ns`, which is `now_ns` or later.
    pub(super) fn schedule(&mut self, family: FamilySlot, end: End, finished_at_ns: u64, now_ns: u64) {
        if finished_at_ns > now_ns {
            self.finishing.entry(finished_at_ns).or_default().push(family);
            return;
        }
        match end {
            End::Denied => self.denied.push_back((family, finished_at_ns)),
            End::Finished => self.finished.push_back((family, finished_at_ns)),
        }
    }

    /// Takes the next entry that finished before `until_ns`, or that is one of more than `denied_max` denied leases.
    pub(super) fn pop_due(&mut self, now_ns: u64, until_ns: u64, denied_max: usize) -> Option<Finished> {
        while let Some(first) = self.finishing.first_entry().filter(|first| *first.key() <= now_ns) {
            let (finished_at_ns, families) = first.remove_entry();
            self.finished.extend(families.into_iter().map(|family| (family, finished_at_ns)));
        }
        let is_due = |&(_, finished_at_ns): &Finished| finished_at_ns <= until_ns;
        if self.denied.len() > denied_max || self.denied.front().is_some_and(is_due) {
            pop_front(&mut self.denied)
        } else if self.finished.front().is_some_and(is_due) {
            pop_front(&mut self.finished)
        } else {
            None
        }
    }

    /// Takes the entry of the lease that finished first; of a denied one only if there is no other.
    pub(super) fn pop_oldest(&mut self) -> Option<Finished> {
        pop_front(&mut self.finished).or_else(|| pop_front(&mut self.denied))
    }
}

/// Takes the first entry. A queue that has become much shorter gives memory back.
fn pop_front(queue: &mut VecDeque<Finished>) -> Option<Finished> {
    let first = queue.pop_front();
    if queue.capacity() > SPARSE_MIN && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
    first
}
