use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use hashbrown::DefaultHashBuilder;

use super::link::Link;
use super::made::Made;
use super::transfers::Transfers;

/// The pending transfers that come back by themselves.
///
/// Time only goes forward, so those of one timeout expire in the order in which they were made: each timeout has a list
/// that is joined at its end and may be left anywhere, at no cost that grows with its length. What is looked at to learn
/// whether anything is due is a heap with one entry per list.
#[derive(Default)]
pub(super) struct Expiries {
    lists: HashMap<u32, List, DefaultHashBuilder>,
    /// For each list, a moment before which nothing of it is due, and its timeout.
    next: BinaryHeap<Reverse<(u64, u32)>>,
}

struct List {
    first: Link,
    last: Link,
}

impl Expiries {
    /// The next transfer that is due, taken out of its list.
    pub(super) fn pop_due(&mut self, transfers: &mut Transfers, now_ns: u64) -> Option<u32> {
        while let Some(&Reverse((due_ns, timeout_seconds))) = self.next.peek()
            && due_ns <= now_ns
        {
            let list = self.lists.get_mut(&timeout_seconds);
            let Some((list, first)) = list.and_then(|list| list.first.get().map(|first| (list, first)))
            else {
                self.next.pop();
                self.lists.remove(&timeout_seconds);
                continue;
            };
            let made = transfers.made(first);
            match made.expires_at_ns() {
                Some(expires_at_ns) if expires_at_ns > now_ns => self.look_again(expires_at_ns),
                Some(_) | None => {
                    list.first = made.behind;
                    match made.behind.get() {
                        Some(behind) => transfers.made_mut(behind).before = Link::NONE,
                        None => list.last = Link::NONE,
                    }
                    return Some(first);
                }
            }
        }
        None
    }

    /// Nothing of the list that is looked at next is due before this moment.
    fn look_again(&mut self, due_ns: u64) {
        if let Some(mut next) = self.next.peek_mut() {
            next.0.0 = due_ns;
        }
    }

    /// Puts a transfer that was just made at the end of its list.
    pub(super) fn join(&mut self, transfers: &mut Transfers, timeout_seconds: u32, index: u32) {
        let next = &mut self.next;
        let list = self.lists.entry(timeout_seconds).or_insert_with(|| {
            let expires_at_ns = transfers.made(index).expires_at_ns().unwrap_or(u64::MAX);
            next.push(Reverse((expires_at_ns, timeout_seconds)));
            List { first: Link::NONE, last: Link::NONE }
        });
        transfers.made_mut(index).before = list.last;
        match list.last.get() {
            Some(last) => transfers.made_mut(last).behind = Link::to(index),
            None => list.first = Link::to(index),
        }
        list.last = Link::to(index);
    }

    /// Takes a transfer out. It keeps the names of its neighbours, so that [`Expiries::rejoin`] can undo this.
    pub(super) fn leave(&mut self, transfers: &mut Transfers, timeout_seconds: u32, index: u32) {
        let &Made { before, behind, .. } = transfers.made(index);
        self.connect(transfers, timeout_seconds, before, behind, before, behind);
    }

    /// Puts a transfer back between the neighbours that it had, if nothing but what has been undone happened since.
    pub(super) fn rejoin(&mut self, transfers: &mut Transfers, timeout_seconds: u32, index: u32) {
        let &Made { before, behind, .. } = transfers.made(index);
        self.connect(transfers, timeout_seconds, before, behind, Link::to(index), Link::to(index));
    }

    /// Makes `to_before` what stands before `behind`, and `to_behind` what stands behind `before`.
    fn connect(
        &mut self,
        transfers: &mut Transfers,
        timeout_seconds: u32,
        before: Link,
        behind: Link,
        to_before: Link,
        to_behind: Link,
    ) {
        if let Some(before) = before.get() {
            transfers.made_mut(before).behind = to_behind;
        } else if let Some(list) = self.lists.get_mut(&timeout_seconds) {
            list.first = to_behind;
        }
        if let Some(behind) = behind.get() {
            transfers.made_mut(behind).before = to_before;
        } else if let Some(list) = self.lists.get_mut(&timeout_seconds) {
            list.last = to_before;
        }
    }
}
