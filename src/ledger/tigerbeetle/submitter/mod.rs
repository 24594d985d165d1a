//! Sends chains to the ledger in batches.
//!
//! - [`Submitter`] is the handle. It puts the chains of a caller as one message into the queue and waits for the
//!   outcomes.
//! - `queue` holds the messages that wait. It is bounded in transfers: a message that does not fit is refused at once
//!   with [`LedgerError::Overloaded`]. `traffic` decides when the waiting messages are worth a request, `lanes` which of
//!   them it takes: small calls do not wait for large ones.
//! - `worker`: one task per session. It takes a batch from the queue, sends it, and answers its messages. `batch` fits
//!   chains into requests and never splits a chain.
//! - `message`: the chains of one caller and the channel for their outcomes. `message_span`: what a trace shows of it.
//! - `stats`: what the workers measure.
//!
//! The handle owns the workers, and the queue is shared between them. A caller that gives up drops its channel; the
//! queue then discards its message, if no worker has taken it yet.
//!
//! Shutdown goes in this order:
//!
//! 1. The handle refuses new messages. First, so that the queue only shrinks from here on.
//! 2. The queue is closed. A worker no longer waits for a fuller batch, and takes batches until the queue is empty. A
//!    message that found room before step 1 and comes after this step is refused: no worker would take it.
//! 3. A worker that finds the closed queue empty answers its last callers and ends. The handle waits for all workers.
//!
//! A shutdown whose future is dropped goes on: steps 1 and 2 happen before its first wait on a worker.

mod batch;
mod lanes;
mod message;
mod message_span;
mod queue;
mod stats;
#[cfg(test)]
mod tests;
mod traffic;
mod worker;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;
use tokio::sync::{Mutex, Semaphore, TryAcquireError, oneshot};
use tokio::task::JoinSet;

use crate::ledger::{Chain, ChainOutcome, LedgerError};
use message::{CallSize, Chains, Message, Outcomes, QueuePermit};
use queue::Queue;
pub use stats::SubmitterStats;
use worker::Worker;

/// How much is sent at once, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitterOptions {
    /// The number of sessions. Each has one request in flight.
    pub sessions: usize,
    /// The most transfers in one request.
    pub batch_transfers_max: usize,
    /// The most transfers that may wait in the queue.
    pub queue_transfers_max: usize,
    /// The shortest wait of a batch that is not full. With zero, a batch waits only where that is expected to pay off.
    pub flush_interval: Duration,
}

/// A session that sends one batch at a time.
pub trait TransferSession: Send + 'static {
    /// Sends the chains as one request. The outcomes are in the order of the chains.
    fn create_transfers(
        &mut self,
        chains: &[Chain],
    ) -> impl Future<Output = Result<Vec<ChainOutcome>, SendError>> + Send;
}

/// Makes sessions.
pub trait Connect: Send + Sync + 'static {
    /// The type of the sessions.
    type Session: TransferSession;
    /// Makes a session. Waits until the ledger is reachable, however long that takes.
    fn connect(&self) -> impl Future<Output = Self::Session> + Send;
}

/// Why a batch has no outcomes.
#[derive(Debug, Clone)]
pub enum SendError {
    /// The request is larger than the ledger takes. Nothing was done, and the session is still usable.
    TooMuchData,
    /// The session is lost, and the outcome of the batch is unknown.
    Lost(LedgerError),
}

/// The handle of the queue and its workers. Dropping it without [`Submitter::shutdown`] stops the workers at once.
pub struct Submitter {
    queue: Arc<Queue>,
    /// One permit for each transfer that may still enter the queue.
    room: Arc<Semaphore>,
    options: SubmitterOptions,
    stats: Arc<SubmitterStats>,
    workers: Mutex<JoinSet<()>>,
}

impl Submitter {
    /// Starts one worker for each session.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(connect: impl Connect, options: SubmitterOptions) -> Self {
        let stats = Arc::new(SubmitterStats::new());
        let queue = Arc::new(Queue::new(options, Arc::clone(&stats)));
        let connect = Arc::new(connect);
        let mut workers = JoinSet::new();
        for _ in 0..options.sessions {
            workers.spawn(Worker::new(Arc::clone(&connect), Arc::clone(&queue), Arc::clone(&stats)).run());
        }
        let room = Arc::new(Semaphore::new(options.queue_transfers_max.min(Semaphore::MAX_PERMITS)));
        Self { queue, room, options, stats, workers: Mutex::new(workers) }
    }

    /// What the workers measure.
    pub fn stats(&self) -> &SubmitterStats {
        &self.stats
    }

    /// Submits the chains and waits for their outcomes, which are in the order of the chains.
    ///
    /// The chains may share requests with those of other callers; each is applied whole or not at all. More chains than
    /// fit into one request become several messages, and each message can fail on its own.
    ///
    /// *Cancellation:* a message that no worker has taken yet is never sent. A message that was sent is not recalled.
    pub async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let mut replies = Vec::new();
        let call_size = lanes::call_size(&chains);
        for part in batch::split(chains, self.options.batch_transfers_max) {
            replies.push((part.len(), self.enqueue(part.into(), call_size)));
        }
        let mut outcomes = Vec::new();
        for (count, reply) in replies {
            let reply = match reply {
                Ok(reply) => reply.await.unwrap_or_else(|_| smallvec![Err(LedgerError::ShutDown); count]),
                Err(error) => smallvec![Err(error); count],
            };
            outcomes.extend(reply);
        }
        outcomes
    }

    /// Submits one chain; see [`Submitter::submit`].
    pub async fn submit_one(&self, chain: Chain) -> Result<ChainOutcome, LedgerError> {
        let reply = self.enqueue(smallvec![chain], CallSize::Small)?.await;
        reply.ok().and_then(|outcomes| outcomes.into_iter().next()).unwrap_or(Err(LedgerError::ShutDown))
    }

    fn enqueue(
        &self,
        chains: Chains,
        call_size: CallSize,
    ) -> Result<oneshot::Receiver<Outcomes>, LedgerError> {
        let transfers = batch::count_transfers(&chains);
        let permits = u32::try_from(transfers).unwrap_or(u32::MAX);
        let kept_free = match call_size {
            CallSize::Small => 0,
            CallSize::Large => lanes::room_of_small_calls(self.options.queue_transfers_max),
        };
        if self.room.available_permits() < transfers + kept_free && !self.room.is_closed() {
            return Err(LedgerError::Overloaded);
        }
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits);
        let room = room.map_err(|error| match error {
            TryAcquireError::NoPermits => LedgerError::Overloaded,
            TryAcquireError::Closed => LedgerError::ShutDown,
        })?;
        let permit = QueuePermit::new(room, transfers, Arc::clone(&self.stats));
        let (message, reply) = Message::new(chains, call_size, permit);
        if self.queue.push(message) { Ok(reply) } else { Err(LedgerError::ShutDown) }
    }

    /// Refuses new chains, sends those that wait, and returns when all are answered.
    ///
    /// *Cancellation:* the shutdown goes on; calling it again waits for its end.
    pub async fn shutdown(&self) {
        self.room.close();
        let mut workers = self.workers.lock().await;
        self.queue.close();
        while workers.join_next().await.is_some() {}
    }
}
