//! Chains on their way to the ledger, in batches.
//!
//! A handle puts chains into a bounded queue and waits; one worker per session takes what is there, sends it as one
//! request, and answers. Batching is by load: a chain that comes alone is taken at once; while requests are under way,
//! the next batch fills until it is worth a request (`traffic.rs`).

mod batch;
mod message;
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
use message::{Chains, Message, Outcomes, Place};
use queue::Queue;
pub use stats::SubmitterStats;
use worker::Worker;

/// How much is sent at once, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitterOptions {
    /// How many sessions, each with one request in flight.
    pub sessions: usize,
    /// How many transfers one request may have.
    pub batch_transfers_max: usize,
    /// How many transfers may wait.
    pub queue_transfers_max: usize,
    /// How long a batch that is not full waits for more at least; with zero only where that is worth it (`traffic.rs`).
    pub flush_interval: Duration,
}

/// A connection that sends one batch at a time.
pub trait TransferSession: Send + 'static {
    /// Sends the chains as one request.
    fn create_transfers(
        &mut self,
        chains: &[Chain],
    ) -> impl Future<Output = Result<Vec<ChainOutcome>, SendError>> + Send;
}

/// Where sessions come from.
pub trait Connect: Send + Sync + 'static {
    /// The sessions.
    type Session: TransferSession;
    /// Makes a session, however long that takes.
    fn connect(&self) -> impl Future<Output = Self::Session> + Send;
}

/// Why a batch has no outcomes.
#[derive(Debug, Clone)]
pub enum SendError {
    /// The request is larger than the ledger takes. Nothing of it was done.
    TooMuchData,
    /// The session is lost; what became of the batch is unknown.
    Lost(LedgerError),
}

/// The handle.
pub struct Submitter {
    queue: Arc<Queue>,
    /// A permit for each transfer that may wait.
    room: Arc<Semaphore>,
    options: SubmitterOptions,
    stats: Arc<SubmitterStats>,
    workers: Mutex<JoinSet<()>>,
}

impl Submitter {
    /// Starts a worker for each session. Needs a tokio runtime.
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

    /// Sends the chains, in order, and answers each in its place. They may share requests with those of others; each is
    /// made whole or not at all.
    pub async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        let mut replies = Vec::new();
        for part in batch::split(chains, self.options.batch_transfers_max) {
            replies.push((part.len(), self.enqueue(part.into())));
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

    /// The same for one chain.
    pub async fn submit_one(&self, chain: Chain) -> Result<ChainOutcome, LedgerError> {
        let reply = self.enqueue(smallvec![chain])?.await;
        reply.ok().and_then(|outcomes| outcomes.into_iter().next()).unwrap_or(Err(LedgerError::ShutDown))
    }

    fn enqueue(&self, chains: Chains) -> Result<oneshot::Receiver<Outcomes>, LedgerError> {
        let transfers = batch::transfers(&chains);
        let permits = u32::try_from(transfers).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits);
        let room = room.map_err(|error| match error {
            TryAcquireError::NoPermits => LedgerError::Overloaded,
            TryAcquireError::Closed => LedgerError::ShutDown,
        })?;
        let place = Place::new(room, transfers, Arc::clone(&self.stats));
        let (message, reply) = Message::new(chains, place);
        if self.queue.put(message) { Ok(reply) } else { Err(LedgerError::ShutDown) }
    }

    /// Takes nothing more, sends what waits, and ends when everything is answered.
    pub async fn shutdown(&self) {
        self.room.close();
        let mut workers = self.workers.lock().await;
        // The workers end once the queue is empty.
        self.queue.end();
        while workers.join_next().await.is_some() {}
    }
}
