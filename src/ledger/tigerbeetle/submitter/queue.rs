//! The queue: messages that wait, and the workers that take them as batches.
//!
//! All state is under one lock, which no one holds across an await. A worker that finds no batch to send waits for
//! `changed`, at the longest until the time at which the waiting messages are to be sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::SubmitterOptions;
use super::batch::LearnedMax;
use super::lanes::Lanes;
use super::message::Message;
use super::stats::SubmitterStats;
use super::traffic::{Advice, RequestInFlight, Traffic};

/// The queue in front of the workers. The handle pushes messages, each worker takes batches.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes one waiting worker: there is a batch to send, or its send time is earlier than before.
    changed: Notify,
    flush_interval: Duration,
    pub(super) learned_max: LearnedMax,
    stats: Arc<SubmitterStats>,
}

struct State {
    lanes: Lanes,
    /// Since when the first message has been at the head of the queue.
    head_since: Instant,
    is_closed: bool,
    /// The workers that have not ended.
    workers: usize,
    traffic: Traffic,
}

/// The messages of one request. Never empty.
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) request: RequestInFlight,
}

/// What a worker does next.
enum Next {
    Send(Batch),
    /// Wait for a change, at the longest until this time.
    Wait {
        until: Option<Instant>,
    },
    /// The queue is closed and empty.
    End,
}

impl Queue {
    pub(super) fn new(options: SubmitterOptions, stats: Arc<SubmitterStats>) -> Self {
        let state = State {
            lanes: Lanes::new(),
            head_since: Instant::now(),
            is_closed: false,
            workers: options.sessions,
            traffic: Traffic::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            flush_interval: options.flush_interval,
            learned_max: LearnedMax::new(options.batch_transfers_max),
            stats,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves the state whole, so a poisoned lock does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message at the end. Returns `false`, and drops the message, if the queue is closed.
    pub(super) fn push(&self, message: Message) -> bool {
        let wakes_worker = {
            let mut state = self.state();
            if state.is_closed {
                return false;
            }
            let now = Instant::now();
            let send_at_before = (!state.lanes.is_empty()).then(|| self.send_at(&state, now));
            state.traffic.arrived();
            if send_at_before.is_none() {
                state.head_since = now;
            }
            state.lanes.push(message);
            // A waiting worker already wakes at the earlier send time.
            send_at_before.is_none_or(|before| self.send_at(&state, now) < before)
        };
        if wakes_worker {
            self.changed.notify_one();
        }
        true
    }

    /// Refuses new messages and lets the workers end once the queue is empty. Waiting messages are sent without delay.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_waiters();
        // `notify_waiters` misses a worker that is about to wait. This permit is for it; each worker that ends leaves
        // one for the next.
        self.changed.notify_one();
    }

    /// Waits for a batch that is worth a request, and takes it. Returns `None` when the queue is closed and empty.
    ///
    /// The batch counts as in flight until [`Queue::finished`].
    pub(super) async fn next_batch(&self) -> Option<Batch> {
        loop {
            match self.next() {
                Next::Send(batch) => return Some(batch),
                Next::Wait { until: Some(until) } => {
                    timeout_at(until, self.changed.notified()).await.ok();
                }
                Next::Wait { until: None } => self.changed.notified().await,
                Next::End => {
                    self.changed.notify_one();
                    return None;
                }
            }
            // tokio runs a woken worker before other tasks that are ready. Callers among them go first, so that their
            // messages join the batch.
            tokio::task::yield_now().await;
        }
    }

    fn next(&self) -> Next {
        let mut state = self.state();
        let now = Instant::now();
        let send_at = self.send_at(&state, now);
        if !state.lanes.is_empty() && send_at > now {
            return Next::Wait { until: Some(send_at) };
        }
        let messages = state.lanes.take(self.learned_max.get(), &self.stats);
        if messages.is_empty() {
            return if state.is_closed { Next::End } else { Next::Wait { until: None } };
        }
        let request = state.traffic.sent(now, messages.len());
        state.head_since = now;
        if !state.lanes.is_empty() {
            self.changed.notify_one();
        }
        Next::Send(Batch { messages, request })
    }

    /// When the waiting messages are to be sent, if nothing changes until then.
    fn send_at(&self, state: &State, now: Instant) -> Instant {
        if state.lanes.transfers() >= self.learned_max.get() || state.is_closed {
            return now;
        }
        let flush_at = state.head_since + self.flush_interval;
        match state.traffic.advise(now, state.lanes.len(), state.lanes.transfers()) {
            Advice::Send => flush_at,
            Advice::SendAt(at) => at.max(flush_at),
        }
    }

    /// Ends a request. Comes before its callers are answered: a caller that asks again at once counts as an arrival
    /// after the answer.
    pub(super) fn finished(&self, request: RequestInFlight, messages: &[Message]) {
        let callers = messages.iter().filter(|message| !message.is_abandoned()).count();
        let mut state = self.state();
        state.traffic.finished(Instant::now(), request, callers);
        if !state.lanes.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Counts a worker out. After the last one the queue is closed, and its messages are dropped: their callers get
    /// [`LedgerError::ShutDown`](crate::ledger::LedgerError::ShutDown).
    pub(super) fn worker_ended(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
        if state.workers == 0 {
            state.is_closed = true;
            state.lanes = Lanes::new();
        }
    }
}
