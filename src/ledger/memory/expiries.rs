//! The pending transfers that expire, in the order in which they do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use hashbrown::DefaultHashBuilder;

use super::slots::TransferSlot;
use super::stored_transfer::StoredTransfer;
use super::transfers::Transfers;

/// A list of pending transfers for each timeout.
///
/// Time never goes back, so transfers of one timeout expire in the order of their creation: a new one is
/// appended to its list. The lists are doubly linked through the transfers, so that removing one costs the
/// same however long its list is. A heap with one entry for each list tells which list has something due.
/// With one `BTreeSet` for all, a four-limit reserve and complete took 43 % longer
/// (`scripts/bench --only pairs`).
#[derive(Default)]
pub(super) struct Expiries {
    lists: HashMap<u32, List, DefaultHashBuilder>,
    /// For each list, a moment before which none of its transfers expires, and its timeout in seconds.
    due: BinaryHeap<Reverse<(u64, u32)>>,
}

#[derive(Default)]
struct List {
    first: Option<TransferSlot>,
    last: Option<TransferSlot>,
}

impl Expiries {
    /// Removes a transfer that expired by `now_ns` from its list, and returns it.
    pub(super) fn pop_due(&mut self, transfers: &mut Transfers, now_ns: u64) -> Option<TransferSlot> {
        while let Some(&Reverse((due_ns, timeout_seconds))) = self.due.peek()
            && due_ns <= now_ns
        {
            let list = self.lists.get_mut(&timeout_seconds);
            let Some((list, first)) = list.and_then(|list| list.first.map(|first| (list, first))) else {
                self.due.pop();
                self.lists.remove(&timeout_seconds);
                continue;
            };
            let transfer = transfers.get(first);
            match transfer.expires_at_ns() {
                Some(expires_at_ns) if expires_at_ns > now_ns => self.set_first_due(expires_at_ns),
                Some(_) | None => {
                    list.first = transfer.next_expiring;
                    match transfer.next_expiring {
                        Some(next) => transfers.get_mut(next).previous_expiring = None,
                        None => list.last = None,
                    }
                    return Some(first);
                }
            }
        }
        None
    }

    /// The pending transfers that expire, in any order.
    pub(super) fn iter<'a>(
        &'a self,
        transfers: &'a Transfers,
    ) -> impl Iterator<Item = &'a StoredTransfer> + 'a {
        let next = |slot: &TransferSlot| transfers.get(*slot).next_expiring;
        let slots = self.lists.values().flat_map(move |list| std::iter::successors(list.first, next));
        slots.map(|slot| transfers.get(slot))
    }

    /// Sets the due time of the list that is first in the heap.
    fn set_first_due(&mut self, due_ns: u64) {
        if let Some(mut first) = self.due.peek_mut() {
            first.0.0 = due_ns;
        }
    }

    /// Appends a transfer that was just created to the list of its timeout.
    pub(super) fn append(&mut self, transfers: &mut Transfers, timeout_seconds: u32, slot: TransferSlot) {
        let due = &mut self.due;
        let list = self.lists.entry(timeout_seconds).or_insert_with(|| {
            let expires_at_ns = transfers.get(slot).expires_at_ns().unwrap_or(u64::MAX);
            due.push(Reverse((expires_at_ns, timeout_seconds)));
            List::default()
        });
        transfers.get_mut(slot).previous_expiring = list.last;
        match list.last {
            Some(last) => transfers.get_mut(last).next_expiring = Some(slot),
            None => list.first = Some(slot),
        }
        list.last = Some(slot);
    }

    /// Removes a transfer from its list. The transfer keeps its neighbours for [`Expiries::restore`].
    pub(super) fn remove(&mut self, transfers: &mut Transfers, timeout_seconds: u32, slot: TransferSlot) {
        let &StoredTransfer { previous_expiring: previous, next_expiring: next, .. } = transfers.get(slot);
        self.set_next_of(transfers, timeout_seconds, previous, next);
        self.set_previous_of(transfers, timeout_seconds, next, previous);
    }

    /// Undoes [`Expiries::remove`]. Every change of the list since then must have been undone before.
    pub(super) fn restore(&mut self, transfers: &mut Transfers, timeout_seconds: u32, slot: TransferSlot) {
        let &StoredTransfer { previous_expiring: previous, next_expiring: next, .. } = transfers.get(slot);
        self.set_next_of(transfers, timeout_seconds, previous, Some(slot));
        self.set_previous_of(transfers, timeout_seconds, next, Some(slot));
    }

    /// Sets what follows a transfer, or what is first in the list if there is none.
    fn set_next_of(
        &mut self,
        transfers: &mut Transfers,
        timeout_seconds: u32,
        previous: Option<TransferSlot>,
        next: Option<TransferSlot>,
    ) {
        if let Some(previous) = previous {
            transfers.get_mut(previous).next_expiring = next;
        } else if let Some(list) = self.lists.get_mut(&timeout_seconds) {
            list.first = next;
        }
    }

    /// Sets what precedes a transfer, or what is last in the list if there is none.
    fn set_previous_of(
        &mut self,
        transfers: &mut Transfers,
        timeout_seconds: u32,
        next: Option<TransferSlot>,
        previous: Option<TransferSlot>,
    ) {
        if let Some(next) = next {
            transfers.get_mut(next).previous_expiring = previous;
        } else if let Some(list) = self.lists.get_mut(&timeout_seconds) {
            list.last = previous;
        }
    }
}
