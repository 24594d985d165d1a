//! A worker: takes batches from the queue and sends them on its session.

use std::sync::Arc;

use tokio::time::Instant;

use super::batch;
use super::message_span::RequestSpans;
use super::queue::{Batch, Queue};
use super::stats::SubmitterStats;
use super::{Connect, SendError, TransferSession};
use crate::ledger::{Chain, ChainOutcome, LedgerError};

/// The task of one session. It has one request in flight at a time.
pub(super) struct Worker<C> {
    connect: Arc<C>,
    queue: Arc<Queue>,
    stats: Arc<SubmitterStats>,
}

impl<C: Connect> Worker<C> {
    pub(super) fn new(connect: Arc<C>, queue: Arc<Queue>, stats: Arc<SubmitterStats>) -> Self {
        Self { connect, queue, stats }
    }

    /// Sends batches until the queue is closed and empty.
    pub(super) async fn run(self) {
        let mut session = None;
        loop {
            // Connects before it takes a batch: until it can send, other workers may take the waiting messages.
            self.connected(&mut session).await;
            let Some(Batch { mut messages, request }) = self.queue.next_batch().await else { return };
            let counts: Vec<usize> = messages.iter().map(|message| message.chains.len()).collect();
            let chains: Vec<Chain> =
                messages.iter_mut().flat_map(|message| message.chains.drain(..)).collect();
            let transfers = batch::count_transfers(&chains);
            let spans =
                RequestSpans::begin(messages.iter().map(|message| &message.span), messages.len(), transfers);
            let mut outcomes = self.send(&mut session, chains).await.into_iter();
            drop(spans);
            self.queue.finished(request, &messages);
            for (message, count) in messages.into_iter().zip(counts) {
                message.answer(outcomes.by_ref().take(count).collect());
            }
        }
    }

    /// The session, or a new one if there is none.
    async fn connected<'a>(&self, session: &'a mut Option<C::Session>) -> &'a mut C::Session {
        match session {
            Some(session) => session,
            None => session.insert(self.connect.connect().await),
        }
    }

    /// Sends chains in as few requests as the ledger takes. The outcomes are in the order of the chains.
    ///
    /// A refused request teaches the maximum and is sent again in parts. A lost request fails its own chains only.
    async fn send(
        &self,
        session: &mut Option<C::Session>,
        mut chains: Vec<Chain>,
    ) -> Vec<Result<ChainOutcome, LedgerError>> {
        let mut outcomes = Vec::with_capacity(chains.len());
        while !chains.is_empty() {
            let transfers_max = self.queue.learned_max.get();
            let rest = chains.split_off(batch::count_fitting(&chains, transfers_max).min(chains.len()));
            let transfers = batch::count_transfers(&chains);
            let connected = self.connected(session).await;
            let started = Instant::now();
            let sent = connected.create_transfers(&chains).await;
            if matches!(sent, Err(SendError::TooMuchData)) {
                self.stats.refused();
            } else {
                self.stats.sent(transfers, started.elapsed());
            }
            match sent {
                Ok(batch) => {
                    outcomes.extend(batch.into_iter().map(Ok));
                    chains = rest;
                }
                Err(SendError::TooMuchData) if chains.len() == 1 => {
                    // The true maximum may be smaller still: no request has been refused for it yet.
                    let transfers_max = transfers_max.min(transfers - 1);
                    outcomes.push(Err(LedgerError::ChainTooLong { transfers, transfers_max }));
                    chains = rest;
                }
                Err(SendError::TooMuchData) => {
                    self.queue.learned_max.refused(transfers);
                    tracing::info!(
                        transfers,
                        next_max = self.queue.learned_max.get(),
                        "TigerBeetle refused a request as too large; requests are smaller from now on"
                    );
                    chains.extend(rest);
                }
                Err(SendError::Lost(error)) => {
                    self.stats.lost();
                    let lost = chains.len();
                    outcomes.extend(std::iter::repeat_n(Err(error), lost));
                    chains = rest;
                    // The next request connects again. Not here, so that the callers of this one are answered first.
                    *session = None;
                }
            }
        }
        outcomes
    }
}

/// Tells the queue, also when the task is aborted or panics.
impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        self.queue.worker_ended();
    }
}
