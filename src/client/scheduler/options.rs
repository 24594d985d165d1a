//! Options of the scheduler.

use std::time::Duration;

use crate::client::RepeatPolicy;

/// The bounds of a scheduler's queues and the times it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchedulerOptions {
    /// The most jobs that wait in all queues together.
    pub jobs_max: usize,
    /// The most jobs that wait in one queue.
    pub queue_jobs_max: usize,
    /// The most attempts to reserve at a time.
    pub reserves_in_flight_max: usize,
    /// The longest random time that is added to the hint of a denial, so that callers do not try again all at once.
    pub jitter_max: Duration,
    /// When calls of unknown outcome are repeated.
    pub repeat: RepeatPolicy,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            jobs_max: 10_000,
            queue_jobs_max: 1_000,
            reserves_in_flight_max: 64,
            jitter_max: Duration::from_millis(50),
            repeat: RepeatPolicy::default(),
        }
    }
}

impl SchedulerOptions {
    /// Sets the most jobs that wait in all queues together. 10,000 by default.
    #[must_use]
    pub const fn jobs_max(self, jobs_max: usize) -> Self {
        Self { jobs_max, ..self }
    }

    /// Sets the most jobs that wait in one queue. 1,000 by default.
    #[must_use]
    pub const fn queue_jobs_max(self, queue_jobs_max: usize) -> Self {
        Self { queue_jobs_max, ..self }
    }

    /// Sets the most attempts to reserve at a time. 64 by default.
    #[must_use]
    pub const fn reserves_in_flight_max(self, reserves_in_flight_max: usize) -> Self {
        Self { reserves_in_flight_max, ..self }
    }

    /// Sets the longest random time that is added to the hint of a denial. 50 ms by default.
    #[must_use]
    pub const fn jitter_max(self, jitter_max: Duration) -> Self {
        Self { jitter_max, ..self }
    }

    /// Sets when calls of unknown outcome are repeated.
    #[must_use]
    pub const fn repeat(self, repeat: RepeatPolicy) -> Self {
        Self { repeat, ..self }
    }
}
