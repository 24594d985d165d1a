use std::sync::Arc;

use tokio::time::Instant;

use super::batch;
use super::queue::{Batch, Queue};
use super::stats::SubmitterStats;
use super::{Connect, SendError, TransferSession};
use crate::ledger::{Chain, ChainOutcome, LedgerError};

/// Sends the batches of one session.
pub(super) struct Worker<C> {
    connect: Arc<C>,
    queue: Arc<Queue>,
    stats: Arc<SubmitterStats>,
}

impl<C: Connect> Worker<C> {
    pub(super) fn new(connect: Arc<C>, queue: Arc<Queue>, stats: Arc<SubmitterStats>) -> Self {
        Self { connect, queue, stats }
    }

    /// Takes batches and sends them until the queue has ended.
    pub(super) async fn run(self) {
        let mut session = None;
        loop {
            // A batch is taken only when it can be sent: until then, the other workers may have it.
            self.connected(&mut session).await;
            let Some(Batch { mut messages, request }) = self.queue.take().await else { return };
            let counts: Vec<usize> = messages.iter().map(|message| message.chains.len()).collect();
            let chains = messages.iter_mut().flat_map(|message| message.chains.drain(..)).collect();
            let mut outcomes = self.send(&mut session, chains).await.into_iter();
            self.queue.answered(request, &messages);
            for (message, count) in messages.into_iter().zip(counts) {
                message.answer(outcomes.by_ref().take(count).collect());
            }
        }
    }

    /// The session, or a new one in place of one that was lost.
    async fn connected<'a>(&self, session: &'a mut Option<C::Session>) -> &'a mut C::Session {
        match session {
            Some(session) => session,
            None => session.insert(self.connect.connect().await),
        }
    }

    /// Sends chains in as few requests as the ledger takes, and answers each in its place.
    async fn send(
        &self,
        session: &mut Option<C::Session>,
        mut chains: Vec<Chain>,
    ) -> Vec<Result<ChainOutcome, LedgerError>> {
        let mut outcomes = Vec::with_capacity(chains.len());
        while !chains.is_empty() {
            let transfers_max = self.queue.learned_max.get();
            let rest = chains.split_off(batch::fitting(&chains, transfers_max).min(chains.len()));
            let transfers = batch::transfers(&chains);
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
                    // As far as is known: the maximum may not be learned yet.
                    let transfers_max = transfers_max.min(transfers - 1);
                    outcomes.push(Err(LedgerError::ChainTooLong { transfers, transfers_max }));
                    chains = rest;
                }
                Err(SendError::TooMuchData) => {
                    self.queue.learned_max.too_many(transfers);
                    tracing::info!(
                        transfers,
                        next_max = self.queue.learned_max.get(),
                        "TigerBeetle takes smaller requests"
                    );
                    chains.extend(rest);
                }
                Err(SendError::Lost(error)) => {
                    self.stats.lost();
                    let lost = chains.len();
                    outcomes.extend(std::iter::repeat_n(Err(error), lost));
                    chains = rest;
                    // Replaced when it is needed: those who lost it are told first.
                    *session = None;
                }
            }
        }
        outcomes
    }
}

/// However it ends: by itself, given up, or by a panic.
impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        self.queue.left();
    }
}
