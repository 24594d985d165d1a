use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::SubmitterOptions;
use super::batch::{self, LearnedMax};
use super::message::Message;
use super::stats::SubmitterStats;
use super::traffic::{Advice, Request, Traffic};

/// What waits, and the workers that wait for it.
pub(super) struct Queue {
    line: Mutex<Line>,
    /// Wakes a worker: there is something to send, or it is to be sent sooner than it was.
    changed: Notify,
    flush_interval: Duration,
    pub(super) learned_max: LearnedMax,
    stats: Arc<SubmitterStats>,
}

struct Line {
    messages: VecDeque<Message>,
    transfers: usize,
    /// When the first of them came.
    since: Instant,
    has_ended: bool,
    workers: usize,
    traffic: Traffic,
}

/// What makes a request. Never empty.
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) request: Request,
}

/// What a worker finds.
enum Found {
    Batch(Batch),
    /// Nothing to be sent before this moment, if any.
    Nothing {
        until: Option<Instant>,
    },
    /// Nothing will come any more.
    End,
}

impl Queue {
    pub(super) fn new(options: SubmitterOptions, stats: Arc<SubmitterStats>) -> Self {
        let now = Instant::now();
        let line = Line {
            messages: VecDeque::new(),
            transfers: 0,
            since: now,
            has_ended: false,
            workers: options.sessions,
            traffic: Traffic::new(),
        };
        Self {
            line: Mutex::new(line),
            changed: Notify::new(),
            flush_interval: options.flush_interval,
            learned_max: LearnedMax::new(options.batch_transfers_max),
            stats,
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // It is whole between two calls.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end; answers whether it will be taken.
    pub(super) fn put(&self, message: Message) -> bool {
        let is_to_wake = {
            let mut line = self.line();
            if line.has_ended {
                return false;
            }
            let now = Instant::now();
            let before = (!line.messages.is_empty()).then(|| self.send_at(&line, now));
            line.traffic.came();
            if before.is_none() {
                line.since = now;
            }
            line.transfers += batch::transfers(&message.chains);
            line.messages.push_back(message);
            // A worker knows when the batch was to be sent.
            before.is_none_or(|before| self.send_at(&line, now) < before)
        };
        if is_to_wake {
            self.changed.notify_one();
        }
        true
    }

    /// Nothing comes any more, and nothing waits for it.
    pub(super) fn end(&self) {
        self.line().has_ended = true;
        self.changed.notify_waiters();
        // For the worker that looks just now, and on to the others by those that end.
        self.changed.notify_one();
    }

    /// What waits, up to a full request, once it is worth one; `None` when nothing will come any more. It counts as under
    /// way until [`Queue::answered`].
    pub(super) async fn take(&self) -> Option<Batch> {
        loop {
            match self.find() {
                Found::Batch(batch) => return Some(batch),
                Found::Nothing { until: Some(until) } => {
                    timeout_at(until, self.changed.notified()).await.ok();
                }
                Found::Nothing { until: None } => self.changed.notified().await,
                Found::End => {
                    // For the next worker.
                    self.changed.notify_one();
                    return None;
                }
            }
            // A worker that is woken runs at once. Those who are as ready to ask as the one that woke it ask first.
            tokio::task::yield_now().await;
        }
    }

    fn find(&self) -> Found {
        let mut line = self.line();
        let now = Instant::now();
        let send_at = self.send_at(&line, now);
        if !line.messages.is_empty() && send_at > now {
            return Found::Nothing { until: Some(send_at) };
        }
        let messages = line.take(self.learned_max.get(), &self.stats);
        if messages.is_empty() {
            return if line.has_ended { Found::End } else { Found::Nothing { until: None } };
        }
        let request = line.traffic.sent(now, messages.len());
        line.since = now;
        if !line.messages.is_empty() {
            self.changed.notify_one();
        }
        Found::Batch(Batch { messages, request })
    }

    /// When what waits is to be sent, if nothing changes.
    fn send_at(&self, line: &Line, now: Instant) -> Instant {
        if line.transfers >= self.learned_max.get() || line.has_ended {
            return now;
        }
        let flush_at = line.since + self.flush_interval;
        match line.traffic.advise(now, line.messages.len(), line.transfers) {
            Advice::Send => flush_at,
            Advice::SendAt(at) => at.max(flush_at),
        }
    }

    /// A request is over. Told before its callers are, so that those who come back at once count as such.
    pub(super) fn answered(&self, request: Request, messages: &[Message]) {
        let callers = messages.iter().filter(|message| !message.is_abandoned()).count();
        let mut line = self.line();
        line.traffic.answered(Instant::now(), request, callers);
        if !line.messages.is_empty() {
            self.changed.notify_one();
        }
    }

    /// A worker is gone. Behind the last one nobody waits in vain.
    pub(super) fn left(&self) {
        let mut line = self.line();
        line.workers = line.workers.saturating_sub(1);
        if line.workers == 0 {
            line.has_ended = true;
            line.messages.clear();
            line.transfers = 0;
        }
    }
}

impl Line {
    /// As many messages as make one request, but for those for which nobody waits any more.
    fn take(&mut self, transfers_max: usize, stats: &SubmitterStats) -> Vec<Message> {
        let mut taken: Vec<Message> = Vec::new();
        let mut room = transfers_max;
        while let Some(mut message) = self.messages.pop_front() {
            let transfers = batch::transfers(&message.chains);
            if message.is_abandoned() {
                stats.abandoned();
            } else if !taken.is_empty() && transfers > room {
                self.messages.push_front(message);
                break;
            } else {
                message.leave_queue();
                taken.push(message);
                room = room.saturating_sub(transfers);
            }
            self.transfers -= transfers;
        }
        taken
    }
}
