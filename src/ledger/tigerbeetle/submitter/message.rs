use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::ledger::{Chain, ChainOutcome, LedgerError};

/// What became of each chain of a message.
pub(super) type Outcomes = Vec<Result<ChainOutcome, LedgerError>>;

/// Chains of one caller, and where to answer.
pub(super) struct Message {
    pub(super) chains: Vec<Chain>,
    reply: Option<oneshot::Sender<Outcomes>>,
    /// Its place in the queue, given back when it is taken out.
    room: Option<OwnedSemaphorePermit>,
}

impl Message {
    pub(super) fn new(chains: Vec<Chain>, room: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<Outcomes>) {
        let (sender, receiver) = oneshot::channel();
        (Self { chains, reply: Some(sender), room: Some(room) }, receiver)
    }

    /// The last message of a queue.
    pub(super) fn end() -> Self {
        Self { chains: Vec::new(), reply: None, room: None }
    }

    pub(super) fn is_end(&self) -> bool {
        self.reply.is_none()
    }

    /// Whether the caller has stopped waiting, so that it need not be sent.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    pub(super) fn leave_queue(&mut self) {
        self.room = None;
    }

    pub(super) fn answer(self, outcomes: Outcomes) {
        if let Some(reply) = self.reply {
            // The caller may have stopped waiting meanwhile.
            reply.send(outcomes).ok();
        }
    }
}
