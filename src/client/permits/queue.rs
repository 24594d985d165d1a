//! Which callers wait for permits, for which of them the ledger is asked next, and which are evicted. Pure: it
//! neither waits nor reads a clock. The limiter enqueues callers, and the queue worker does what [`Queue::next_step`]
//! says.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::backoff::{Backoff, DeniedAttempt};
use super::count::PermitCount;
use super::options::{PermitOptions, QueueOrder};

/// Names a waiter of a queue. Ids count up, so a smaller one is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WaiterId(pub(super) u64);

/// The waiters of a limiter. `R` is the channel on which a waiter gets its reply.
pub(super) struct Queue<R> {
    options: PermitOptions,
    waiters: BTreeMap<WaiterId, Waiter<R>>,
    /// The sum over all waiters, at most `options.queue_permits_max`.
    queued_permits: u64,
    next_id: u64,
    /// Whether a worker asks the ledger for the waiters.
    has_worker: bool,
    is_shut_down: bool,
}

struct Waiter<R> {
    count: PermitCount,
    /// Since its last denial; `None` before its first attempt.
    backoff: Option<Backoff>,
    reply: R,
}

/// The result of [`Queue::enqueue`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EnqueueResult<R> {
    /// The caller waits.
    Queued {
        id: WaiterId,
        /// The waiters that were evicted to make room for it, oldest first.
        evicted: Vec<R>,
        /// Whether a worker must be started.
        needs_worker: bool,
    },
    /// The queue has no room for it.
    Full,
    /// The queue takes no waiters any more.
    ShutDown,
}

/// What the worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Ask the ledger for this waiter.
    Ask { id: WaiterId, count: PermitCount },
    /// Wait until this moment, a release, or a change of the queue.
    WaitUntil(Instant),
    /// End: nobody waits. The next waiter needs a new worker.
    End,
}

impl<R> Queue<R> {
    pub(super) fn new(options: PermitOptions) -> Self {
        Self {
            options,
            waiters: BTreeMap::new(),
            queued_permits: 0,
            next_id: 0,
            has_worker: false,
            is_shut_down: false,
        }
    }

    pub(super) fn queued_permits(&self) -> u64 {
        self.queued_permits
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down
    }

    /// Whether a new caller may ask the ledger before the waiters are served.
    ///
    /// Calls for 0 permits always may, because they take none. Waiters for 0 permits hold up no caller.
    pub(super) fn may_bypass(&self, count: PermitCount) -> bool {
        count == PermitCount::Zero
            || self.queued_permits == 0
            || self.options.order == QueueOrder::NewestFirst
    }

    /// Adds a waiter if there is room for it. `denied` is the attempt that it has made already.
    pub(super) fn enqueue(
        &mut self,
        count: PermitCount,
        denied: Option<DeniedAttempt>,
        reply: R,
    ) -> EnqueueResult<R> {
        if self.is_shut_down {
            return EnqueueResult::ShutDown;
        }
        let (permits, permits_max) = (count.get(), self.options.queue_permits_max);
        let may_evict = self.options.order == QueueOrder::NewestFirst && permits <= permits_max;
        let mut evicted = Vec::new();
        while permits_max - self.queued_permits < permits {
            match self.waiters.first_key_value().map(|(id, _)| *id) {
                Some(oldest) if may_evict => evicted.extend(self.remove(oldest)),
                Some(_) | None => return EnqueueResult::Full,
            }
        }
        let id = WaiterId(self.next_id);
        self.next_id += 1;
        self.queued_permits += permits;
        self.waiters.insert(id, Waiter { count, backoff: denied.map(Backoff::new), reply });
        let needs_worker = !std::mem::replace(&mut self.has_worker, true);
        EnqueueResult::Queued { id, evicted, needs_worker }
    }

    /// Removes a waiter, if it still waits.
    pub(super) fn remove(&mut self, id: WaiterId) -> Option<R> {
        let Waiter { count, reply, .. } = self.waiters.remove(&id)?;
        self.queued_permits -= count.get();
        Some(reply)
    }

    /// Begins or prolongs the backoff of a waiter that the ledger denied.
    pub(super) fn back_off(&mut self, id: WaiterId, denied: DeniedAttempt) {
        if let Some(Waiter { backoff, .. }) = self.waiters.get_mut(&id) {
            *backoff = Some(backoff.map_or(Backoff::new(denied), |backoff| backoff.again(denied)));
        }
    }

    /// The next step of the worker. `releases` counts the releases of this limiter until now.
    pub(super) fn next_step(&mut self, now: Instant, releases: u64) -> NextStep {
        let Some((id, waiter)) = self.head() else {
            self.has_worker = false;
            return NextStep::End;
        };
        match waiter.backoff.filter(|backoff| !backoff.is_over(now, releases)) {
            Some(backoff) => NextStep::WaitUntil(backoff.until()),
            None => NextStep::Ask { id, count: waiter.count },
        }
    }

    /// When room for the next waiter is expected; `None` before its first attempt.
    pub(super) fn room_at(&self) -> Option<Instant> {
        self.head()?.1.backoff.map(|backoff| backoff.room_at())
    }

    /// Takes no waiters any more. Removes all, in the order in which they would have been served.
    pub(super) fn shut_down(&mut self) -> Vec<R> {
        self.is_shut_down = true;
        self.queued_permits = 0;
        let replies = std::mem::take(&mut self.waiters).into_values().map(|waiter| waiter.reply);
        match self.options.order {
            QueueOrder::OldestFirst => replies.collect(),
            QueueOrder::NewestFirst => replies.rev().collect(),
        }
    }

    fn head(&self) -> Option<(WaiterId, &Waiter<R>)> {
        let head = match self.options.order {
            QueueOrder::OldestFirst => self.waiters.first_key_value(),
            QueueOrder::NewestFirst => self.waiters.last_key_value(),
        };
        head.map(|(id, waiter)| (*id, waiter))
    }
}
