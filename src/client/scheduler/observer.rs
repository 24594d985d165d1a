use std::time::Duration;

use super::error::ScheduleError;
use super::queues::QueueKey;
use crate::limit::{LeaseId, LimitKey};

/// Hears what happens in a scheduler, to count and measure it. It is called in the scheduler's own task, so it must be
/// quick.
pub trait Observer: Send + 'static {
    /// Something happened to a job of this queue.
    fn observe(&mut self, queue: &QueueKey, event: &SchedulerEvent<'_>);
}

/// What can happen to a job.
#[derive(Debug, Clone)]
pub enum SchedulerEvent<'a> {
    /// It waits in its queue.
    Queued {
        /// How many wait now, over all queues.
        jobs_waiting: usize,
    },
    /// An attempt to reserve what it needs is made.
    Attempted {
        /// Names the attempt.
        lease: LeaseId,
    },
    /// There is no room for it now.
    Denied {
        /// The limit without room.
        key: &'a LimitKey,
        /// When to come back.
        retry_after: Duration,
    },
    /// Nobody knows whether an attempt was granted; it will be made again.
    Unknown,
    /// It was granted a lease and starts.
    Started {
        /// Its lease.
        lease: LeaseId,
        /// Since it was submitted.
        waited: Duration,
    },
    /// It will not run.
    Failed {
        /// Why.
        error: &'a ScheduleError,
    },
    /// It ran, and is over.
    Ended {
        /// Since it started.
        ran: Duration,
    },
    /// Its lease is settled.
    Completed,
    /// Its lease could not be settled; what it holds comes back when it expires.
    LeftToExpire,
}

/// Hears nothing.
impl Observer for () {
    fn observe(&mut self, _queue: &QueueKey, _event: &SchedulerEvent<'_>) {}
}
