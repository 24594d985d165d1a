use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::SubmitterOptions;
use super::batch::{self, LearnedMax};
use super::message::Message;
use super::stats::SubmitterStats;
use super::traffic::{Advice, Traffic};

/// What waits, and the workers that wait for it.
pub(super) struct Queue {
    line: Mutex<Line>,
    /// Wakes a worker: there is something to send, or it is to look again when.
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
    traffic: Traffic,
}

/// What a worker finds.
enum Found {
    /// Never empty.
    Batch(Vec<Message>),
    /// Nothing to be sent before this moment, if any.
    Nothing { until: Option<Instant> },
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
            traffic: Traffic::new(now),
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
        let now = Instant::now();
        let is_to_wake = {
            let mut line = self.line();
            if line.has_ended {
                return false;
            }
            line.traffic.came();
            if line.messages.is_empty() {
                line.since = now;
            }
            line.transfers += batch::transfers(&message.chains);
            line.messages.push_back(message);
            // Of those who come while a batch waits, only the first and the last wake somebody.
            line.messages.len() == 1 || self.send_at(&line, now) <= now
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
    pub(super) async fn take(&self) -> Option<Vec<Message>> {
        loop {
            match self.find() {
                Found::Batch(messages) => return Some(messages),
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
        let now = Instant::now();
        let mut line = self.line();
        let send_at = self.send_at(&line, now);
        if !line.messages.is_empty() && send_at > now {
            return Found::Nothing { until: Some(send_at) };
        }
        let messages = line.take(self.learned_max.get(), &self.stats);
        if messages.is_empty() {
            return if line.has_ended { Found::End } else { Found::Nothing { until: None } };
        }
        line.traffic.sent(now, messages.len());
        line.since = now;
        if !line.messages.is_empty() {
            self.changed.notify_one();
        }
        Found::Batch(messages)
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

    /// So many callers of one request, which took so long, have their answers.
    pub(super) fn answered(&self, callers: usize, took: Duration) {
        let mut line = self.line();
        line.traffic.answered(Instant::now(), callers, took);
        if !line.messages.is_empty() {
            self.changed.notify_one();
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
