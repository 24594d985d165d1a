//! Options of the scheduler.

use std::time::Duration;

use crate::client::RepeatPolicy;

/// The bounds of a scheduler's queues and the times it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
