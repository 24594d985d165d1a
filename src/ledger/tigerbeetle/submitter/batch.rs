//! Fits chains into requests. Pure: no queue, no clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ledger::Chain;

/// The most transfers in a request, as far as the ledger has shown it.
///
/// A replica in development mode takes far smaller requests than one in production, and tells so only by refusing one.
pub(super) struct LearnedMax(AtomicUsize);

impl LearnedMax {
    pub(super) fn new(transfers_max: usize) -> Self {
        Self(AtomicUsize::new(transfers_max))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Learns that a request of this many transfers was too large: from now on, requests have at most half as many.
    pub(super) fn refused(&self, transfers: usize) {
        self.0.fetch_min((transfers / 2).max(1), Ordering::Relaxed);
    }
}

/// The number of transfers in the chains.
pub(super) fn count_transfers(chains: &[Chain]) -> usize {
    chains.iter().map(|chain| chain.transfers().len()).sum()
}

/// How many of the chains, from the first on, fit into a request of at most `transfers_max` transfers. At least one,
/// because a chain is never split.
pub(super) fn count_fitting(chains: &[Chain], transfers_max: usize) -> usize {
    let mut room = transfers_max;
    let fits = |chain: &&Chain| {
        let fits = chain.transfers().len() <= room;
        room = room.saturating_sub(chain.transfers().len());
        fits
    };
    chains.iter().take_while(fits).count().max(1)
}

/// Splits chains into parts of at most `transfers_max` transfers, in order. A longer chain is a part of its own.
pub(super) fn split(mut chains: Vec<Chain>, transfers_max: usize) -> Vec<Vec<Chain>> {
    let mut parts = Vec::new();
    while !chains.is_empty() {
        let rest = chains.split_off(count_fitting(&chains, transfers_max).min(chains.len()));
        parts.push(std::mem::replace(&mut chains, rest));
    }
    parts
}
