//! What a scheduler reports while it runs.

use std::time::Duration;

use super::error::ScheduleError;
use super::job::QueueKey;
use crate::limit::{LeaseId, LimitKey};

/// Receives the events of a scheduler, to count and measure them.
///
/// It runs in the scheduler's own task, so it must be quick. A panic in it is logged and stops nothing.
pub trait Observer: Send + 'static {
    /// Takes an event of a job in this queue.
    fn observe(&mut self, queue: &QueueKey, event: &SchedulerEvent<'_>);
}

/// What happened to a job.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SchedulerEvent<'a> {
    /// It was submitted.
    Queued {
        /// The jobs that wait now in all queues, this one included.
        jobs_waiting: usize,
    },
    /// An attempt to reserve begins.
    Attempted {
        /// The lease id of the attempt.
        lease: LeaseId,
    },
    /// A limit has no room for it now.
    Denied {
        /// The limit without room.
        key: &'a LimitKey,
        /// The hint of the denial, from now.
        retry_after: Duration,
    },
    /// The outcome of an attempt is unknown. The attempt is repeated.
    Unknown,
    /// It was granted a lease and starts.
    Started {
        /// The lease.
        lease: LeaseId,
        /// The time since its submission.
        waited: Duration,
    },
    /// It will not run.
    Failed {
        /// Why.
        error: &'a ScheduleError,
    },
    /// It ran and has ended.
    Ended {
        /// The time since its start.
        ran: Duration,
    },
    /// Its lease is completed.
    Completed,
    /// Its lease could not be completed. What it holds expires.
    LeftToExpire,
}

/// Ignores all events.
impl Observer for () {
    fn observe(&mut self, _queue: &QueueKey, _event: &SchedulerEvent<'_>) {}
}
