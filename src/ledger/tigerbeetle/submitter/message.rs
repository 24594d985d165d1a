use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::stats::SubmitterStats;
use crate::ledger::{Chain, ChainOutcome, LedgerError};

/// What one caller hands over: mostly one chain.
pub(super) type Chains = SmallVec<[Chain; 1]>;
/// What became of each chain of a message.
pub(super) type Outcomes = SmallVec<[Result<ChainOutcome, LedgerError>; 1]>;

/// Chains of one caller, and where to answer.
pub(super) struct Message {
    pub(super) chains: Chains,
    reply: oneshot::Sender<Outcomes>,
    /// Given back when it is taken out.
    place: Option<Place>,
}

/// A place in the queue, given back on drop, whichever way a message leaves it.
pub(super) struct Place {
    _room: OwnedSemaphorePermit,
    transfers: usize,
    stats: Arc<SubmitterStats>,
}

impl Place {
    pub(super) fn new(room: OwnedSemaphorePermit, transfers: usize, stats: Arc<SubmitterStats>) -> Self {
        stats.queued(transfers);
        Self { _room: room, transfers, stats }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.taken(self.transfers);
    }
}

impl Message {
    pub(super) fn new(chains: Chains, place: Place) -> (Self, oneshot::Receiver<Outcomes>) {
        let (sender, receiver) = oneshot::channel();
        (Self { chains, reply: sender, place: Some(place) }, receiver)
    }

    /// Whether the caller has stopped waiting, so that it need not be sent.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    pub(super) fn leave_queue(&mut self) {
        self.place = None;
    }

    pub(super) fn answer(self, outcomes: Outcomes) {
        // The caller may have stopped waiting meanwhile.
        self.reply.send(outcomes).ok();
    }
}
