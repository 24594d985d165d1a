//! The right of one call to work on a lease. Other calls of the same lease wait until it is given back.

use super::Allotments;
use super::table::{Entry, State};
use crate::limit::LeaseId;

/// The right to work on a lease.
pub(super) struct Claim<'a> {
    allotments: &'a Allotments,
    lease: LeaseId,
    /// Whether the ledger may have been told of the lease. If not, a call that is given up leaves no entry.
    sent: bool,
}

impl<'a> Claim<'a> {
    /// The claim on a lease whose entry was just marked busy.
    pub(super) fn new(allotments: &'a Allotments, lease: LeaseId, sent: bool) -> Self {
        Self { allotments, lease, sent }
    }

    /// Changes the entry. The ledger may be told of the lease behind that.
    pub(super) fn send(&mut self, change: impl FnOnce(&mut Entry)) {
        self.sent = true;
        if let Some(entry) = self.allotments.table.lock(self.lease).get_mut(self.lease) {
            change(entry);
        }
    }

    /// Changes the entry, and gives the claim back.
    pub(super) fn finish(mut self, change: impl FnOnce(&mut Entry)) {
        self.send(change);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let table = &self.allotments.table;
        let mut shard = table.lock(self.lease);
        let sent = self.sent;
        shard.change(self.lease, |entry| {
            entry.busy = false;
            if !sent {
                entry.release_all();
            }
            ((), sent && entry.state.is_over())
        });
        if !sent {
            table.remove(&mut shard, self.lease);
        }
        drop(shard);
        // Also if the entry is gone: those that wait for it find that out.
        table.freed.notify_waiters();
    }
}

impl Entry {
    /// Releases everything that it holds of allotments.
    pub(super) fn release_all(&mut self) {
        for leg in &mut self.legs {
            leg.release(leg.units.units);
            leg.units.units = 0;
        }
    }

    /// It ends in this state; nothing of it is held in allotments.
    pub(super) fn end(&mut self, state: State) {
        self.release_all();
        self.state = state;
    }
}
