//! A message: the chains of one caller, their permit for the queue, and the channel for their outcomes.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::message_span::MessageSpan;
use super::stats::SubmitterStats;
use crate::ledger::{Chain, ChainOutcome, LedgerError};

/// The chains of a message. Most messages have one.
pub(super) type Chains = SmallVec<[Chain; 1]>;
/// The outcome of each chain of a message, in the same order.
pub(super) type Outcomes = SmallVec<[Result<ChainOutcome, LedgerError>; 1]>;

/// The chains of one caller, which waits for their outcomes.
pub(super) struct Message {
    pub(super) chains: Chains,
    pub(super) call_size: CallSize,
    /// What a trace shows of the message: how long it waited, and which request it rode in.
    pub(super) span: MessageSpan,
    reply: oneshot::Sender<Outcomes>,
    /// `None` once the message has left the queue.
    permit: Option<QueuePermit>,
}

/// The size of the call that a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallSize {
    Small,
    Large,
}

/// The room that a message takes in the queue. Dropping it frees the room, whichever way the message leaves the queue.
pub(super) struct QueuePermit {
    _room: OwnedSemaphorePermit,
    transfers: usize,
    stats: Arc<SubmitterStats>,
}

impl QueuePermit {
    pub(super) fn new(room: OwnedSemaphorePermit, transfers: usize, stats: Arc<SubmitterStats>) -> Self {
        stats.enqueued(transfers);
        Self { _room: room, transfers, stats }
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        self.stats.dequeued(self.transfers);
    }
}

impl Message {
    pub(super) fn new(
        chains: Chains,
        call_size: CallSize,
        permit: QueuePermit,
    ) -> (Self, oneshot::Receiver<Outcomes>) {
        let (sender, receiver) = oneshot::channel();
        let span = MessageSpan::begin(super::batch::count_transfers(&chains));
        (Self { chains, call_size, span, reply: sender, permit: Some(permit) }, receiver)
    }

    /// Whether the caller has given up.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Frees the room of the message in the queue.
    pub(super) fn leave_queue(&mut self) {
        self.permit = None;
    }

    /// Sends the outcomes to the caller, if it still waits.
    pub(super) fn answer(self, outcomes: Outcomes) {
        self.reply.send(outcomes).ok();
    }
}
