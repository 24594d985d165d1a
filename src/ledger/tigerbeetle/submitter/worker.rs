use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::batch::{self, LearnedMax};
use super::message::Message;
use super::stats::SubmitterStats;
use super::{Connect, SendError, TransferSession};
use crate::ledger::{Chain, ChainOutcome, LedgerError};

/// What waits. The workers take turns to wait at it, so that one of them gets all there is.
pub(super) struct Queue {
    receiver: mpsc::UnboundedReceiver<Message>,
    /// Taken out, and too large for the batch that it was taken for.
    held_back: Option<Message>,
    ended: bool,
}

impl Queue {
    pub(super) fn new(receiver: mpsc::UnboundedReceiver<Message>) -> Self {
        Self { receiver, held_back: None, ended: false }
    }

    async fn next(&mut self) -> Option<Message> {
        if let Some(message) = self.held_back.take() {
            return Some(message);
        }
        if self.ended {
            return None;
        }
        let message = self.receiver.recv().await?;
        if message.is_end() {
            self.ended = true;
            return None;
        }
        Some(message)
    }

    fn try_next(&mut self) -> Option<Message> {
        if self.ended {
            return None;
        }
        let message = self.receiver.try_recv().ok()?;
        if message.is_end() {
            self.ended = true;
            return None;
        }
        Some(message)
    }
}

/// Sends the batches of one session.
pub(super) struct Worker<C> {
    connect: Arc<C>,
    queue: Arc<Mutex<Queue>>,
    learned_max: Arc<LearnedMax>,
    flush_interval: Duration,
    stats: Arc<SubmitterStats>,
}

impl<C: Connect> Worker<C> {
    pub(super) fn new(
        connect: Arc<C>,
        queue: Arc<Mutex<Queue>>,
        learned_max: Arc<LearnedMax>,
        flush_interval: Duration,
        stats: Arc<SubmitterStats>,
    ) -> Self {
        Self { connect, queue, learned_max, flush_interval, stats }
    }

    /// Takes batches and sends them until the queue has ended.
    pub(super) async fn run(self) {
        let mut session = None;
        loop {
            // A batch is taken only when it can be sent: until then, the other workers may have it.
            self.connected(&mut session).await;
            let Some(mut messages) = self.take_batch().await else { return };
            // The batch may have waited for more.
            messages.retain(|message| self.is_wanted(message));
            let counts: Vec<usize> = messages.iter().map(|message| message.chains.len()).collect();
            let chains = messages.iter_mut().flat_map(|message| message.chains.drain(..)).collect();
            let mut outcomes = self.send(&mut session, chains).await.into_iter();
            for (message, count) in messages.into_iter().zip(counts) {
                message.answer(outcomes.by_ref().take(count).collect());
            }
        }
    }

    /// Everything that waits, up to a full request; `None` when nothing will come any more.
    async fn take_batch(&self) -> Option<Vec<Message>> {
        let mut queue = self.queue.lock().await;
        let transfers_max = self.learned_max.get();
        let mut messages = Vec::new();
        let mut transfers = 0;
        let mut flush_at = None;
        loop {
            let message = match flush_at {
                None => queue.next().await?,
                Some(flush_at) => match self.next_before(&mut queue, flush_at).await {
                    Some(message) => message,
                    None => return Some(messages),
                },
            };
            let size = batch::transfers(&message.chains);
            if !self.is_wanted(&message) {
                continue;
            }
            if !messages.is_empty() && transfers + size > transfers_max {
                queue.held_back = Some(message);
                return Some(messages);
            }
            transfers += size;
            messages.push(message);
            if let Some(message) = messages.last_mut() {
                message.leave_queue();
            }
            if transfers >= transfers_max {
                return Some(messages);
            }
            if flush_at.is_none() {
                flush_at = Some(Instant::now() + self.flush_interval);
                // A worker that is woken runs at once. Those who are as ready to ask as the one that woke it ask first.
                tokio::task::yield_now().await;
            }
        }
    }

    fn is_wanted(&self, message: &Message) -> bool {
        let abandoned = message.is_abandoned();
        if abandoned {
            self.stats.abandoned();
        }
        !abandoned
    }

    /// What is there already, or comes before the batch is to be sent.
    async fn next_before(&self, queue: &mut Queue, flush_at: Instant) -> Option<Message> {
        if let Some(message) = queue.try_next() {
            return Some(message);
        }
        if self.flush_interval.is_zero() {
            return None;
        }
        // The time is up: the batch goes as it is.
        tokio::time::timeout_at(flush_at, queue.next()).await.unwrap_or(None)
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
            let transfers_max = self.learned_max.get();
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
                    self.learned_max.too_many(transfers);
                    tracing::info!(
                        transfers,
                        next_max = self.learned_max.get(),
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
