use std::collections::{HashMap, VecDeque};

use crate::ledger::TransferId;

/// Which transfers belong to which lease, and when a lease can be forgotten.
pub(super) struct Leases {
    retention_ns: u64,
    by_id: HashMap<u128, Lease>,
    /// Leases that were over at some time, oldest first. One that lives again is passed over when its turn comes.
    over: VecDeque<(u64, u128)>,
}

#[derive(Default)]
struct Lease {
    /// In the order they were made.
    transfers: Vec<TransferId>,
    burnt: Vec<TransferId>,
    held: u32,
    over_since_ns: u64,
}

impl Leases {
    pub(super) fn new(retention_ns: u64) -> Self {
        Self { retention_ns, by_id: HashMap::new(), over: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn transfers(&self, lease: u128) -> &[TransferId] {
        self.by_id.get(&lease).map_or(&[], |lease| &lease.transfers)
    }

    pub(super) fn add(&mut self, lease: u128, transfer: TransferId) {
        self.by_id.entry(lease).or_default().transfers.push(transfer);
    }

    pub(super) fn remove_newest(&mut self, lease: u128) {
        if let Some(entry) = self.by_id.get_mut(&lease) {
            entry.transfers.pop();
            if entry.transfers.is_empty() && entry.burnt.is_empty() {
                self.by_id.remove(&lease);
            }
        }
    }

    pub(super) fn add_burnt(&mut self, lease: u128, transfer: TransferId, now_ns: u64) {
        let entry = self.by_id.entry(lease).or_default();
        entry.burnt.push(transfer);
        if entry.held == 0 {
            entry.over_since_ns = now_ns;
            self.over.push_back((now_ns, lease));
        }
    }

    pub(super) fn opened_one(&mut self, lease: u128) {
        if let Some(entry) = self.by_id.get_mut(&lease) {
            entry.held += 1;
        }
    }

    pub(super) fn closed_one(&mut self, lease: u128, now_ns: u64) {
        if let Some(entry) = self.by_id.get_mut(&lease) {
            entry.held = entry.held.saturating_sub(1);
            if entry.held == 0 {
                entry.over_since_ns = now_ns;
                self.over.push_back((now_ns, lease));
            }
        }
    }

    /// Forgets one lease that has been over for long enough, and answers the ids it used.
    pub(super) fn forget_one(&mut self, now_ns: u64) -> Option<Vec<TransferId>> {
        while let Some(&(since_ns, lease)) = self.over.front() {
            if since_ns.saturating_add(self.retention_ns) > now_ns {
                return None;
            }
            self.over.pop_front();
            // Over again since, or alive: a later entry of the queue, or its next end, takes care of it.
            let is_due = |entry: &Lease| entry.held == 0 && entry.over_since_ns == since_ns;
            if self.by_id.get(&lease).is_some_and(is_due)
                && let Some(mut forgotten) = self.by_id.remove(&lease)
            {
                forgotten.transfers.append(&mut forgotten.burnt);
                return Some(forgotten.transfers);
            }
        }
        None
    }
}
