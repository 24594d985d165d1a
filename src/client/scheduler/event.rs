//! The events that the state takes, and the actions that it returns. Pure data.

use std::sync::Arc;
use std::time::Duration;

use super::error::ScheduleError;
use super::job::{JobNumber, QueueKey};
use crate::client::CallError;
use crate::limit::{LeaseId, LimitKey};

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A caller submitted a job.
    Submitted { job: JobNumber, queue: QueueKey, keys: Arc<[LimitKey]> },
    /// An attempt to reserve has its answer.
    Reserved { job: JobNumber, answer: ReserveAnswer },
    /// The caller dropped the job: it ended, failed or was cancelled.
    Dropped { job: JobNumber },
    /// An attempt to complete has its answer.
    Completed { job: JobNumber, answer: CompleteAnswer },
    /// The scheduler starts no further job.
    ShutDown,
    /// The time at which the state wanted to wake has come.
    Woken,
}

/// The answer to an attempt to reserve.
#[derive(Debug, Clone)]
pub(super) enum ReserveAnswer {
    Granted,
    /// A limit has no room now.
    Denied {
        key: LimitKey,
        retry_after: Duration,
    },
    /// Another attempt does not help.
    Refused(ScheduleError),
    /// The lease expired before its grant arrived.
    TooLate,
    Unknown(CallError),
}

/// The answer to an attempt to complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompleteAnswer {
    Settled,
    Refused,
    Unknown,
}

/// An action for the worker.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Make one attempt to reserve. Its answer is an event.
    Reserve { job: JobNumber, lease: LeaseId },
    /// Start the job: everything is reserved. When it is dropped, that is an event.
    Start { job: JobNumber, lease: LeaseId },
    /// Tell the caller that the job will not run.
    Fail { job: JobNumber, error: ScheduleError },
    /// Make one attempt to complete the lease. Its answer is an event.
    Complete { job: JobNumber, lease: LeaseId },
    /// Drop what is stored of the job: no further action names it.
    Forget { job: JobNumber, end: LeaseEnd },
}

/// How the last lease of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseEnd {
    /// It was not granted.
    NotGranted,
    Completed,
    /// It was not completed: what it holds expires.
    LeftToExpire,
}

/// The random values that decisions need. Tests replace it.
pub(super) trait RandomSource {
    /// A fresh lease id.
    fn lease_id(&mut self) -> LeaseId;
    /// A number from 0 up to 1.
    fn fraction(&mut self) -> f64;
}
