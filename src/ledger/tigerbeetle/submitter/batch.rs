//! How chains are put into requests. Pure: no queue, no clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ledger::Chain;

/// How many transfers a request may have, as far as the ledger has shown: replicas in development mode take far fewer
/// than others, and say so only by refusing a request.
pub(super) struct LearnedMax(AtomicUsize);

impl LearnedMax {
    pub(super) fn new(transfers_max: usize) -> Self {
        Self(AtomicUsize::new(transfers_max))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A request of so many transfers was too large: the next are at most half of it.
    pub(super) fn too_many(&self, transfers: usize) {
        self.0.fetch_min((transfers / 2).max(1), Ordering::Relaxed);
    }
}

/// How many transfers chains have together.
pub(super) fn transfers(chains: &[Chain]) -> usize {
    chains.iter().map(|chain| chain.transfers().len()).sum()
}

/// How many of the chains, from the first on, make one request of at most `transfers_max` transfers: at least one, for a
/// chain is never split.
pub(super) fn fitting(chains: &[Chain], transfers_max: usize) -> usize {
    let mut room = transfers_max;
    let fits = |chain: &&Chain| {
        let fits = chain.transfers().len() <= room;
        room = room.saturating_sub(chain.transfers().len());
        fits
    };
    chains.iter().take_while(fits).count().max(1)
}

/// Splits chains into parts of at most `transfers_max` transfers, in order; a longer chain is a part of its own.
pub(super) fn split(mut chains: Vec<Chain>, transfers_max: usize) -> Vec<Vec<Chain>> {
    let mut parts = Vec::new();
    while !chains.is_empty() {
        let rest = chains.split_off(fitting(&chains, transfers_max).min(chains.len()));
        parts.push(std::mem::replace(&mut chains, rest));
    }
    parts
}
